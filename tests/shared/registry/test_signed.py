"""A registry whose versions are signed: none is seen without its signature, none else is read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.contract import SIGNATURE
from components.shared.model_folder.signing import PUBLIC_KEY, SIGNING_KEY
from components.shared.registry import Registry
from components.shared.storage.store import Store
from tests.keys import write_keys
from tests.shared.registry.versions import publish


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The keys of the environment."""
    keys = write_keys(tmp_path)
    monkeypatch.setenv(SIGNING_KEY, str(keys[0]))
    return keys


@pytest.fixture
def signed(keys: tuple[Path, Path], tmp_path: Path) -> Registry:
    """Two signed versions, the first of which is champion."""
    registry = Registry.open(str(tmp_path / "registry"))
    for mark in ("one", "two"):
        publish(registry, tmp_path / mark, mark)
    registry.promote("1")
    return registry


def _folder(registry: Registry, version: int) -> Path:
    return Path(registry.address(version))


def test_what_is_registered_is_signed_and_verified_by_the_public_key_alone(
    signed: Registry, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SIGNING_KEY)
    monkeypatch.setenv(PUBLIC_KEY, str(keys[1]))
    reader = Registry.open(signed.uri)
    reader.verify(1)
    reader.fetch(2, tmp_path / "fetched")
    assert (tmp_path / "fetched" / SIGNATURE).is_file()
    assert reader.promote("2") == 2
    assert reader.rollback() == 1


def test_nothing_of_the_private_key_is_in_the_registry(
    signed: Registry, keys: tuple[Path, Path]
) -> None:
    secret = "".join(keys[0].read_text().splitlines()[1:-1])
    for path in Path(signed.uri).rglob("*"):
        if path.is_file():
            assert secret[:40].encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "ask",
    [
        lambda registry, folder: registry.verify(2),
        lambda registry, folder: registry.fetch(2, folder),
        lambda registry, folder: registry.promote("2"),
    ],
    ids=["verify", "fetch", "promote"],
)
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / SIGNATURE).unlink(), "is not signed"),
        (lambda f: (f / "saved_model.pb").write_text("other"), "Hash mismatch"),
        (lambda f: shutil.copytree(f.with_name("1"), f, dirs_exist_ok=True), "number 1"),
    ],
    ids=["unsigned", "changed", "replayed"],
)
def test_what_was_not_signed_as_it_is_cannot_be_had_or_promoted(
    signed: Registry,
    tmp_path: Path,
    ask: Callable[[Registry, Path], object],
    harm: Callable[[Path], object],
    message: str,
) -> None:
    folder = _folder(signed, 2)
    harm(folder)
    write_sums(folder)
    with pytest.raises(UserError, match=message) as caught:
        ask(signed, tmp_path / "fetched")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "fetched").exists()
    assert signed.aliases()["champion"] == 1


def test_a_rollback_to_an_unsigned_version_is_refused(signed: Registry) -> None:
    signed.promote("2")
    (_folder(signed, 1) / SIGNATURE).unlink()
    with pytest.raises(UserError, match="is not signed"):
        signed.rollback()
    assert signed.aliases()["champion"] == 2


def test_the_signature_is_there_before_the_version_is(
    keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.open(str(tmp_path / "registry"))
    signed_when_decided = []

    def create(store: Store, name: str, content: bytes) -> bool:
        if "/runs/" in name:
            there = Path(store.uri, "brain-tumor", "1", SIGNATURE)
            signed_when_decided.append((there.is_file(), registry.versions()))
        return original(store, name, content)

    original = type(registry._store).create
    monkeypatch.setattr(type(registry._store), "create", create)
    publish(registry, tmp_path / "model")
    assert signed_when_decided == [(True, [])]


def test_where_it_cannot_be_signed_nothing_is_registered(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    registry = Registry.open(str(tmp_path / "registry"))
    keys[0].write_text("gone")
    with pytest.raises(UserError, match="cannot be signed"):
        publish(registry, tmp_path / "model")
    assert registry.versions() == []


def test_a_version_is_signed_later_and_once_by_who_has_the_key(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_keys(tmp_path)
    monkeypatch.setenv(PUBLIC_KEY, str(public))
    cluster = Registry.open(registry.uri)
    publish(cluster, tmp_path / "model")
    with pytest.raises(UserError, match="is not signed"):
        cluster.promote("1")
    with pytest.raises(UserError, match=SIGNING_KEY):
        cluster.sign(1)
    monkeypatch.setenv(SIGNING_KEY, str(private))
    signing = Registry.open(registry.uri)
    signing.sign(1)
    assert cluster.promote("1") == 1
    registry.verify(1)  # who believes anyone is not disturbed
    with pytest.raises(UserError, match="signed already"):
        signing.sign(1)
