"""The evaluate step: one model, two baselines, the held-out part and the full dataset."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from components.evaluate.report import Findings, write_evaluation_report
from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import PARTS, ImageDataset, Split, twins_in_training
from components.shared.errors import UserError, require_at_least
from components.shared.evaluation import floors
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.comparison import leads
from components.shared.evaluation.metrics import (
    MIN_SAMPLES,
    Interval,
    Predictor,
    bootstrap,
    column,
    confusion,
    point_estimate,
    require_both_classes,
    roc,
    with_intervals,
)
from components.shared.evaluation.predictor import (
    BATCH,
    apply_temperature,
    open_model,
    predict_tumor,
)
from components.shared.evaluation.predictors import FLOORS, MODEL
from components.shared.evaluation.results import (
    EVALUATION,
    PREDICTIONS,
    ROC,
    Answered,
    Evaluation,
    PartResult,
    RocCurves,
    Uncontradicted,
    Unsure,
)
from components.shared.evaluation.shortcuts import measure_shortcuts
from components.shared.evaluation.stability import draw_sample, measure_stability
from components.shared.evaluation.subgroups import by_kind
from components.shared.evaluation.threshold import choose_threshold, threshold_rule
from components.shared.evaluation.unsure import (
    choose_range,
    error_at_coverage,
    measure_answers,
    no_range_sentence,
)
from components.shared.reports.text import csv_text
from components.shared.run.progress import track
from components.shared.storage.files import write_atomically
from components.shared.training.record import read_history, read_record


def evaluate(
    dataset: ImageDataset,
    split: Split,
    model_folder: str | Path,
    output_folder: str | Path,
    report_path: str | Path,
    *,
    seed: int = 0,
    bootstrap_samples: int = 1000,
    target_sensitivity: float = 0.0,
    target_error: float = 0.02,
) -> Evaluation:
    """Measures a model on the held-out part and on the full dataset, beside the two baselines.

    The model is calibrated on validation before anything is measured. Each predictor, floors
    included, has its threshold chosen there by the same rule.

    Args:
        dataset: The ingested images.
        split: Its parts.
        model_folder: What the train step wrote: `model.keras`, `history.csv`, `training.json`.
        output_folder: Takes `evaluation.json`, `roc.json` and `predictions.csv`.
        report_path: Takes the HTML report.
        seed: Of the bootstrap and of the metadata baseline.
        bootstrap_samples: Resamples an interval, at least 100.
        target_sensitivity: What the threshold has to reach on validation, 0..1; 0 for none.
        target_error: Share of the answers that may be wrong, between 0 and 1, where the doubtful
            images are answered with "unsure".

    Returns:
        What `evaluation.json` holds.

    Raises:
        UserError: A part lacks a class, the model cannot be used or was trained on another split,
            or a number is out of range.
    """
    require_at_least(MIN_SAMPLES, bootstrap_samples=bootstrap_samples)
    if not 0 <= target_sensitivity <= 1:
        raise UserError(
            f"target_sensitivity is {target_sensitivity}: give a share from 0 to 1, 0 for none"
        )
    if not 0 < target_error < 1:
        raise UserError(f"target_error is {target_error}: give a share between 0 and 1")
    for name in PARTS:
        require_both_classes(dataset.labels[split.part(name)], name)
    history, record = read_history(model_folder), read_record(model_folder, split)
    model = open_model(model_folder)

    images = len(dataset)
    everything = np.arange(images)
    batches = dataset.batches(everything, BATCH)
    uncalibrated = predict_tumor(
        model,
        track(batches, math.ceil(images / BATCH), f"batches of {BATCH} images predicted"),
        images,
    )
    train, validation = split.part("train"), split.part("validation")
    labels, groups = dataset.labels[validation], dataset.groups[validation]
    temperature = fit_temperature(labels, uncalibrated[validation], groups)
    scores = calibrate(uncalibrated, temperature)
    apply_temperature(model, temperature)
    answers = {MODEL: scores}
    for name, kind in FLOORS.items():
        print(f"fitting the {kind.name} on the training part", flush=True)
        answers[name] = floors.ANSWERS[name](dataset, train, everything, seed)
    predictors = {
        name: Predictor(s, choose_threshold(labels, s[validation], groups, target_sensitivity))
        for name, s in answers.items()
    }
    model_answers = predictors[MODEL]

    print(f"drawing {bootstrap_samples:,} resamples of the groups", flush=True)
    held_out = split.part("held_out")
    (on_held_out, samples), (on_everything, _) = (
        _judge(dataset, split, rows, predictors, uncalibrated, samples=bootstrap_samples, seed=seed)
        for rows in (held_out, everything)
    )
    shortcuts = measure_shortcuts(
        dataset,
        held_out,
        train,
        model_answers,
        predictors["metadata_floor"],
        samples=bootstrap_samples,
        seed=seed,
    )
    subgroups = by_kind(dataset, held_out, model_answers, bootstrap_samples, seed)
    asked_again = draw_sample(dataset, held_out, seed)
    stability = measure_stability(
        dataset,
        asked_again,
        partial(predict_tumor, model),
        model_answers.threshold,
        samples=bootstrap_samples,
        seed=seed,
    )
    unsure = _unsure(dataset, split, model_answers, target_error, bootstrap_samples, seed)
    evaluation = Evaluation(
        temperature=temperature,
        threshold=model_answers.threshold,
        threshold_rule=threshold_rule(target_sensitivity),
        split_strategy=split.strategy,
        dataset_digest=dataset.digest,
        split_digest=split.digest(),
        seed=seed,
        bootstrap_samples=bootstrap_samples,
        held_out=on_held_out,
        full_dataset=on_everything,
        **dict(subgroups),
        shortcuts=shortcuts,
        stability=stability,
        target_error=target_error,
        unsure=unsure,
        never_unsure="" if unsure else no_range_sentence(target_error, len(np.unique(groups))),
        error_at_90_coverage=_error_at_90(
            dataset, held_out, model_answers, bootstrap_samples, seed
        ),
        without_contradicted=_without_contradicted(
            dataset, split, predictors, uncalibrated, bootstrap_samples, seed
        ),
    )
    curves = RocCurves(
        held_out=roc(dataset.labels[held_out], scores[held_out]),
        full_dataset=roc(dataset.labels, scores),
    )
    folder = Path(output_folder)
    write_atomically(folder / PREDICTIONS, _predictions(dataset, split, scores))
    write_atomically(folder / ROC, curves.model_dump_json(indent=2) + "\n")
    write_atomically(folder / EVALUATION, evaluation.model_dump_json(indent=2) + "\n")
    write_evaluation_report(
        report_path,
        Findings(
            evaluation=evaluation,
            leads=leads(on_held_out, samples),
            dataset=dataset,
            split=split,
            model=model,
            predictors=predictors,
            uncalibrated=uncalibrated,
            history=history,
            record=record,
            shortcuts=shortcuts,
            stability=stability,
            asked_again=asked_again,
        ),
    )
    return evaluation


def _judge(
    dataset: ImageDataset,
    split: Split,
    rows: np.ndarray,
    predictors: Mapping[str, Predictor],
    uncalibrated: np.ndarray,
    *,
    samples: int,
    seed: int,
) -> tuple[PartResult, dict[str, np.ndarray]]:
    """Returns the predictors' results on some images, and each one's resamples [b, measures]."""
    labels, groups = dataset.labels[rows], dataset.groups[rows]
    here = {name: predictor.on(rows) for name, predictor in predictors.items()}
    drawn = bootstrap(labels, groups, list(here.values()), samples, seed)
    resamples = dict(zip(here, drawn, strict=True))
    scores = {
        name: with_intervals(point_estimate(labels, predictor), resamples[name], labels, groups)
        for name, predictor in here.items()
    }
    before = point_estimate(labels, Predictor(uncalibrated, here[MODEL].threshold).on(rows))
    tumor = int(np.sum(labels == TUMOR))
    result = PartResult(
        images=len(rows),
        groups=len(np.unique(groups)),
        patients=dataset.count_patients(rows),
        tumor=tumor,
        healthy=len(rows) - tumor,
        twins_in_training=twins_in_training(dataset.duplicate_groups, split.part("train"), rows),
        confusion=confusion(labels, *here[MODEL]),
        uncalibrated_ece=float(before[column("ece")]),
        **scores,
    )
    return result, resamples


def _unsure(
    dataset: ImageDataset,
    split: Split,
    model: Predictor,
    target_error: float,
    samples: int,
    seed: int,
) -> Unsure | None:
    """Chooses on validation where the answer is unsure; None where validation allows no range."""
    validation, held_out = split.part("validation"), split.part("held_out")
    found = choose_range(
        dataset.labels[validation],
        model.scores[validation],
        dataset.groups[validation],
        model.threshold,
        target_error,
    )
    if found is None:
        return None

    def measured(rows: np.ndarray) -> Answered:
        return measure_answers(
            dataset.labels[rows],
            model.scores[rows],
            dataset.groups[rows],
            model.threshold,
            found.answers(model.scores[rows]),
            samples=samples,
            seed=seed,
        )

    return Unsure(
        low=found.low,
        high=found.high,
        validation=measured(validation),
        held_out=measured(held_out),
    )


def _error_at_90(
    dataset: ImageDataset, rows: np.ndarray, model: Predictor, samples: int, seed: int
) -> Interval:
    """Returns the share of wrong answers among the surest 90% of some images."""
    return error_at_coverage(
        dataset.labels[rows],
        model.scores[rows],
        dataset.groups[rows],
        model.threshold,
        samples=samples,
        seed=seed,
    )


def _without_contradicted(
    dataset: ImageDataset,
    split: Split,
    predictors: Mapping[str, Predictor],
    uncalibrated: np.ndarray,
    samples: int,
    seed: int,
) -> Uncontradicted | None:
    """Measures the held-out images but those whose picture both classes claim; None: no such."""
    held_out = split.part("held_out")
    rows = held_out[~dataset.contradicted[held_out]]
    if len(rows) == len(held_out) or len(np.unique(dataset.labels[rows])) < len(CLASSES):
        return None
    result, _ = _judge(dataset, split, rows, predictors, uncalibrated, samples=samples, seed=seed)
    return Uncontradicted(
        left_out=len(held_out) - len(rows),
        error_at_90_coverage=_error_at_90(dataset, rows, predictors[MODEL], samples, seed),
        **dict(result),
    )


def _predictions(dataset: ImageDataset, split: Split, scores: np.ndarray) -> str:
    """Returns the model's answers as CSV; an image of two parts stands as held out."""
    part_of = dict.fromkeys(range(len(dataset)), "none")
    for name in PARTS:
        part_of.update(dict.fromkeys(getattr(split, name), name))
    return csv_text(
        ["index", "path", "part", "label", "probability_tumor"],
        (
            [index, record.path, part_of[index], record.label, float(scores[index])]
            for index, record in enumerate(dataset.manifest.images)
        ),
    )
