"""How good a model is at each site, for each sequence and so on, where the dataset knows them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import SUBGROUPS, ImageDataset
from components.shared.evaluation.metrics import (
    FEW_GROUPS,
    Interval,
    Predictor,
    bootstrap,
    point_estimate,
    share,
    with_intervals,
)
from components.shared.evaluation.results import BySubgroup, Evaluation, Subgroup
from components.shared.reports.numbers import percent

MAX_SHOWN = 20  # of the largest; the others are taken together
UNKNOWN, OTHERS = "unknown", "all others"


def by_kind(
    dataset: ImageDataset,
    rows: np.ndarray,
    model: Predictor,
    samples: int,
    seed: int,
    shares: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> BySubgroup:
    """Measures a model on each site, each sequence and so on, as `measure_subgroups` does."""
    names = {kind: [getattr(r, kind) for r in dataset.manifest.images] for kind in SUBGROUPS}
    found = {
        f"by_{kind}": measure_subgroups(
            dataset, of_image, rows, model, shares=shares, samples=samples, seed=seed
        )
        for kind, of_image in names.items()
    }
    return BySubgroup(**found)


def measure_subgroups(
    dataset: ImageDataset,
    names: Sequence[str | None],
    rows: np.ndarray,
    model: Predictor,
    *,
    shares: Mapping[str, np.ndarray] = MappingProxyType({}),
    samples: int,
    seed: int,
) -> tuple[Subgroup, ...]:
    """Measures a model on each subgroup of some images.

    Args:
        dataset: The images.
        names: Subgroup of every image of the dataset, such as its site; None where unknown.
        rows: Positions to measure on, int64 [n].
        model: Scores of every image.
        shares: By their field in `Subgroup`, such as `flagged`: whether every image counts, bool.
        samples: Resamples of the groups of near-duplicates and patients behind each interval.
        seed: Of the resamples.

    Returns:
        The subgroups in the order of `partition`.
    """
    return tuple(
        _subgroup(title, dataset, part, model, shares, samples=samples, seed=seed)
        for title, part in partition(names, rows)
    )


def partition(names: Sequence[str | None], rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Divides some images into subgroups.

    Args:
        names: Subgroup of every image of the dataset, such as its site; None where unknown.
        rows: Positions of the images, int64 [n].

    Returns:
        Name and positions of each subgroup, the largest first, then all others, then the images
        of which none is known; nothing where none is known of any.
    """
    here = [names[row] for row in rows]
    known = Counter(name for name in here if name is not None)
    if not known:
        return []
    ranked = sorted(known, key=lambda name: (-known[name], name))
    shown = ranked[:MAX_SHOWN] if len(ranked) > MAX_SHOWN + 1 else ranked
    position = {name: number for number, name in enumerate(shown)}
    others, unknown = len(shown), len(shown) + 1
    kind = np.array([unknown if n is None else position.get(n, others) for n in here])
    titles = [*shown, OTHERS, UNKNOWN]
    return [(titles[number], rows[kind == number]) for number in np.unique(kind)]


def _subgroup(
    name: str,
    dataset: ImageDataset,
    rows: np.ndarray,
    model: Predictor,
    shares: Mapping[str, np.ndarray],
    *,
    samples: int,
    seed: int,
) -> Subgroup:
    tumor = dataset.labels[rows] == TUMOR
    right = (model.scores[rows] >= model.threshold) == tumor
    groups = dataset.groups[rows]

    def of(chosen: np.ndarray) -> Interval | None:
        return share(right[chosen], groups[chosen], samples, seed) if chosen.any() else None

    return Subgroup(
        name=name,
        images=len(rows),
        groups=len(np.unique(groups)),
        tumor=int(tumor.sum()),
        accuracy=share(right, groups, samples, seed),
        sensitivity=of(tumor),
        specificity=of(~tumor),
        **{name: share(counts[rows], groups, samples, seed) for name, counts in shares.items()},
        auroc=_auroc(dataset.labels[rows], groups, model.on(rows), samples, seed),
    )


def _auroc(
    labels: np.ndarray, groups: np.ndarray, model: Predictor, samples: int, seed: int
) -> Interval | None:
    if len(np.unique(labels)) < len(CLASSES):
        return None
    drawn = bootstrap(labels, groups, [model], samples, seed)[0]
    return with_intervals(point_estimate(labels, model), drawn, labels, groups).auroc


def min_by_subgroup(evaluation: Evaluation) -> dict[str, float]:
    """Returns the worst value of each measure among the subgroups that are large enough.

    Args:
        evaluation: Of one model.

    Returns:
        Numbers by name, such as `min_accuracy_by_site`; none where no site is known.
    """
    found: dict[str, float] = {}
    for kind, subgroups in evaluation.subgroups().items():
        for subgroup in subgroups:
            for measure in ("accuracy", "sensitivity", "specificity"):
                interval: Interval | None = getattr(subgroup, measure)
                if interval and subgroup.groups >= FEW_GROUPS:
                    name = f"min_{measure}_by_{kind}"
                    found[name] = min(found.get(name, 1.0), interval.value)
    return found


def subgroup_tables(result: BySubgroup) -> list[tuple[str, tuple[Subgroup, ...]]]:
    """Returns the heading and the subgroups of each table that a report shows."""
    return [(f"By {SUBGROUPS[kind]}", found) for kind, found in result.subgroups().items()]


def subgroup_sentences(evaluation: Evaluation) -> list[str]:
    """Says at which sites, for which sequences and so on the model is worse than on the whole.

    Args:
        evaluation: Of one model.

    Returns:
        A sentence for each whose interval lies below the accuracy on the held-out part.
    """
    whole = evaluation.held_out.model.accuracy.value
    return [
        f"{SUBGROUPS[kind].capitalize()} {found.name}: accuracy is {percent(found.accuracy.value)} "
        f"({percent(found.accuracy.low)} to {percent(found.accuracy.high)}), below the "
        f"{percent(whole)} of the whole held-out part."
        for kind, subgroups in evaluation.subgroups().items()
        for found in subgroups
        if found.groups >= FEW_GROUPS and found.accuracy.high < whole
    ]
