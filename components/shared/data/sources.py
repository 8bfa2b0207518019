"""The sources of a run as they are given: addresses, each with what is said of that source alone.

`hospital#weight=2#labels=labels.csv` is the address `hospital` with two options behind it. Several
sources are a JSON list of such texts.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from components.shared.data.class_folders import ClassNames
from components.shared.errors import UserError, did_you_mean
from components.shared.reports.text import printable

OPTIONS = ("weight", "labels", "class_folders", "version")
MAX_SOURCES = 100
MAX_WEIGHT = 1000.0

_LONGEST_NAME = 60
_OPTION = re.compile(rf"#({'|'.join(OPTIONS)})=")
_LIKE_AN_OPTION = re.compile(r"#(\w+)=")


@dataclass(frozen=True, kw_only=True)
class GivenSource:
    """A source as a run names it.

    Attributes:
        address: Such as a folder, a zip or `s3://bucket/folder`.
        weight: What each of its images counts for in training, beside 1 of the others.
        labels: A table beside its images; None for the run's.
        class_folders: What its folders and labels mean; None for the run's.
        version: Of a Kaggle dataset; None for the run's.
    """

    address: str
    weight: float = 1.0
    labels: str | None = None
    class_folders: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        """Returns what `read_source` reads."""
        said: dict[str, Any] = {name: getattr(self, name) for name in OPTIONS}
        said["weight"] = None if self.weight == 1 else repr(self.weight).removesuffix(".0")
        options = (f"#{name}={value}" for name, value in said.items() if value is not None)
        return "".join([self.address, *options])


def read_source(text: str) -> GivenSource:
    """Reads one source.

    Args:
        text: Its address, then its options, such as `hospital#weight=2#labels=labels.csv`.

    Raises:
        UserError: There is no address, an option is given twice, or its value is not allowed.
    """
    address, *rest = _OPTION.split(text)
    names, values = rest[::2], rest[1::2]
    for word in _LIKE_AN_OPTION.findall(text):
        if word not in OPTIONS and (meant := did_you_mean(word, OPTIONS)).endswith("?"):
            raise UserError(f"source {text}: {word!r} is not an option; {meant}")
    if not address:
        raise UserError("source: there is no address; give a folder, a .zip file or another source")
    if len(names) > len(set(names)):
        raise UserError(f"source {text}: an option is given twice; give each once")
    said: dict[str, Any] = dict(zip(names, values, strict=True))
    if "weight" in said:
        said["weight"] = _weight(said["weight"], text)
    if "class_folders" in said:
        ClassNames(said["class_folders"])
    return GivenSource(address=address, **said)


def read_sources(given: str | Sequence[str]) -> list[GivenSource]:
    """Reads the sources of a run.

    Args:
        given: One source, or several as a sequence or as its JSON.

    Raises:
        UserError: A source cannot be read, there is none, or one is given twice.
    """
    sources = [read_source(text) for text in _texts(given)]
    if not 0 < len(sources) <= MAX_SOURCES:
        raise UserError(f"source: give at least one and at most {MAX_SOURCES}")
    addresses = [source.address for source in sources]
    for address in addresses:
        if addresses.count(address) > 1:
            raise UserError(
                f"source {address}: is given twice; to make it count more, give it a weight, as "
                f"in {address}#weight=2"
            )
    return sources


def sources_text(sources: Sequence[GivenSource]) -> str:
    """Returns what `read_sources` reads: one source is plain text, several are JSON."""
    texts = [str(source) for source in sources]
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False)


def source_names(addresses: Sequence[str]) -> list[str]:
    """Returns a short name for each source: the end of its address, with a number if not unique.

    The sources `s3://ulm/scans` and `bonn/scans.zip` are `scans` and `scans-2`.
    """
    names: list[str] = []
    for address in addresses:
        scheme, _, place = address.rpartition("://")
        end = PurePosixPath(place.partition("?")[0]).name.removesuffix(".zip")
        own = printable(end or scheme or "source")[:_LONGEST_NAME]
        numbered = (f"{own}-{number}" for number in range(2, len(names) + 3))
        names.append(next(name for name in (own, *numbered) if name not in names))
    return names


def source_title(given: str) -> str:
    """Returns what people call the sources that a run names, such as `scans, scans-2`."""
    return ", ".join(source_names([source.address for source in read_sources(given)]))


def with_defaults(
    source: GivenSource, version: str, labels: str, class_folders: str
) -> GivenSource:
    """Returns a source that says all: what it leaves open is as given."""
    return replace(
        source,
        version=version if source.version is None else source.version,
        labels=labels if source.labels is None else source.labels,
        class_folders=class_folders if source.class_folders is None else source.class_folders,
    )


def _texts(given: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(given, str):
        return given
    try:
        found = json.loads(given)
    except (ValueError, RecursionError):
        return [given]
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        return found
    return [given]


def _weight(text: str, source: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight <= MAX_WEIGHT:
        raise UserError(
            f"source {source}: the weight '{text}' is not allowed; give a number above 0, at most "
            f"{MAX_WEIGHT:g}"
        )
    return weight
