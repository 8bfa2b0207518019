"""Sources that a model is only judged by: one class is enough, and strangers are kept."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.data.classes import HEALTHY, STRANGER, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.split.logic import make_folds, make_split

Writer = Callable[[Path, Mapping[str, bytes]], Path]

FILES = {
    "mri/a.png": "Brain Tumor,tcga,glioma,axial",
    "mri/b.png": "Healthy,elderly,,",
    "ct/normal/c.png": "no brain MRI,,,",
    "xray/d.png": "No Brain MRI,,,",
}
LEFT_OUT = "no brain MRI, by which models are judged and not trained"


@pytest.fixture
def study(
    tmp_path: Path, as_folder: Writer, drawn: Callable[..., object], encoded: Callable[..., bytes]
) -> Path:
    files = {path: encoded(drawn(number)) for number, path in enumerate(FILES)}
    rows = "".join(f"{path},{row}\n" for path, row in FILES.items())
    files["labels.csv"] = f"path,label,site,type,plane\n{rows}".encode()
    return as_folder(tmp_path / "study", files)


def test_strangers_judge_and_are_not_trained_on(study: Path, tmp_path: Path) -> None:
    with open_source(str(study), "", "labels.csv") as source:
        assert {file.label for file in source.files} == {TUMOR, HEALTHY}
        assert source.left_out == {LEFT_OUT: 2}
    with open_source(str(study), "", "labels.csv", judging=True) as source:
        assert source.left_out == {}
        ingest(source, tmp_path / "dataset", tmp_path / "state")
    dataset = ImageDataset(tmp_path / "dataset")
    found = {r.path: (r.label, r.site, r.type, r.plane) for r in dataset.manifest.images}
    assert found == {
        "mri/a.png": (TUMOR, "tcga", "glioma", "axial"),
        "mri/b.png": (HEALTHY, "elderly", None, None),
        "ct/normal/c.png": (STRANGER, None, None, None),
        "xray/d.png": (STRANGER, None, None, None),
    }
    for divide in (make_split, make_folds):
        with pytest.raises(UserError, match="2 images are labelled 'no brain MRI'"):
            divide(dataset)


def test_a_folder_may_say_it_too(study: Path) -> None:
    given = "mri=Brain Tumor,ct=no brain MRI,xray=none"
    with open_source(str(study), "", "", given, judging=True) as source:
        # Below `ct`, `normal` is no sign of a healthy brain.
        assert [file.label for file in source.files] == [TUMOR, TUMOR, STRANGER]
    with open_source(str(study), "", "", given) as source:
        assert source.left_out[LEFT_OUT] == 1


def test_one_class_is_enough_to_judge_by(study: Path, tmp_path: Path) -> None:
    only = "mri=Brain Tumor,ct=none,xray=none"
    with open_source(str(study), "", "", only, judging=True) as source:
        ingest(source, tmp_path / "dataset", tmp_path / "state")
    assert ImageDataset(tmp_path / "dataset").labels.tolist() == [TUMOR, TUMOR]
    with (
        open_source(str(study), "", "", only) as source,
        pytest.raises(UserError, match="'Healthy' holds no files"),
    ):
        ingest(source, tmp_path / "trained", tmp_path / "state")
    strangers = "mri=no brain MRI,ct=none,xray=none"
    with (
        open_source(str(study), "", "", strangers, judging=True) as source,
        pytest.raises(UserError, match="'Brain Tumor' holds no files"),
    ):
        ingest(source, tmp_path / "strangers", tmp_path / "state")
