"""KFP interface of the steps that train."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

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
    batch_size: int,
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
        batch_size: Images of a batch, shared by all GPUs of the step.
        seed: Of everything random.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        The epoch kept, the last one where weights were averaged, and the accuracy on the validation
        part of what was kept.
    """
    given = dict(locals())
    from components.shared.data.dataset import ImageDataset, Split
    from components.shared.run.step import state_folder, step

    with step("train", model, train_metrics):
        from components.shared.networks.hyperparameters import Training
        from components.shared.training.start import starting_from
        from components.shared.training.trainer import train as train_model

        images = ImageDataset(dataset.path)
        with starting_from(from_model) as start:
            fitted = train_model(
                images,
                Split.open(split.path, images),
                Training.told(given, start),
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


@component
def train_networks(
    dataset: Input[Dataset],
    split: Input[Dataset],
    networks: Output[Artifact],
    networks_metrics: Output[Metrics],
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
    seed: int,
    state_root: str,
    worker: int,
    workers: int,
) -> None:
    """Trains one worker's share of an ensemble's networks and keeps them for the step that trains.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        networks: The history of each, as CSV.
        networks_metrics: The accuracy of each on the validation part.
        architecture: compact, efficientnet, reference or xception.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        learning_rate: Of the optimizer.
        dropout: Share of units dropped.
        dense: Units of the first dense layer, where a network has some.
        augmentation: Whether training images are varied.
        ensemble: How many networks there are.
        average_mirror_image: Whether answers are averaged with those to the mirror image.
        from_model: Registered version whose weights to start from; empty for none.
        epochs: Most epochs to train.
        patience: Stop after so many epochs without a better one; 0 never.
        batch_size: Images of a batch, shared by all GPUs of the step.
        seed: Of everything random.
        state_root: Folder that all steps of the training share.
        worker: Which, from 1.
        workers: How many share the networks.
    """
    given = dict(locals())
    from components.shared.run.step import state_folder, step

    with step(f"train-networks-{worker}-of-{workers}", networks, networks_metrics):
        from pathlib import Path

        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.networks.hyperparameters import Training
        from components.shared.storage.files import write_atomically
        from components.shared.training.start import starting_from
        from components.shared.training.trainer import history_csv
        from components.shared.training.trainer import train_networks as train_share

        images = ImageDataset(dataset.path)
        numbers = range(worker - 1, ensemble, workers)
        with starting_from(from_model) as start:
            fits = train_share(
                images,
                Split.open(split.path, images),
                Training.told(given, start),
                numbers,
                state=state_folder(state_root, "train"),
            )
        for number, fitted in zip(numbers, fits, strict=True):
            name = f"network-{number + 1}"
            write_atomically(Path(networks.path) / f"{name}.csv", history_csv(fitted.history))
            networks_metrics.log_metric(f"{name}_val_accuracy", float(fitted.best.val_accuracy))
