"""Signatures of versions: who registered a version, where its digests only say that it is whole.

In the format of the OpenSSF (OMS), over every file of the version's folder, made and checked by its
package `model_signing`. Off unless the environment names a key or an identity.
"""

import os
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.shared.errors import UserError, one_line
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.contract import SIGNATURE
from components.shared.storage.files import read_regular

if TYPE_CHECKING:
    from model_signing import hashing, verifying

SIGNING_KEY = "BRAIN_TUMOR_SIGNING_KEY"
SIGNING_TOKEN = "BRAIN_TUMOR_SIGNING_TOKEN"
PUBLIC_KEY = "BRAIN_TUMOR_PUBLIC_KEY"
IDENTITY, ISSUER = "BRAIN_TUMOR_SIGNER_IDENTITY", "BRAIN_TUMOR_SIGNER_ISSUER"
SIGSTORE = "BRAIN_TUMOR_SIGSTORE"
AMBIENT = "ambient"
_MAX_BYTES = 2**20  # of a signature, and of a key
_MISFIT = re.compile(
    r"(Extra files|Missing files|Hash mismatch).+?(?=: Expected|, Missing files|, Hash mismatch|]$)"
)


@dataclass(frozen=True)
class Trust:
    """Whose signatures are believed: those of a key, or of an identity that Sigstore certifies.

    Attributes:
        public_key: Of the signer, PEM, on a curve of NIST; None for an identity.
        identity: Such as a mail address, or the address of a workflow.
        issuer: The OpenID Connect issuer that vouches for the identity.
        sigstore: Sigstore's trust configuration, JSON; None fetches that of the public instance.
    """

    public_key: bytes | None = None
    identity: str = ""
    issuer: str = ""
    sigstore: Path | None = None

    @classmethod
    def of(
        cls, public_key: Path | None, identity: str, issuer: str, sigstore: Path | None
    ) -> "Trust | None":
        """Returns the signer to trust.

        Args:
            public_key: File of the public key.
            identity: As in the class.
            issuer: As in the class.
            sigstore: As in the class.

        Returns:
            The trust; None if neither a key nor an identity is given.

        Raises:
            UserError: Both are given, half of the identity, or a file that cannot be read.
        """
        if bool(identity) != bool(issuer):
            raise UserError("the signer has an identity and an issuer; give both, or neither")
        if public_key and identity:
            raise UserError("a signer is known by a public key or by an identity; give one of them")
        if not public_key and not identity:
            return None
        trust = cls(_content(public_key) if public_key else None, identity, issuer, sigstore)
        if public_key:
            trust._check(public_key)
        return trust

    @classmethod
    def from_environment(cls) -> "Trust | None":
        """Returns the signer that the environment trusts; a signer trusts at least its own key.

        Raises:
            UserError: As `of`; or signing is without a key, and nothing says who signs.
        """
        trust = cls.of(_path(PUBLIC_KEY), _value(IDENTITY), _value(ISSUER), _path(SIGSTORE))
        signer = Signer.from_environment()
        if trust or not signer:
            return trust
        if not signer.key:
            raise UserError(
                f"{SIGNING_TOKEN} is set without a signer to trust: set {IDENTITY} and {ISSUER} too"
            )
        return cls(_public_half(signer.key))

    def verify(self, folder: Path) -> None:
        """Checks that a folder holds the very files that were signed, and no other.

        Args:
            folder: Of a version. Nobody else writes into it.

        Raises:
            UserError: It is not signed, or by another; or a file is missing, extra or changed.
        """
        try:
            read_regular(folder / SIGNATURE, _MAX_BYTES)
        except FileNotFoundError as error:
            raise UserError(
                f"{folder}: is not signed; use a version that is, or sign it with "
                "'brain-tumor models sign'"
            ) from error
        except OSError as error:
            raise UserError(f"{folder}: cannot read {SIGNATURE}: {error.strerror}") from error
        try:
            with redirect_stdout(sys.stderr):  # where the package warns
                self._verifier().set_hashing_config(_everything()).verify(
                    folder, folder / SIGNATURE
                )
        except ModuleNotFoundError:
            raise
        except Exception as error:  # the file is hostile, and what it provokes is not listed
            raise UserError(f"{folder}: {SIGNATURE} does not fit: {_misfit(error)}") from error

    def _check(self, file: Path) -> None:
        try:
            self._verifier()
        except ModuleNotFoundError:  # says nothing of the key
            raise
        except Exception as error:
            # Of a key without a curve, such as RSA's, the package says only that it has none.
            why = "" if isinstance(error, AttributeError) else f": {one_line(error)}"
            raise UserError(
                f"{file}: is not a key of the curve P-256, P-384 or P-521 (ECDSA){why}"
            ) from error

    def _verifier(self) -> "verifying.Config":
        """Returns the package's verifier: a new one each time, for it keeps what it has seen."""
        from model_signing import verifying

        if not self.public_key:
            return verifying.Config().use_sigstore_verifier(
                identity=self.identity, oidc_issuer=self.issuer, trust_config=self.sigstore
            )
        with TemporaryDirectory(
            prefix="key-"
        ) as temporary:  # it takes files only, and reads at once
            file = Path(temporary, "public.pem")
            file.write_bytes(self.public_key)
            return verifying.Config().use_elliptic_key_verifier(public_key=file)


@dataclass(frozen=True)
class Signer:
    """Who signs what is registered here.

    Attributes:
        key: File of the private key, PEM, not encrypted, on a curve of NIST; None for keyless.
        token: For keyless: file of an OpenID Connect token, or `ambient` for that of the
            machine, such as a workflow of GitHub has.
    """

    key: Path | None = None
    token: str = ""

    @classmethod
    def from_environment(cls) -> "Signer | None":
        """Returns who the environment says that signs; None where nothing is to be signed.

        Raises:
            UserError: Two are named, or the key cannot be used.
        """
        key, token = _path(SIGNING_KEY), _value(SIGNING_TOKEN)
        if key and token:
            raise UserError(f"{SIGNING_KEY} and {SIGNING_TOKEN} are both set; set one of them")
        if key:
            _public_half(key)
        return cls(key, token) if key or token else None

    def sign(self, folder: Path) -> None:
        """Signs every file of a folder, in its file `model.sig`.

        Args:
            folder: Of a version, with its digests.

        Raises:
            UserError: The token cannot be had, or Sigstore refuses it.
        """
        from model_signing import signing

        config = signing.Config().set_hashing_config(_everything())
        try:
            if self.key:
                config.use_elliptic_key_signer(private_key=self.key)
            else:
                config.use_sigstore_signer(
                    identity_token=self._identity_token(), trust_config=_path(SIGSTORE)
                )
            config.sign(folder, folder / SIGNATURE)
        except UserError:
            raise
        except Exception as error:  # of the network, of Sigstore, of the key
            reason = one_line(error)
            raise UserError(f"{folder}: cannot be signed: {reason}") from error

    def _identity_token(self) -> str:
        if self.token != AMBIENT:
            return _content(Path(self.token)).decode().strip()
        from sigstore.oidc import detect_credential

        if token := detect_credential():  # else the package would open a browser and wait
            return token
        raise UserError(f"{SIGNING_TOKEN} is {AMBIENT}, but this machine has no such token")


def seal(folder: Path, signer: Signer | None, trust: Trust | None) -> None:
    """Ends a version's folder: its digests, and over them the signature where there is a signer.

    Args:
        folder: With all other files.
        signer: None leaves it unsigned, for somebody else to sign later.
        trust: Who will be believed; None for anyone.

    Raises:
        UserError: It cannot be signed, or by a signer who will not be believed.
    """
    write_sums(folder)
    if signer:
        signer.sign(folder)
        if trust:
            trust.verify(folder)


def _misfit(error: Exception) -> str:
    """Returns what the package found, without its digests in Python's notation."""
    text = re.sub(r"[\\'\"]", "", one_line(error, 100_000))
    found = [match[0] for match in _MISFIT.finditer(text)]
    return one_line("; ".join(found) or error) or "it is of another key or of another content"


def _everything() -> "hashing.Config":
    """Returns what is signed: all files but the signature. The package would leave .git* out."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _public_half(key: Path) -> bytes:
    """Returns the public key of a private one, PEM."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        private = serialization.load_pem_private_key(_content(key), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # none of which shows the key
        raise UserError(f"{key}: is not a private key: {one_line(error)}") from error
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    Trust(public)._check(key)
    return public


def _content(file: Path) -> bytes:
    try:
        with open(file, "rb") as opened:  # a mounted Secret is a link
            return opened.read(_MAX_BYTES)
    except OSError as error:
        raise UserError(f"{file}: cannot read the key: {error.strerror}") from error


def _path(variable: str) -> Path | None:
    value = _value(variable)
    return Path(value) if value else None


def _value(variable: str) -> str:
    return os.environ.get(variable, "").strip()
