"""Images that lie in an object store give what the same images give on this machine."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from components.ingest.labels_file import pinned
from components.ingest.logic import ingest
from components.ingest.sources import open_source, source_fingerprint
from components.shared.data.dataset import Manifest
from components.shared.errors import UserError
from components.shared.images.decode import MAX_BYTES
from components.shared.storage import open_store, transfer
from tests.stores import Proxy, S3Server

Writer = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(params=["s3", "gcs"])
def remote_uri(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_uri")


def ingested(uri: str, folder: Path) -> Manifest:
    with open_source(uri) as source:
        return ingest(source, folder / "dataset", folder / "state")


def content(manifest: Manifest) -> dict[str, object]:
    return manifest.model_dump(exclude={"source"})


def test_a_folder(
    remote_uri: str, tmp_path: Path, image_files: dict[str, bytes], as_folder: Writer
) -> None:
    files = {**image_files, "data/data/Healthy/broken.png": b"no image", "data/notes.txt": b"x"}
    folder = as_folder(tmp_path / "files", files)
    open_store(remote_uri, "source").upload(folder, "scans")
    here = ingested(str(folder), tmp_path / "a")
    there = ingested(f"{remote_uri}/scans", tmp_path / "b")
    assert content(there) == content(here)
    assert there.source == f"{remote_uri}/scans"
    assert [file.path for file in there.quarantined] == ["data/data/Healthy/broken.png"]


def test_an_object_whose_name_is_refused_is_set_aside(
    s3_server: S3Server,
    s3_uri: str,
    tmp_path: Path,
    image_files: dict[str, bytes],
    as_folder: Writer,
) -> None:
    folder = as_folder(tmp_path / "files", image_files)
    store = open_store(s3_uri, "source")
    store.upload(folder, "scans")
    store._create(f"{store._root}scans/Healthy/a\u200b.png", b"x")  # a space without width
    manifest = ingested(f"{s3_uri}/scans".replace("s3://", "S3://"), tmp_path)
    assert [(file.path, file.reason) for file in manifest.quarantined] == [
        ("Healthy/a\\u200b.png", "the name holds characters that do not print")
    ]


def test_a_zip(
    remote_uri: str,
    tmp_path: Path,
    image_files: dict[str, bytes],
    as_zip: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    path = as_zip(tmp_path / "files" / "scans.zip", image_files)
    open_store(remote_uri, "source").upload(path.parent, "folder")
    here = ingested(str(path), tmp_path / "a")
    assert content(ingested(f"{remote_uri}/folder/scans.zip", tmp_path / "b")) == content(here)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_fingerprint_comes_from_the_listing(remote_uri: str) -> None:
    store = open_store(remote_uri, "source")
    store.create("scans/Healthy/a.png", b"one")
    store.create("scans-old/Healthy/b.png", b"one")
    store.create("zips/scans.zip", b"one")
    places = (f"{remote_uri}/scans", f"{remote_uri}/zips/scans.zip")
    before = [source_fingerprint(place) for place in places]
    assert before == [source_fingerprint(place) for place in places]
    store.delete("scans-old")
    assert before == [source_fingerprint(place) for place in places]
    store.delete("scans")
    store.delete("zips")
    store.create("scans/Healthy/a.png", b"two")
    store.create("zips/scans.zip", b"two")
    after = [source_fingerprint(place) for place in places]
    assert not set(before) & set(after)


def test_what_cannot_be_read(remote_uri: str) -> None:
    open_store(remote_uri, "source").create("no.zip", b"no zip")
    for name, part in (
        ("missing", "there is no such folder"),
        ("missing.zip", "no such object"),
        ("no.zip", "cannot read it as a zip"),
    ):
        with pytest.raises(UserError) as caught, open_source(f"{remote_uri}/{name}"):
            pass
        assert part in str(caught.value)
        assert f"{remote_uri}/{name}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_object_too_large_is_not_read(remote_uri: str, tmp_path: Path) -> None:
    (tmp_path / "scans" / "Healthy").mkdir(parents=True)
    with open(tmp_path / "scans" / "Healthy" / "a.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    open_store(remote_uri, "source").upload(tmp_path / "scans", "scans")
    with open_source(f"{remote_uri}/scans") as source:
        assert [file.problem.split(":")[0] for file in source.files if file.problem] == [
            "too-large"
        ]


def test_a_store_that_goes_away_spoils_no_image(
    s3_server: S3Server,
    s3_uri: str,
    tmp_path: Path,
    image_files: dict[str, bytes],
    as_folder: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = as_folder(tmp_path / "files", image_files)
    open_store(s3_uri, "source").upload(folder, "scans")
    proxy = Proxy(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setattr(transfer, "RETRY_SECONDS", 0.4)
    with open_source(f"{s3_uri}/scans") as source:
        proxy.cuts, proxy.cut_after = 10**6, 0
        with pytest.raises(UserError, match="cannot talk to"):
            ingest(source, tmp_path / "dataset", tmp_path / "state")
        assert not (tmp_path / "dataset").exists()
        proxy.heal()
        manifest = ingest(source, tmp_path / "dataset", tmp_path / "state")
    assert len(manifest.images) == len(image_files)
    assert manifest.quarantined == ()
    proxy.close()


def test_labels_that_lie_in_a_store(
    remote_uri: str,
    tmp_path: Path,
    image_files: dict[str, bytes],
    as_folder: Writer,
    as_zip: Writer,
) -> None:
    rows = "".join(f"{path},{path.split('/')[2]},Ulm\n" for path in list(image_files)[6:18])
    files = image_files | {"labels.csv": f"path,label,site\n{rows}".encode()}
    as_zip(as_folder(tmp_path / "files", files) / "all.zip", files)
    open_store(remote_uri, "source").upload(tmp_path / "files", "scans")
    inside, outside = "labels.csv", f"{remote_uri}/scans/labels.csv"
    for source, labels in (("scans", inside), ("scans/all.zip", inside), ("scans", outside)):
        with open_source(f"{remote_uri}/{source}", "", labels) as opened:
            assert [file.path for file in opened.files] == sorted(list(image_files)[6:18])
            assert {file.site for file in opened.files} == {"Ulm"}
    for lost in ("lost.csv", f"{remote_uri}/scans/lost.csv"):
        with (
            pytest.raises(UserError, match=r"labels .*lost\.csv: "),
            open_source(f"{remote_uri}/scans", "", lost),
        ):
            pass
    assert pinned(outside).startswith(f"{outside}#sha256=")
