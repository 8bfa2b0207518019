"""The history, as pure functions: whom the aliases name after whatever happens."""

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import ValidationError

from components.shared.registry import history
from components.shared.registry.history import Action, Alias, Event, next_event

REGISTERED, PROMOTED = Action.registered, Action.promoted
BACK, DELETED = Action.rolled_back_to, Action.deleted


def events(happened: Iterable[tuple[Action, int]]) -> list[Event]:
    """Makes a history in which the aliases are what the registry makes them."""
    made: list[Event] = []
    for action, version in happened:
        aliases = history.current_aliases(made)
        if action is REGISTERED:
            aliases = history.registered(aliases, version)
        elif action in (PROMOTED, BACK):
            aliases = history.promoted(aliases, version)
        made.append(next_event(made[-1] if made else None, action, version, aliases))
    return made


def test_a_registration_makes_the_candidate() -> None:
    assert history.registered({}, 1) == {Alias.candidate: 1}
    after = history.registered({Alias.candidate: 1, Alias.champion: 1}, 2)
    assert after == {Alias.candidate: 2, Alias.champion: 1}


def test_a_promoted_candidate_is_champion_only() -> None:
    assert history.promoted({Alias.candidate: 2, Alias.champion: 1}, 2) == {Alias.champion: 2}
    after = history.promoted({Alias.candidate: 3, Alias.champion: 1}, 2)
    assert after == {Alias.candidate: 3, Alias.champion: 2}


def test_events_are_numbered_and_say_who() -> None:
    first, second = events([(REGISTERED, 1), (PROMOTED, 1)])
    assert (first.number, second.number) == (1, 2)
    assert second.aliases == {"champion": 1}
    assert "@" in first.author
    assert first.time.tzinfo is not None
    assert Event.model_validate_json(first.model_dump_json()) == first


def test_a_reason_is_one_line_and_bounded() -> None:
    assert next_event(None, PROMOTED, 1, {}, " it\n  is\tgood ").reason == "it is good"
    assert len(next_event(None, PROMOTED, 1, {}, "x" * 5000).reason) == 1000


@pytest.mark.parametrize(
    "change", [{"version": 0}, {"aliases": {"boss": 1}}, {"aliases": {"champion": 0}}, {"more": 1}]
)
def test_a_strange_event_is_refused(change: dict[str, object]) -> None:
    (event,) = events([(REGISTERED, 1)])
    with pytest.raises(ValidationError):
        Event.model_validate(event.model_dump() | change)


@pytest.mark.parametrize(
    ("happened", "existing", "expected"),
    [
        ([], {1}, None),
        ([(REGISTERED, 1), (REGISTERED, 2)], {1, 2}, None),
        ([(PROMOTED, 1)], {1}, None),
        ([(PROMOTED, 1), (PROMOTED, 2)], {1, 2}, 1),
        ([(PROMOTED, 1), (PROMOTED, 2), (PROMOTED, 3)], {1, 2, 3}, 2),
        ([(PROMOTED, 1), (PROMOTED, 2), (PROMOTED, 3), (DELETED, 2)], {1, 3}, 1),
        # A rollback goes further back and not forth again.
        ([(PROMOTED, 1), (PROMOTED, 2), (PROMOTED, 3), (BACK, 2)], {1, 2, 3}, 1),
        ([(PROMOTED, 1), (PROMOTED, 2), (BACK, 1)], {1, 2}, None),
        ([(PROMOTED, 1), (PROMOTED, 2), (BACK, 1), (PROMOTED, 3)], {1, 2, 3}, 1),
        # The champion is not its own predecessor, with or without another between.
        ([(PROMOTED, 1), (PROMOTED, 2), (PROMOTED, 1)], {1, 2}, 2),
        ([(PROMOTED, 1), (PROMOTED, 2), (PROMOTED, 1), (DELETED, 2)], {1}, None),
    ],
)
def test_whom_a_rollback_goes_back_to(
    happened: list[tuple[Action, int]], existing: set[int], expected: int | None
) -> None:
    assert history.previous_champion(events(happened), existing) == expected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_rollbacks_end_at_the_first_champion(promoted: list[int]) -> None:
    made = events((PROMOTED, version) for version in promoted)
    seen = [promoted[-1]]
    while (version := history.previous_champion(made, set(promoted))) is not None:
        assert version != seen[-1]
        seen.append(version)
        aliases = history.promoted(history.current_aliases(made), version)
        made.append(next_event(made[-1], BACK, version, aliases))
        assert len(seen) <= len(promoted)
    assert history.current_aliases(made)[Alias.champion] == seen[-1]
    # What it goes back through is the promotions, backwards, each run of equals once.
    backwards = [v for i, v in enumerate(promoted) if i == 0 or promoted[i - 1] != v][::-1]
    assert seen == backwards


def test_the_deleted_are_known() -> None:
    assert history.deleted(events([(REGISTERED, 1), (REGISTERED, 2), (DELETED, 1)])) == {1}
