"""The images that a benchmark works on, ingested as a run ingests them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.data.dataset import ImageDataset


def open_images(
    source: str, folder: Path, labels: str = "", class_folders: str = ""
) -> ImageDataset:
    """Ingests a source.

    Args:
        source: As for `brain-tumor run`.
        folder: Where the dataset is written.
        labels: A table beside the images, as a run takes it; empty for none.
        class_folders: What other folders and labels mean, as a run takes it.

    Raises:
        UserError: The source cannot be opened, or holds no images of both classes.
    """
    opening = open_source(source, labels=labels, class_folders=class_folders)
    with opening as opened, TemporaryDirectory() as scratch:
        ingest(opened, folder, scratch)
    return ImageDataset(folder)


def open_external(source: str, folder: Path) -> ImageDataset:
    """Ingests a source whose labels.csv names path, label, patient, site and sequence.

    Images labelled `no brain MRI` are left out.
    """
    return open_images(source, folder, "labels.csv", "no brain MRI=none")
