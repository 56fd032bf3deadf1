"""How much of the machine's own memory nobody uses."""

from __future__ import annotations

import math
import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
#: Where the limit of a container or of a unit of systemd stands (cgroup v2): this process's own, and those around it.
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def free_bytes() -> int:
    """What can be had without swapping, within the limits of the cgroups that we are in."""
    return int(min(_available(), *map(_left_in, _own_cgroups())))


def _available() -> float:
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _own_cgroups() -> list[Path]:
    try:
        path = OWN_CGROUP.read_text().rpartition("::")[2].strip()
    except OSError:
        path = "/"
    own = CGROUPS / path.lstrip("/")
    return [own, *(each for each in own.parents if each.is_relative_to(CGROUPS))]


def _left_in(cgroup: Path) -> float:
    """What a cgroup may still take; what it only caches of files counts as free. Infinite where it has no limit."""
    try:
        most = (cgroup / "memory.max").read_text().strip()
        if most == "max":
            return math.inf
        fields = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return int(most) - int((cgroup / "memory.current").read_text()) + int(fields.get("inactive_file", 0))
    except (OSError, ValueError):
        return math.inf


def peak_bytes() -> int:
    """The most that this process has had."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
