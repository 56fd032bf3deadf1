"""What is printed of measurements: medians, how noisy they were, and whether a goal was met."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["Row", "machine", "median", "noise", "percentile", "show"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None  #: None where there is no goal


def noise(values: Sequence[float]) -> str:
    """Half the range of repeated measurements, of their median: "± 7 %"."""
    middle = median(values)
    return f"± {50 * (max(values) - min(values)) / middle:.0f} %" if middle else "± 0"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(len(ordered) * percent / 100) - 1))]


def machine() -> str:
    """What this was measured on, and how busy that was before we came."""
    model = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {model or platform.machine()}; load average {load:.1f}; Python {platform.python_version()}"


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def show(title: str, rows: Sequence[Row], *, measured_on: str) -> int:
    """Print a table. Returns the exit status: 1 when a goal was missed."""
    widths = [max(len(getattr(row, column)) for row in rows) for column in ("what", "figure", "goal")]
    print(f"\n{title}\n{measured_on}\n")
    for row in rows:
        verdict = {None: "", True: "met", False: "MISSED"}[row.met]
        cells = (row.what.ljust(widths[0]), row.figure.rjust(widths[1]), row.goal.ljust(widths[2]), verdict)
        print("  ".join(cells).rstrip())
    return int(any(row.met is False for row in rows))
