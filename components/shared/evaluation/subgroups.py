"""How good a model is at each site, and for each sequence, where the dataset knows them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.metrics import FEW_GROUPS, Interval, Predictor, share
from components.shared.evaluation.results import Evaluation, Subgroup

MAX_SHOWN = 20  # of the largest; the others are taken together
UNKNOWN, OTHERS = "unknown", "all others"


def by_site_and_sequence(
    dataset: ImageDataset, rows: np.ndarray, model: Predictor, samples: int, seed: int
) -> dict[str, tuple[Subgroup, ...]]:
    """Measures a model on each site and on each sequence, as `measure_subgroups` does.

    Returns:
        The subgroups under the names that results have: `by_site` and `by_sequence`.
    """
    names = {
        "by_site": [record.site for record in dataset.manifest.images],
        "by_sequence": [record.sequence for record in dataset.manifest.images],
    }
    return {
        kind: measure_subgroups(dataset, of_image, rows, model, samples=samples, seed=seed)
        for kind, of_image in names.items()
    }


def measure_subgroups(
    dataset: ImageDataset,
    names: Sequence[str | None],
    rows: np.ndarray,
    model: Predictor,
    *,
    samples: int,
    seed: int,
) -> tuple[Subgroup, ...]:
    """Measures a model on each subgroup of some images.

    Args:
        dataset: The images.
        names: Subgroup of every image of the dataset, such as its site; None where unknown.
        rows: Positions to measure on, int64 [n].
        model: Scores of every image.
        samples: Resamples of the groups of near-duplicates and patients behind each interval.
        seed: Of the resamples.

    Returns:
        The subgroups, the largest first, then all others, then the images of which none is known;
        nothing where none is known of any.
    """
    here = [names[row] for row in rows]
    known = Counter(name for name in here if name is not None)
    if not known:
        return ()
    ranked = sorted(known, key=lambda name: (-known[name], name))
    shown = ranked[:MAX_SHOWN] if len(ranked) > MAX_SHOWN + 1 else ranked
    position = {name: number for number, name in enumerate(shown)}
    others, unknown = len(shown), len(shown) + 1
    kind = np.array([unknown if n is None else position.get(n, others) for n in here])
    titles = [*shown, OTHERS, UNKNOWN]
    return tuple(
        _subgroup(titles[number], dataset, rows[kind == number], model, samples=samples, seed=seed)
        for number in np.unique(kind)
    )


def _subgroup(
    name: str,
    dataset: ImageDataset,
    rows: np.ndarray,
    model: Predictor,
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
    )


def min_by_subgroup(evaluation: Evaluation) -> dict[str, float]:
    """Returns the worst value of each measure among the subgroups that are large enough.

    Args:
        evaluation: Of one model.

    Returns:
        Numbers by name, such as `min_accuracy_by_site`; none where no site is known.
    """
    found: dict[str, float] = {}
    for kind, subgroups in (("site", evaluation.by_site), ("sequence", evaluation.by_sequence)):
        for subgroup in subgroups:
            for measure in ("accuracy", "sensitivity", "specificity"):
                interval: Interval | None = getattr(subgroup, measure)
                if interval and subgroup.groups >= FEW_GROUPS:
                    name = f"min_{measure}_by_{kind}"
                    found[name] = min(found.get(name, 1.0), interval.value)
    return found


def subgroup_sentences(evaluation: Evaluation) -> list[str]:
    """Says at which sites, and for which sequences, the model is worse than on the whole.

    Args:
        evaluation: Of one model.

    Returns:
        A sentence for each whose interval lies below the accuracy on the held-out part.
    """
    whole = evaluation.held_out.model.accuracy.value
    kinds = ("Site", evaluation.by_site), ("Sequence", evaluation.by_sequence)
    return [
        f"{kind} {found.name}: accuracy is {found.accuracy.value:.1%} ({found.accuracy.low:.1%} "
        f"to {found.accuracy.high:.1%}), below the {whole:.1%} of the whole held-out part."
        for kind, subgroups in kinds
        for found in subgroups
        if found.groups >= FEW_GROUPS and found.accuracy.high < whole
    ]
