"""One fold: train, calibrate, choose the threshold, predict what is held out."""

from pathlib import Path
from typing import Any

import numpy as np

from components.shared.data.dataset import PARTS, ImageDataset, Split
from components.shared.evaluation import floors
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.fold_result import FOLD, Answers, FoldResult
from components.shared.evaluation.metrics import require_both_classes
from components.shared.evaluation.predictor import predict_rows
from components.shared.evaluation.predictors import MODEL
from components.shared.evaluation.threshold import choose_threshold, threshold_rule
from components.shared.evaluation.unsure import choose_range
from components.shared.networks.hyperparameters import Training
from components.shared.networks.network import Network
from components.shared.storage.files import write_atomically
from components.shared.training.record import read_record
from components.shared.training.trainer import train


def cross_validate(
    dataset: ImageDataset,
    split: Split,
    training: Training,
    *,
    fold: int,
    target_sensitivity: float,
    target_error: float,
    model_folder: str | Path,
    report: str | Path,
    output: str | Path,
    state: str | Path,
    network: Network | None = None,
) -> FoldResult:
    """Trains a network and two floors on a fold and predicts its held-out part with each.

    Temperature, thresholds and, where weights are not averaged, the epoch are chosen on the fold's
    validation part; the held-out part is only predicted.

    Args:
        dataset: The images.
        split: The fold's parts.
        training: What is trained and how; each fold has the same.
        fold: Its number, from 1.
        target_sensitivity: Share of validation's tumours that each threshold has to find, 0..1; 0
            for the nearest to 0.5 that validation does not speak against.
        target_error: Share of the answers that may be wrong, between 0 and 1, where the doubtful
            images are answered with "unsure".
        model_folder: Takes what the train step writes.
        report: HTML file with the curves.
        output: Folder for the result.
        state: Folder that a killed run is resumed from.
        network: How to build and train it; None for that which the table names.

    Returns:
        What was written.

    Raises:
        UserError: A part lacks a class, the loss stopped being a number, or the network gives no
            probability.
    """
    for name in PARTS:
        require_both_classes(dataset.labels[split.part(name)], name)
    print(f"fold {fold}: {len(split.train):,} images to train on", flush=True)
    fitted = train(
        dataset,
        split,
        training,
        output=model_folder,
        report=report,
        state=state,
        network=network,
    )
    train_part, validation = split.part("train"), split.part("validation")
    wanted = np.concatenate([validation, split.part("held_out")])
    validates = np.arange(len(wanted)) < len(validation)
    labels, groups = dataset.labels[validation], dataset.groups[validation]
    uncalibrated = predict_rows(fitted.model, dataset, wanted)
    temperature = fit_temperature(labels, uncalibrated[validates], groups)

    def answers(scores: np.ndarray) -> Answers:
        return Answers(
            threshold=choose_threshold(labels, scores[validates], groups, target_sensitivity),
            scores=tuple(scores[~validates].tolist()),
        )

    scores = calibrate(uncalibrated, temperature)
    said: dict[str, Any] = {MODEL: answers(scores)}
    unsure = choose_range(labels, scores[validates], groups, said[MODEL].threshold, target_error)
    for name, scores_of in floors.ANSWERS.items():
        said[name] = answers(scores_of(dataset, train_part, wanted, training.seed))
    result = FoldResult(
        fold=fold,
        dataset_digest=dataset.digest,
        split_digest=split.digest(),
        source=split.source,
        settings=training.settings,
        from_model_seen=read_record(model_folder, split).from_model_seen,
        threshold_rule=threshold_rule(target_sensitivity),
        target_error=target_error,
        unsure=unsure,
        temperature=temperature,
        best_epoch=fitted.best.epoch,
        held_out=split.held_out,
        **said,
    )
    write_atomically(Path(output) / FOLD, result.model_dump_json(indent=1))
    return result
