"""How long these tests take, which may run beside each other, and which a change has to pass in some three minutes.

Prints the files, those that the change is about first, then the quick ones; on standard error, what is left out.
`make test-real` runs them all.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
BUDGET_S = 200
#: Three files at once, most of which wait most of the time, get done on two cores what two would that do not wait.
AT_ONCE = 2
#: How long a file takes by itself on two cores, in seconds, and what it is about.
FILES = {
    "test_every_client.py": (100, "inbox/|outbox/|names|left_alone|disk/files|acceptance|taking"),
    "test_habits.py": (25, "inbox/|names|left_alone|disk/files"),
    "test_rsync.py": (40, "inbox/|outbox/|disk/folders|spool/|acceptance|taking"),
    "test_syncthing.py": (170, "inbox/|outbox/|names|left_alone|acceptance|taking"),
    "test_daemon_on_a_mount.py": (95, "inbox/|outbox/|disk/"),
    "test_two_daemons.py": (45, "owner|inbox/thread|disk/folders"),
    "test_systemd.py": (175, "systemd/|report/|supervise|config/"),
    "test_pages.py": (130, "systemd/|config/|cli/|client/"),
    "test_pages_for_people.py": (60, "cli/|client/"),
    "test_faults.py": (250, "disk/files|outbox/|inbox/|spool/|supervise|actor|guard"),
    "test_power_cut.py": (70, "disk/files|spool/|outbox/"),
    "test_memory.py": (10, "render/|executor/|rendering|fleet"),
    "test_clocks.py": (12, "clock|line|spool/"),
    "test_hostile.py": (230, "request/|names|inbox/|disk/files"),
    "test_exiftool.py": (5, "render/"),
    "test_shells.py": (12, "cli/arguments|cli/completion|systemd/completions"),
    "test_gallery_in_a_browser.py": (115, "gallery/|http/files"),
    "test_prometheus.py": (40, "http/|report/"),
    "test_container.py": (210, "systemd/|config/load|service/supervise"),
    "test_dist.py": (180, "cli/demo|config/load"),
    "test_soak.py": (30, "spool/|service/"),
    "test_a_renderer_that_stands_still.py": (45, "fleet|seats|rendering|dispatch"),
    "test_ray.py": (420, "cluster/|executor/ray"),
    "test_ray_systemd.py": (120, "cluster/|executor/ray"),
    "test_ray_pages.py": (120, "cluster/|systemd/ray"),
}
UNKNOWN_S = 60  #: a file that is not in the table
#: Files that cannot run beside each other, by what they share: a machine boots in its starter's control group.
TOGETHER = dict.fromkeys(("test_systemd.py", "test_pages.py", "test_ray_systemd.py", "test_ray_pages.py"), "systemd")
#: Files that share nothing, not even within themselves: each of their tests runs where there is room.
APART = ("test_faults.py", "test_hostile.py", "test_power_cut.py", "test_memory.py", "test_clocks.py", "test_soak.py")


def main() -> None:
    changed = changed_files()
    files = sorted(path.name for path in HERE.glob("test_*.py"))
    files.sort(key=lambda name: (-relevance(name, changed), seconds(name)))
    chosen: list[str] = []
    left_out: list[str] = []
    for name in files:
        fits = together_s([*chosen, name]) <= BUDGET_S
        (chosen if fits else left_out).append(name)
    sys.stderr.write(f"Left out here, run by `make test-real`: {' '.join(left_out) or 'nothing'}\n")
    sys.stdout.write(" ".join(f"tests/real/{name}" for name in chosen) + "\n")


def changed_files() -> list[str]:
    """What the last commit changed, and what is not committed yet; everything counts where there is no last commit."""
    difference = subprocess.run(
        ["git", "diff", "--name-only", "HEAD~1"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return difference.stdout.split() if difference.returncode == 0 else []


def relevance(name: str, changed: list[str]) -> int:
    """How many of the changed files a test is about; a test that was itself changed comes first."""
    about = re.compile(rf"daemon/darkroom/(.*/)?({FILES[name][1]})[^/]*$" if name in FILES else "$^")
    return 100 * (f"tests/real/{name}" in changed) + sum(1 for path in changed if about.match(path))


def seconds(name: str) -> int:
    return FILES[name][0] if name in FILES else UNKNOWN_S


def group(name: str) -> str:
    """What runs one after another: a file, or what cannot run beside it."""
    return TOGETHER.get(name, name)


def group_s(name: str) -> int:
    """How long all of a file's group takes."""
    return max(seconds(name), sum(seconds(each) for each in TOGETHER if group(each) == group(name)))


def together_s(names: Iterable[str]) -> float:
    """How long these take at once: as long as the longest group, or as all of them on what there is of cores."""
    groups: dict[str, int] = {}
    for name in names:
        groups[group(name)] = groups.get(group(name), 0) + seconds(name)
    return max(*groups.values(), sum(groups.values()) / AT_ONCE, 0)


if __name__ == "__main__":
    main()
