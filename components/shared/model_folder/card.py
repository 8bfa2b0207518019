"""The model card: Markdown for people, with front matter for Hugging Face, from metadata."""

from typing import Any

import yaml

from components.shared.data.dataset import SUBGROUPS
from components.shared.evaluation.metrics import FEW_GROUPS, MEASURES
from components.shared.model_folder.checklists import checklist
from components.shared.model_folder.metadata import ModelMetadata
from components.shared.reports.markdown import render


def model_card(metadata: ModelMetadata) -> str:
    """Returns the text of `model_card.md`.

    Args:
        metadata: What the version says of itself.
    """
    return f"---\n{yaml.safe_dump(_front_matter(metadata), sort_keys=False)}---\n" + render(
        "shared/model_folder/model_card.md.j2",
        model=metadata,
        few_groups=FEW_GROUPS,
        kinds=SUBGROUPS,
        checklist=checklist(metadata),
    )


def _front_matter(metadata: ModelMetadata) -> dict[str, Any]:
    """Returns what Hugging Face reads of a card: what the model is, and its held-out figures.

    A recalibrated version has no figures of its own, and those of a leaky split would mislead.
    """
    described: dict[str, Any] = {
        "library_name": "tensorflow",
        "pipeline_tag": "image-classification",
        "tags": ["brain-mri", "medical", "research-only", "kubeflow", "kserve"],
    }
    if metadata.recalibration is not None or metadata.data.split_strategy == "by-name":
        return described
    scores = metadata.metrics.held_out.model
    figures = [
        {"type": name, "name": measure.name, "value": round(scores.of(name).value, 4)}
        for name, measure in MEASURES.items()
    ]
    name = f"brain MRI slices, digest {metadata.data.digest[:12]}"  # a source can hold any text
    dataset = {"type": "imagefolder", "name": name, "split": "held_out"}
    task = {"type": "image-classification", "name": "Brain tumour or healthy"}
    results = [{"task": task, "dataset": dataset, "metrics": figures}]
    return described | {"model-index": [{"name": metadata.name, "results": results}]}
