"""The drift pipeline: drift -> training, if it is told to, else alert. For a recurring run."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact
from kfp.dsl.graph_component import GraphComponent

from components.check.component import check
from components.drift.component import alert, drift
from components.shared.run.parameters import DriftRule, DriftRun, TrainingRun
from pipelines.cluster import Cluster
from pipelines.definition import pipeline
from pipelines.placement import (
    LIGHT,
    connect_prometheus,
    connect_store,
    let_verify,
    mount_volume,
    place,
)
from pipelines.training import training_pipeline

NAME = "brain-tumor-drift"


class Outputs(NamedTuple):
    """What a run gives back."""

    drifted: bool
    drift_report: HTML
    drift_result: Artifact


def drift_pipeline(
    cluster: Cluster, run_id: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
) -> GraphComponent:
    """Returns the pipeline for a cluster; the local runner takes it as well.

    Args:
        cluster: What is compiled in.
        run_id: Of the run. A run registers its model once, however often its steps are tried.
    """
    # Where images have changed, the steps of an earlier training have seen others.
    training = training_pipeline(cluster.model_copy(update={"caching": False}), run_id)

    @pipeline(NAME, "Brain tumour classifier: drift", DriftRun, cluster)
    def drift_of_served(run: DriftRun) -> Outputs:
        """Trains again, or fails, if a model is asked about other images than it was measured on.

        Returns:
            Whether something drifted, the report, and the numbers.
        """
        # 0. A value that is not allowed ends the run before anything takes time.
        check_task = check(run).set_display_name("Check parameters")

        # 1. What the predictors counted is compared with the held-out images' answers.
        drift_task = (
            drift(
                registry=run.registry,
                served_model=run.served_model,
                **run.of(DriftRule),
            )
            .set_display_name("Look for drift")
            .after(check_task)
        )

        with dsl.If(drift_task.outputs["Output"] == True, "drifted"):  # noqa: E712
            # 2. The training pipeline runs, whole, with the run's own parameters.
            with dsl.If(run.retrain == True, "retrain"):  # noqa: E712
                training(**run.of(TrainingRun)).set_display_name("Train again")
            # Or the run fails, which is what people and tools look at.
            with dsl.Else("tell"):
                alert_task = alert(
                    drift_result=drift_task.outputs["drift_result"]
                ).set_display_name("Tell of drift")

        place(check_task, cluster, *LIGHT)
        place(drift_task, cluster, cluster.cpu, cluster.memory, cached=False)
        place(alert_task, cluster, *LIGHT, cached=False)
        connect_prometheus(drift_task)
        connect_store(drift_task, cluster)
        let_verify(drift_task, cluster)
        mount_volume(drift_task, cluster)

        return Outputs(
            drifted=drift_task.outputs["Output"],
            drift_report=drift_task.outputs["drift_report"],
            drift_result=drift_task.outputs["drift_result"],
        )

    return drift_of_served
