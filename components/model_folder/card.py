"""The model card: a version's metadata, as Markdown for people."""

from components.markdown import render
from components.metrics import FEW_GROUPS
from components.model_folder.metadata import ModelMetadata


def model_card(metadata: ModelMetadata) -> str:
    """Returns the text of `model_card.md`.

    Args:
        metadata: What the version says of itself.
    """
    return render("model_folder/model_card.md.j2", model=metadata, few_groups=FEW_GROUPS)
