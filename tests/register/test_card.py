"""The model card: as data it fits its schema, as text it cannot be abused."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from components.register.description import describe, write_description
from components.shared.data.dataset import ImageDataset, Split
from components.shared.evaluation.metrics import Interval
from components.shared.evaluation.results import (
    Answered,
    Change,
    Evaluation,
    Stability,
    Subgroup,
    Uncontradicted,
    Unsure,
)
from components.shared.evaluation.stability import BORDER_ALONE, FAMILIES
from components.shared.model_folder.metadata import (
    SCHEMA,
    Data,
    GateRecord,
    InDistributionRecord,
    ModelMetadata,
    read_metadata,
)
from components.shared.model_folder.served import Served, UnsureRange
from tests.external import external_result, interval

_HOSTILE = (
    "<script>alert(1)</script>\n# heading\n| a | [x](javascript:alert(1)) `b` http://evil.example"
)


@pytest.fixture(scope="module")
def metadata(dataset: ImageDataset, split: Split, evaluation: Evaluation) -> ModelMetadata:
    gate = GateRecord(
        min_accuracy=0.8,
        min_sensitivity=0.85,
        min_specificity=0.7,
        champion_margin=0.01,
        champion_version=2,
        notes=("version 2 was trained under another split",),
    )
    return describe(
        version=3,
        data=Data.of(dataset, split),
        evaluation=evaluation,
        gate=gate,
        in_distribution=InDistributionRecord(
            method="By its looks.",
            score_limit=0.625,
            validation_flagged=0.0,
            held_out_flagged=0.0125,
        ),
        training={"architecture": "reference", "learning_rate": 1e-4, _HOSTILE: [_HOSTILE]},
        git_revision=_HOSTILE,
        pipeline_run=_HOSTILE,
    )


def test_a_written_card_fits_the_published_schema(tmp_path: Path, metadata: ModelMetadata) -> None:
    write_description(tmp_path, metadata)
    written = json.loads((tmp_path / "metadata.json").read_text())
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    checker.validate(written)
    assert written["created"].endswith("Z")
    assert ModelMetadata.model_validate(written) == metadata
    assert json.loads((tmp_path / "labels.json").read_text()) == ["Brain Tumor", "Healthy"]
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(written | {"surprise": 1})
    with pytest.raises(ValidationError):
        ModelMetadata.model_validate(written | {"surprise": 1})


def test_the_text_says_what_the_numbers_mean(tmp_path: Path, metadata: ModelMetadata) -> None:
    write_description(tmp_path, metadata)
    text = (tmp_path / "model_card.md").read_text()
    for part in (
        "version 3",
        "not a diagnosis",
        "| accuracy | 100.0% (100.0% to 100.0%) | 50.0% (50.0% to 50.0%) | 75.0% (75.0% to",
        "Held-out part",
        "12 images in 12 groups: 6 Brain Tumor, 6 Healthy",
        "at least 85.0%",
        "those of version 2",
        "Classes: 0 Brain Tumor, 1 Healthy.",
        "train 20, validation 8, held out 12",
        "| called Brain Tumor | called Healthy |",
        "Beyond 0.625 the image is flagged",
        "0.0% of the validation images, which the limit was set on, and 1.2% of the held-out ones",
        "is no guarantee",
        "logits are divided by 1.250",
        "calibration error on the held-out part is 0.125 without calibration and 1.000 with it",
    ):
        assert part in text
    assert "None" not in text


def test_the_front_matter_is_what_hugging_face_reads(
    tmp_path: Path, metadata: ModelMetadata
) -> None:
    def front_matter(**changed: Any) -> Any:
        write_description(tmp_path, metadata.model_copy(update=changed))
        text = (tmp_path / "model_card.md").read_text()
        assert text.startswith("---\n")
        return yaml.safe_load(text.split("\n---\n")[0])

    read = front_matter()
    assert read["pipeline_tag"] == "image-classification"
    ((result,),) = [model["results"] for model in read["model-index"]]
    assert metadata.data.digest.startswith(result["dataset"]["name"].split()[-1])
    accuracy = next(metric for metric in result["metrics"] if metric["type"] == "accuracy")
    assert accuracy["value"] == metadata.metrics.held_out.model.accuracy.value
    leaky = metadata.data.model_copy(update={"split_strategy": "by-name"})
    assert "model-index" not in front_matter(data=leaky)


def test_the_card_has_a_table_of_sites_where_they_are_known(
    tmp_path: Path, metadata: ModelMetadata
) -> None:
    score = Interval(value=0.9, low=0.8, high=1)
    rest = {"images": 12, "tumor": 12, "accuracy": score, "sensitivity": score}
    sites = tuple(
        Subgroup(name=name, groups=groups, specificity=None, **rest)  # type: ignore[arg-type]
        for name, groups in ((_HOSTILE[:60], 10), ("Bonn", 9))
    )
    held_out = metadata.metrics.held_out.model_copy(update={"patients": 5})
    metrics = metadata.metrics.model_copy(update={"by_site": sites, "held_out": held_out})
    write_description(tmp_path, metadata.model_copy(update={"metrics": metrics}))
    text = (tmp_path / "model_card.md").read_text()
    rows = text.partition("### Held-out part, by site")[2].splitlines()[4:8]
    assert rows[0] == (
        "| site | images | groups | Brain Tumor | accuracy | sensitivity | specificity | AUROC |"
    )
    assert rows[2].endswith(
        "| 12 | 10 | 12 | 90.0% (80.0% to 100.0%) | 90.0% (80.0% to 100.0%) | - | - |"
    )
    assert rows[3] == "| Bonn | 12 | 9 | 12 | 90.0% | 90.0% | - | - |"
    assert "by sequence" not in text
    assert "<script" not in text
    assert "12 images in 12 groups, of 5 known patients:" in text
    write_description(tmp_path, metadata)
    assert "by site" not in (tmp_path / "model_card.md").read_text()
    assert "patients:" not in (tmp_path / "model_card.md").read_text()


def test_the_card_tells_of_other_sources(tmp_path: Path, metadata: ModelMetadata) -> None:
    score = interval(0.9)
    site = Subgroup(
        name=_HOSTILE[:60],
        images=12,
        groups=12,
        tumor=12,
        accuracy=score,
        sensitivity=score,
        specificity=None,
        flagged=interval(0.2),
    )
    tumors = {name: score for name in ("accuracy", "sensitivity")}
    results = (
        external_result(name=_HOSTILE[:150], by_site=(site,)),
        external_result(name="tumours", scores=tumors, patients=None, flagged=None),
    )
    write_description(tmp_path, metadata.model_copy(update={"external": results}))
    text = (tmp_path / "model_card.md").read_text()
    assert "<script" not in text
    assert "Left out, because its own dataset holds them: 6." in text
    (row,) = (line for line in text.splitlines() if line.startswith("| tumours |"))
    assert row == (
        "| tumours | 40 | 30 | unknown | 20 | 90.0% (85.0% to 95.0%) | 90.0% (85.0% to 95.0%) "
        "| - | - | - | - |"
    )
    assert text.count("| AUROC | flagged |") == 1
    assert " | - | 20.0% |" in text
    write_description(tmp_path, metadata)
    assert "## Other sources" not in (tmp_path / "model_card.md").read_text()
    assert read_metadata(tmp_path).external == ()


def test_the_card_has_the_figures_without_contradicted_pictures_too(
    tmp_path: Path, metadata: ModelMetadata
) -> None:
    held_out = metadata.metrics.held_out
    without = Uncontradicted(
        **dict(held_out) | {"images": 10},
        left_out=2,
        error_at_90_coverage=Interval(value=0.125, low=0, high=0.25),
    )
    metrics = metadata.metrics.model_copy(update={"without_contradicted": without})
    write_description(tmp_path, metadata.model_copy(update={"metrics": metrics}))
    text = (tmp_path / "model_card.md").read_text()
    part = text.partition("### Held-out part, without contradicted pictures")[2]
    assert part.partition("### Full dataset")[0].count("| accuracy |") == 1
    assert "10 images in" in part
    assert "2 held-out images show a picture that also has the other label" in part
    assert "12.5% (0.0% to 25.0%) are wrong" in part
    write_description(tmp_path, metadata)
    assert "contradicted" not in (tmp_path / "model_card.md").read_text()


def test_the_card_names_what_the_model_bears_badly(
    tmp_path: Path, dataset: ImageDataset, split: Split, evaluation: Evaluation, metadata
) -> None:
    def interval(value: float) -> Interval:
        return Interval(value=value, low=value, high=value)

    def change(family: str) -> Change:
        flips = interval(0.12 if family == "detail" else 0.01)
        auroc = interval(0.5 if family == BORDER_ALONE else 0.9)
        return Change(
            name=f"some {family}",
            family=family,
            flips=flips,
            mean_change=0,
            mean_absolute_change=0,
            accuracy=interval(0.9),
            auroc=auroc,
        )

    stability = Stability(
        images=10,
        accuracy=interval(0.9),
        auroc=interval(0.9),
        changes=tuple(map(change, (*FAMILIES, BORDER_ALONE))),
    )
    described = describe(
        version=1,
        data=Data.of(dataset, split),
        evaluation=evaluation.model_copy(update={"stability": stability}),
        gate=metadata.gate,
        in_distribution=metadata.in_distribution,
        training={},
        git_revision="",
        pipeline_run="",
    )
    assert [said for said in described.weaknesses if "some detail" in said] == [
        "The answers depend on the finest detail: the model flips 12.0% of them when images are "
        "blurred or noised (some detail; AUROC 0.900 before, 0.900 after)."
    ]
    assert not any("some light" in said for said in described.weaknesses)
    write_description(tmp_path, described)
    text = (tmp_path / "model_card.md").read_text()
    assert "## Weaknesses" in text
    assert "- The answers depend on the finest detail" in text


def test_the_card_says_when_the_outcome_is_unsure(
    tmp_path: Path, dataset: ImageDataset, split: Split, evaluation: Evaluation, metadata
) -> None:
    def answered(wrong: int) -> Answered:
        return Answered(
            coverage=Interval(value=0.875, low=0.75, high=1),
            error=Interval(value=0.0625, low=0, high=0.125),
            group_error=0.0375,
            outcomes=((4, 1, 1), (wrong, 2, 3)),
        )

    unsure = Unsure(low=0.0625, high=0.75, validation=answered(0), held_out=answered(1))

    def described(**changes: Any) -> tuple[ModelMetadata, str]:
        found = describe(
            version=1,
            data=Data.of(dataset, split),
            evaluation=evaluation.model_copy(update=changes),
            gate=metadata.gate,
            in_distribution=metadata.in_distribution,
            training={},
            git_revision="",
            pipeline_run="",
        )
        write_description(tmp_path, found)
        return found, (tmp_path / "model_card.md").read_text()

    error = Interval(value=0.015625, low=0, high=0.03125)
    found, text = described(target_error=0.05, unsure=unsure, error_at_90_coverage=error)
    for part in (
        "the probability of Brain Tumor is between 0.062 and 0.750",
        "at most 5.0% of the other answers there are wrong",
        "| held-out | 87.5% (75.0% to 100.0%) | 6.2% (0.0% to 12.5%) | 3.8% |",
        "| Brain Tumor | 4 | 1 | 1 |\n| Healthy | 1 | 2 | 3 |",
        "It promises nothing for another hospital",
        "1.6% (0.0% to 3.1%) of the answers would be wrong",
    ):
        assert part in text, part
    served = Served.model_validate_json((tmp_path / "metadata.json").read_text())
    assert served.unsure == UnsureRange(low=0.0625, high=0.75)

    found, text = described(target_error=0.02, never_unsure="It never says unsure: too small.")
    assert found.unsure is None
    assert "- It never says unsure: too small." in text
    assert "outcome is unsure" not in text


def test_the_card_of_a_version_without_check_and_calibration_says_nothing_of_them(
    tmp_path: Path, metadata: ModelMetadata
) -> None:
    older = metadata.model_copy(update={"in_distribution": None, "temperature": None})
    write_description(tmp_path, older)
    text = (tmp_path / "model_card.md").read_text()
    assert "Images that are not brain MRI" not in text
    assert "calibrated" not in text
    assert "None" not in text


def test_hostile_values_stay_text(tmp_path: Path, metadata: ModelMetadata) -> None:
    write_description(tmp_path, metadata)
    text = (tmp_path / "model_card.md").read_text()
    assert "<" not in text
    assert "\n# heading" not in text
    assert not re.search(r"(?<!\\)\[x", text)
    assert "http://" not in text
    assert "&lt;script&gt;" in text
    cells = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in text.split("## Provenance")[1].splitlines()
        if line.startswith("|")
    }
    assert cells == {3}


def test_a_by_name_split_is_said_to_flatter(tmp_path: Path, metadata: ModelMetadata) -> None:
    data = metadata.data.model_copy(update={"split_strategy": "by-name"})
    write_description(tmp_path, metadata.model_copy(update={"data": data}))
    assert "the numbers are too good" in (tmp_path / "model_card.md").read_text()
