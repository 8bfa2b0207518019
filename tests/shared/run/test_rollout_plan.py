import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deploy.served import Probe, canary_address, in_cluster_address
from components.deploy.soak import Tally, exceeds_error_budget, verdict
from components.shared.errors import UserError
from components.shared.run.rollout_plan import checked_plan, storage_uri, version_of
from tests.deploy.conftest import plan


@pytest.mark.parametrize(
    ("address", "served_from", "expected"),
    [
        ("s3://b/models/brain-tumor/1", "", "s3://b/models/brain-tumor/1/"),
        ("gs://b/brain-tumor/12/", "pvc://ignored", "gs://b/brain-tumor/12/"),
        (
            "/mnt/registry/brain-tumor/3",
            "pvc://claim/registry",
            "pvc://claim/registry/brain-tumor/3",
        ),
        ("file:///r/brain-tumor/3", "pvc://claim/", "pvc://claim/brain-tumor/3"),
        ("/mirror/brain-tumor/3", "s3://b/r", "s3://b/r/brain-tumor/3/"),
    ],
)
def test_where_kserve_reads_a_version(address: str, served_from: str, expected: str) -> None:
    assert storage_uri(address, served_from) == expected


@pytest.mark.parametrize("served_from", ["", "/mnt/registry", "http://host/registry"])
def test_a_folder_is_nothing_that_kserve_can_read(served_from: str) -> None:
    with pytest.raises(UserError, match=r"KServe cannot read this folder.* --served-from "):
        storage_uri("/mnt/registry/brain-tumor/3", served_from)


@given(st.integers(1, 10**9 - 1), st.sampled_from(["", "/"]))
def test_the_version_of_an_address(version: int, end: str) -> None:
    assert version_of(f"s3://b/r/brain-tumor/{version}{end}") == version


@given(st.text())
def test_any_address_has_one_or_none(uri: str) -> None:
    assert version_of(uri) is None or uri.rstrip("/").endswith(str(version_of(uri)))


@pytest.mark.parametrize(
    "changed",
    [
        {"inference_service": "Brain_Tumor"},
        {"inference_service": "../x"},
        {"inference_service": ""},
        {"namespace": "a/b"},
        {"canary_percent": 100},
        {"soak_seconds": 0},
        {"max_error_rate": 1.5},
        {"max_latency_seconds": float("nan")},
        {"address": "ftp://x"},
        {"address": "http://user@host"},
        {"soak": 3},
    ],
    ids=str,
)
def test_a_plan_is_checked(changed: dict) -> None:
    sound = {"inference_service": "a", "version": 1, "storage_uri": "s3://b/1/"}
    checked_plan(**sound)
    with pytest.raises(UserError, match=next(iter(changed))) as caught:
        checked_plan(**sound | changed)
    assert "\n" not in str(caught.value)


def test_addresses_inside_of_the_cluster() -> None:
    assert in_cluster_address("bt", "ml", "") == "http://bt-predictor.ml.svc.cluster.local"
    told = "http://bt-predictor.ml.svc.cluster.local:8080/v2/models/bt/infer"
    stable = in_cluster_address("bt", "ml", told)
    assert stable == "http://bt-predictor.ml.svc.cluster.local:8080"
    expected = "http://bt-v6-predictor.ml.svc.cluster.local:8080"
    assert canary_address(stable, "bt", "v6") == expected


def tally(good: int = 0, bad: int = 0, others: int = 0, seconds: float = 0.01) -> Tally:
    found = Tally(6)
    for probe, count in (
        (Probe(6, seconds), good),
        (Probe(0, 0.1, fault="HTTP 503"), bad),
        (Probe(5, 0.1, mismatch="not its image"), others),
    ):
        for _ in range(count):
            found.add(probe)
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (tally(good=100, others=900), ""),
        (tally(good=99, bad=1), ""),
        (tally(good=97, bad=3), "3.0% of the canary's 100 probes failed, at most 1.0% may"),
        (tally(bad=3), "the last: HTTP 503"),
        (tally(others=900), "the canary answered 0 of 900 probes, too few"),
        (tally(good=100, seconds=1.5), "answers take up to 1.5 s, more than 1 s"),
        (tally(), "0 of 0 probes"),
    ],
)
def test_the_verdict_on_a_canary(found: Tally, expected: str) -> None:
    told = verdict(found, plan(min_canary_answers=20))
    assert expected in told
    assert bool(expected) is bool(told)


@given(
    good=st.integers(0, 50), bad=st.integers(0, 50), rate=st.floats(0, 1), most=st.integers(1, 100)
)
def test_a_canary_over_its_error_budget_fails_whatever_follows(
    good: int, bad: int, rate: float, most: int
) -> None:
    limits = plan(max_error_rate=rate, soak_seconds=most, probe_seconds=1)
    if good + bad <= most and exceeds_error_budget(tally(good, bad), limits):
        rest = most - good - bad
        assert "probes failed" in verdict(tally(good + rest, bad), limits)


def test_the_figures_of_a_soak() -> None:
    found = tally(good=18, bad=2, others=3)
    assert str(found) == (
        "20 probes of version 6, 10.0% failed, 95 of 100 answers within 10 ms; "
        "3 answers of another version"
    )
