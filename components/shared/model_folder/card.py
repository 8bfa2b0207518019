"""The model card: a version's metadata, as Markdown for people."""

from components.shared.data.dataset import SUBGROUPS
from components.shared.evaluation.metrics import FEW_GROUPS
from components.shared.model_folder.checklists import checklist
from components.shared.model_folder.metadata import ModelMetadata
from components.shared.reports.markdown import render


def model_card(metadata: ModelMetadata) -> str:
    """Returns the text of `model_card.md`.

    Args:
        metadata: What the version says of itself.
    """
    return render(
        "shared/model_folder/model_card.md.j2",
        model=metadata,
        few_groups=FEW_GROUPS,
        kinds=SUBGROUPS,
        checklist=checklist(metadata),
    )
