"""The one schema of a version's metadata."""

import pytest
from pydantic import ValidationError

from components.shared.model_folder.metadata import SCHEMA, ModelMetadata, schema_text
from components.shared.model_folder.served import Served
from tests.shared.registry.versions import metadata


def test_the_published_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), (
        "run python -m components.shared.model_folder.metadata"
    )


def test_a_predictor_reads_what_it_needs_of_a_later_description() -> None:
    written = metadata(3).model_dump(mode="json")
    later = written | {"of_a_later_version": 1}
    assert Served.model_validate(later).version == 3
    with pytest.raises(ValidationError, match="of_a_later_version"):
        ModelMetadata.model_validate(later)


@pytest.mark.parametrize("field", ["name", "version", "classes", "positive_class", "threshold"])
def test_a_predictor_guesses_nothing(field: str) -> None:
    written = metadata(3).model_dump(mode="json")
    del written[field]
    with pytest.raises(ValidationError, match=field):
        Served.model_validate(written)
