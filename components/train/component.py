"""KFP interface of the train step."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def train(
    dataset: Input[Dataset],
    split: Input[Dataset],
    model: Output[Model],
    report: Output[HTML],
    metrics: Output[Metrics],
    learning_rate: float,
    dropout: float,
    dense: int,
    augmentation: bool,
    epochs: int,
    patience: int,
    seed: int,
    state_root: str,
) -> NamedTuple("Outputs", [("best_epoch", int), ("validation_accuracy", float)]):  # type: ignore[valid-type]
    """Trains the final CNN and keeps the epoch that validates best.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        model: Keras model, history, record and TensorBoard logs.
        report: Curves and a table of epochs.
        metrics: The best epoch's figures.
        learning_rate: Of Adam.
        dropout: Share of units dropped.
        dense: Units of the first dense layer.
        augmentation: Whether training images are varied.
        epochs: Most epochs to train.
        patience: Stop after so many epochs without a better one; 0 never.
        seed: Of everything random.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        The best epoch and its accuracy on the validation part.
    """
    from components.dataset import ImageDataset, Split
    from components.step import state_folder, step

    with step("train", metrics):
        from components.train.fit import Hyperparameters
        from components.train.trainer import train as train_model

        images = ImageDataset(dataset.path)
        fitted = train_model(
            images,
            Split.open(split.path, images),
            Hyperparameters(learning_rate, dropout, dense, augmentation),
            epochs,
            patience,
            seed,
            output=model.path,
            report=report.path,
            state=state_folder(state_root, "train"),
        )
        best = fitted.best
        model.metadata["framework"] = "keras"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            metrics.log_metric(f"best_epoch_{name}", float(getattr(best, name)))
        metrics.log_metric("best_epoch", int(best.epoch))
        metrics.log_metric("epochs_trained", len(fitted.history))
        return (int(best.epoch), float(best.val_accuracy))
