"""The registry's history: what happened to the versions, and whom the aliases name since then.

Functions without side effects; `components.shared.registry.registry` keeps the events.
"""

import getpass
import os
import platform
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field, PositiveInt

from components.shared.reports.text import printable
from components.shared.strict import Strict


class Alias(StrEnum):
    """A name that moves from version to version."""

    candidate = "candidate"  # registered last, and not promoted yet
    champion = "champion"  # what should serve


class Action(StrEnum):
    """What can happen to a version."""

    registered = "registered"
    promoted = "promoted"
    rolled_back_to = "rolled back to"
    deleted = "deleted"


class Event(Strict):
    """One thing that happened; events are numbered from 1 and never change."""

    schema_version: Literal[1] = 1
    number: PositiveInt
    time: AwareDatetime
    action: Action
    version: PositiveInt
    reason: str
    author: str = Field(description="user@machine")
    aliases: dict[Alias, PositiveInt] = Field(
        description="the aliases as they stand after the event"
    )


def next_event(
    last: Event | None, action: Action, version: int, aliases: dict[Alias, int], reason: str = ""
) -> Event:
    """Returns the event that follows another, happening now.

    Args:
        last: The event before it; None where there is none.
        action: What happens.
        version: To which version.
        aliases: As they stand afterwards.
        reason: Why, of which the first 1,000 characters are kept; empty where nobody says.

    Returns:
        The event.
    """
    return Event(
        number=last.number + 1 if last else 1,
        time=datetime.now(UTC).replace(microsecond=0),
        action=action,
        version=version,
        reason=printable(" ".join(reason.split()))[:1000],
        author=author(),
        aliases=aliases,
    )


def registered(aliases: dict[Alias, int], version: int) -> dict[Alias, int]:
    """Returns the aliases after a registration: the version is the candidate."""
    return aliases | {Alias.candidate: version}


def promoted(aliases: dict[Alias, int], version: int) -> dict[Alias, int]:
    """Returns the aliases after a promotion: the champion is no candidate any more."""
    kept = {alias: held for alias, held in aliases.items() if held != version}
    return kept | {Alias.champion: version}


def current_aliases(events: Sequence[Event]) -> dict[Alias, int]:
    """Returns which version each alias names.

    Args:
        events: The history, oldest first; its last event is enough.

    Returns:
        The version of each alias that is set.
    """
    return dict(events[-1].aliases) if events else {}


def deleted(events: Sequence[Event]) -> set[int]:
    """Returns the versions that were deleted; their numbers are never given again."""
    return {event.version for event in events if event.action is Action.deleted}


def previous_champion(events: Sequence[Event], existing: Collection[int]) -> int | None:
    """Returns the version that a rollback makes champion again.

    Promotions lie on each other like plates: a rollback takes the uppermost away, so that the
    next one goes further back and not forth again.

    Args:
        events: The whole history, oldest first.
        existing: The versions that there are.

    Returns:
        The last champion before the present one that still exists; None where there is none.
    """
    plates: list[int] = []
    for event in events:
        if event.action is Action.promoted:
            plates.append(event.version)
        elif event.action is Action.rolled_back_to:
            while plates and plates[-1] != event.version:
                plates.pop()
    present = plates[-1] if plates else None
    earlier = [version for version in plates if version != present and version in existing]
    return earlier[-1] if earlier else None


def author() -> str:
    """Returns who acts, for the history: user and machine; in a pod, the pod's name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container often has no name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"
