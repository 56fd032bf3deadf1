"""The machine that the service is installed on: looks at its users, folders and systemd, and carries steps out."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from darkroom.disk.files import Disk
from darkroom.disk.mounts import expected_mount, kind_of
from darkroom.errors import DarkroomError
from darkroom.spool.record import Stage
from darkroom.systemd.install import SERVICE, UNIT_FILE, Account, Facts, Group, Place, Step, Wish, own_folder

DATABASE = "darkroom.sqlite3"
BOOTED = Path("/run/systemd/system")
IN_KEEPING = (Stage.TAKEN, Stage.RENDERING, Stage.CLOSING)


def look(wish: Wish) -> Facts:
    """How the machine is, as far as it matters to the service."""
    active = _systemctl("is-active")
    return Facts(
        account=_account(wish.user),
        group=_group(wish.group, wish.user),
        places=dict(_places(wish)),
        unit=UNIT_FILE.read_text(encoding="utf-8") if UNIT_FILE.exists() else None,
        enabled=_systemctl("is-enabled"),
        active=active,
        in_keeping=0 if active else in_keeping(wish.state_dir),
    )


def require_rights() -> None:
    """Raises DarkroomError where there is no systemd, or no right to change anything."""
    if not BOOTED.is_dir():
        hint = "`darkroom run` keeps it running without; `darkroom service show` prints the unit for another machine."
        raise DarkroomError("This machine does not run systemd.", hint=hint)
    if os.geteuid() != 0:
        raise DarkroomError("Only root can do that.", hint="Say it with sudo; --dry-run shows what would be done.")


def carry_out(step: Step) -> None:
    """Do one step. Raises DarkroomError with what the command said."""
    if step.file is not None:
        Disk().write(step.file, step.content.encode(), mode=0o644)
        return
    done = subprocess.run(step.command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode in (0, step.also_fine):
        return
    hint = f"`journalctl -u {SERVICE} -n 20` tells why." if step.command[:1] == ("systemctl",) else ""
    said = (done.stderr or done.stdout).strip()
    raise DarkroomError(f"`{step}` failed (exit status {done.returncode}): {said}", hint=hint)


def _account(name: str) -> Account | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)), found.pw_gecos.partition(",")[0])


def _group(name: str, user: str) -> Group | None:
    """With those who have it as their primary group."""
    try:
        found = grp.getgrnam(name)
    except KeyError:
        return None
    primary = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == found.gr_gid]
    return Group(found.gr_gid, tuple(dict.fromkeys(who for who in (*found.gr_mem, *primary) if who != user)))


def _places(wish: Wish) -> Iterable[tuple[Path, Place]]:
    shared = (wish.inbox, wish.outbox)
    paths = [*shared, *map(own_folder, shared), wish.state_dir, wish.model_cache, *wish.needed]
    for path in dict.fromkeys(each for below in paths for each in (below, *below.parents)):
        place = _place(path)
        if place is not None:
            yield path, place


def _place(path: Path) -> Place | None:
    try:
        status = path.stat()
    except OSError:
        return None
    waits_for = expected_mount(path) or ""
    return Place(status.st_uid, status.st_gid, status.st_mode, kind_of(path).network, waits_for)


def _systemctl(question: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["systemctl", question, "--quiet", SERVICE],  # noqa: S607 - the system's own
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def in_keeping(state_dir: Path) -> int:
    """How many requests lie in the state folder alone; 0 where there is none that we may read.

    A copy is asked: the service holds the original's lock for as long as it lives, and nothing is to be changed here.
    """
    database = state_dir / DATABASE
    if not os.access(database, os.R_OK):
        return 0
    with TemporaryDirectory() as scratch:
        for part in state_dir.glob(f"{DATABASE}*"):
            shutil.copyfile(part, Path(scratch, part.name))
        with closing(sqlite3.connect(Path(scratch, DATABASE))) as copy:
            stages = [row[0] for row in copy.execute("SELECT stage FROM requests WHERE stage != 'settled'")]
    return sum(stage in IN_KEEPING for stage in stages)
