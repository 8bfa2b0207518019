"""KFP interfaces of the split step: one division, or one for each fold."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def split(
    dataset: Input[Dataset],
    split: Output[Dataset],
    split_report: Output[HTML],
    split_metrics: Output[Metrics],
    strategy: str,
    held_out_share: float,
    validation_share: float,
    contradicted: str,
    seed: int,
) -> NamedTuple("Outputs", [("train", int), ("validation", int), ("held_out", int)]):  # type: ignore[valid-type]
    """Divides the dataset into train, validation and held-out parts.

    Args:
        dataset: What ingest wrote.
        split: Which image belongs where; no pixels.
        split_report: What each part holds, and how much of it has a twin in training.
        split_metrics: The same as numbers.
        strategy: grouped, or by-name, which reproduces the reference's leaky split.
        held_out_share: Share of the images to hold out. Nothing is chosen on them.
        validation_share: Share of the rest to choose hyperparameters, epoch and threshold on.
        contradicted: What to do with a picture that has both labels. leave-out: neither train nor
            choose on it. keep: use it.
        seed: Seed of the division of the groups.

    Returns:
        The number of images in each part.
    """
    from components.shared.run.step import step

    with step("split", split, split_metrics):
        from pathlib import Path

        from components.shared.data.dataset import PARTS, SPLIT, ImageDataset, twins_in_training
        from components.shared.storage.files import write_atomically
        from components.split.logic import make_split
        from components.split.report import write_split_report

        images = ImageDataset(dataset.path)
        made = make_split(
            images,
            strategy,  # type: ignore[arg-type]  # checked there
            held_out_share,
            validation_share,
            seed,
            keep_contradicted=contradicted == "keep",
        )
        write_atomically(Path(split.path) / SPLIT, made.model_dump_json())
        write_split_report(split_report.path, images, made)
        for part in PARTS:
            split_metrics.log_metric(f"{part}_images", len(made.part(part)))
            twins = twins_in_training(images.duplicate_groups, made.part("train"), made.part(part))
            split_metrics.log_metric(f"{part}_twins_in_training", twins)
        split.metadata["strategy"] = strategy
        return (len(made.train), len(made.validation), len(made.held_out))


@component
def folds(
    dataset: Input[Dataset],
    splits: Output[Dataset],
    folds_report: Output[HTML],
    folds_metrics: Output[Metrics],
    folds_by: str,
    folds: int,
    validation_share: float,
    contradicted: str,
    seed: int,
) -> list[int]:
    """Divides the dataset into folds for cross-validation, by group or by source.

    Args:
        dataset: What ingest wrote.
        splits: A folder for each fold that says which image belongs where; no pixels.
        folds_report: What each fold holds out, and how much of it has a twin in training.
        folds_metrics: The same as numbers.
        folds_by: group, or source to hold out one source at a time.
        folds: Number of folds, if folds_by is group.
        validation_share: Share of the rest to choose epoch, temperature and threshold on.
        contradicted: What to do with a picture that has both labels. leave-out: neither train nor
            choose on it. keep: use it.
        seed: Seed of the division of the groups.

    Returns:
        The folds' numbers, from 1. It is the only value, because kfp.local loops over no other.
    """
    from components.shared.run.step import step

    with step("folds", splits, folds_metrics):
        from pathlib import Path

        from components.shared.data.dataset import SPLIT, ImageDataset, twins_in_training
        from components.shared.storage.files import write_atomically
        from components.split.logic import make_folds, make_source_folds
        from components.split.report import write_folds_report

        images = ImageDataset(dataset.path)
        keep = contradicted == "keep"
        if folds_by == "source":
            made = make_source_folds(images, validation_share, seed, keep_contradicted=keep)
        else:
            made = make_folds(images, folds, validation_share, seed, keep_contradicted=keep)
        for fold, split in enumerate(made, start=1):
            write_atomically(Path(splits.path) / f"fold-{fold}" / SPLIT, split.model_dump_json())
            held_out = split.part("held_out")
            twins = twins_in_training(images.duplicate_groups, split.part("train"), held_out)
            folds_metrics.log_metric(f"fold_{fold}_images", len(held_out))
            folds_metrics.log_metric(f"fold_{fold}_twins_in_training", twins)
        write_folds_report(folds_report.path, images, made)
        return list(range(1, len(made) + 1))
