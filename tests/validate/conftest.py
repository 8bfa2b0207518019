"""A made-up source whose images carry the answers of a made-up model in two of their pixels."""

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.metrics import MEASURES, Interval, Scores
from components.shared.evaluation.unsure import Range
from components.validate.model import Answers, JudgedModel


class Case(NamedTuple):
    """One image: what a table says of it, and what the model answers, in 255ths."""

    label: str
    tumor: int
    stranger: int = 0
    patient: str = ""
    site: str = ""
    sequence: str = ""
    type: str = ""


def png(seed: int, case: Case) -> bytes:
    """Returns a smooth picture, unlike any other."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(150, 150)), 12)
    grey = np.uint8(np.clip(128 + 45 * smooth / smooth.std(), 0, 255))
    pixels = np.repeat(grey[..., None], 3, axis=2)
    pixels[0, 0], pixels[0, 1] = case.tumor, case.stranger
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


Source = Callable[[Sequence[Case]], ImageDataset]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Ingests a source that is to judge a model."""

    def made(cases: Sequence[Case]) -> ImageDataset:
        top = tmp_path_factory.mktemp("judged")
        folder = top / "source"
        folder.mkdir()
        rows = ["path,label,patient,site,sequence,type"]
        for number, case in enumerate(cases):
            (folder / f"{number:03}.png").write_bytes(png(number, case))
            known = (case.label, case.patient, case.site, case.sequence, case.type)
            rows.append(",".join([f"{number:03}.png", *known]))
        (folder / "labels.csv").write_text("\n".join(rows))
        with open_source(str(folder), "", "labels.csv", judging=True) as opened:
            ingest(opened, top / "dataset", top / "state")
        return ImageDataset(top / "dataset")

    return made


def answer(images: np.ndarray) -> Answers:
    return Answers(images[:, 0, 0, 0] / 255, images[:, 0, 1, 0] / 255)


@pytest.fixture
def model() -> JudgedModel:
    sure = Interval(value=0.95, low=0.9, high=1)
    return JudgedModel(
        answer=answer,
        explain=lambda images: np.zeros((len(images), 5, 5), dtype=np.float32),
        threshold=0.5,
        score_limit=0.5,
        unsure=Range(0.3, 0.6),
        held_out=Scores(**dict.fromkeys(MEASURES, sure)),
        title="version 7",
    )
