"""KFP interface of the cross-validate step: one fold."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.run.kfp_component import component


@component
def cross_validate(
    dataset: Input[Dataset],
    splits: Input[Dataset],
    model: Output[Model],
    fold_report: Output[HTML],
    fold_metrics: Output[Metrics],
    fold_result: Output[Artifact],
    fold: int,
    architecture: str,
    pretrained_weights: str,
    learning_rate: float,
    dropout: float,
    dense: int,
    augmentation: bool,
    ensemble: int,
    average_mirror_image: bool,
    from_model: str,
    epochs: int,
    patience: int,
    batch_size: int,
    target_sensitivity: float,
    target_error: float,
    seed: int,
    state_root: str,
) -> None:
    """Trains one fold's network and predicts what the fold holds out, beside two floors.

    Args:
        dataset: What ingest wrote.
        splits: What folds wrote.
        model: Keras model, history, record and TensorBoard logs of this fold.
        fold_report: Curves and a table of epochs.
        fold_metrics: The fold's own figures.
        fold_result: Predictions of the held-out images, temperature and thresholds.
        fold: From 1.
        architecture: compact, efficientnet, reference or xception.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        learning_rate: Of the optimizer.
        dropout: Share of units dropped.
        dense: Units of the first dense layer, where a network has some.
        augmentation: Whether training images are varied.
        ensemble: How many networks to train and average.
        average_mirror_image: Whether answers are averaged with those to the mirror image.
        from_model: Registered version whose weights to start from; empty for none.
        epochs: Most epochs to train.
        patience: Stop after so many epochs without a better one; 0 never.
        batch_size: Images of a batch, shared by all GPUs of the step.
        target_sensitivity: Share of validation's tumours to find; 0 for a threshold near 0.5.
        target_error: Share of the answers that may be wrong; the doubtful images are "unsure".
        seed: Of everything random.
        state_root: Folder that outlives a killed step; empty for none.
    """
    given = dict(locals())
    from components.shared.run.step import state_folder, step

    with step(f"cross-validate-{fold}", fold_result, fold_metrics):
        from pathlib import Path

        from components.cross_validate.logic import cross_validate
        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.networks.hyperparameters import Training
        from components.shared.training.start import starting_from

        images = ImageDataset(dataset.path)
        with starting_from(from_model) as start:
            done = cross_validate(
                images,
                Split.open(Path(splits.path) / f"fold-{fold}", images),
                Training.told(given, start),
                fold=fold,
                target_sensitivity=target_sensitivity,
                target_error=target_error,
                model_folder=model.path,
                report=fold_report.path,
                output=fold_result.path,
                state=state_folder(state_root, "cross-validate"),
            )
        model.metadata["framework"] = "keras"
        model.metadata["fold"] = fold
        fold_metrics.log_metric("temperature", float(done.temperature))
        fold_metrics.log_metric("threshold", float(done.model.threshold))
        fold_metrics.log_metric("best_epoch", int(done.best_epoch))
        fold_metrics.log_metric("held_out_accuracy", float(done.accuracy(images.labels)))
