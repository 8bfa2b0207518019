"""How a canary does: what its probes found, and the verdict on it."""

import statistics
from dataclasses import dataclass, field

from components.deploy.served import Probe
from components.shared.reports.numbers import percent
from components.shared.run.rollout_plan import Plan


@dataclass
class Tally:
    """What the probes of a soak found.

    A probe that nobody answered counts against the canary: nobody can tell whose it was.

    Attributes:
        version: The canary's.
        seconds: Of each of its answers.
        faults: Why each of its other probes failed.
        others: How many probes another version answered.
    """

    version: int
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    others: int = 0

    def add(self, probe: Probe) -> None:
        """Counts a probe."""
        if probe.fault or (probe.version == self.version and probe.mismatch):
            self.faults.append(probe.fault or probe.mismatch)
        elif probe.version == self.version:
            self.seconds.append(probe.seconds)
        else:
            self.others += 1

    @property
    def probes(self) -> int:
        """How many probes say something of the canary."""
        return len(self.seconds) + len(self.faults)

    @property
    def error_rate(self) -> float:
        """The share of them that failed, 0..1."""
        return len(self.faults) / max(self.probes, 1)

    @property
    def latency(self) -> float:
        """Seconds that 95 of 100 answers stayed below."""
        if len(self.seconds) < 2:
            return max(self.seconds, default=0.0)
        return statistics.quantiles(self.seconds, n=20, method="inclusive")[-1]

    def __str__(self) -> str:
        """Returns the figures in one line."""
        return (
            f"{self.probes} probes of version {self.version}, {percent(self.error_rate)} failed, "
            f"95 of 100 answers within {self.latency * 1000:.0f} ms; "
            f"{self.others} answers of another version"
        )


def exceeds_error_budget(tally: Tally, plan: Plan) -> bool:
    """Returns whether so many probes failed that even a perfect rest would not help."""
    return len(tally.faults) > plan.max_error_rate * plan.soak_seconds / plan.probe_seconds


def verdict(tally: Tally, plan: Plan) -> str:
    """Returns why a canary is not good enough; empty where it is."""
    if tally.error_rate > plan.max_error_rate:
        return (
            f"{percent(tally.error_rate)} of the canary's {tally.probes} probes failed, at most "
            f"{percent(plan.max_error_rate)} may; the last: {tally.faults[-1]}"
        )
    if tally.probes < plan.min_canary_answers:
        return (
            f"the canary answered {tally.probes} of {tally.probes + tally.others} probes, too few "
            f"to judge it by (less than {plan.min_canary_answers}); soak longer, give it a "
            "greater share, or ask where the traffic is split"
        )
    if tally.latency > plan.max_latency_seconds:
        return (
            f"95 of 100 of the canary's answers take up to {tally.latency:.3g} s, more than "
            f"{plan.max_latency_seconds:g} s"
        )
    return ""
