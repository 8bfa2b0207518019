"""What a report is of, for its header."""

from components.shared.data.dataset import ImageDataset, Split


def facts_of(dataset: ImageDataset, split: Split | None = None) -> dict[str, str]:
    """Returns the facts that name a dataset and, if given, its split.

    Args:
        dataset: The images.
        split: How they are divided.
    """
    manifest = dataset.manifest
    facts = {
        "data": manifest.source,
        "version": manifest.source_version[:19],
        "dataset": dataset.digest[:12],
    }
    if split:
        facts["split"] = f"{split.strategy}, {split.digest()[:12]}"
    return {name: value for name, value in facts.items() if value}
