"""A table of labels: what it may be, and one line for each thing that it must not be."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest import labels as module
from components.ingest.labels import Labels
from components.shared.data.class_folders import ClassNames
from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.errors import UserError
from components.shared.placeholders import is_placeholder

HEADER = "path,label,patient,site,sequence,type,plane\n"


def read(content: str | bytes, given: str = "") -> Labels:
    data = content if isinstance(content, bytes) else content.encode()
    return Labels("labels.csv", data, ClassNames(given))


def refused(content: str | bytes, given: str = "") -> str:
    with pytest.raises(UserError) as caught:
        read(content, given)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith("labels labels.csv")
    assert len(message) < 600
    return message


def test_a_row_says_class_patient_site_and_the_rest() -> None:
    row = "scans/a.png,Brain Tumor,p1,Ulm,FLAIR,glioma,axial"
    labels = read(f"{HEADER}{row}\nscans/b.png,healthy,,,\n")
    assert labels.find("scans/a.png") == (
        2,
        "scans/a.png",
        (TUMOR, "", False),
        "p1",
        "Ulm",
        "FLAIR",
        "glioma",
        "axial",
    )
    assert labels.find("scans/b.png") == (3, "scans/b.png", (HEALTHY, "", False), *[None] * 5)
    assert labels.find("scans/c.png") is None
    assert (len(labels), list(labels.missing())) == (2, [])


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na b.png,Healthy\n",
        "\ufeffpath,label\na b.png,Healthy\n",
        "path;label\na b.png;Healthy\n",
        "path\tlabel\r\na b.png\tHealthy\r\n",
        "path,label\ra b.png,Healthy",
        ' Path , LABEL \n"a b.png"," HEALTHY "\n',
        'label,"shape (w, h)",path\nHealthy,1,a b.png\n',
        "shape (w,h);path;label\n1;a b.png;Healthy\n",
        "\n,,\npath,label,,\na b.png,Healthy,,\n,,,\n\n",
        "path,label,note\na b.png,Healthy\n",
        'path,label,note\na b.png,Healthy,"two\nlines, ""quoted"""\n',
        ".\\path,path,label\nx,.\\./a b.png,Healthy\n",
    ],
)
def test_what_spreadsheets_write_is_read(content: str) -> None:
    row = read(content).find("a b.png")
    assert row is not None
    assert row.assigned == (HEALTHY, "", False)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    cells=st.lists(
        st.tuples(
            st.text(
                st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=8
            ),
            st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=8),
        ),
        min_size=1,
        max_size=6,
    ),
    separator=st.sampled_from(",;\t"),
)
def test_whatever_a_writer_of_csv_quotes_comes_back(
    cells: list[tuple[str, str]], separator: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(["path", "patient", "site"])
    for number, (patient, site) in enumerate(cells):
        writer.writerow([f"{number}.png", patient, site])
    labels = read(file.getvalue())
    for number, (patient, site) in enumerate(cells):
        row = labels.find(f"{number}.png")
        assert row is not None
        assert row.assigned is None
        known = "" if is_placeholder(patient) else patient.strip()  # `NULL` is nobody's name
        assert (row.patient or "", row.site or "") == (known, " ".join(site.split()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the first row has to name the columns"),
        ("\n\n", "known of its 0 cells: none"),
        ("image,class\na.png,tumor\n", "known of its 2 cells: none"),
        ("path\na.png\n", "known of its 1 cell: path"),
        ("path,label,Label\na.png,Healthy,Healthy\n", "names a column twice"),
        ("path,label\n", "names no image"),
        ("path,label\na.png,Healthy\nb.png,\n", "row 3: has no label"),
        ("path,label\n,Healthy\n", "row 2: the path '' is empty"),
        ("path,label\n./,Healthy\n", "row 2: the path './' is empty"),
        ("path,label\n/data/a.png,Healthy\n", "row 2: the path '/data/a.png' is absolute"),
        ("path,label\nC:\\data\\a.png,Healthy\n", "is absolute; give it from the top"),
        ("path,label\ns3://b/a.png,Healthy\n", "is absolute"),
        ("path,label\nx/../a.png,Healthy\n", "row 2: the path 'x/../a.png' holds '..'"),
        ("path,label\n..\\a.png,Healthy\n", "holds '..'"),
        ("path,label\na.png,Healthy\n.\\a.png,Healthy\n", "row 3: 'a.png' is in row 2 too"),
        ("path,label\nu\u0308.png,Healthy\n\u00fc.png,Healthy\n", "row 3: 'ü.png' is in row 2"),
        ("path,label\n\na,b.png,Healthy\n", "row 3: has 3 cells, the first row has 2"),
        ('path,label\n"a.png,Healthy\n', "row 2: unexpected end of data; put text"),
        ('path,label\n"a"b.png,Healthy\n', "row 2: ',' expected after '\"'"),
        (f"path,label\n{'a' * 200_000},Healthy\n", "row 2: it has more than 65,536 characters"),
        (f"path,label\n{'a' * 5000},Healthy\n", "the path has 5,000 characters, at most 4,096"),
        (f"path,site\na.png,{'s' * 65}\n", "the site has 65 characters, at most 64"),
        (f"path,plane\na.png,{'s' * 65}\n", "the plane has 65 characters, at most 64"),
        ("path,type,TYPE\na.png,glioma,none\n", "names a column twice"),
        (f"path,sequence\na.png,{chr(27) * 40}\n", "the sequence has 160 characters"),
        ("path,label\na.png,Normal\n", 'such as "Normal=Healthy", or "Normal=none" to leave'),
        ("path,label\na.png,glioma\n", "'glioma' is not known; labels are Brain Tumor, Healthy"),
        ("path,label\na.png,glioma\n", '--class-folders says of others, such as "glioma=Brain'),
        ("path,label\na.png,\x1b]0;x\x07\n", r"'\x1b]0;x\x07' is not known"),
        ("path,label\na.png,=1+1\n", '"glioma=Brain Tumor"'),
        ("path,label\na.png,Healthy\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("path,label\nü.png,Healthy\n".encode("latin-1"), "no UTF-8 (byte 0xfc in line 2)"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_the_row(content: str | bytes, said: str) -> None:
    assert said in refused(content)


def test_a_first_row_that_is_no_header_is_not_shown() -> None:
    assert "Jane" not in refused("scans/a.png,Healthy,Jane Doe\nscans/b.png,Healthy,Jane Doe\n")


def test_rows_are_counted_as_spreadsheets_do() -> None:
    content = 'path,label,note\na.png,Healthy,"one\ntwo"\n\nb.png,Healthy,\nb.png,Healthy,\n'
    assert "row 5: 'b.png' is in row 4 too" in refused(content)


@pytest.mark.parametrize(
    "content",
    [
        "path,label\n" + "," * 300_000,
        "path,label" + ",x" * 300_000,
        'path,label\na.png,Healthy,"' + '\n","' * 300_000,
        'path,label\n"' + "x\n" * 300_000,
        "a" * 300_000,
    ],
)
def test_a_row_is_bounded_before_it_is_read(content: str) -> None:
    assert "it has more than 65,536 characters" in refused(content)


def test_a_path_is_not_deep() -> None:
    assert "has more than 31 folders" in refused(f"path,label\n{'a/' * 32}b.png,Healthy\n")
    labels = read(f"path,label\n{'a/' * 31}b.png,Healthy\n")
    assert labels.find("a/" * 5000 + "b.png")
    assert labels.find("a/" * 30 + "b.png") is None


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            [
                *'\\/.,;\t"\r\n=a\0\x1b\u2028ä',
                *("path", "label", "patient", "site", "Healthy", "../", "\ufeff"),
                *("path,label\n", "path;site\n", "a.png,Healthy\n"),
            ]
        ),
        max_size=25,
    ),
    st.binary(max_size=3),
)
def test_whatever_it_holds_it_is_read_or_refused_in_one_line(text: list[str], end: bytes) -> None:
    said = ""
    try:
        assert len(read("".join(text).encode() + end))
    except UserError as error:
        said = str(error)
    assert said.isprintable()
    assert said.startswith("labels labels.csv") or not said


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    rows = [f"{number}.png,Healthy\n" for number in range(3)]
    assert len(read("path,label\n" + "".join(rows[:2]))) == 2
    assert "has more than 3 rows" in refused("path,label\n" + "".join(rows))


def test_class_folders_map_labels_and_leave_some_out() -> None:
    labels = read(
        "path,label\na.png,Glioma\nb.png,no brain MRI\nc.png,1\nd.png,healthy\n",
        "glioma=Brain Tumor,no brain MRI=none,1=Brain Tumor",
    )
    rows = [labels.find(f"{name}.png") for name in "abcd"]
    found = [row.assigned for row in rows if row and row.assigned]
    assert [assigned.label for assigned in found] == [TUMOR, None, TUMOR, HEALTHY]
    assert found[1].reason == "which class_folders leaves out: no brain MRI"


def test_a_row_names_the_file_whose_path_ends_with_its_own() -> None:
    labels = read(
        "path,label\na.png,Healthy\nx/a.png,Brain Tumor\nb.png,Healthy\nlost.png,Healthy\n"
    )
    numbers = [
        row.number for row in map(labels.find, ("archive/x/a.png", r"archive\y\a.png")) if row
    ]
    assert numbers == [3, 2]
    assert labels.find("xb.png") is None
    assert labels.find("archive/b.png") == labels.find("archive/b.png")
    with pytest.raises(UserError, match=r"row 4: 'b.png' fits two files, archive/b.png and b.png"):
        labels.find("b.png")
    assert [(row.path, row.number) for row in labels.missing()] == [("lost.png", 5)]


def test_names_of_macs_are_names_of_others() -> None:
    assert read("path,label\nMu\u0308ller.png,Healthy\n").find("scans/M\u00fcller.png")


@pytest.mark.parametrize(
    "name", ["unknown", "UNKNOWN", "NA", "n/a", "nan", "None", "-", "?", "anonymous", "<NA>", ""]
)
def test_a_placeholder_is_no_patient(name: str) -> None:
    labels = read(f"path,patient\na.png,{name}\nb.png,{name}\nc.png,0\nd.png,Nana\n")

    rows = [labels.find(f"{file}.png") for file in "abcd"]
    assert [row.patient for row in rows if row] == [None, None, "0", "Nana"]
    assert labels.without_patient == 2


def test_patients_of_several_sites_are_counted_and_not_named() -> None:
    rows = ["a.png,1,Ulm", "b.png,1,Bonn", "c.png,2,Ulm", "d.png,2,Ulm", "e.png,1,", "f.png,,Bonn"]
    assert read("path,patient,site\n" + "\n".join(rows)).patients_of_several_sites() == 1
