"""KFP interface of the tune step."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def tune(
    dataset: Input[Dataset],
    split: Input[Dataset],
    trials: Output[Artifact],
    tune_report: Output[HTML],
    tune_metrics: Output[Metrics],
    architectures: str,
    pretrained_weights: str,
    tuner: str,
    max_trials: int,
    tune_epochs: int,
    executions_per_trial: int,
    from_model: str,
    seed: int,
    state_root: str,
) -> NamedTuple(  # type: ignore[valid-type]
    "Outputs",
    [
        ("architecture", str),
        ("learning_rate", float),
        ("dropout", float),
        ("dense", int),
        ("augmentation", bool),
    ],
):
    """Searches architecture, learning rate and what else suits the architecture with KerasTuner.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        trials: Every trial as CSV.
        tune_report: Every trial as a table and a picture.
        tune_metrics: The best trial's figures.
        architectures: Names, with commas between, to choose among.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        tuner: random, bayesian, hyperband or grid.
        max_trials: How many trials; hyperband decides that itself.
        tune_epochs: Epochs of a trial.
        executions_per_trial: Trainings of a trial; their mean counts.
        from_model: Registered version whose weights every trial starts from; empty for none.
        seed: Of everything random.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        The best values.
    """
    from components.shared.data.dataset import ImageDataset, Split
    from components.shared.run.step import state_folder, step

    with step("tune", trials, tune_metrics):
        from components.shared.training.start import starting_from
        from components.tune.logic import best_trial
        from components.tune.tuner import tune as run_search

        images = ImageDataset(dataset.path)
        with starting_from(from_model) as start:
            values, done = run_search(
                images,
                Split.open(split.path, images),
                [name.strip() for name in architectures.split(",")],
                tuner,  # type: ignore[arg-type]  # checked by the search
                trials=max_trials,
                epochs=tune_epochs,
                executions=executions_per_trial,
                seed=seed,
                output=trials.path,
                report=tune_report.path,
                state=state_folder(state_root, "tune"),
                pretrained_weights=pretrained_weights,
                start=start,
            )
        tune_metrics.log_metric("best_validation_accuracy", float(best_trial(done).score or 0))
        tune_metrics.log_metric("trials", len(done))
        tune_metrics.log_metric("failed_trials", sum(1 for trial in done if trial.failure))
        tune_metrics.log_metric("learning_rate", float(values.learning_rate))
        return (
            str(values.architecture),
            float(values.learning_rate),
            float(values.dropout),
            int(values.dense),
            bool(values.augmentation),
        )
