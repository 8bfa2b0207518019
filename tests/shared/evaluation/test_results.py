import math

import pytest
from pydantic import ValidationError

from components.shared.errors import UserError
from components.shared.evaluation.metrics import Interval
from components.shared.evaluation.results import Evaluation, RocCurves


def test_an_interval_is_finite_and_ordered():
    with pytest.raises(ValidationError):
        Interval(value=math.nan, low=0, high=1)
    with pytest.raises(ValidationError):
        Interval(value=0.5, low=0.6, high=0.4)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"threshold": 3}', '{"surprise": 1}'])
def test_a_malformed_file_is_one_clear_line(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(UserError, match=r"evaluation\.json.*evaluate the model again") as caught:
        Evaluation.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        RocCurves.open(tmp_path)
