"""What one image, one trial and one step cost, as `measure` found it."""

from pathlib import Path

from components.shared.strict import Strict

MEASURED = Path(__file__).with_name("units.json")


class Units(Strict):
    """Measured costs. Seconds are of one CPU core, bytes those of files or of a store's traffic.

    Attributes:
        images: That were measured.
        image_bytes: Mean size of a file of the source.
        listing_bytes: Of the answers that list the source, for each image.
        listing_seconds: To list and sort the source, for each image.
        read_requests: To read an image.
        answer_bytes: Of a store's answer beside the image, such as its header.
        ingest_seconds: To read, check and decode an image.
        start_seconds: Of a worker before its first image: imports, and listing a small source.
        decoded_bytes: Of a part, for each image.
        decoded_files: Of a part, for each chunk of images, besides one.
        dataset_bytes: Of the dataset, for each image.
        dataset_files: Of the dataset, for each chunk of images, besides two.
        checkpoint_bytes: What a network that trains keeps after each epoch.
        model_bytes: Of a trained network.
        trial_bytes: Of a trial's record.
        replay_seconds: By algorithm, pairs: trials that an oracle is told again, and what it takes.
    """

    images: int
    image_bytes: float
    listing_bytes: float
    listing_seconds: float
    read_requests: float
    answer_bytes: float
    ingest_seconds: float
    start_seconds: float
    decoded_bytes: float
    decoded_files: float
    dataset_bytes: float
    dataset_files: float
    checkpoint_bytes: int
    model_bytes: int
    trial_bytes: int
    replay_seconds: dict[str, list[tuple[int, float]]]

    @staticmethod
    def read(path: Path = MEASURED) -> "Units":
        """Returns the units that a file holds."""
        return Units.model_validate_json(path.read_text())
