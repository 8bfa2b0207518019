"""Is the model asked about images like those it was measured on? Prometheus' counts say."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from components.drift.prometheus import Prometheus
from components.drift.results import Compared, Drift
from components.drift.stability import Sample, adjusted, compare
from components.shared.errors import UserError
from components.shared.model_folder.drift_reference import Quantity
from components.shared.model_folder.reader import open_model_folder
from components.shared.registry.reference import version_folder
from components.shared.run.parameters import DriftRule

MIN_HOURS = 24  # fewer say too little of how alike the images of an hour are
_SEED = 0


def drift_of(model: str, rule: DriftRule, now: datetime | None = None) -> Drift:
    """Compares what a model is asked with what it was measured on.

    Args:
        model: The version: its folder, or REGISTRY#VERSION.
        rule: Which Prometheus to ask, how far to look back, and what is drift.
        now: When the window ends; None for now.

    Returns:
        What was found.

    Raises:
        UserError: There is no such version, it is older than the counts, or Prometheus cannot be
            reached or has no counts of it.
    """
    with version_folder(model) as folder:
        opened = open_model_folder(folder)
    if opened.drift is None:
        raise UserError(
            f"{model}: version {opened.version} has no drift.json, so it was registered before its "
            "answers were counted; register a model again, and serve that"
        )
    hours = 24 * rule.window_days
    end = (now or datetime.now(UTC)).replace(microsecond=0)
    quantities = opened.drift.quantities
    served = Prometheus(rule.prometheus).served(opened.digest, quantities, end, hours)
    images = {name: float(counts.sum()) for name, counts in served.items()}
    blocks = {name: int(counts.any(axis=1).sum()) for name, counts in served.items()}
    enough = [q for q in quantities if blocks[q.name] >= MIN_HOURS]
    return Drift(
        version=opened.version,
        digest=opened.digest,
        begin=end - timedelta(hours=hours),
        end=end,
        served_images=max(images.values()),
        served_hours=max(blocks.values()),
        reference_images=opened.drift.images,
        reference_groups=opened.drift.groups,
        psi_limit=rule.psi_limit,
        false_alarms=rule.false_alarms,
        undecided=""
        if enough
        else f"images were served in {max(blocks.values())} of {hours} hours, and {MIN_HOURS} are "
        "needed; look back further",
        quantities=compare_quantities(enough, served, rule),
        left_out=tuple(q.name for q in quantities if q not in enough) if enough else (),
    )


def alert(folder: str | Path) -> None:
    """Tells of drift the loudest way that a step has.

    Args:
        folder: What the drift step wrote.

    Raises:
        UserError: Always.
    """
    found = Drift.open(folder)
    raise UserError(
        f"version {found.version}: {found.verdict}; look at the run's drift report, and train "
        "again if these images are to stay"
    )


def compare_quantities(
    quantities: Sequence[Quantity],
    served: Mapping[str, np.ndarray],
    rule: DriftRule,
) -> tuple[Compared, ...]:
    """Compares each quantity; the tests' p-values hold for all of them together.

    Args:
        quantities: Of the reference.
        served: Images by quantity, in each hour and bin, [hours, bins]; at least two hours have
            some.
        rule: What is drift.
    """
    rng = np.random.default_rng(_SEED)
    shifts = [
        compare(Sample.of(np.array(q.blocks)), Sample.of(served[q.name]), rng) for q in quantities
    ]
    together = adjusted(np.array([shift.p_value for shift in shifts]))
    return tuple(
        Compared(
            name=quantity.name,
            bins=quantity.bins,
            edges=quantity.edges,
            reference=quantity.counts,
            served=tuple(served[quantity.name].sum(axis=0).tolist()),
            psi=shift.psi,
            low=shift.low,
            high=shift.high,
            by_chance=shift.by_chance,
            p_value=shift.p_value,
            adjusted_p_value=p_value,
            drifted=bool(p_value <= rule.false_alarms and shift.psi >= rule.psi_limit),
        )
        for quantity, shift, p_value in zip(quantities, shifts, together.tolist(), strict=True)
    )
