"""What the container may use, as its cgroup says."""

import math
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def available_cpus(root: Path = ROOT) -> int:
    """Returns how many CPUs this process may use: its cgroup's limit, or what it is bound to.

    Args:
        root: Where the cgroups are mounted, of version 1 or 2.

    Returns:
        At least 1; a part of a CPU counts as one.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, period = _quota(root)
    limit = math.ceil(quota / period) if quota > 0 and period > 0 else bound or 1
    return max(1, min(bound or 1, limit))


def _quota(root: Path) -> tuple[int, int]:
    """Returns CPU time and the period it is for, of version 2 or 1; 0 where there is no limit."""
    versions: list[tuple[str, ...]] = [("cpu.max",)]
    for folder in ("cpu", "cpu,cpuacct"):
        versions.append((f"{folder}/cpu.cfs_quota_us", f"{folder}/cpu.cfs_period_us"))
    for files in versions:
        try:
            quota, period = " ".join((root / file).read_text() for file in files).split()
            return int(quota), int(period)
        except (OSError, ValueError):  # another version, or "max"
            continue
    return 0, 0
