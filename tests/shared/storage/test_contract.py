"""What holds in every store, whatever it is made of."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.storage import Entry, NotFound, Store, open_store

WRITERS = 8


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(store: Store, prefix: str = "") -> list[str]:
    return sorted(entry.name for entry in store.list(prefix))


def told(caught: pytest.ExceptionInfo[UserError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_what_does_not_exist_is_empty(store: Store) -> None:
    assert names(store) == names(store, "a/b") == store.folders() == store.folders("a") == []
    store.delete("a")


def test_create_and_read(store: Store) -> None:
    assert store.create("claims/1", b"one")
    assert store.read("claims/1") == b"one"
    assert store.create("claims/empty", b"")
    assert store.read("claims/empty") == b""
    assert store.address("claims/1") == f"{store.uri}/claims/1"
    assert store.address("") == store.uri
    assert not store.uri.endswith("/")


def test_what_there_is_stays(store: Store) -> None:
    assert store.create("claims/1", b"one")
    assert not store.create("claims/1", b"two")
    assert not store.create("claims/1", b"one")
    assert store.read("claims/1") == b"one"


def test_one_of_many_writers_succeeds(store: Store) -> None:
    stores = [open_store(store.uri, "registry") for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(6):
            won = list(
                pool.map(
                    lambda writer, number=number: stores[writer].create(
                        f"claims/{number}", f"writer {writer}".encode()
                    ),
                    range(WRITERS),
                )
            )
            assert won.count(True) == 1
            assert store.read(f"claims/{number}") == f"writer {won.index(True)}".encode()


def test_a_missing_object_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="claims/1") as caught:
        store.read("claims/1")
    told(caught)
    with pytest.raises(NotFound, match="claims/1"):
        store.fetch("claims/1", tmp_path / "file")
    with pytest.raises(NotFound, match="models/1"):
        store.download("models/1", tmp_path / "folder")
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "folder").exists()


def test_a_folder_is_no_object(store: Store) -> None:
    store.create("claims/1", b"one")
    with pytest.raises(UserError, match="claims"):
        store.read("claims")


def test_a_large_object_is_refused(store: Store) -> None:
    store.create("large", b"x" * 1001)
    assert len(store.read("large", limit=1001)) == 1001
    with pytest.raises(UserError, match="1,000 bytes"):
        store.read("large", limit=1000)


def test_listings(store: Store) -> None:
    for name in ("b/2", "a", "b/1/z", "b-old/3", "b.txt"):
        store.create(name, name.encode())
    assert names(store) == ["a", "b-old/3", "b.txt", "b/1/z", "b/2"]
    assert names(store, "b") == ["b/1/z", "b/2"]
    assert names(store, "b/1") == ["b/1/z"]
    assert store.folders() == ["b", "b-old"]
    assert store.folders("b") == ["1"]
    assert store.folders("a") == store.folders("b/2") == []
    entry = next(store.list("b-old"))
    assert entry == Entry("b-old/3", 7, entry.stamp)
    assert entry.stamp
    assert store.stat("b-old/3") == entry
    for name in ("b-old/", "b-old", "b-ol", "b-old/33"):
        with pytest.raises(UserError):
            store.stat(name)


def test_a_stamp_changes_with_the_content(store: Store) -> None:
    store.create("f/x", b"one")
    before = next(store.list("f"))
    assert before == next(store.list("f"))
    store.delete("f")
    store.create("f/x", b"two")
    assert before != next(store.list("f"))


def test_there_and_back(store: Store, model: Path, tmp_path: Path) -> None:
    store.upload(model, "models/1", last="SHA256SUMS")
    assert names(store, "models/1") == [f"models/1/{name}" for name in sorted(contents(model))]
    store.download("models/1", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(model)
    assert {path.name for path in tmp_path.iterdir()} <= {"back", "model", "store"}
    store.fetch("models/1/saved_model.pb", tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == (model / "saved_model.pb").read_bytes()


def test_download_into_an_empty_folder_only(store: Store, model: Path, tmp_path: Path) -> None:
    store.upload(model, "models/1")
    (tmp_path / "back").mkdir()
    store.download("models/1", tmp_path / "back")
    with pytest.raises(UserError, match="is there already"):
        store.download("models/1", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(model)


def test_upload_to_a_new_folder_only(store: Store, model: Path) -> None:
    store.upload(model, "models/1")
    (model / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(UserError, match=r"models/1.* is there already"):
        store.upload(model, "models/1")
    assert store.read("models/1/saved_model.pb") == b"graph" * 1000


def test_upload_of_what_is_no_file(store: Store, model: Path, tmp_path: Path) -> None:
    (model / "link").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="link is a link"):
        store.upload(model, "models/1")
    with pytest.raises(UserError, match="no such folder"):
        store.upload(tmp_path / "missing", "models/1")
    assert names(store) == []


def test_delete_a_folder_and_no_other(store: Store, model: Path) -> None:
    store.upload(model, "models/1")
    store.create("models/1-old", b"file")
    store.create("models/10/x", b"x")
    store.delete("models/1", first="SHA256SUMS")
    assert names(store) == ["models/1-old", "models/10/x"]
    store.delete("models/1", first="SHA256SUMS")


HOSTILE = [
    *("", "..", "a/../../b", "/etc/passwd", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", "\udcff"),
    *("x" * 256, "y/" * 600 + "z", ".staging-x/y"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(store: Store, model: Path, name: str) -> None:
    for act in (
        lambda: store.create(name, b"x"),
        lambda: store.read(name),
        lambda: store.upload(model, name),
        lambda: store.delete(name),
        lambda: store.download(name, model.parent / "back"),
    ):
        with pytest.raises(UserError) as caught:
            act()
        told(caught)
    assert names(store) == []


def test_names_of_every_kind(store: Store) -> None:
    kinds = sorted(
        ["Ä/ö ü.png", "a+b & c?.txt", "100%/%2F", "x#y", "日本/語", "Case", "case", "~'\"<>"]
    )
    for name in kinds:
        assert store.create(f"names/{name}", name.encode())
    assert names(store, "names") == [f"names/{name}" for name in kinds]
    for name in kinds:
        assert store.read(f"names/{name}") == name.encode()
