"""The steps that search for the network and its values, one after another or side by side."""

from kfp import dsl
from kfp.dsl import PipelineTask

from components.shared.run.parameters import TrainingRun, Tune
from components.tune.component import plan_search, propose, train_trial, tune
from pipelines.cluster import Cluster
from pipelines.placement import connect_store, let_verify, mount_volume, place, place_training


def tune_network(
    run: TrainingRun,
    cluster: Cluster,
    *,
    check_task: PipelineTask,
    data_task: PipelineTask,
    split_task: PipelineTask,
) -> PipelineTask:
    """Adds the steps that search.

    KFP's loops cannot be left early and hand nothing from one turn to the next. So the plan counts
    the rounds, and what a round found is in records, which all steps of the search share.

    Args:
        run: The run; in place of its values stand KFP's channels.
        cluster: What is compiled in.
        check_task: The task that checks the parameters.
        data_task: The task with the dataset.
        split_task: The task with the split.

    Returns:
        The task with the best values and the report.
    """
    images = {
        "dataset": data_task.outputs["dataset"],
        "split": split_task.outputs["split"],
        "state_root": run.state_root,
    }
    plan_task = (
        plan_search(
            **run.of(Tune),
            pretrained_weights=run.pretrained_weights,
            batch_size=run.batch_size,
            from_model=run.from_model,
            seed=run.seed,
        )
        .after(check_task)
        .set_display_name("Plan the search")
    )
    search = plan_task.outputs["search"]
    with dsl.ParallelFor(plan_task.outputs["Output"], name="rounds", parallelism=1) as turn:
        propose_task = propose(**images, search=search, turn=turn).set_display_name(
            "Propose trials"
        )
        with dsl.ParallelFor(propose_task.outputs["Output"], name="trials") as number:
            trial_task = train_trial(
                **images,
                search=search,
                proposals=propose_task.outputs["proposals"],
                number=number,
            ).set_display_name("Train a trial")
    tune_task = tune(**images, search=search).after(trial_task).set_display_name("Tune network")
    for task in (plan_task, propose_task):
        place(task, cluster, cluster.cpu, cluster.memory)
    connect_store(propose_task, cluster)
    let_verify(propose_task, cluster)
    mount_volume(propose_task, cluster)
    for task in (trial_task, tune_task):
        place_training(task, cluster, run)
    return tune_task
