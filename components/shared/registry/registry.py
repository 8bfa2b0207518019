"""The registry: numbered versions that appear whole and never change, and aliases that move.

Everything hangs on one primitive that every store has, writing an object if there is none of that
name. A number is taken by writing its claim, so no two runs get the same one and a killed run's is
never given again. `SHA256SUMS` is uploaded last, and a version without it is seen by nobody. Before
it comes the run's decision, which names the version: of several tries of a run one writes it, and
each can finish what it says. The aliases stand in the last event of the history, and the next event
is written under the next number, so of two changes at once the slower one starts again from
what the faster one left.
"""

import contextlib
import hashlib
import itertools
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, Field, PositiveInt, ValidationError

from components.shared.errors import UserError, did_you_mean, first_fault
from components.shared.model_folder import checksums
from components.shared.model_folder.contract import METADATA, NAME, SIGNATURE, SUMS
from components.shared.model_folder.metadata import ModelMetadata, parse_metadata, read_metadata
from components.shared.model_folder.signing import SIGNING_KEY, Signer, Trust, seal
from components.shared.registry import history
from components.shared.registry.history import Action, Alias, Event
from components.shared.storage import NotFound, Store, open_store
from components.shared.storage.near import path_near
from components.shared.storage.store import disk_error, is_stale, whole_folder
from components.shared.strict import Strict

LATEST = "latest"

_CLAIMS = f"{NAME}/_registry/claims"
_HISTORY = f"{NAME}/_registry/history"
_RUNS = f"{NAME}/_registry/runs"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_FINISHED = re.compile(rf"{NAME}/([1-9][0-9]{{0,8}})/{SUMS}")
_EVENT = re.compile(rf"{_HISTORY}/[0-9]{{8}}\.json")
_READERS = 16
_SHOWN = 20  # versions that an error lists, the newest ones

_Record = TypeVar("_Record", bound=BaseModel)
_Change = tuple[int, dict[Alias, int]]


class _Claim(Strict):
    """Who took a version's number, and when."""

    time: AwareDatetime
    author: str
    token: str = Field(description="random, so that no two claims are alike")


class _Decision(Strict):
    """Which version a run registered; it holds whatever is needed to finish it."""

    version: PositiveInt
    sums: str = Field(description="the version's SHA256SUMS")
    reason: str


class Registry:
    """The versions of the model in a store.

    Attributes:
        uri: The registry's address.
    """

    def __init__(
        self, store: Store, signer: Signer | None = None, trust: Trust | None = None
    ) -> None:
        """Takes the store; nothing is read or written yet.

        Args:
            store: Where the versions lie.
            signer: Who signs the versions that are registered; None leaves them unsigned.
            trust: The signer of versions that are read; None takes every version.
        """
        self._store = store
        self._signer = signer
        self._trust = trust
        self.uri = store.uri

    @classmethod
    def open(cls, uri: str) -> "Registry":
        """Opens the registry of an address; the environment says who signs and who is believed.

        Args:
            uri: A folder, as a path or file:///path; s3://bucket/prefix or gs://bucket/prefix.

        Raises:
            UserError: The address is malformed, or of a scheme that is not supported; or a key
                cannot be used.
        """
        store = open_store(uri, "registry")
        return cls(store, Signer.from_environment(), Trust.from_environment())

    def versions(self) -> list[int]:
        """Returns the finished versions, ascending; what is being written is not among them."""
        found = (_FINISHED.fullmatch(entry.name) for entry in self._store.list(NAME))
        return sorted(int(match[1]) for match in found if match)

    def address(self, version: int) -> str:
        """Returns where a version lies, as KServe's `storageUri` takes it."""
        return self._store.address(_folder(version))

    def metadata(self, version: int) -> ModelMetadata:
        """Returns what a version says of itself.

        Args:
            version: Its number.

        Raises:
            UserError: There is no such finished version, or its metadata are malformed.
        """
        self._require(version)
        name = f"{_folder(version)}/{METADATA}"
        address = self._store.address(name)
        metadata = parse_metadata(self._store.read(name), address)
        _check_number(metadata.version, version, address)
        return metadata

    def publish(
        self,
        folder: str | Path,
        describe: Callable[[int], None],
        reason: str = "",
        run: str = "",
    ) -> int:
        """Registers a new version, which becomes the candidate.

        Args:
            folder: A local folder that holds the version, but for what names its number.
            describe: Writes the rest into the folder, given the number.
            reason: Why, for the history.
            run: What is registered, such as the ids of a run and of its model: it is registered
                once, however often and by however many at once this is called. Empty: each call
                registers a version.

        Returns:
            The version. The folder then holds the very same files.

        Raises:
            UserError: The registry cannot be written, or the run's version is gone.
        """
        folder, run = Path(folder), run or uuid.uuid4().hex
        self._remove_stale()
        version = self._take_number()
        describe(version)
        seal(folder, self._signer, self._trust)
        sums = (folder / SUMS).read_text(encoding="utf-8")
        decision = _Decision(version=version, sums=sums, reason=reason).model_dump_json().encode()

        def commit() -> bool:
            return self._store.create(_decision(run), decision)

        ours = self._store.upload(folder, _folder(version), last=SUMS, commit=commit)
        version = self._complete(self._read(_decision(run), _Decision))
        if not ours:
            shutil.rmtree(folder)
            self.fetch(version, folder)
        return version

    def registered_by(self, run: str) -> int | None:
        """Returns the version that a run registered, finished if its writer was killed.

        Args:
            run: As for `publish`.

        Returns:
            The version; None where the run registered none yet.

        Raises:
            UserError: The version is gone.
        """
        try:
            return self._complete(self._read(_decision(run), _Decision))
        except NotFound:
            return None

    def fetch(self, version: int, folder: str | Path) -> None:
        """Downloads a version into a local folder, which appears when its digests are right.

        Args:
            version: Its number.
            folder: Must not exist, or be empty.

        Raises:
            UserError: There is no such finished version, or it is not what was registered.
        """
        self._require(version)
        try:
            with whole_folder(Path(folder)) as staging:
                self._download_verified(version, staging, self._trust)
        except OSError as error:
            raise disk_error(folder, error) from error

    def verify(self, version: int) -> None:
        """Checks that a version holds exactly the files that were registered, unchanged.

        Args:
            version: Its number.

        Raises:
            UserError: There is no such finished version, or names the first file that is wrong.
        """
        self._require(version)
        with tempfile.TemporaryDirectory(prefix="verify-") as temporary:
            self._download_verified(version, Path(temporary), self._trust)

    def sign(self, version: int) -> None:
        """Signs a version that was registered without a signature.

        Args:
            version: Its number.

        Raises:
            UserError: There is no such finished version, it is not what was registered, it is
                signed already; or nobody is there to sign.
        """
        if not self._signer:
            raise UserError(
                f"there is no signing key: set {SIGNING_KEY} to the file of a private key"
            )
        self._require(version)
        with tempfile.TemporaryDirectory(prefix="sign-") as temporary:
            folder = Path(temporary)
            self._download_verified(version, folder, trust=None)
            (folder / SIGNATURE).unlink(missing_ok=True)
            self._signer.sign(folder)
            if self._trust:
                self._trust.verify(folder)
            signature = (folder / SIGNATURE).read_bytes()
        if not self._store.create(f"{_folder(version)}/{SIGNATURE}", signature):
            raise UserError(f"version {version} is signed already; nothing overwrites that")

    def resolve(self, reference: str) -> int:
        """Returns the version that a reference means.

        Args:
            reference: A number, `latest`, `champion` or `candidate`.

        Raises:
            UserError: It is none of these, or there is no such version.
        """
        if _NUMBER.fullmatch(reference):
            version = int(reference)
        elif reference == LATEST:
            version = max(self.versions(), default=0)
        elif reference in list(Alias):
            version = self.aliases().get(Alias(reference), 0)
        elif "/" in reference:  # a folder, or a registry alone
            raise UserError(
                f"{reference!r} names no version; write REGISTRY#VERSION, such as "
                "runs/registry#champion"
            )
        else:
            names = (LATEST, Alias.champion, Alias.candidate)
            meant = did_you_mean(reference, names, "give a number,")
            raise UserError(f"{reference!r} names no version; {meant}")
        if not version:
            self.require_history()
            raise UserError(
                f"registry {self.uri}: no version is {reference}; 'brain-tumor models list' shows "
                "the versions, 'brain-tumor models promote' makes one the champion"
            )
        self._require(version)
        return version

    def require_history(self) -> None:
        """Checks that something was ever registered here; a misspelt address holds nothing.

        Raises:
            UserError: Nothing was.
        """
        if not self.versions() and not self._events():
            raise UserError(
                f"registry {self.uri}: nothing was ever registered there; check the address"
                + path_near(self.uri, lambda folder: (folder / NAME).is_dir())
            )

    def aliases(self) -> dict[Alias, int]:
        """Returns which version each alias names; an alias that was never set is left out."""
        return history.current_aliases(self._read_events(self._events()[-1:]))

    def history(self) -> list[Event]:
        """Returns all that happened here, oldest first."""
        return self._read_events(self._events())

    def promote(self, reference: str, reason: str = "") -> int:
        """Makes a version champion; promoting the champion changes nothing.

        Args:
            reference: As `resolve` takes it.
            reason: Why, for the history.

        Returns:
            The version.

        Raises:
            UserError: There is no such version, or it was deleted meanwhile; or it is not signed
                by who is believed.
        """
        version = self.resolve(reference)
        if self._trust:
            self.verify(version)

        def decide(events: list[Event]) -> _Change | None:
            aliases = history.current_aliases(events)
            if version in history.deleted(events):
                raise UserError(f"version {version} was deleted from {self.uri}")
            if aliases.get(Alias.champion) == version:
                return None
            return version, history.promoted(aliases, version)

        self._append(Action.promoted, decide, self._events(), reason)
        return version

    def rollback(self, reason: str = "") -> int:
        """Makes the former champion champion again.

        Args:
            reason: Why, for the history.

        Returns:
            The version that is champion now: the last one before the present that still exists.

        Raises:
            UserError: There was none, or it is not signed by who is believed.
        """
        existing = set(self.versions())

        def decide(events: list[Event]) -> _Change:
            version = history.previous_champion(events, existing - history.deleted(events))
            if version is None:
                raise UserError(
                    f"registry {self.uri}: there is no former champion to go back to; "
                    "promote a version by its number"
                )
            if self._trust:
                self.verify(version)
            return version, history.promoted(history.current_aliases(events), version)

        return self._append(Action.rolled_back_to, decide, self._events(), reason)

    def delete(self, version: int, reason: str = "") -> None:
        """Deletes a version; its number is never given again.

        It is struck from the history's aliases before any file goes, so that it cannot be promoted
        meanwhile, and its `SHA256SUMS` goes first, so that nobody sees it in part. Called again, it
        removes what a killed deletion left.

        Args:
            version: Its number.
            reason: Why, for the history.

        Raises:
            UserError: There is no such version, or an alias names it.
        """

        def decide(events: list[Event]) -> _Change | None:
            aliases = history.current_aliases(events)
            if version in history.deleted(events):
                return None
            self._require(version)
            named = [alias for alias, holder in aliases.items() if holder == version]
            if named:
                raise UserError(
                    f"version {version} is {' and '.join(named)}; "
                    "promote or register another one before deleting it"
                )
            return version, aliases

        self._append(Action.deleted, decide, self._events(), reason)
        self._store.create(f"{_CLAIMS}/{version}", _claim())  # for one that was copied here
        self._store.delete(_folder(version), first=SUMS)

    def _complete(self, decision: _Decision) -> int:
        """Makes true what a run decided, as far as it is not yet, and returns the version."""
        version = decision.version
        if SUMS not in (there := self._files(version)):
            files = {line.partition("  ")[2] for line in decision.sums.splitlines()}
            if not files <= there or version in history.deleted(self.history()):
                raise UserError(
                    f"version {version}, which this run registered, is gone from {self.uri}; "
                    "start another run"
                )
            self._store.create(f"{_folder(version)}/{SUMS}", decision.sums.encode())

        def decide(events: list[Event]) -> _Change | None:
            if any((e.action, e.version) == (Action.registered, version) for e in events):
                return None
            return version, history.registered(history.current_aliases(events), version)

        self._append(Action.registered, decide, self._events(), decision.reason)
        return version

    def _files(self, version: int) -> set[str]:
        folder = f"{_folder(version)}/"
        return {entry.name.removeprefix(folder) for entry in self._store.list(_folder(version))}

    def _append(
        self,
        action: Action,
        decide: Callable[[list[Event]], _Change | None],
        names: list[str],
        reason: str,
    ) -> int:
        """Adds an event to the history, as it is decided on what stands there then.

        Args:
            action: What happens.
            decide: Given the events, oldest first: the version concerned and the aliases
                afterwards; None where there is nothing to do.
            names: The events that it needs, the last one among them.
            reason: Why.

        Returns:
            The version concerned; 0 where there was nothing to do.
        """
        events = self._read_events(names)
        while change := decide(events):
            event = history.next_event(events[-1] if events else None, action, *change, reason)
            name = f"{_HISTORY}/{event.number:08}.json"
            if self._store.create(name, event.model_dump_json(indent=1).encode()):
                return event.version
            events += self._read_events([name])  # somebody was faster
        return 0

    def _events(self) -> list[str]:
        """Returns the names of the history's events, oldest first."""
        names = (entry.name for entry in self._store.list(_HISTORY))
        return sorted(name for name in names if _EVENT.fullmatch(name))

    def _read_events(self, names: list[str]) -> list[Event]:
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self._read_event, names))

    def _read_event(self, name: str) -> Event:
        event = self._read(name, Event)
        _check_number(event.number, int(Path(name).stem), self._store.address(name))
        return event

    def _take_number(self) -> int:
        """Takes the next number, for good."""
        taken = {int(name) for name in self._numbered_folders()}
        taken |= {
            int(name)
            for name in (Path(entry.name).name for entry in self._store.list(_CLAIMS))
            if _NUMBER.fullmatch(name)
        }
        for version in itertools.count(max(taken, default=0) + 1):
            if self._store.create(f"{_CLAIMS}/{version}", _claim()):
                return version
        raise AssertionError("numbers do not end")

    def _numbered_folders(self) -> list[str]:
        return [name for name in self._store.folders(NAME) if _NUMBER.fullmatch(name)]

    def _remove_stale(self) -> None:
        """Removes what killed runs left unfinished, once it is a day old."""
        unfinished = {int(name) for name in self._numbered_folders()} - set(self.versions())
        for version in unfinished:
            # No claim: somebody copies a version to here. No permission to delete: so be it.
            with contextlib.suppress(UserError):
                claim = self._read(f"{_CLAIMS}/{version}", _Claim)
                if is_stale(claim.time.timestamp()):
                    self._store.delete(_folder(version))
        with contextlib.suppress(UserError):  # no permission: so be it
            self._store.sweep(NAME)

    def _require(self, version: int) -> None:
        """Raises `UserError` unless the version is there and finished."""
        try:
            self._store.read(f"{_folder(version)}/{SUMS}")
        except NotFound as error:
            self.require_history()
            there = ", ".join(map(str, self.versions()[-_SHOWN:])) or "none"
            raise UserError(
                f"registry {self.uri}: there is no finished version {version}; finished: {there}"
            ) from error

    def _download_verified(self, version: int, folder: Path, trust: Trust | None) -> None:
        self._store.download(_folder(version), folder)
        try:
            if trust:
                trust.verify(folder)
            checksums.verify(folder)
            _check_number(read_metadata(folder).version, version, f"{folder}/{METADATA}")
        except UserError as error:
            told = str(error).replace(str(folder), self.address(version))
            raise UserError(told) from error

    def _read(self, name: str, kind: type[_Record]) -> _Record:
        return _parse(self._store.read(name), kind, self._store.address(name))


def _folder(version: int) -> str:
    return f"{NAME}/{version}"


def _decision(run: str) -> str:
    return f"{_RUNS}/{hashlib.sha256(run.encode()).hexdigest()}.json"


def _claim() -> bytes:
    claim = _Claim(time=datetime.now(UTC), author=history.author(), token=uuid.uuid4().hex)
    return claim.model_dump_json().encode()


def _parse(content: bytes, kind: type[_Record], where: str) -> _Record:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}; restore it from a backup") from error


def _check_number(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise UserError(f"{where}: says it is number {found}; restore it from a backup")
