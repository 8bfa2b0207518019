"""The cross-validation pipeline: ingest -> folds -> cross-validate (each fold) -> collect."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Metrics
from kfp.dsl.graph_component import GraphComponent

from components.check.component import check
from components.collect.component import collect
from components.cross_validate.component import cross_validate
from components.ingest.component import ingest
from components.split.component import folds as make_folds
from pipelines.cluster import VOLUME, Cluster
from pipelines.placement import (
    LIGHT,
    connect_kaggle,
    connect_store,
    mount_volume,
    place,
    place_on_gpus,
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
    volume = VOLUME if cluster.volume_claim else ""

    @dsl.pipeline(name=NAME, display_name="Brain tumour classifier: cross-validation")
    def cross_validation(
        source: str = "kaggle://preetviradiya/brian-tumor-dataset",
        source_version: str = "",
        max_bad_share: float = 0.05,
        folds: int = 5,
        validation_share: float = 0.2,
        architecture: str = "compact",
        pretrained_weights: str = "",
        learning_rate: float = 0.00025,
        dropout: float = 0.3,
        dense: int = 128,
        augmentation: bool = True,
        epochs: int = 16,
        patience: int = 0,
        ensemble: int = 1,
        average_mirror_image: bool = False,
        target_sensitivity: float = 0.0,
        bootstrap_samples: int = 1000,
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
        """What a training is worth on images it has not seen: every image is held out once.

        Args:
            source: kaggle://owner/dataset, s3://bucket/folder, gs://bucket/folder, a folder, a zip, or sample:// for made-up images.
            source_version: Version of the Kaggle dataset; empty for the newest. A change renews the cache.
            max_bad_share: Greatest share of unusable files, 0 to 1. Above it the run fails.
            folds: Parts that are held out in turn, near-duplicates kept together. Each trains a network of its own.
            validation_share: Share of the rest, 0 to 1, on which epoch, temperature and threshold are chosen.
            architecture: Network: compact, efficientnet, reference or xception. The values below suit compact.
            pretrained_weights: File of Xception's ImageNet weights without top. Empty to get them from keras.applications.
            learning_rate: Of the optimizer.
            dropout: Share of units dropped, 0 to 1.
            dense: Units of the first dense layer, where a network has some.
            augmentation: Vary the training images.
            epochs: Most epochs of each fold's training.
            patience: Stop after so many epochs without a better one. 0 trains them all.
            ensemble: Networks to train, from different seeds, and average. Each costs its time again, in training and in serving.
            average_mirror_image: Average each answer with that to the mirror image, at twice the time in serving.
            target_sensitivity: Share of validation's tumours that the threshold has to find, 0 to 1. 0 for the nearest to 0.5 that validation does not speak against.
            bootstrap_samples: Resamples of the duplicate groups behind each interval.
            state_root: Folder that outlives a killed step, which then goes on where it was. Empty starts it again.
            seed: Of everything random.
            git_revision: Revision of the code, for the record.
            gpu_count: GPUs of each fold. 0 runs them on CPUs.
            gpu_type: Resource name of the GPUs.
            gpu_node_selector: Labels of the nodes for the folds, as JSON.
            gpu_tolerations: Tolerations of the folds, as JSON.

        Returns:
            The reports, the gallery of labels in doubt, the predictions and the metrics.
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

        # 2. Groups are divided into folds.
        folds_task = make_folds(
            dataset=dataset,
            folds=folds,
            validation_share=validation_share,
            seed=seed,
        ).set_display_name("Divide into folds")

        # 3. Each fold trains a network, on a node of its own where there are some.
        with dsl.ParallelFor(
            folds_task.outputs["Output"], name="folds", parallelism=cluster.parallel_folds
        ) as fold:
            fold_task = cross_validate(
                dataset=dataset,
                parts=folds_task.outputs["parts"],
                fold=fold,
                architecture=architecture,
                pretrained_weights=pretrained_weights,
                learning_rate=learning_rate,
                dropout=dropout,
                dense=dense,
                augmentation=augmentation,
                epochs=epochs,
                patience=patience,
                ensemble=ensemble,
                mirror=average_mirror_image,
                target_sensitivity=target_sensitivity,
                seed=seed,
                state_root=state_root,
            ).set_display_name("Train a fold")

        # 4. All images, each predicted by the fold that held it out, give the figures.
        collect_task = collect(
            dataset=dataset,
            folds=dsl.Collected(fold_task.outputs["fold_result"]),
            seed=seed,
            bootstrap_samples=bootstrap_samples,
            git_revision=git_revision,
        ).set_display_name("Collect folds")

        for task in (ingest_task, folds_task, collect_task):
            place(task, cluster, cluster.cpu, cluster.memory)
        place(check_task, cluster, *LIGHT)
        place(fold_task, cluster, cluster.training_cpu, cluster.training_memory)
        place_on_gpus(fold_task, cluster, gpu_type, gpu_count, gpu_node_selector, gpu_tolerations)
        connect_kaggle(ingest_task, cluster)
        connect_store(ingest_task, cluster)
        for task in (ingest_task, fold_task):
            mount_volume(task, cluster)

        return Outputs(
            data_report=ingest_task.outputs["data_report"],
            folds_report=folds_task.outputs["folds_report"],
            cross_validation_report=collect_task.outputs["cross_validation_report"],
            suspicious_labels=collect_task.outputs["suspicious_labels"],
            cross_validation=collect_task.outputs["cross_validation"],
            cross_validation_metrics=collect_task.outputs["cross_validation_metrics"],
        )

    return cross_validation
