"""A simulated training against sums by hand."""

import math
from dataclasses import replace

import pytest

from benchmarks.scale.training import (
    Cluster,
    Cost,
    Training,
    Work,
    interpolated,
    near_duplicates_seconds,
    upload_requests,
)
from benchmarks.scale.units import MEASURED, Units

UNITS = Units(
    images=100,
    image_bytes=20_000,
    listing_bytes=300,
    listing_seconds=1e-4,
    read_requests=1,
    answer_bytes=400,
    ingest_seconds=0.004,
    start_seconds=2,
    decoded_bytes=70_000,
    decoded_files=4,
    dataset_bytes=69_000,
    dataset_files=1,
    checkpoint_bytes=5_000_000,
    model_bytes=1_000_000,
    trial_bytes=300,
    replay_seconds={"random": [(10, 0.1), (100, 1.0)]},
)
CLUSTER = Cluster(gpus=4, nodes=5, cores=4, store=1e12, stream=1e8, pods=1000, start=10)
WORK = Work(images=1_000_000, ingest_workers=5, trials=8, tune_workers=4, ensemble=3)


def costs(cluster: Cluster = CLUSTER, work: Work = WORK) -> dict[str, Cost]:
    return {cost.step: cost for cost in Training(UNITS, cluster, work).run()}


def test_what_moves_is_what_the_pods_fetch() -> None:
    found = costs()
    dataset = 69e9
    assert found["ingest"].down == pytest.approx(1e6 * 20_400 + 5 * 1e6 * 300)
    assert found["ingest"].requests >= 1e6 + 5 * 1000
    assert found["assemble"].down == pytest.approx(70e9)
    assert found["assemble"].up == pytest.approx(dataset)
    for number in (1, 2):
        assert found[f"round {number} of 2: propose"].down == pytest.approx(dataset)
        assert found[f"round {number} of 2: trials"].down == pytest.approx(4 * dataset)
    assert found["round 2 of 2: propose"].shared == 4 * 300  # the records of the first round
    assert found["train: networks"].pods == 3
    assert found["train: collect"].up == 3e6


def test_a_trial_takes_its_start_its_images_and_its_epochs() -> None:
    trials = costs()["round 1 of 2: trials"]
    fetch = (1e6 / 2048 + 2) * CLUSTER.answer + 69e9 / 1e8
    epochs = 8 * 640_000 / CLUSTER.gpu_images
    assert trials.ended - trials.began == pytest.approx(10 + fetch + epochs, rel=1e-3)
    assert trials.busy_seconds == pytest.approx(4 * epochs)
    assert trials.gpu_seconds == pytest.approx(4 * (10 + fetch + epochs), rel=1e-3)


def test_a_narrow_store_is_what_all_wait_for() -> None:
    narrow = costs(replace(CLUSTER, store=1e8))["round 1 of 2: trials"]
    assert narrow.ended - narrow.began > 4 * 69e9 / 1e8


def test_lost_nodes_cost_pods_and_time_and_lose_no_epoch() -> None:
    calm, stormy = costs(), costs(replace(CLUSTER, lost=0.5))
    assert stormy == costs(replace(CLUSTER, lost=0.5)), "the seed decides"
    assert stormy != costs(replace(CLUSTER, lost=0.5, seed=1))
    assert sum(cost.lost for cost in stormy.values()) > 0 == sum(c.lost for c in calm.values())
    for step, cost in stormy.items():
        assert cost.busy_seconds == pytest.approx(calm[step].busy_seconds)
        assert cost.pods == calm[step].pods + cost.lost
        assert cost.ended >= calm[step].ended


def test_laws() -> None:
    # A million thumbnails, and three million heads.
    assert near_duplicates_seconds(1e6) == pytest.approx(749 + 1289 * 3**1.7)
    assert interpolated([(10, 0.1), (100, 1.0)], 1000) == pytest.approx(10)
    assert interpolated([(10, 0.1), (100, 1.0)], 0) == 0
    assert upload_requests(0, 0) == 0
    assert upload_requests(2, 2 * 4e6) == 2
    assert upload_requests(1, 138e6) == math.ceil(138e6 / (5 * 2**20)) + 2


def test_the_units_that_were_measured_are_whole() -> None:
    assert Units.read(MEASURED).images >= 400
