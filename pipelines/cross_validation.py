"""The cross-validation pipeline: ingest -> assemble -> folds -> cross-validate (each fold) -> collect."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Metrics
from kfp.dsl.graph_component import GraphComponent

from components.check.component import check
from components.collect.component import collect
from components.cross_validate.component import cross_validate
from components.shared.run.parameters import CrossValidationRun, Network, Train
from components.split.component import folds as make_folds
from pipelines.cluster import Cluster
from pipelines.data import make_dataset
from pipelines.definition import pipeline
from pipelines.placement import (
    LIGHT,
    place,
    place_training,
)

NAME = "brain-tumor-cross-validation"


class Outputs(NamedTuple):
    """What a run gives back."""

    data_report: HTML
    folds_report: HTML
    cross_validation_report: HTML
    suspicious_labels: HTML
    cross_validation: Artifact
    cross_validation_metrics: Metrics


def cross_validation_pipeline(cluster: Cluster, run_id: str = "") -> GraphComponent:
    """Returns the pipeline for a cluster; the local runner takes it as well.

    Args:
        cluster: What is compiled in.
        run_id: Of the run; nothing here needs it.
    """

    @pipeline(NAME, "Brain tumour classifier: cross-validation", CrossValidationRun, cluster)
    def cross_validation(run: CrossValidationRun) -> Outputs:
        """What a training is worth on images it has not seen: every image is held out once.

        Returns:
            The reports, the gallery of labels in doubt, the predictions and the metrics.
        """
        # 0. A value that is not allowed ends the run before anything takes time.
        check_task = check(run).set_display_name("Check parameters")
        run = run.model_copy(update={"gpu_count": check_task.outputs["gpu_count"]})

        # 1. Files from anywhere become checked pixels, and these groups of near-duplicates.
        data_task = make_dataset(run, cluster, workers=check_task)
        dataset = data_task.outputs["dataset"]

        # 2. Each fold holds out a share of the groups, or a source.
        folds_task = make_folds(
            dataset=dataset,
            folds_by=run.folds_by,
            folds=run.folds,
            validation_share=run.validation_share,
            contradicted=run.contradicted,
            seed=run.seed,
        ).set_display_name("Divide into folds")

        # 3. Each fold trains a network, on a node of its own where there are some.
        with dsl.ParallelFor(
            folds_task.outputs["Output"], name="folds", parallelism=cluster.parallelism
        ) as fold:
            fold_task = cross_validate(
                dataset=dataset,
                splits=folds_task.outputs["splits"],
                fold=fold,
                **run.of(Network),
                **run.of(Train),
                target_sensitivity=run.target_sensitivity,
                target_error=run.target_error,
                state_root=run.state_root,
            ).set_display_name("Train a fold")

        # 4. All images, each predicted by the fold that held it out, give the figures.
        collect_task = collect(
            dataset=dataset,
            folds=dsl.Collected(fold_task.outputs["fold_result"]),
            seed=run.seed,
            bootstrap_samples=run.bootstrap_samples,
            git_revision=run.git_revision,
        ).set_display_name("Collect folds")

        for task in (folds_task, collect_task):
            place(task, cluster, cluster.cpu, cluster.memory)
        place(check_task, cluster, *LIGHT)
        place_training(fold_task, cluster, run)

        return Outputs(
            data_report=data_task.outputs["data_report"],
            folds_report=folds_task.outputs["folds_report"],
            cross_validation_report=collect_task.outputs["cross_validation_report"],
            suspicious_labels=collect_task.outputs["suspicious_labels"],
            cross_validation=collect_task.outputs["cross_validation"],
            cross_validation_metrics=collect_task.outputs["cross_validation_metrics"],
        )

    return cross_validation
