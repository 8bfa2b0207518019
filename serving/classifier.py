"""The classifier: a registered model's folder in, labels with their probabilities out."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from components.shared.data.classes import CLASSES, HEALTHY
from components.shared.errors import UserError
from components.shared.images.decode import MAX_BYTES, SHAPE, ImageError
from components.shared.images.slices import MAX_SLICES, Slices, read
from components.shared.model_folder.contract import (
    FEATURES,
    HEATMAP,
    PROBABILITY,
    SCORE,
    UNSURE,
)
from components.shared.model_folder.reader import open_model_folder, settled
from components.shared.model_folder.runtimes import load
from components.shared.model_folder.runtimes.runtime import Outputs
from components.shared.model_folder.signing import Trust
from components.shared.model_folder.smoke import read_smoke

BATCH = 64
_THREADS = 4
_DECIDING_SLICES = 3  # slices of a volume that decide for it
_SLICE_FIELDS = (
    "label",
    "probability",
    "probabilities",
    "in_distribution",
    "in_distribution_score",
    "outcome",
)
_FIELDS = (*_SLICE_FIELDS[:3], "threshold", "model_version", *_SLICE_FIELDS[3:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer for one image, or for a volume.

    Attributes:
        label: The class that is answered.
        probability: Of that class, 0..1. Below one half where the threshold is not one half and
            the image lies between the two.
        probabilities: Of every class; they add up to 1.
        threshold: The positive class is answered where its probability reaches this.
        model_version: The registered version that answered.
        outcome: `label`, or "unsure" where that would be wrong too often; None where the model
            knows of no such range.
        in_distribution: Whether the image looks like those the model was trained on; None where
            the model carries no such check.
        in_distribution_score: What that rests on, at least 0; greater is stranger.
        features: Eight numbers that sum an image up as the network sees it, for drift, and not on
            the wire; None for a volume, and where the model gives none.
        slices: Of a volume, each slice's number and the answer for it alone.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    threshold: float
    model_version: int
    outcome: str | None = None
    in_distribution: bool | None = None
    in_distribution_score: float | None = None
    features: Sequence[float] | None = None
    slices: "tuple[tuple[int, Prediction], ...]" = ()

    def as_json(self) -> dict[str, Any]:
        """Returns what is told of it on the wire; fields that are None are left out."""
        told = self._fields(_FIELDS)
        if self.slices:
            told["slices"] = [
                {"number": number} | slice._fields(_SLICE_FIELDS) for number, slice in self.slices
            ]
        return told

    def _fields(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Classifier:
    """A registered model, loaded.

    Attributes:
        model: What the model's folder says of itself.
        runtime: What runs it.
        samples: The images that are kept with it, PNG; none with an older version.
    """

    def __init__(
        self,
        folder: str | Path,
        cpus: int | None = None,
        trust: Trust | None = None,
        uri: str = "",
    ) -> None:
        """Checks a registered model's folder, then loads it.

        Args:
            folder: The version's folder.
            cpus: How many batches go through it at the same time, each on a CPU of its own. None
                is for one batch at a time on all CPUs.
            trust: The signer that the version needs; None takes every version.
            uri: Where the folder was fetched from; empty if unknown.

        Raises:
            UserError: A file is missing, extra or changed; a description is malformed; the version
                is not signed by who is trusted, or is another one; or the SavedModel cannot be
                loaded or has another signature.
        """
        with settled(folder, trust, uri) as checked:
            self.model = open_model_folder(checked)
            self.runtime = load(self.model.path, cpus, self.model.precision)
            self.samples = _samples(checked)
        self.has_in_distribution_check = (
            self.model.score_limit is not None and SCORE in self.runtime.outputs
        )

    def warm(self, largest: int) -> None:
        """Runs batches of every size once, because the first of each size is slow in each thread.

        Explaining is not warmed: most replicas never do it, and it takes 15 MB.

        Args:
            largest: Of the batches that will come.
        """
        for size in range(1, min(largest, self.runtime.largest_batch) + 1):
            self.classify(np.zeros((size, *SHAPE), np.uint8), size)

    def classify(self, images: np.ndarray, batch_size: int = BATCH) -> list[Prediction]:
        """Classifies decoded images.

        Args:
            images: uint8 [n, 150, 150, 3], as `components.shared.images.decode.decode` makes them.
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
        size = min(batch_size, self.runtime.largest_batch)
        return [
            prediction
            for start in range(0, len(images), size)
            for prediction in self._predictions(self.runtime.classify(images[start : start + size]))
        ]

    def explain(self, images: np.ndarray) -> list[tuple[Prediction, np.ndarray]]:
        """Classifies decoded images and says where in them the evidence lies.

        Args:
            images: uint8 [n, 150, 150, 3].

        Returns:
            For each image its prediction and a heat map, float32 [h, w] within 0..1.
        """
        outputs = self.runtime.explain(images)
        return list(zip(self._predictions(outputs), outputs[HEATMAP], strict=True))

    def of_file(
        self, predictions: Sequence[Prediction], numbers: Sequence[int] | None
    ) -> Prediction:
        """Returns the answer for a file.

        A volume's probabilities are the mean of those three slices where a tumour is the most
        probable, and so is the score that says whether it looks like what was trained on. A tumour
        shows on several slices, but seldom on most of them; one slice alone may be mistaken.

        Args:
            predictions: Of its slices, at least one.
            numbers: Of the slices; None where the file is no volume.
        """
        if numbers is None:
            return predictions[0]
        deciding = sorted(predictions, key=self.suspicion, reverse=True)[:_DECIDING_SLICES]
        scores = [p.in_distribution_score for p in deciding if p.in_distribution_score is not None]
        healthy = fmean(p.probabilities[CLASSES[HEALTHY]] for p in deciding)
        answer = self._prediction(healthy, fmean(scores) if scores else None)
        return replace(answer, slices=tuple(zip(numbers, predictions, strict=True)))

    def suspicion(self, prediction: Prediction) -> float:
        """Returns the probability of the positive class.

        Args:
            prediction: The answer for one image.
        """
        return prediction.probabilities[self.model.classes[self.model.positive]]

    def classify_files(
        self,
        paths: Iterable[str | Path],
        batch_size: int = BATCH,
        max_slices: int = MAX_SLICES,
    ) -> Iterator[tuple[Path, Prediction | ImageError]]:
        """Classifies image files and volumes, and all files below folders.

        While one batch goes through the model the next is decoded by a few threads, and no more
        than these two are in memory. Links inside folders are not followed.

        Args:
            paths: Files and folders.
            batch_size: How many files are read, and images go through the model, at once.
            max_slices: That are read of a volume.

        Yields:
            Each file with its prediction, or with the reason why there is none; in the order
            given, the files of a folder sorted by name.
        """
        files = find_files(paths)
        with ThreadPoolExecutor(_THREADS) as pool:
            reading = partial(read_file, max_slices=max_slices)
            chunk = list(islice(files, batch_size))
            decoding = pool.map(reading, chunk)
            while chunk:
                decoded = list(decoding)
                next_chunk = list(islice(files, batch_size))
                decoding = pool.map(reading, next_chunk)
                yield from zip(chunk, self._classify_read(decoded, batch_size), strict=True)
                chunk = next_chunk

    def _classify_read(
        self, files: list[Slices | ImageError], batch_size: int
    ) -> Iterator[Prediction | ImageError]:
        """Puts the predictions of the good files between the errors of the others."""
        good = [i.pixels for file in files if isinstance(file, Slices) for i in file.images]
        predictions = iter(self.classify(np.stack(good), batch_size) if good else [])
        for file in files:
            if isinstance(file, ImageError):
                yield file
            else:
                of_slices = list(islice(predictions, len(file.images)))
                yield self.of_file(of_slices, file.numbers if file.of > 1 else None)

    def _predictions(self, outputs: Outputs) -> list[Prediction]:
        """Turns the model's outputs for a batch into answers."""
        if not np.isfinite(outputs[PROBABILITY]).all():
            raise RuntimeError("the model answered with something that is not a number")
        healthy, nothing = outputs[PROBABILITY].tolist(), repeat(None)
        scores = outputs[SCORE].tolist() if self.has_in_distribution_check else nothing
        features = outputs[FEATURES].tolist() if FEATURES in outputs else nothing
        return list(map(self._prediction, healthy, scores, features))

    def _prediction(
        self, healthy: float, score: float | None = None, features: Sequence[float] | None = None
    ) -> Prediction:
        model = self.model
        probabilities = {
            name: healthy if name == CLASSES[HEALTHY] else 1 - healthy for name in model.classes
        }
        positive, negative = model.classes[model.positive], model.classes[1 - model.positive]
        label = positive if probabilities[positive] >= model.threshold else negative
        return Prediction(
            label=label,
            probability=probabilities[label],
            probabilities=probabilities,
            threshold=model.threshold,
            model_version=model.version,
            outcome=self._outcome(label, probabilities[positive]),
            in_distribution=None if score is None else score <= (model.score_limit or 0.0),
            in_distribution_score=score,
            features=features,
        )

    def _outcome(self, label: str, positive: float) -> str | None:
        unsure = self.model.unsure
        if unsure is None:
            return None
        return UNSURE if unsure.low <= positive < unsure.high else label


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yields files as given, and for a folder the regular files below it.

    Args:
        paths: Files and folders; a file need not exist. Hidden files and links inside a folder
            are passed over.

    Yields:
        Paths; within a folder sorted by name, its own files first. Last come the folders that
        cannot be read.
    """
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        unread: list[OSError] = []
        for parent, folders, names in os.walk(path, onerror=unread.append):  # follows no links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(parent, name)
                if not name.startswith(".") and stat.S_ISREG(file.lstat().st_mode):
                    yield file
        yield from (Path(error.filename) for error in unread)


def _samples(folder: Path) -> tuple[bytes, ...]:
    try:
        return tuple(image.png for image in read_smoke(folder))
    except UserError:  # which says what a rollout needs; answers do not need them
        return ()


def read_file(path: Path, max_slices: int) -> Slices | ImageError:
    """Reads an image or a volume.

    Args:
        path: Anything may be there.
        max_slices: That are read of a volume.

    Returns:
        Its slices, or why it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return ImageError("unreadable", "a folder that cannot be read")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            return ImageError("unreadable", "not a regular file")
        with path.open("rb") as file:
            return read(file.read(MAX_BYTES + 1), max_slices=max_slices)
    except (OSError, ValueError) as error:
        return error if isinstance(error, ImageError) else _unreadable(error)


def _unreadable(error: Exception) -> ImageError:
    reason = error.strerror if isinstance(error, OSError) else None
    return ImageError("unreadable", reason or type(error).__name__)
