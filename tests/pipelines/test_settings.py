import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import UserError
from components.shared.run.parameters import RUNS
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.settings import check_given, check_run, check_together, checked, read_config

DEFAULTS = {
    pipeline: {parameter.name: parameter.default for parameter in pipeline.run.parameters()}
    for pipeline in Pipeline
}
NAMES = list(DEFAULTS[Pipeline.training])


@pytest.mark.parametrize("pipeline", Pipeline)
def test_every_default_passes_its_own_check(pipeline: Pipeline) -> None:
    assert check_run(pipeline, DEFAULTS[pipeline]) == DEFAULTS[pipeline]


def test_only_what_was_given_comes_back() -> None:
    assert check_run(Pipeline.training, {}) == {}
    assert check_run(Pipeline.training, {"epochs": "20", "min_accuracy": 1}) == {
        "epochs": 20,
        "min_accuracy": 1.0,
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("epoch", "epochs"),
        ("max_trails", "max_trials"),
        ("split-strategy", "split_strategy"),
        ("minimum_accuracy", "min_accuracy"),
    ],
)
def test_a_misspelt_name_is_told_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(
        UserError, match=f"'{name}' is not a parameter; did you mean '{meant}'"
    ) as e:
        check_run(Pipeline.training, {name: 1})
    assert "\n" not in str(e.value)


def test_a_name_like_none_is_told_all() -> None:
    with pytest.raises(UserError, match="'zzz' is not a parameter; there are source, ") as error:
        check_run(Pipeline.training, {"zzz": 1})
    assert all(name in str(error.value) for name in NAMES)


@pytest.mark.parametrize(
    "given_",
    [["a", "b#weight=2"], '["a", "b#weight=2.0"]'],
    ids=["from options or YAML", "from KFP"],
)
def test_several_sources_become_one_text(given_: str | list[str]) -> None:
    found = check_run(Pipeline.training, {"source": given_})
    assert found == {"source": '["a", "b#weight=2"]'}
    assert check_run(Pipeline.cross_validation, found) == found


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("split_strategy", "random", "'grouped' or 'by-name'"),
        ("tuner", "gird", "'random', 'bayesian', 'hyperband' or 'grid'"),
        ("held_out_share", 1.0, "less than 1"),
        ("held_out_share", 0, "greater than 0"),
        ("validation_share", -0.1, "greater than 0"),
        ("max_bad_share", 1.5, "at most 1"),
        ("min_accuracy", float("nan"), "a finite number"),
        ("min_sensitivity", "high", "a number"),
        ("champion_margin", 2, "at most 1"),
        ("epochs", 0, "at least 1"),
        ("epochs", 2.5, "a whole number"),
        ("max_trials", 10**6, "at most 100000"),
        ("patience", -1, "at least 0"),
        ("bootstrap_samples", 10, "at least 100"),
        ("seed", 2**31, "less than 2147483648"),
        ("seed", -1, "at least 0"),
        ("source", "", "there is no address; give a folder"),
        ("gpu_count", "one", "like '0'"),
        ("gpu_type", "nvidia", "like 'nvidia.com/gpu'"),
        ("gpu_node_selector", {"zone": 3}, "a text"),
        ("gpu_tolerations", {"key": "x"}, "a list"),
        ("gpu_tolerations", ["x"], "a mapping"),
    ],
)
def test_a_value_that_is_not_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(UserError) as error:
        check_run(Pipeline.training, {name: value})
    line = str(error.value)
    assert line.startswith(f"{name}: ")
    assert allowed in line
    assert "\n" not in line


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"epochs: 0 .*; 'sead' is not a parameter"):
        check_run(Pipeline.training, {"epochs": 0, "sead": 1})


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from(NAMES), st.text(max_size=8)),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(string.printable, max_size=8),
            st.lists(st.integers(), max_size=2),
            st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        ),
        max_size=4,
    )
)
def test_anything_is_either_taken_or_told(values: dict[str, Any]) -> None:
    try:
        assert set(check_run(Pipeline.training, values)) == set(values)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "given_",
    [
        {"image": ""},
        {"shared_memory": "2 GB"},
        {"cpu": "0"},
        {"cpu": "2 cores"},
        {"training_cpu": "1.5m"},
        {"memory": "2"},
        {"memory": "0Gi"},
        {"training_memory": "-1Gi"},
        {"volume_claim": "Work"},
        {"kaggle_secret": ""},
        {"volume_claim": "work.disk"},  # which no volume may be called, as KFP would
        {"gcs_secret": "a" * 64},
        {"store_secret": "a..b"},
        {"image_pull_secret": "Key"},
        {"image_pull_secret": "a" * 254},
        {"queue": "a" * 64},
        {"queue": "team-a\n"},
        {"queue": "kueue.x-k8s.io/a"},
        {"priority_class": "high"},  # of no queue
        {"run_as_user": -1},
        {"run_as_user": 2**31},
        {"run_as_group": "root"},
        {"imag": "x"},
    ],
    ids=str,
)
def test_cluster_settings_are_checked_likewise(given_: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(given_))) as error:
        checked(Cluster, given_)
    assert str(error.value).isprintable()


def test_a_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 20\nsource: /data/ä.zip\ngpu_tolerations: []\n", encoding="utf-8")
    values = read_config(path)
    assert check_run(Pipeline.training, values) == {
        "epochs": 20,
        "source": "/data/ä.zip",
        "gpu_tolerations": [],
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"seed: 1\nepochs: [1", r"run\.yaml, line 2: cannot read it as YAML: expected ',' or"),
        (b"epochs: 3\nseed: 1\nepochs: 4", "line 3: cannot read it as YAML: 'epochs' is given tw"),
        (b"gpu_node_selector: {a: b, a: c}", "line 1: cannot read it as YAML: 'a' is given twice"),
        (b"\xff\xfe\x00", "cannot read the configuration"),
        (b"- epochs", "is not a mapping"),
        (b"", "is not a mapping"),
        (b"!!python/object/apply:os.system ['true']", "cannot read it as YAML"),
    ],
)
def test_a_configuration_file_that_is_none(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot read"):
        read_config(tmp_path / "nowhere.yaml")


def test_a_value_that_is_no_text_is_told_how_to_write_it(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("architectures: [compact, reference]\nlabels: 12\nregistry:\n")
    with pytest.raises(UserError) as error:
        check_given(Pipeline.training.run, {"class_folders": ""}, path)
    labels, networks, registry = sorted(str(error.value).split(f"{path}: ")[1:], key=len)
    assert "write 'compact,reference'" in registry
    assert "write '12' in quotes" in labels
    assert "write '' for an empty one" in networks


def test_keys_that_are_no_names() -> None:
    with pytest.raises(UserError, match="7"):
        check_run(Pipeline.training, {7: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["tune_workers", "train_workers"])
def test_workers_who_share_results_need_a_place_to_meet(name: str) -> None:
    check_together({name: 1}, Cluster())
    check_together({name: 4}, Cluster(volume_claim="work"))
    check_together({name: 4, "state_root": "/mnt/shared"}, Cluster())
    with pytest.raises(UserError, match=f"{name}: the workers leave their results in state_"):
        check_together({name: 4}, Cluster())


@pytest.mark.parametrize(
    ("given_", "claim", "reason"),
    [
        ({}, "", ""),
        ({"inference_service": "a", "registry": "s3://b/r"}, "", ""),
        ({"inference_service": "a"}, "work", ""),
        ({"inference_service": "a"}, "", "set registry too"),
        ({"inference_service": "a", "registry": "/r"}, "", "KServe cannot read this folder"),
        ({"inference_service": "a", "registry": "/r", "served_from": "pvc://c"}, "", ""),
    ],
    ids=str,
)
def test_what_is_deployed_has_to_lie_where_kserve_reads(
    given_: dict[str, str], claim: str, reason: str
) -> None:
    cluster = Cluster(volume_claim=claim)
    if not reason:
        check_together(given_, cluster)
        return
    with pytest.raises(UserError, match=reason):
        check_together(given_, cluster)


def test_what_is_of_no_pattern_is_told_by_an_example_that_is_allowed() -> None:
    """A regular expression says nothing to most people."""
    for model in (*RUNS, Cluster):
        patterns = {
            name: constraint.pattern
            for name, field in model.model_fields.items()
            for constraint in field.metadata
            if getattr(constraint, "pattern", None)
        }
        assert patterns
        for name in patterns:
            with pytest.raises(UserError, match=f"^{name}: .* it should be like '") as error:
                checked(model, {name: "ä b"})
            examples = re.findall("'(.+?)'", str(error.value).partition("should be like")[2])
            for example in examples:
                other = {"queue": "a"} if name == "priority_class" else {}
                checked(model, {name: example, **other})


def test_a_configuration_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(UserError, match="/dev/zero: has more than 1,000,000 characters"):
        read_config(Path("/dev/zero"))
