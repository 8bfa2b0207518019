import pytest

from components.tune import trial
from tests.tune.searches import Trainings


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    trainings = Trainings()
    monkeypatch.setattr(trial, "fit", trainings)
    # Nothing was trained, and collecting garbage takes a quarter of a second each time.
    monkeypatch.setattr("keras.backend.clear_session", lambda: None)
    monkeypatch.setattr("gc.collect", lambda: 0)
    return trainings
