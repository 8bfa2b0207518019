"""Several sources, opened as one."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256

from components.ingest.labels_file import pinned
from components.ingest.listing import JoinedFiles
from components.ingest.sources import Source, open_source, source_fingerprint, source_location
from components.shared.data.dataset import SourceRecord
from components.shared.data.sources import (
    GivenSource,
    read_sources,
    source_names,
    sources_text,
    with_defaults,
)
from components.shared.errors import UserError


@contextmanager
def open_sources(
    given: str,
    version: str = "",
    labels: str = "",
    class_folders: str = "",
    *,
    judging: bool = False,
) -> Iterator[Source]:
    """Opens what a run names: one source, or several as one.

    Args:
        given: As `read_sources` takes it.
        version: For a single Kaggle dataset; each of several has its own.
        labels: Of each source that does not say its own, as `open_source` takes it.
        class_folders: Likewise.
        judging: Whether a model is to be judged by them, as `open_source` takes it.

    Yields:
        The source, readable until the context ends. Of several, paths begin with the name of
        their source, and each file says which one it is from.

    Raises:
        UserError: As for `open_source`, or one of several sources holds no file of a class.
    """
    sources = _complete(given, version, labels, class_folders)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_source(*_arguments(source), judging=judging))
            for source in sources
        ]
        yield _joined(sources, opened, judging) if len(opened) > 1 else opened[0]


def sources_fingerprint(
    given: str, version: str = "", labels: str = "", class_folders: str = ""
) -> str:
    """Returns what a run's cache key needs to notice that local data has changed.

    Args:
        given: As for `open_sources`, and so are the others.
        version: See there.
        labels: See there.
        class_folders: See there.

    Returns:
        That of `source_fingerprint`; of several sources, one of all of them.

    Raises:
        UserError: As for `open_source`.
    """
    sources = _complete(given, version, labels, class_folders)
    found = [source_fingerprint(*_arguments(source)) for source in sources]
    return found[0] if len(found) == 1 else sha256("\n".join(found).encode()).hexdigest()


def sources_here(given: str) -> str:
    """Returns sources as a run on this machine names them, so that a change is noticed.

    Args:
        given: As for `open_sources`; a relative path is one of this working directory.

    Returns:
        The same with absolute paths, and with digests of the tables that lie outside.

    Raises:
        UserError: A source or its table cannot be read.
    """
    return sources_text(
        [
            replace(
                source,
                address=str(source_location(source.address)),
                labels=None if source.labels is None else pinned(source.labels),
            )
            for source in read_sources(given)
        ]
    )


def sources_pinned(given: str) -> str:
    """Returns sources as `sources_here` does, each with a version that changes when it does.

    Args:
        given: As for `open_sources`.

    Raises:
        UserError: A source cannot be read.
    """
    return sources_text(
        [
            replace(source, version=source.version or source_fingerprint(*_arguments(source)))
            for source in read_sources(sources_here(given))
        ]
    )


def _complete(given: str, version: str, labels: str, class_folders: str) -> list[GivenSource]:
    sources = read_sources(given)
    return [
        with_defaults(source, version if len(sources) == 1 else "", labels, class_folders)
        for source in sources
    ]


def _arguments(source: GivenSource) -> tuple[str, str, str, str]:
    return (
        source.address,
        source.version or "",
        source.labels or "",
        source.class_folders or "",
    )


def _joined(given: list[GivenSource], opened: list[Source], judging: bool) -> Source:
    names = source_names([source.address for source in given])
    for source in opened:
        if not source.files:
            raise UserError(f"source {source.uri}: holds no file of a class; {source.advice(0)}")
    left_out: Counter[str] = Counter()
    for source in opened:
        left_out.update(source.left_out)
    return Source(
        uri=", ".join(source.uri for source in opened),
        version="",
        files=JoinedFiles({n: s.files for n, s in zip(names, opened, strict=True)}),
        left_out=dict(sorted(left_out.items())),
        notes=tuple(f"{n}: {note}" for n, s in zip(names, opened, strict=True) for note in s.notes),
        advice=lambda label: "; ".join(f"{s.uri}: {s.advice(label)}" for s in opened),
        readers=max(source.readers for source in opened),
        judging=judging,
        sources=tuple(
            SourceRecord(
                name=name,
                address=source.uri,
                version=source.version,
                weight=said.weight,
                files=len(source.files),
            )
            for name, said, source in zip(names, given, opened, strict=True)
        ),
    )
