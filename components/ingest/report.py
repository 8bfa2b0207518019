"""The data report: what the files are, what repeats, and what gives the class away."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from components.shared.data.classes import CLASSES, STRANGERS
from components.shared.data.dataset import SUBGROUPS, ImageDataset, ImageRecord
from components.shared.evaluation.floors import metadata_scores
from components.shared.evaluation.metrics import (
    Interval,
    Predictor,
    bootstrap,
    point_estimate,
    with_intervals,
)
from components.shared.near_duplicates.matcher import correlation
from components.shared.reports import palette
from components.shared.reports.facts import facts_of
from components.shared.reports.html import picture, plot, write_report

FOLDS = 5
_IMAGES_GUESSED = 20_000
_SAMPLES_A_CLASS = 12
_LARGEST_GROUPS = 6
_PICTURES_A_GROUP = 10
_MIXED_GROUPS = 20
_QUARANTINED_SHOWN = 50
_NAMES_SHOWN = 50
_MOST_BYTES = 6_000  # of a picture


class MetadataAccuracy(NamedTuple):
    """How often width, height, mode and format alone give the class, in cross-validation."""

    random_folds: Interval
    grouped_folds: Interval


class Group(NamedTuple):
    """A group of near-duplicates, for showing."""

    images: int
    classes: str
    pictures: list[str]
    min_correlation: float


class Claim(NamedTuple):
    """What one class holds of a group of near-duplicates that several classes claim."""

    label: str
    images: int
    contradicted: int
    path: str  # of the first that is shown
    pictures: list[str]


def write_data_report(
    path: str | Path, dataset: ImageDataset, seed: int = 0
) -> MetadataAccuracy | None:
    """Writes the report as self-contained HTML below 2 MB.

    Args:
        path: The HTML file.
        dataset: The ingested dataset.
        seed: Of the samples shown and of the cross-validation.

    Returns:
        The accuracy of metadata alone, or None where there are too few images to tell.
    """
    manifest = dataset.manifest
    rng = np.random.default_rng(seed)
    metadata = metadata_accuracy(dataset, seed)
    sizes = np.bincount(dataset.duplicate_groups)
    write_report(
        path,
        "ingest/report.html.j2",
        facts_of(dataset),
        manifest=manifest,
        classes=[(name, int((dataset.labels == i).sum())) for i, name in enumerate(CLASSES)],
        groups=len(sizes),
        repeated=int(sizes[sizes > 1].sum()),
        identical=len({_file(r) for r in manifest.images})
        - len({r.sha256 for r in manifest.images}),
        wrong_extensions=len({_file(r) for r in manifest.images if r.wrong_extension}),
        metadata=metadata,
        folds=FOLDS,
        samples=[
            (name, [picture(p, 150, _MOST_BYTES) for p in dataset.read(_some_of(dataset, i, rng))])
            for i, name in enumerate(CLASSES)
        ],
        patients=dataset.count_patients(np.arange(len(dataset))),
        of_unknown_patient=int((dataset.patients < 0).sum()),
        across=int(dataset.reaches_other_sources.sum()),
        known={name: table for kind, name in SUBGROUPS.items() if (table := _known(dataset, kind))},
        modes=_table(dataset, "mode"),
        formats=_table(dataset, "format"),
        sizes_plot=plot(_draw_sizes(dataset)),
        groups_plot=plot(_draw_groups(sizes)),
        largest=[
            _shown(dataset, int(g))
            for g in np.argsort(-sizes, kind="stable")[:_LARGEST_GROUPS]
            if sizes[g] > 1
        ],
        contradicted=[_contradiction(dataset, g) for g in manifest.mixed_groups[:_MIXED_GROUPS]],
        quarantined=manifest.quarantined[:_QUARANTINED_SHOWN],
    )
    return metadata


def metadata_accuracy(dataset: ImageDataset, seed: int = 0) -> MetadataAccuracy | None:
    """Cross-validates the guess from metadata, with random folds and with folds of whole groups.

    Of many images a random sample is looked at: what the guess is worth does not change with more.

    Args:
        dataset: The images.
        seed: Of sample, folds and guesser.

    Returns:
        Both accuracies with 95% intervals by duplicate group; None where a class has fewer
        images or groups than there are folds.
    """
    chosen = np.arange(len(dataset))
    if len(dataset) > _IMAGES_GUESSED:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(dataset), _IMAGES_GUESSED, replace=False))
    labels, groups = dataset.labels[chosen], dataset.groups[chosen]
    for label in range(len(CLASSES)):
        if len(np.unique(groups[labels == label])) < FOLDS:
            return None
    accuracies = []
    for folds, whole in ((StratifiedKFold, None), (StratifiedGroupKFold, groups)):
        scores = np.empty(len(chosen))
        divided = folds(FOLDS, shuffle=True, random_state=seed).split(labels, labels, whole)
        for train, test in divided:
            scores[test] = metadata_scores(dataset, chosen[train], chosen[test], seed)
        guess = Predictor(scores, 0.5)
        resamples = bootstrap(labels, groups, [guess], 1000, seed)[0]
        measured = with_intervals(point_estimate(labels, guess), resamples, labels, groups)
        accuracies.append(measured.accuracy)
    return MetadataAccuracy(*accuracies)


def _file(record: ImageRecord) -> str:
    """Returns the path of the file that an image, or a slice, is from."""
    is_volume = record.format in ("DICOM", "NIfTI")
    return re.sub(r"#\d+\Z", "", record.path) if is_volume else record.path


def _some_of(dataset: ImageDataset, label: int, rng: np.random.Generator) -> np.ndarray:
    """Returns positions of a few images of a class, no two of one group."""
    members = rng.permutation(np.flatnonzero(dataset.labels == label))
    _, first = np.unique(dataset.duplicate_groups[members], return_index=True)
    return members[np.sort(first)[:_SAMPLES_A_CLASS]]


def _table(dataset: ImageDataset, field: str) -> list[tuple[str, list[int]]]:
    """Returns each value of a field with its count in each class, the most frequent first."""
    counts = Counter((getattr(r, field), r.label) for r in dataset.manifest.images)
    totals = Counter(getattr(r, field) for r in dataset.manifest.images)
    return [
        (value, [counts[value, label] for label in range(len(CLASSES))])
        for value, _ in totals.most_common()
    ]


def _known(dataset: ImageDataset, field: str) -> list[tuple[str, list[int]]]:
    """Returns the table of what is known of some images only; empty where it is known of none."""
    table = _table(dataset, field)
    if all(value is None for value, _ in table):
        return []
    rows = [(value or "unknown", counts) for value, counts in table[:_NAMES_SHOWN]]
    if rest := table[_NAMES_SHOWN:]:
        rows.append((f"{len(rest):,} others", np.sum([c for _, c in rest], axis=0).tolist()))
    return rows


def _shown(dataset: ImageDataset, group: int) -> Group:
    members = np.flatnonzero(dataset.duplicate_groups == group)
    spread = members[
        np.linspace(0, len(members) - 1, min(_PICTURES_A_GROUP, len(members))).astype(int)
    ]
    classes = [(*CLASSES, STRANGERS)[label] for label in np.unique(dataset.labels[members])]
    thumbnails = dataset.thumbnails
    lowest = min(correlation(thumbnails[members[0]], thumbnails[i]) for i in members)
    return Group(
        len(members),
        " and ".join(classes),
        [picture(p, 96, _MOST_BYTES) for p in dataset.read(spread)],
        lowest,
    )


def _contradiction(dataset: ImageDataset, group: int) -> list[Claim]:
    """Returns what each class holds of a group, contradicted images first."""
    members = np.flatnonzero(dataset.duplicate_groups == group)
    claims = []
    for label in np.unique(dataset.labels[members]):
        its = members[dataset.labels[members] == label]
        its = its[np.argsort(~dataset.contradicted[its], kind="stable")]
        shown = its[: _PICTURES_A_GROUP // 2]
        claims.append(
            Claim(
                (*CLASSES, STRANGERS)[label],
                len(its),
                int(dataset.contradicted[its].sum()),
                dataset.manifest.images[shown[0]].path,
                [picture(pixels, 96, _MOST_BYTES) for pixels in dataset.read(shown)],
            )
        )
    return claims


def _draw_sizes(dataset: ImageDataset) -> Figure:
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.subplots()
    colors = (palette.TUMOR, palette.HEALTHY)
    for label, name in enumerate(CLASSES):
        sides = Counter((r.width, r.height) for r in dataset.manifest.images if r.label == label)
        widths, heights = zip(*sides, strict=True)
        area = [12 + 3 * count for count in sides.values()]
        axes.scatter(
            widths, heights, s=area, color=colors[label], alpha=0.6, label=name, linewidth=0
        )
    axes.set(
        xlabel="width, pixels", ylabel="height, pixels", title="Sizes (area: number of images)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(frameon=False, loc="upper left")
    for handle in legend.legend_handles:
        handle.set_sizes([40])  # type: ignore[union-attr]  # scatter handles have sizes
    return figure


def _draw_groups(sizes: np.ndarray) -> Figure:
    """Draws how many images stand in groups of each size."""
    figure = Figure(figsize=(4.6, 3.6))
    axes = figure.subplots()
    edges = [(1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, 49), (50, int(sizes.max()))]
    heights = [int(sizes[(sizes >= low) & (sizes <= high)].sum()) for low, high in edges]
    names = [f"{low}" if low == high else f"{low}–{high}" for low, high in edges[:-1]]
    names.append(f"{edges[-1][0]}+")
    bars = axes.bar(names, heights, color=[palette.GREY] + [palette.ACCENT] * (len(edges) - 1))
    axes.bar_label(bars, fontsize=8, padding=2)
    axes.set(xlabel="images in the group", ylabel="images", title="Near-duplicate groups")
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
