"""Layouts that datasets of brain MRI have: what is listed of each, and what is told of the rest."""

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from components.ingest import labels as labels_module
from components.ingest.labels_file import pinned
from components.ingest.sources import Source, open_source, source_fingerprint
from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.errors import UserError

Writer = Callable[[Path, dict[str, bytes]], Path]


class Layout(NamedTuple):
    """What a source holds, and what is to come of it."""

    files: list[str]
    class_folders: str = ""
    table: str = ""  # labels.csv inside the source
    tumor: int = 0
    healthy: int = 0
    left_out: dict[str, int] = {}  # noqa: RUF012  # never changed


KINDS = ("glioma", "meningioma", "pituitary")
OF_KINDS = ",".join(f"{kind}=Brain Tumor" for kind in KINDS)
OF_TUMORS = ",".join(f"{kind}_tumor=Brain Tumor" for kind in KINDS)
NO_CLASS = "in no class folder"
FOLDERS_TOLD = (NO_CLASS, "below")
UNNAMED = "which the labels do not name"

# The names are those of docs/data.md.
LAYOUTS = {
    "class folders": Layout(
        files=[
            *("Brain Tumor Data Set/Brain Tumor Data Set/Brain Tumor/Cancer (1).jpg",),
            *("Brain Tumor Data Set/Brain Tumor Data Set/Healthy/Not Cancer (1).jpg",),
            "metadata.csv",
        ],
        tumor=1,
        healthy=1,
        left_out={NO_CLASS: 1},
    ),
    "yes and no": Layout(
        files=["yes/Y1.jpg", "no/1 no.jpeg", "brain_tumor_dataset/yes/Y1.jpg", "pred/pred0.jpg"],
        class_folders="yes=Brain Tumor,no=Healthy",
        tumor=2,
        healthy=1,
        left_out={NO_CLASS: 1},
    ),
    "kinds of tumour": Layout(
        files=[
            f"archive/{part}/{kind}/{part[:2]}-{kind[:2]}_0010.jpg"
            for part in ("Training", "Testing")
            for kind in (*KINDS, "notumor")
        ],
        class_folders=f"{OF_KINDS},notumor=Healthy",
        tumor=6,
        healthy=2,
    ),
    "one part of kinds": Layout(
        files=[
            "Training/glioma/Tr-gl_0010.jpg",
            "Testing/glioma/Te-gl_0010.jpg",
            "Testing/no/a.jpg",
        ],
        class_folders="Training/glioma=Brain Tumor,no=Healthy",
        tumor=1,
        healthy=1,
        left_out={NO_CLASS: 1},
    ),
    "kinds below a name that counts": Layout(
        files=[f"brain_tumor/Training/{kind}_tumor/image(1).jpg" for kind in (*KINDS, "no")],
        class_folders=f"{OF_TUMORS},no_tumor=Healthy",
        tumor=3,
        healthy=1,
    ),
    "masks beside the images": Layout(
        files=[
            *("Brain Tumor/images/1.png", "Brain Tumor/masks/1.png", "Brain Tumor/2_mask.tif"),
            *("Brain Tumor/labels/1.png", "Healthy/1.png", "Brain Tumor/no_tumor/2.png"),
        ],
        tumor=1,
        healthy=1,
        left_out={
            **{
                f"below Brain Tumor in '{name}'; if they count, give --class-folders '{option}'": 1
                for name, option in (
                    ("masks", "masks=Brain Tumor"),
                    ("labels", "labels=Brain Tumor"),
                    ("no tumor", "no tumor=Healthy"),
                )
            },
            "masks, by their names": 1,
        },
    ),
    "one folder and a table": Layout(
        files=["images/Te-no_0010.jpg", "images/Te-gl_0010.jpg", "images/Te-me_0010.jpg"],
        table="path;label\nTe-no_0010.jpg;notumor\nTe-gl_0010.jpg;glioma\n",
        class_folders="glioma=Brain Tumor,notumor=Healthy",
        tumor=1,
        healthy=1,
        left_out={UNNAMED: 1},
    ),
    "a folder a patient": Layout(
        files=[
            f"lgg-mri-segmentation/kaggle_3m/TCGA_{name}"
            for name in (
                "CS_4941/CS_4941_1.tif",
                "CS_4941/CS_4941_1_mask.tif",
                "DU_5849/DU_5849_9.tif",
            )
        ],
        table="path,label,patient,site\n"
        "kaggle_3m/TCGA_CS_4941/CS_4941_1.tif,Healthy,CS_4941,CS\n"
        "kaggle_3m/TCGA_DU_5849/DU_5849_9.tif,Brain Tumor,DU_5849,DU\n",
        tumor=1,
        healthy=1,
        left_out={UNNAMED: 1},
    ),
    "volumes": Layout(
        files=[
            *(f"BraTS2021_00000/BraTS2021_00000_{kind}.nii.gz" for kind in ("flair", "t1", "seg")),
            "IXI/IXI002-Guys-0828-T1.nii.gz",
        ],
        table="path,label,patient,sequence\n"
        "BraTS2021_00000/BraTS2021_00000_flair.nii.gz,Brain Tumor,00000,FLAIR\n"
        "BraTS2021_00000/BraTS2021_00000_t1.nii.gz,Brain Tumor,00000,T1\n"
        "IXI/IXI002-Guys-0828-T1.nii.gz,Healthy,IXI002,T1\n",
        tumor=2,
        healthy=1,
        left_out={UNNAMED: 1},
    ),
    "a table of more than two labels": Layout(
        files=["tcga_flair/t000_00.png", "strangers_ct/c0.png", "nichart/n0.png"],
        table="path,label,patient,site,sequence,type\n"
        "tcga_flair/t000_00.png,Brain Tumor,t000,tcga,FLAIR,glioma\n"
        "strangers_ct/c0.png,no brain MRI,c0,ct,CT,bleed\n"
        "nichart/n0.png,Healthy,n0,elderly,T1,none\n",
        class_folders="no brain MRI=none",
        tumor=1,
        healthy=1,
        left_out={"which class_folders leaves out: no brain MRI": 1},
    ),
    "class folders and a table of patients": Layout(
        files=["Brain Tumor/a.png", "Brain Tumor/b.png", "Healthy/c.png"],
        table="path,patient,site\nBrain Tumor/a.png,1,Ulm\nHealthy/c.png,1,Ulm\n",
        tumor=2,
        healthy=1,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_layouts(
    tmp_path: Path, as_folder: Writer, as_zip: Writer, layout: Layout, kind: str
) -> None:
    files = dict.fromkeys(layout.files, b"x")
    if layout.table:
        files["labels.csv"] = layout.table.encode()
    write = as_zip if kind == "zip" else as_folder
    source = write(tmp_path / ("a.zip" if kind == "zip" else "a"), files)
    table = "labels.csv" if layout.table else ""
    with open_source(str(source), "", table, layout.class_folders) as opened:
        assert opened.left_out == layout.left_out
        told = any(note.startswith("folders of no class") for note in opened.notes)
        assert told == any(what.startswith(FOLDERS_TOLD) for what in layout.left_out)
        labels = Counter(file.label for file in opened.files)
        assert not any(file.problem for file in opened.files)
    assert labels == {TUMOR: layout.tumor, HEALTHY: layout.healthy}


def test_what_folders_were_found_is_told_with_what_to_give(
    tmp_path: Path, as_folder: Writer
) -> None:
    source = as_folder(
        tmp_path / "a", {f"set/yes/Y{n}.jpg": b"" for n in range(3)} | {"no/1.jpg": b""}
    )
    with open_source(str(source)) as opened:
        assert opened.advice(TUMOR).startswith(
            "found folders: yes (3 files), no (1 file); say what they are with "
            '--class-folders "yes=Brain Tumor,no=Healthy", or'
        )
        assert opened.notes == ("folders of no class: yes (3 files), no (1 file)",)


@pytest.fixture
def scans(tmp_path: Path, as_folder: Writer) -> Path:
    names = ("Brain Tumor/a.png", "Brain Tumor/b.png", "Healthy/c.png", "deep/er/d.png", ".x.png")
    return as_folder(tmp_path / "scans", dict.fromkeys(names, b"x"))


def opened_with(scans: Path, table: str, class_folders: str = "") -> Source:
    (scans / "labels.csv").write_text(table)
    with open_source(str(scans), "", "labels.csv", class_folders) as source:
        list(source.files)  # while it is open
        return source


def test_what_a_table_does_not_say_and_says_otherwise_is_told(scans: Path) -> None:
    source = opened_with(scans, "path,label\na.png,Healthy\nd.png,Brain Tumor\n", "x/y=none")
    assert source.left_out == {UNNAMED: 2, "hidden (begins with a dot)": 1}
    assert source.notes == (
        "class_folders: no file and no label has the name 'x/y'",
        "1 image in a folder of another class than labels.csv says, which counts; the first "
        "is Brain Tumor/a.png",
    )
    table = "path,patient,site\na.png,Jane Doe,Ulm\nd.png,Jane Doe,Bonn\nc.png,n/a,\n"
    source = opened_with(scans, table)
    assert source.left_out == {NO_CLASS: 1, "hidden (begins with a dot)": 1}
    assert source.notes == (
        "folders of no class: er (1 file)",
        "1 file not named in labels.csv: the patient is unknown, except where a DICOM's tags say "
        "it",
        "rows of labels.csv without a known patient: 1 (the cell is empty, or a word such as "
        "unknown or NA); a split may divide such a person's images, except where a DICOM's "
        "tags say the patient",
        "1 patient with more than one site in labels.csv; if they are different people, write "
        "the site into the patient, as in Ulm-17",
    )


def test_what_a_table_names_and_is_not_there_is_unusable(scans: Path) -> None:
    (scans / "labels.csv").write_text(
        "path,label\na.png,Brain Tumor\ngone/e.png,Healthy\n\nf.png,Healthy\nc.png,Healthy\n"
    )
    with open_source(str(scans), "", "labels.csv") as source:
        assert {file.path: file.problem for file in source.files} == {
            "Brain Tumor/a.png": None,
            "Healthy/c.png": None,
            "gone/e.png": "not in the source, though row 3 of the labels names it",
            "f.png": "not in the source, though row 5 of the labels names it",
        }


def test_a_table_for_another_source_is_refused(scans: Path) -> None:
    with pytest.raises(
        UserError, match=r"none of its 2 paths is in the source, such as x/a\.png; the"
    ):
        opened_with(scans, "path,label\nx/a.png,Healthy\nx/b.png,Healthy\n")
    (scans / "a.png").touch()
    with pytest.raises(UserError, match=r"row 2: 'a\.png' fits two files, .*a\.png"):
        opened_with(scans, "path,label\na.png,Healthy\n")


def test_a_class_that_a_table_does_not_name_is_its_to_name(scans: Path) -> None:
    assert (
        opened_with(scans, "path,label\na.png,Healthy\n").advice(TUMOR) == "name some in labels.csv"
    )
    told = opened_with(scans, "path,site\na.png,x\n").advice(TUMOR)
    assert "give a source with image folders" in told
    assert "--labels" not in told


def test_a_table_that_nobody_gave_is_suggested(tmp_path: Path, as_folder: Writer) -> None:
    files = dict.fromkeys(("mri/1.png", "mri/2.png", "mri/Sheet of 2024.CSV"), b"x")
    with open_source(str(as_folder(tmp_path / "a", files))) as opened:
        assert opened.advice(TUMOR).endswith(
            "; if mri/Sheet of 2024.CSV says the class of each image, "
            'give --labels "mri/Sheet of 2024.CSV"'
        )


def test_a_source_is_another_when_what_is_known_of_it_is(scans: Path) -> None:
    found = []
    for table in ("path,site\na.png,Ulm\n", "path,site\na.png,Bonn\n", "path,patient\na.png,Ulm\n"):
        (scans / "labels.csv").write_text(table)
        os.utime(scans / "labels.csv", (0, 0))
        found.append(source_fingerprint(str(scans), "", "labels.csv"))
    found += [source_fingerprint(str(scans)), source_fingerprint(str(scans), "", "", "er=Healthy")]
    assert len(set(found)) == 5
    assert source_fingerprint(str(scans)) == found[3]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("lost.csv", "/scans: No such file or directory; give a path inside the source"),
        ("deep", "cannot be read in the source "),
        ("../labels.csv", "it leads out of the source"),
        ("link.csv", "it is a link, or is behind a link"),
        ("linked/labels.csv", "it is a link, or is behind a link"),
        ("/lost/labels.csv", "cannot be read from where this step runs: No such file"),
        ("pipe", "/scans: is a link or no regular file"),
        ("kaggle://owner/set", "kaggle:// has no files that can be read one by one"),
        ("file://elsewhere/labels.csv", "names another machine"),
        ("labels.csv#sha256=00", "has changed since the run was started"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(scans: Path, place: str, said: str) -> None:
    (scans / "labels.csv").write_text("path,label\na.png,Healthy\n")
    (scans / "link.csv").symlink_to(scans / "labels.csv")
    (scans / "linked").symlink_to(scans)
    os.mkfifo(scans / "pipe")
    with pytest.raises(UserError) as caught, open_source(str(scans), "", place):
        pass
    assert str(caught.value).startswith(f"labels {place.partition('#')[0]}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_is_bounded_wherever_it_lies(
    tmp_path: Path, scans: Path, as_zip: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.labels_file.MAX_BYTES", 20)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,Healthy\n")
    archive = as_zip(tmp_path / "a.zip", {"labels.csv": table.read_bytes(), "Healthy/a.png": b""})
    for source, place in ((archive, "labels.csv"), (scans, str(table))):
        with (
            pytest.raises(UserError, match="has more than 20 bytes"),
            open_source(str(source), "", place),
        ):
            pass
    assert labels_module.MAX_BYTES == 256 * 2**20


def test_a_table_in_a_zip_may_be_larger_than_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.sources.MAX_BYTES", 100)
    rows = "".join(f"{number}.png,Healthy\n" for number in range(10))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x\\labels.csv", f"path,label\nHealthy/a.png,Healthy\n{rows}")
        archive.writestr("Healthy/a.png", b"x")
    with open_source(str(tmp_path / "a.zip"), "", "x/labels.csv") as source:
        assert sum(file.problem is None for file in source.files) == 1
        assert len(source.files) == 11


def test_a_run_here_names_a_table_so_that_a_change_is_noticed(
    tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pinned("") == ""
    assert pinned("labels.csv") == "labels.csv"  # there is none here: it lies in the source
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,Brain Tumor\nc.png,Healthy\n")
    place = f"{table}#sha256={hashlib.sha256(table.read_bytes()).hexdigest()}"
    assert pinned("labels.csv") == pinned(str(table)) == pinned(place) == place
    with open_source(str(scans), "", place) as source:
        assert len(source.files) == 2
    table.write_text("path,label\na.png,Brain Tumor\nb.png,Healthy\n")
    with pytest.raises(UserError, match="has changed"), open_source(str(scans), "", place):
        pass
    with pytest.raises(UserError, match="No such file"):
        pinned("/lost.csv")
