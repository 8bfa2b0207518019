"""The training pipeline.

ingest -> assemble -> split -> tune -> train -> evaluate -> validate -> register -> deploy
"""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Metrics
from kfp.dsl.graph_component import GraphComponent

from components.check.component import check
from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.ingest.component import other_sources
from components.register.component import register
from components.shared.run.parameters import TrainingRun
from components.split.component import split
from components.validate.component import validate
from pipelines.cluster import Cluster
from pipelines.data import make_dataset, read_other_source
from pipelines.definition import pipeline
from pipelines.networks import train_model
from pipelines.placement import (
    LIGHT,
    connect_predictor,
    connect_store,
    let_sign,
    let_verify,
    mount_volume,
    place,
)
from pipelines.search import tune_network

NAME = "brain-tumor-training"


class Outputs(NamedTuple):
    """What a run gives back."""

    registered: bool
    model_uri: str
    threshold: float
    data_report: HTML
    split_report: HTML
    tune_report: HTML
    train_report: HTML
    evaluation_report: HTML
    evaluation: Artifact
    held_out_metrics: Metrics


def training_pipeline(
    cluster: Cluster, run_id: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
) -> GraphComponent:
    """Returns the pipeline for a cluster; the local runner takes it as well.

    Args:
        cluster: What is compiled in.
        run_id: Of the run. A run registers its model once, however often its steps are tried.
    """

    @pipeline(NAME, "Brain tumour classifier: training", TrainingRun, cluster)
    def training(run: TrainingRun) -> Outputs:
        """From brain-MRI images to a registered classifier that was measured on unseen images.

        Returns:
            Whether a model was registered and where, its decision threshold, the reports and the metrics.
        """
        # 0. A value that is not allowed ends the run before anything takes time.
        check_task = check(run).set_display_name("Check parameters")
        run = run.model_copy(update={"gpu_count": check_task.outputs["gpu_count"]})

        # 1. Files from anywhere become checked pixels, and these groups of near-duplicates.
        data_task = make_dataset(run, cluster, workers=check_task)
        dataset = data_task.outputs["dataset"]

        # 2. Groups are divided into train, validation and held-out parts.
        split_task = split(
            dataset=dataset,
            strategy=run.split_strategy,
            held_out_share=run.held_out_share,
            validation_share=run.validation_share,
            contradicted=run.contradicted,
            seed=run.seed,
        ).set_display_name("Split by group")

        # 3. KerasTuner looks for the values that validate best.
        tune_task = tune_network(
            run, cluster, check_task=check_task, data_task=data_task, split_task=split_task
        )

        # 4. The final CNN, or several, are trained with them.
        train_task = train_model(
            run,
            cluster,
            check_task=check_task,
            data_task=data_task,
            split_task=split_task,
            tune_task=tune_task,
        )

        # 5. It is measured on images it has not seen, and on all, beside two floors.
        evaluate_task = evaluate(
            dataset=dataset,
            split=split_task.outputs["split"],
            model=train_task.outputs["model"],
            seed=run.seed,
            bootstrap_samples=run.bootstrap_samples,
            target_sensitivity=run.target_sensitivity,
            target_error=run.target_error,
        ).set_display_name("Evaluate model")

        # 6. And on other sources, which it never trains on.
        others_task = (
            other_sources(sources=run.validate_sources)
            .after(check_task)
            .set_display_name("List other sources")
        )
        with dsl.ParallelFor(
            others_task.outputs["Output"],
            name="other-sources",
            parallelism=cluster.parallelism,
        ) as source:
            other_task = read_other_source(run, cluster, source)
            validate_task = validate(
                other=other_task.outputs["other_dataset"],
                dataset=dataset,
                split=split_task.outputs["split"],
                model=train_task.outputs["model"],
                evaluation=evaluate_task.outputs["evaluation"],
                source=source,
                seed=run.seed,
                bootstrap_samples=run.bootstrap_samples,
            ).set_display_name("Validate elsewhere")

        # 7. What passes the gate becomes a new version that never changes.
        register_task = register(
            dataset=dataset,
            split=split_task.outputs["split"],
            model=train_task.outputs["model"],
            evaluation=evaluate_task.outputs["evaluation"],
            validations=dsl.Collected(validate_task.outputs["validation"]),
            registry=run.registry,
            model_registry=run.kubeflow_model_registry,
            min_accuracy=run.min_accuracy,
            min_sensitivity=run.min_sensitivity,
            min_specificity=run.min_specificity,
            min_external_sensitivity=run.min_external_sensitivity,
            min_external_specificity=run.min_external_specificity,
            min_external_auroc=run.min_external_auroc,
            champion_margin=run.champion_margin,
            precision=run.serving_precision,
            git_revision=run.git_revision,
            run_id=run_id,
        ).set_display_name("Register model")

        # 8. It replaces the one that serves, if it does well there; else that one stays.
        with (
            dsl.If(run.inference_service != "", "deploy-wanted"),
            dsl.If(register_task.outputs["registered"] == True, "registered"),  # noqa: E712
        ):
            deploy_task = deploy(
                registry=run.registry,
                version=register_task.outputs["version"],
                served_from=run.served_from,
                inference_service=run.inference_service,
                namespace=run.serving_namespace,
                canary_percent=run.canary_percent,
                soak_seconds=run.canary_soak_seconds,
                max_error_rate=run.canary_max_error_rate,
                max_latency_seconds=run.canary_max_latency_seconds,
                force_conflicts=run.deploy_force_conflicts,
                dry_run=run.deploy_dry_run,
                run_id=run_id,
            ).set_display_name("Deploy to KServe")

        # Nothing is said of retries: KFP repeats a step whose pod was lost, and no other.
        for task in (split_task, evaluate_task, validate_task):
            place(task, cluster, cluster.cpu, cluster.memory)
        place(register_task, cluster, cluster.cpu, cluster.memory, cached=False)
        for task in (check_task, others_task):
            place(task, cluster, *LIGHT)
        place(deploy_task, cluster, *LIGHT, cached=False)
        connect_predictor(deploy_task)
        let_sign(register_task, cluster)
        for task in (register_task, deploy_task):
            connect_store(task, cluster)
            let_verify(task, cluster)
            mount_volume(task, cluster)

        return Outputs(
            registered=register_task.outputs["registered"],
            model_uri=register_task.outputs["model_uri"],
            threshold=evaluate_task.outputs["threshold"],
            data_report=data_task.outputs["data_report"],
            split_report=split_task.outputs["split_report"],
            tune_report=tune_task.outputs["tune_report"],
            train_report=train_task.outputs["train_report"],
            evaluation_report=evaluate_task.outputs["evaluation_report"],
            evaluation=evaluate_task.outputs["evaluation"],
            held_out_metrics=evaluate_task.outputs["held_out_metrics"],
        )

    return training
