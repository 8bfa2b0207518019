"""KFP interface of the train step."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.shared.run.kfp_component import component


@component
def train(
    dataset: Input[Dataset],
    split: Input[Dataset],
    model: Output[Model],
    train_report: Output[HTML],
    train_metrics: Output[Metrics],
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
    seed: int,
    state_root: str,
) -> NamedTuple("Outputs", [("best_epoch", int), ("validation_accuracy", float)]):  # type: ignore[valid-type]
    """Trains the final CNN; keeps the epoch that validates best, or the mean of the last ones.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        model: Keras model, history, record and TensorBoard logs.
        train_report: Curves and a table of epochs.
        train_metrics: What was kept, measured on both parts.
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
        seed: Of everything random.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        The epoch kept, the last one where weights were averaged, and the accuracy on the validation
        part of what was kept.
    """
    from components.shared.data.dataset import ImageDataset, Split
    from components.shared.run.step import state_folder, step

    with step("train", model, train_metrics):
        from components.shared.networks.hyperparameters import Hyperparameters, Training
        from components.shared.training.start import starting_from
        from components.shared.training.trainer import train as train_model

        images = ImageDataset(dataset.path)
        with starting_from(from_model) as start:
            fitted = train_model(
                images,
                Split.open(split.path, images),
                Training(
                    network=Hyperparameters(
                        architecture=architecture,
                        learning_rate=learning_rate,
                        dropout=dropout,
                        dense=dense,
                        augmentation=augmentation,
                        pretrained_weights=pretrained_weights,
                    ),
                    ensemble=ensemble,
                    mirror=average_mirror_image,
                    epochs=epochs,
                    patience=patience,
                    seed=seed,
                    start=start,
                ),
                output=model.path,
                report=train_report.path,
                state=state_folder(state_root, "train"),
            )
        best = fitted.best
        model.metadata["framework"] = "keras"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            train_metrics.log_metric(f"best_epoch_{name}", float(getattr(best, name)))
        train_metrics.log_metric("best_epoch", int(best.epoch))
        train_metrics.log_metric("epochs_trained", len(fitted.history))
        return (int(best.epoch), float(best.val_accuracy))
