"""KFP interface of the tune steps."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def plan_search(
    search: Output[Artifact],
    architectures: str,
    pretrained_weights: str,
    tuner: str,
    max_trials: int,
    tune_epochs: int,
    executions_per_trial: int,
    batch_size: int,
    tune_workers: int,
    from_model: str,
    seed: int,
) -> list[int]:
    """Plans the search for architecture, learning rate and what else suits the architecture.

    Args:
        search: What the search is told, as JSON.
        architectures: Names, with commas between, to choose among.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        tuner: random, bayesian, hyperband or grid.
        max_trials: How many trials; hyperband decides that itself.
        tune_epochs: Epochs of a trial.
        executions_per_trial: Trainings of a trial; their mean counts.
        batch_size: Images of a batch, shared by all GPUs of the step.
        tune_workers: How many trials run at a time, each in a pod of its own.
        from_model: Registered version whose weights every trial starts from; empty for none.
        seed: Of everything random.

    Returns:
        The numbers, from 1, of the rounds in which the workers train; none where there is one
        worker, which is the step that tunes.
    """
    from components.shared.run.step import step

    with step("plan-search", search):
        from components.tune.settings import Settings

        settings = Settings(
            architectures=tuple(name.strip() for name in architectures.split(",")),
            algorithm=tuner,
            trials=max_trials,
            epochs=tune_epochs,
            executions=executions_per_trial,
            batch_size=batch_size,
            workers=tune_workers,
            pretrained_weights=pretrained_weights,
            from_model=from_model,
            seed=seed,
        )
        settings.check()
        settings.write(search.path)
        if tune_workers == 1:
            return []
        from components.tune.logic import count_rounds  # imports TensorFlow

        return list(range(1, count_rounds(settings) + 1))


@component
def propose(
    dataset: Input[Dataset],
    split: Input[Dataset],
    search: Input[Artifact],
    proposals: Output[Artifact],
    turn: int,
    state_root: str,
) -> list[int]:
    """Asks KerasTuner what the workers are to try next, after all results so far.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        search: What the search is told.
        proposals: The hyperparameters of each trial of the round, as JSON.
        turn: Number of the round, from 1.
        state_root: Folder that all steps of the search share.

    Returns:
        The numbers of the trials of the round; none where every trial is trained.
    """
    from components.shared.run.step import state_folder, step

    with step(f"propose-{turn}", proposals):
        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.training.start import starting_from
        from components.tune.logic import next_round
        from components.tune.rounds import write_round
        from components.tune.settings import Settings
        from components.tune.trial import Trials

        images, settings = ImageDataset(dataset.path), Settings.open(search.path)
        with starting_from(settings.from_model) as start:
            parts, state = Split.open(split.path, images), state_folder(state_root, "tune")
            found = next_round(Trials(images, parts, settings, state, start))
        write_round(proposals.path, found)
        return [numbered.number for numbered in found]


@component
def train_trial(
    dataset: Input[Dataset],
    split: Input[Dataset],
    search: Input[Artifact],
    proposals: Input[Artifact],
    trial: Output[Artifact],
    trial_metrics: Output[Metrics],
    number: int,
    state_root: str,
) -> None:
    """Trains one trial of the search and keeps its record for the steps to come.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        search: What the search is told.
        proposals: What propose wrote.
        trial: The record, as JSON.
        trial_metrics: The trial's figures.
        number: Of the trial, from 1.
        state_root: Folder that all steps of the search share.
    """
    from components.shared.run.step import state_folder, step

    with step(f"trial-{number}", trial, trial_metrics):
        from pathlib import Path

        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.training.start import starting_from
        from components.tune.logic import finish
        from components.tune.rounds import read_proposal
        from components.tune.settings import Settings
        from components.tune.trial import TRIAL, Trials

        images, settings = ImageDataset(dataset.path), Settings.open(search.path)
        proposal = read_proposal(proposals.path, number)
        with starting_from(settings.from_model) as start:
            parts, state = Split.open(split.path, images), state_folder(state_root, "tune")
            done = finish(Trials(images, parts, settings, state, start), number, proposal)
        done.write(Path(trial.path) / TRIAL)
        trial_metrics.log_metric("trial", number)
        trial_metrics.log_metric("validation_accuracy", float(done.score or 0))
        trial_metrics.log_metric("failed", int(bool(done.failure)))


@component
def tune(
    dataset: Input[Dataset],
    split: Input[Dataset],
    search: Input[Artifact],
    trials: Output[Artifact],
    tune_report: Output[HTML],
    tune_metrics: Output[Metrics],
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
    """Trains every trial that has no record, and takes the best.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        search: What the search is told.
        trials: Every trial as CSV.
        tune_report: Every trial as a table and a picture.
        tune_metrics: The best trial's figures.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        The best values.
    """
    from components.shared.run.step import state_folder, step

    with step("tune", trials, tune_metrics):
        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.training.start import starting_from
        from components.tune.logic import best_trial
        from components.tune.settings import Settings
        from components.tune.trial import Trials
        from components.tune.tuner import tune as run_search

        images, settings = ImageDataset(dataset.path), Settings.open(search.path)
        with starting_from(settings.from_model) as start:
            parts, state = Split.open(split.path, images), state_folder(state_root, "tune")
            values, done = run_search(
                Trials(images, parts, settings, state, start),
                parts,
                output=trials.path,
                report=tune_report.path,
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
