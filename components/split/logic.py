"""Dividing a dataset into train, validation and held-out parts, once or fold by fold."""

from typing import get_args

import numpy as np

from components.shared.data.classes import CLASSES, STRANGER, STRANGERS
from components.shared.data.dataset import PARTS, ImageDataset, Split, Strategy
from components.shared.errors import UserError


def make_split(
    dataset: ImageDataset,
    strategy: Strategy = "grouped",
    held_out_share: float = 0.2,
    validation_share: float = 0.2,
    seed: int = 0,
    *,
    keep_contradicted: bool = False,
) -> Split:
    """Divides a dataset.

    Args:
        dataset: What to divide.
        strategy: `grouped` keeps near-duplicates together. `by-name` is what the reference
            implementation did: the first files of each class by name are validation and held
            out at once, twins notwithstanding.
        held_out_share: Share of all images that no choice may ever be based on, 0..1.
        validation_share: Share of the rest that values, epochs and thresholds are chosen on,
            0..1; `by-name` has no use for it.
        seed: Decides which groups go where; `by-name` has no use for it.
        keep_contradicted: Whether images whose picture another class has too may be in train and
            validation; `by-name` keeps them.

    Returns:
        The split.

    Raises:
        UserError: There is no such strategy, or the dataset is too small for a part to hold both
            classes.
    """
    if strategy not in get_args(Strategy):
        raise UserError(
            f"split: '{strategy}' is not a strategy; give {' or '.join(get_args(Strategy))}"
        )
    _refuse_strangers(dataset)
    if strategy == "grouped":
        validation = (1 - held_out_share) * validation_share
        shares = (1 - held_out_share - validation, validation, held_out_share)
        part_of = assign_groups(dataset.groups, dataset.labels, shares, seed)
    else:
        part_of = np.where(_first_by_name(dataset, held_out_share), 2, 0)
    parts = {name: np.flatnonzero(part_of == i) for i, name in enumerate(PARTS)}
    if strategy == "by-name":
        parts["validation"] = parts["held_out"]
    elif not keep_contradicted:
        _leave_out_contradicted(dataset, parts)
    return _split(dataset, strategy, seed, parts)


def make_folds(
    dataset: ImageDataset,
    folds: int = 5,
    validation_share: float = 0.2,
    seed: int = 0,
    *,
    keep_contradicted: bool = False,
) -> list[Split]:
    """Divides a dataset for grouped, stratified cross-validation.

    Args:
        dataset: What to divide.
        folds: How many; each image is held out in one of them, with all its near-duplicates.
        validation_share: Share of what a fold does not hold out that epoch, temperature and
            threshold are chosen on, 0..1.
        seed: Decides which groups go where.
        keep_contradicted: As for `make_split`.

    Returns:
        A split for each fold.

    Raises:
        UserError: There are fewer than two folds, or the dataset is too small for a part of each
            fold to hold both classes.
    """
    if folds < 2:
        raise UserError(f"folds is {folds}: give at least 2 (5 is usual)")
    _refuse_strangers(dataset)
    fold_of = assign_groups(dataset.groups, dataset.labels, (1 / folds,) * folds, seed)
    return [
        _fold(
            dataset,
            fold_of == fold,
            fold_of != fold,
            validation_share,
            seed,
            keep_contradicted=keep_contradicted,
        )
        for fold in range(folds)
    ]


def make_source_folds(
    dataset: ImageDataset,
    validation_share: float = 0.2,
    seed: int = 0,
    *,
    keep_contradicted: bool = False,
) -> list[Split]:
    """Divides a dataset so that each fold holds out one source whole.

    A group may have images of several sources: near-duplicates, or one patient's. All that are of
    the fold's source are held out; the others are in no part of this fold, because a network that
    learned them, or was chosen by them, would know some of what it is measured on.

    Args:
        dataset: What to divide, of two sources or more.
        validation_share: As for `make_folds`.
        seed: Decides which groups validate.
        keep_contradicted: As for `make_split`.

    Returns:
        A split for each source, in the order of the manifest.

    Raises:
        UserError: There is only one source, or a part of a fold would lack a class.
    """
    _refuse_strangers(dataset)
    sources = dataset.manifest.sources
    if len(sources) < 2:
        raise UserError(
            "folds_by source: there is only one source; give several, or folds_by group"
        )
    for number, source in enumerate(sources):
        for label, name in enumerate(CLASSES):
            if not (dataset.labels[dataset.sources == number] == label).any():
                raise UserError(
                    f"folds_by source: the source {source.name} has no '{name}' image, so nothing "
                    "can be measured on it alone; give one folder or zip that has both classes"
                )
    splits = []
    for number, source in enumerate(sources):
        here = dataset.sources == number
        others = ~np.isin(dataset.groups, dataset.groups[here])
        splits.append(
            _fold(
                dataset,
                here,
                others,
                validation_share,
                seed,
                keep_contradicted=keep_contradicted,
                source=source.name,
            )
        )
    return splits


def _refuse_strangers(dataset: ImageDataset) -> None:
    strangers = int(np.sum(dataset.labels == STRANGER))
    if strangers:
        raise UserError(
            f"split: {strangers:,} images are labelled '{STRANGERS}': this dataset was ingested to "
            "judge a model by; ingest it for training"
        )


def _fold(
    dataset: ImageDataset,
    held_out: np.ndarray,
    others: np.ndarray,
    validation_share: float,
    seed: int,
    *,
    keep_contradicted: bool,
    source: str | None = None,
) -> Split:
    """Returns a fold; what it does not hold out is divided by group. Both masks are bool [n]."""
    rest = np.flatnonzero(others)
    shares = (1 - validation_share, validation_share)
    validates = assign_groups(dataset.groups[rest], dataset.labels[rest], shares, seed) == 1
    parts = {
        "train": rest[~validates],
        "validation": rest[validates],
        "held_out": np.flatnonzero(held_out),
    }
    if not keep_contradicted:
        _leave_out_contradicted(dataset, parts)
    instead = "other shares" if source else "fewer folds or other shares"
    return _split(dataset, "grouped", seed, parts, source, instead)


def _leave_out_contradicted(dataset: ImageDataset, parts: dict[str, np.ndarray]) -> None:
    """Takes from train and validation what two classes claim.

    It is done after groups were divided, so that the held-out part is the same either way.
    """
    for name in ("train", "validation"):
        parts[name] = parts[name][~dataset.contradicted[parts[name]]]


def _split(
    dataset: ImageDataset,
    strategy: Strategy,
    seed: int,
    parts: dict[str, np.ndarray],
    source: str | None = None,
    instead: str = "other shares",
) -> Split:
    """Returns the split of these parts; each must hold both classes."""
    for name, indices in parts.items():
        for label, class_name in enumerate(CLASSES):
            if not (dataset.labels[indices] == label).any():
                why = ""
                if strategy == "grouped":
                    joined = _joined(dataset, parts["held_out"], source) if source else ""
                    why = joined or _grouping(dataset, label)
                raise UserError(
                    f"split {strategy}: no '{class_name}' image is left for the {name} part; "
                    f"{why}give images of more patients, or {instead}"
                )
    return Split(
        strategy=strategy,
        seed=seed,
        dataset_digest=dataset.digest,
        train=tuple(parts["train"].tolist()),
        validation=tuple(parts["validation"].tolist()),
        held_out=tuple(parts["held_out"].tolist()),
        source=source,
    )


def _joined(dataset: ImageDataset, held_out: np.ndarray, source: str) -> str:
    """Says how many images of other sources are of the held-out one's groups; nothing if none."""
    alike = int(np.isin(dataset.groups, dataset.groups[held_out]).sum()) - len(held_out)
    if not alike:
        return ""
    return (
        f"while {source} is held out, {alike:,} of the {len(dataset) - len(held_out):,} images of "
        "other sources are left out, because they share a patient's ID or a near-duplicate with "
        "it; if one ID means different people, give the labels a column patient with names such "
        "as Ulm-17; otherwise "
    )


def _grouping(dataset: ImageDataset, label: int) -> str:
    """Says that groups stay whole, and how many hold a class."""
    count = len(np.unique(dataset.groups[dataset.labels == label]))
    return (
        "all images of one patient, and near-duplicates, go to one part together, and the "
        f"'{CLASSES[label]}' images make {count:,} such group{'s' if count != 1 else ''}; "
    )


def assign_groups(
    groups: np.ndarray, labels: np.ndarray, shares: tuple[float, ...], seed: int
) -> np.ndarray:
    """Gives each group to one part so that every part gets its share of every class.

    Groups come in order of size, ties at random, and each goes where it leaves the parts nearest
    to their targets: the many single images that come last even out what large groups left.

    Args:
        groups: int64 [n].
        labels: int8 [n].
        shares: Of each part; they add up to 1.
        seed: Decides the order among groups of one size.

    Returns:
        int64 [n]: the part of each image.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    content = np.zeros((group_of.max(initial=-1) + 1, labels.max(initial=0) + 1))
    np.add.at(content, (group_of, labels), 1)
    room = np.outer(shares, content.sum(axis=0))  # images that each part still lacks, by class
    target = np.maximum(room.copy(), 1e-9)
    shuffled = np.random.default_rng(seed).permutation(len(content))
    order = shuffled[np.argsort(-content.sum(axis=1)[shuffled], kind="stable")]
    part_of_group = np.empty(len(content), dtype=np.int64)
    for group in order:
        need = content[group] > 0
        # How full each part would be: the emptiest one, by its own measure, takes the group.
        filled = ((content[group] - room) / target)[:, need].max(axis=1)
        part = int(np.argmin(filled))
        part_of_group[group] = part
        room[part] -= content[group]
    return part_of_group[group_of]


def _first_by_name(dataset: ImageDataset, share: float) -> np.ndarray:
    """Returns bool [n]: the first share of each class in order of path, as Keras takes them."""
    chosen = np.zeros(len(dataset), dtype=bool)
    paths = np.array([record.path for record in dataset.manifest.images])
    for label in range(len(CLASSES)):
        members = np.flatnonzero(dataset.labels == label)
        by_name = members[np.argsort(paths[members], kind="stable")]
        chosen[by_name[: int(share * len(by_name))]] = True
    return chosen
