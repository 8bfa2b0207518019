"""The steps that train the final networks: one after another, or side by side."""

from kfp import dsl
from kfp.dsl import PipelineTask

from components.shared.run.parameters import Train, TrainingRun
from components.train.component import train, train_networks
from pipelines.cluster import Cluster
from pipelines.placement import place_training


def train_model(
    run: TrainingRun,
    cluster: Cluster,
    *,
    check_task: PipelineTask,
    data_task: PipelineTask,
    split_task: PipelineTask,
    tune_task: PipelineTask,
) -> PipelineTask:
    """Adds the steps that train.

    Where an ensemble has several workers, each trains its share and keeps it in the state that all
    pods share. The step that trains then finds every network trained, and trains what it does not
    find.

    Args:
        run: The run; in place of its values stand KFP's channels.
        cluster: What is compiled in.
        check_task: The task that tells the numbers of the workers.
        data_task: The task with the dataset.
        split_task: The task with the split.
        tune_task: The task with the best values.

    Returns:
        The task with the model.
    """
    told = {
        "dataset": data_task.outputs["dataset"],
        "split": split_task.outputs["split"],
        **{
            name: tune_task.outputs[name]
            for name in ("architecture", "learning_rate", "dropout", "dense", "augmentation")
        },
        **run.of(Train),
        "state_root": run.state_root,
    }
    with dsl.ParallelFor(check_task.outputs["train_workers"], name="train-workers") as worker:
        networks_task = train_networks(
            **told, worker=worker, workers=run.train_workers
        ).set_display_name("Train networks")
    train_task = train(**told).after(networks_task).set_display_name("Train model")
    for task in (networks_task, train_task):
        place_training(task, cluster, run)
    return train_task
