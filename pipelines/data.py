"""The first steps of every pipeline: files from anywhere become a dataset."""

from kfp import dsl
from kfp.dsl import PipelineTask

from components.ingest.component import assemble, ingest, ingest_other
from components.shared.run.parameters import CrossValidationRun, TrainingRun
from pipelines.cluster import Cluster
from pipelines.placement import connect_kaggle, connect_store, mount_volume, place


def make_dataset(
    run: TrainingRun | CrossValidationRun, cluster: Cluster, workers: PipelineTask
) -> PipelineTask:
    """Adds the steps that make a dataset of the run's source.

    Args:
        run: The run; in place of its values stand KFP's channels.
        cluster: What is compiled in.
        workers: The task that tells the numbers of the workers.

    Returns:
        The task with the dataset and its report.
    """
    with dsl.ParallelFor(workers.outputs["ingest_workers"], name="ingest-workers") as worker:
        ingest_task = ingest(
            source=run.source,
            source_version=run.source_version,
            labels=run.labels,
            class_folders=run.class_folders,
            slices=run.slices,
            state_root=run.state_root,
            worker=worker,
            workers=run.ingest_workers,
        ).set_display_name("Ingest images")
    assemble_task = assemble(
        decoded=dsl.Collected(ingest_task.outputs["decoded"]),
        max_bad_share=run.max_bad_share,
        seed=run.seed,
    ).set_display_name("Assemble dataset")
    for task in (ingest_task, assemble_task):
        place(task, cluster, cluster.cpu, cluster.memory)
    connect_kaggle(ingest_task, cluster)
    connect_store(ingest_task, cluster)
    mount_volume(ingest_task, cluster)
    return assemble_task


def read_other_source(run: TrainingRun, cluster: Cluster, source: str) -> PipelineTask:
    """Adds the step that makes a dataset of another source, to judge a model by.

    Args:
        run: The run; in place of its values stand KFP's channels.
        cluster: What is compiled in.
        source: KFP's channel of the source.

    Returns:
        The task with the dataset.
    """
    task = ingest_other(
        source=source,
        slices=run.slices,
        max_bad_share=run.max_bad_share,
        state_root=run.state_root,
    ).set_display_name("Read other source")
    place(task, cluster, cluster.cpu, cluster.memory)
    connect_kaggle(task, cluster)
    connect_store(task, cluster)
    mount_volume(task, cluster)
    return task
