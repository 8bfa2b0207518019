"""Signatures agree with the OpenSSF's own command line, and whoever is not believed is refused."""

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from components.shared.errors import UserError
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.signing import (
    IDENTITY,
    ISSUER,
    PUBLIC_KEY,
    SIGNING_KEY,
    SIGNING_TOKEN,
    Signer,
    Trust,
    seal,
)
from tests.keys import write_keys

# A model that its author signed with Sigstore, from the tests of sigstore/model-transparency.
KEYLESS = Path(__file__).parent / "keyless"
AUTHOR, ISSUER_OF_AUTHOR = "stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    (folder / ".gitignore").write_bytes(b"is signed too")
    write_sums(folder)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (SIGNING_KEY, SIGNING_TOKEN, PUBLIC_KEY, IDENTITY, ISSUER):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def _openssf(action: str, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", action, "key", folder]
    command += ["--signature", folder / "model.sig", "--no-ignore-git-paths", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_the_openssf_verifies_what_is_signed_here(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    Signer(private).sign(folder)
    done = _openssf("verify", folder, "--public_key", public)
    assert done.returncode == 0, done.stderr
    (folder / ".gitignore").write_bytes(b"changed")
    assert _openssf("verify", folder, "--public_key", public).returncode


def test_what_the_openssf_signs_is_verified_here(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    done = _openssf("sign", folder, "--private_key", private)
    assert done.returncode == 0, done.stderr
    trust = Trust.of(public, "", "", None)
    assert trust
    trust.verify(folder)
    (folder / ".gitignore").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"does not fit.*\.gitignore"):
        trust.verify(folder)


def test_who_signs_believes_the_own_key_unless_told_otherwise(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    assert Trust.from_environment() is None
    environment.setenv(SIGNING_KEY, str(keys[0]))
    own = Trust.from_environment()
    assert own
    assert own.public_key == keys[1].read_bytes()
    seal(folder, Signer.from_environment(), own)
    _, other = write_keys(tmp_path, "other")
    environment.setenv(PUBLIC_KEY, str(other))
    with pytest.raises(UserError, match="Key mismatch"):
        seal(folder, Signer.from_environment(), Trust.from_environment())


def _trust_configuration(tmp_path: Path) -> Path:
    """Sigstore's roots as its package brings them: without them it would fetch some."""
    store = files("sigstore") / "_store" / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
    path = tmp_path / "sigstore.json"
    path.write_text(
        json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": json.loads((store / "trusted_root.json").read_text()),
                "signingConfig": json.loads((store / "signing_config.v0.2.json").read_text()),
            }
        )
    )
    return path


@pytest.mark.parametrize(
    ("identity", "issuer", "file", "message"),
    [
        (AUTHOR, ISSUER_OF_AUTHOR, "", ""),
        ("mallory@example.org", ISSUER_OF_AUTHOR, "", "do not match"),
        (AUTHOR, "https://accounts.example.org", "", "OIDCIssuer does not match"),
        (AUTHOR, ISSUER_OF_AUTHOR, "signme-1", "signme-1"),
        (AUTHOR, ISSUER_OF_AUTHOR, "more", "Extra files"),
    ],
)
def test_an_identity_that_sigstore_certified(
    tmp_path: Path, identity: str, issuer: str, file: str, message: str
) -> None:
    folder = shutil.copytree(KEYLESS, tmp_path / "model")
    trust = Trust.of(None, identity, issuer, _trust_configuration(tmp_path))
    assert trust
    if file:
        (folder / file).write_text("other")
    if not message:
        trust.verify(folder)
        return
    with pytest.raises(UserError, match=f"model.sig does not fit.*{message}") as caught:
        trust.verify(folder)
    assert "\n" not in str(caught.value)


def test_a_key_is_not_believed_where_an_identity_is(folder: Path, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    Signer(private).sign(folder)
    by_identity = Trust.of(None, AUTHOR, ISSUER_OF_AUTHOR, _trust_configuration(tmp_path))
    by_key = Trust.of(public, "", "", None)
    assert by_identity
    assert by_key
    with pytest.raises(UserError, match="does not fit"):
        by_identity.verify(folder)
    with pytest.raises(UserError, match="does not fit"):
        by_key.verify(shutil.copytree(KEYLESS, tmp_path / "keyless"))


def _pem(key: object, password: bytes = b"") -> bytes:
    assert isinstance(
        key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nbm9uZQ==\n-----END PRIVATE KEY-----\n",
        _pem(ec.generate_private_key(ec.SECP256R1()), b"password"),
        _pem(ec.generate_private_key(ec.SECP256K1())),
        _pem(rsa.generate_private_key(65537, 2048)),
        _pem(ed25519.Ed25519PrivateKey.generate()),
        None,
    ],
    ids=["empty", "malformed", "encrypted", "curve", "rsa", "ed25519", "missing"],
)
def test_a_key_that_cannot_sign_is_told_in_a_line_that_does_not_show_it(
    tmp_path: Path, environment: pytest.MonkeyPatch, key: bytes | None
) -> None:
    path = tmp_path / "key.pem"
    if key is not None:
        path.write_bytes(key)
    environment.setenv(SIGNING_KEY, str(path))
    with pytest.raises(UserError, match=r"key\.pem") as caught:
        Signer.from_environment()
    line = str(caught.value)
    assert "\n" not in line
    assert "object" not in line  # nothing of Python's
    assert not any(part in line for part in (key or b"").decode().splitlines()[1:-1])
    environment.delenv(SIGNING_KEY)
    environment.setenv(PUBLIC_KEY, str(path))
    with pytest.raises(UserError, match=r"key\.pem"):
        Trust.from_environment()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({IDENTITY: AUTHOR}, "give both"),
        ({ISSUER: ISSUER_OF_AUTHOR}, "give both"),
        ({PUBLIC_KEY: "key", IDENTITY: AUTHOR, ISSUER: ISSUER_OF_AUTHOR}, "give one"),
        ({SIGNING_KEY: "key", SIGNING_TOKEN: "ambient"}, "set one"),
        ({SIGNING_TOKEN: "ambient"}, "a signer to trust"),
    ],
    ids=str,
)
def test_contradictions_are_told(
    environment: pytest.MonkeyPatch, given: dict[str, str], message: str
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(UserError, match=message):
        Trust.from_environment()


def test_a_machine_without_a_token_opens_no_browser(
    folder: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(UserError, match="has no such token"):
        Signer(token="ambient").sign(folder)
    assert not (folder / "model.sig").exists()


def test_a_missing_package_is_no_fault_of_the_key_or_of_the_signature(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys
    signer, trust = Signer(private), Trust.of(public, "", "", None)
    signer.sign(folder)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for step in (lambda: Trust.of(public, "", "", None), lambda: trust.verify(folder)):
        with pytest.raises(ModuleNotFoundError, match="model_signing"):
            step()
