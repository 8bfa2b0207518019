"""The training pipeline: ingest -> split -> tune -> train -> evaluate -> register -> deploy."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Metrics
from kfp.dsl.graph_component import GraphComponent

from components.check.component import check
from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.register.component import register
from components.split.component import split
from components.train.component import train
from components.tune.component import tune
from pipelines.cluster import VOLUME, Cluster
from pipelines.placement import (
    LIGHT,
    connect_kaggle,
    connect_predictor,
    connect_store,
    let_sign,
    let_verify,
    mount_volume,
    place,
    place_on_gpus,
)

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
    volume = VOLUME if cluster.volume_claim else ""

    @dsl.pipeline(name=NAME, display_name="Brain tumour classifier: training")
    def training(
        source: str = "kaggle://preetviradiya/brian-tumor-dataset",
        source_version: str = "",
        max_bad_share: float = 0.05,
        split_strategy: str = "grouped",
        held_out_share: float = 0.2,
        validation_share: float = 0.2,
        architectures: str = "compact",
        pretrained_weights: str = "",
        tuner: str = "random",
        max_trials: int = 8,
        tune_epochs: int = 8,
        executions_per_trial: int = 1,
        epochs: int = 16,
        patience: int = 0,
        ensemble: int = 1,
        average_mirror_image: bool = False,
        bootstrap_samples: int = 1000,
        target_sensitivity: float = 0.0,
        min_accuracy: float = 0.75,
        min_sensitivity: float = 0.8,
        min_specificity: float = 0.7,
        champion_margin: float = 0.02,
        registry: str = f"{volume}/registry" if volume else "",
        kubeflow_model_registry: str = "",
        inference_service: str = "",
        serving_namespace: str = "",
        served_from: str = f"pvc://{cluster.volume_claim}/registry" if volume else "",
        canary_percent: int = 0,
        canary_soak_seconds: int = 300,
        canary_max_error_rate: float = 0.01,
        canary_max_latency_seconds: float = 1.0,
        deploy_force_conflicts: bool = False,
        deploy_dry_run: bool = False,
        state_root: str = f"{volume}/state" if volume else "",
        seed: int = 0,
        git_revision: str = "",
        gpu_count: str = "0",
        gpu_type: str = "nvidia.com/gpu",
        gpu_node_selector: dict = {},  # noqa: B006  # KFP reads it and never changes it
        gpu_tolerations: list = [  # noqa: B006
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ],
    ) -> Outputs:
        """From brain-MRI images to a registered classifier that was measured on unseen images.

        Args:
            source: kaggle://owner/dataset, s3://bucket/folder, gs://bucket/folder, a folder, a zip, or sample:// for made-up images.
            source_version: Version of the Kaggle dataset; empty for the newest. A change renews the cache.
            max_bad_share: Greatest share of unusable files, 0 to 1. Above it the run fails.
            split_strategy: grouped keeps near-duplicates in one part. by-name is the reference's leaky split, for comparison.
            held_out_share: Share of the images, 0 to 1, on which nothing is ever chosen.
            validation_share: Share of the rest, 0 to 1, on which values, epoch and threshold are chosen.
            architectures: Networks, with commas between, that the search chooses among: compact, efficientnet, reference, xception.
            pretrained_weights: File of Xception's ImageNet weights without top. Empty to get them from keras.applications.
            tuner: KerasTuner's algorithm: random, bayesian, hyperband or grid.
            max_trials: Trials of the search. hyperband decides that itself.
            tune_epochs: Epochs of each trial. For hyperband, of the longest.
            executions_per_trial: Trainings of each trial, with different seeds. Their mean counts.
            epochs: Most epochs of the final training.
            patience: Stop after so many epochs without a better one. 0 trains them all.
            ensemble: Networks to train, from different seeds, and average. Each costs its time again, in training and in serving.
            average_mirror_image: Average each answer with that to the mirror image, at twice the time in serving.
            bootstrap_samples: Resamples of the duplicate groups behind each interval.
            target_sensitivity: Share of the validation part's tumours that the threshold has to find, 0 to 1. 0 for the nearest to 0.5 that validation does not speak against.
            min_accuracy: Least held-out accuracy of a registered model, 0 to 1.
            min_sensitivity: Least held-out sensitivity of a registered model, 0 to 1.
            min_specificity: Least held-out specificity of a registered model, 0 to 1.
            champion_margin: By how much a new model may be worse than the champion, 0 to 1.
            registry: Folder of registered models, s3:// or gs://. Empty keeps the model as an artifact of the run only.
            kubeflow_model_registry: Address of a Kubeflow Model Registry, http:// or https://, that records each version too.
            inference_service: InferenceService to roll the registered model out to; made where missing. Empty deploys nothing.
            serving_namespace: Namespace of the InferenceService. Empty for that of the run.
            served_from: The registry's address as KServe reads it, where the registry is a mounted folder, such as pvc://claim/registry.
            canary_percent: Share of the traffic that a new model gets first, 0 to 99. 0 replaces the former one at once.
            canary_soak_seconds: How long a canary has to do well before it gets all traffic.
            canary_max_error_rate: Greatest share of a canary's answers that may fail, 0 to 1.
            canary_max_latency_seconds: What 95 of 100 answers of a canary have to stay below.
            deploy_force_conflicts: Take storageUri over from what else manages it, such as kubectl.
            deploy_dry_run: Only show what deploying would change.
            state_root: Folder that outlives a killed step, which then goes on where it was. Empty starts it again.
            seed: Of everything random.
            git_revision: Revision of the code, for the model card.
            gpu_count: GPUs of tune and of train. 0 runs them on CPUs.
            gpu_type: Resource name of the GPUs.
            gpu_node_selector: Labels of the nodes for tune and train, as JSON.
            gpu_tolerations: Tolerations of tune and train, as JSON.

        Returns:
            Whether a model was registered and where, its decision threshold, the reports and the metrics.
        """
        # 0. A value that is not allowed ends the run before anything takes time.
        check_task = check(locals()).set_display_name("Check parameters")

        # 1. Files from anywhere become checked pixels in groups of near-duplicates.
        ingest_task = (
            ingest(
                source=source,
                source_version=source_version,
                max_bad_share=max_bad_share,
                seed=seed,
                state_root=state_root,
            )
            .set_display_name("Ingest images")
            .after(check_task)
        )
        dataset = ingest_task.outputs["dataset"]

        # 2. Groups are divided into train, validation and held-out parts.
        split_task = split(
            dataset=dataset,
            strategy=split_strategy,
            held_out_share=held_out_share,
            validation_share=validation_share,
            seed=seed,
        ).set_display_name("Split by group")
        parts = split_task.outputs["parts"]

        # 3. KerasTuner looks for the values that validate best.
        tune_task = tune(
            dataset=dataset,
            split=parts,
            architectures=architectures,
            pretrained_weights=pretrained_weights,
            tuner=tuner,
            max_trials=max_trials,
            tune_epochs=tune_epochs,
            executions_per_trial=executions_per_trial,
            seed=seed,
            state_root=state_root,
        ).set_display_name("Tune network")

        # 4. The final CNN is trained with them.
        train_task = train(
            dataset=dataset,
            split=parts,
            architecture=tune_task.outputs["architecture"],
            pretrained_weights=pretrained_weights,
            learning_rate=tune_task.outputs["learning_rate"],
            dropout=tune_task.outputs["dropout"],
            dense=tune_task.outputs["dense"],
            augmentation=tune_task.outputs["augmentation"],
            epochs=epochs,
            patience=patience,
            ensemble=ensemble,
            mirror=average_mirror_image,
            seed=seed,
            state_root=state_root,
        ).set_display_name("Train network")

        # 5. It is measured on images it has not seen, and on all, beside two floors.
        evaluate_task = evaluate(
            dataset=dataset,
            split=parts,
            model=train_task.outputs["model"],
            seed=seed,
            bootstrap_samples=bootstrap_samples,
            target_sensitivity=target_sensitivity,
        ).set_display_name("Evaluate model")

        # 6. What passes the gate becomes a new version that never changes.
        register_task = register(
            dataset=dataset,
            split=parts,
            model=train_task.outputs["model"],
            evaluation=evaluate_task.outputs["evaluation"],
            registry=registry,
            model_registry=kubeflow_model_registry,
            min_accuracy=min_accuracy,
            min_sensitivity=min_sensitivity,
            min_specificity=min_specificity,
            champion_margin=champion_margin,
            git_revision=git_revision,
            run_id=run_id,
        ).set_display_name("Register model")

        # 7. It replaces the one that serves, if it does well there; else that one stays.
        with (
            dsl.If(inference_service != "", "deploy-wanted"),
            dsl.If(register_task.outputs["registered"] == True, "registered"),  # noqa: E712
        ):
            deploy_task = deploy(
                registry=registry,
                version=register_task.outputs["version"],
                served_from=served_from,
                inference_service=inference_service,
                namespace=serving_namespace,
                canary_percent=canary_percent,
                soak_seconds=canary_soak_seconds,
                max_error_rate=canary_max_error_rate,
                max_latency_seconds=canary_max_latency_seconds,
                force_conflicts=deploy_force_conflicts,
                dry_run=deploy_dry_run,
                run_id=run_id,
            ).set_display_name("Deploy to KServe")

        # Nothing is said of retries: KFP repeats a step whose pod was lost, and no other.
        for task in (ingest_task, split_task, evaluate_task):
            place(task, cluster, cluster.cpu, cluster.memory)
        for task in (tune_task, train_task):
            place(task, cluster, cluster.training_cpu, cluster.training_memory)
        place(register_task, cluster, cluster.cpu, cluster.memory, cached=False)
        place(check_task, cluster, *LIGHT)
        place(deploy_task, cluster, *LIGHT, cached=False)
        connect_predictor(deploy_task)
        connect_kaggle(ingest_task, cluster)
        for task in (tune_task, train_task):
            place_on_gpus(task, cluster, gpu_type, gpu_count, gpu_node_selector, gpu_tolerations)
        for task in (ingest_task, register_task, deploy_task):
            connect_store(task, cluster)
        let_sign(register_task, cluster)
        for task in (register_task, deploy_task):
            let_verify(task, cluster)
        for task in (ingest_task, tune_task, train_task, register_task, deploy_task):
            mount_volume(task, cluster)

        return Outputs(
            registered=register_task.outputs["registered"],
            model_uri=register_task.outputs["model_uri"],
            threshold=evaluate_task.outputs["threshold"],
            data_report=ingest_task.outputs["data_report"],
            split_report=split_task.outputs["split_report"],
            tune_report=tune_task.outputs["tune_report"],
            train_report=train_task.outputs["train_report"],
            evaluation_report=evaluate_task.outputs["evaluation_report"],
            evaluation=evaluate_task.outputs["evaluation"],
            held_out_metrics=evaluate_task.outputs["held_out_metrics"],
        )

    return training
