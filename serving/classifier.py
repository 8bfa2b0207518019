"""The classifier: a registered model's folder in, labels with their probabilities out."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from components.errors import UserError
from components.images import MAX_BYTES, SHAPE, ImageError, decode
from serving.model_folder import HEALTHY, open_model_folder

SIGNATURE, INPUT, OUTPUT = "serving_default", "images", "probability_healthy"
BATCH = 64
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image.

    Attributes:
        label: The class that is answered.
        probability: Of that class, 0..1. Below one half where the threshold is not one half and
            the image lies between the two.
        probabilities: Of every class; they add up to 1.
        threshold: The positive class is answered where its probability reaches this.
        model_version: The registered version that answered.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    threshold: float
    model_version: int


class Classifier:
    """A registered model, loaded.

    Attributes:
        model: What the model's folder says of itself.
    """

    def __init__(self, folder: str | Path) -> None:
        """Checks a registered model's folder, then loads it.

        Args:
            folder: The version's folder.

        Raises:
            UserError: A file is missing, extra or changed; a description is malformed; or the
                SavedModel cannot be loaded or has another signature.
        """
        self.model = open_model_folder(folder)
        self._answer = _load(self.model.path)

    def classify(self, images: np.ndarray, batch_size: int = BATCH) -> list[Prediction]:
        """Classifies decoded images.

        Args:
            images: uint8 [n, 150, 150, 3], as `components.images.decode` makes them.
            batch_size: How many go through the model at once, at least 1.

        Returns:
            One prediction an image, in their order.

        Raises:
            ValueError: The array has another type or shape, or the batch size is below 1.
        """
        if images.dtype != np.uint8 or images.shape[1:] != SHAPE:
            raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (n, {SHAPE})")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, at least 1 is needed")
        return [
            self._prediction(float(healthy))
            for start in range(0, len(images), batch_size)
            for healthy in self._answer(images[start : start + batch_size])
        ]

    def classify_files(
        self, paths: Iterable[str | Path], batch_size: int = BATCH
    ) -> Iterator[tuple[Path, Prediction | ImageError]]:
        """Classifies image files, and all files below folders.

        While one batch goes through the model the next is decoded by a few threads, and no more
        than these two are in memory. Links inside folders are not followed.

        Args:
            paths: Files and folders.
            batch_size: How many go through the model at once, at least 1.

        Yields:
            Each file with its prediction, or with the reason why there is none; in the order
            given, the files of a folder sorted by name.
        """
        files = find_files(paths)
        with ThreadPoolExecutor(_THREADS) as pool:
            chunk = list(islice(files, batch_size))
            decoding = pool.map(_decode_file, chunk)
            while chunk:
                decoded = list(decoding)
                next_chunk = list(islice(files, batch_size))
                decoding = pool.map(_decode_file, next_chunk)
                yield from zip(chunk, self._classify_decoded(decoded), strict=True)
                chunk = next_chunk

    def _classify_decoded(
        self, decoded: list[np.ndarray | ImageError]
    ) -> Iterator[Prediction | ImageError]:
        """Puts the predictions of the good images between the errors of the others."""
        good = [image for image in decoded if isinstance(image, np.ndarray)]
        predictions = iter(self.classify(np.stack(good), len(good)) if good else [])
        for image in decoded:
            yield image if isinstance(image, ImageError) else next(predictions)

    def _prediction(self, healthy: float) -> Prediction:
        model = self.model
        probabilities = {
            name: healthy if name == HEALTHY else 1 - healthy for name in model.classes
        }
        positive, negative = model.classes[model.positive], model.classes[1 - model.positive]
        label = positive if probabilities[positive] >= model.threshold else negative
        return Prediction(
            label, probabilities[label], probabilities, model.threshold, model.version
        )


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yields files as given, and for a folder the regular files below it.

    Args:
        paths: Files and folders; a file need not exist. Hidden files and links inside a folder
            are passed over.

    Yields:
        Paths; within a folder sorted by name, its own files first.
    """
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        for parent, folders, names in os.walk(path):  # which follows no links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(parent, name)
                if not name.startswith(".") and stat.S_ISREG(file.lstat().st_mode):
                    yield file


def _load(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from uint8 [n, 150, 150, 3] to P(Healthy), float32 [n]."""
    import tensorflow as tf  # here, so that who only asks for the class does not wait seconds

    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures[SIGNATURE]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        line = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{folder}: cannot load the SavedModel: {line}") from error
    inputs = signature.structured_input_signature[1]
    if INPUT not in inputs or OUTPUT not in signature.structured_outputs:
        raise UserError(f"{folder}: signature {SIGNATURE} does not map {INPUT} to {OUTPUT}")

    def answer(images: np.ndarray) -> np.ndarray:
        # Through `loaded`, because a signature alone does not keep the variables alive.
        result = loaded.signatures[SIGNATURE](images=tf.constant(images))
        return np.asarray(result[OUTPUT])

    return answer


def _decode_file(path: Path) -> np.ndarray | ImageError:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return ImageError("unreadable", "not a regular file")
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1)).pixels
    except (OSError, ValueError) as error:
        return error if isinstance(error, ImageError) else _unreadable(error)


def _unreadable(error: Exception) -> ImageError:
    reason = error.strerror if isinstance(error, OSError) else None
    return ImageError("unreadable", reason or type(error).__name__)
