"""The machine that the service is installed on: looks at its users, folders and systemd, and carries steps out."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from darkroom.client.heartbeat import rendering_of
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.disk.mounts import expected_mount, kind_of
from darkroom.errors import DarkroomError
from darkroom.hearsay import Json
from darkroom.names import MAX_DEPTH, is_watched
from darkroom.spool.record import Stage
from darkroom.systemd.completions import Found
from darkroom.systemd.install import (
    DATABASE,
    DROP_INS,
    OWN_NAMES,
    SERVICE,
    STATE_NAMES,
    UNIT_FILE,
    Account,
    Facts,
    Group,
    Link,
    Place,
    Wish,
    own_folder,
)
from darkroom.systemd.ray_install import ROLES, TOKEN, TOKEN_MODE, RayFacts, RayWish, unit_file
from darkroom.systemd.step import Step

BOOTED = Path("/run/systemd/system")
IN_KEEPING = (Stage.TAKEN, Stage.RENDERING, Stage.CLOSING)


def look(wish: Wish) -> Facts:
    """How the machine is, as far as it matters to the service."""
    active = _systemctl("is-active")
    mirrors = tuple(_mirrors(wish))
    return Facts(
        account=_account(wish.user),
        group=_group(wish.group, wish.user),
        places=dict(_places(wish, mirrors)),
        unit=installed_unit(),
        enabled=_systemctl("is-enabled"),
        active=active,
        in_keeping=_told_in_keeping(wish) if active else in_keeping(wish.state_dir),
        links=tuple(link for path in wish.said for link in _links(path)),
        mirrors=mirrors,
        has_drop_ins=DROP_INS.is_dir(),
        completions={path: _completion(path) for path in wish.completions},
        ray_role=next((role for role in ROLES if unit_file(role).exists()), ""),
    )


def look_for_ray(wish: RayWish) -> RayFacts:
    """How the machine is, as far as it matters to a Ray cluster."""
    group, token = _group(wish.group, wish.user), _place(TOKEN)
    return RayFacts(
        account=_account(wish.user),
        group=group,
        unit=wish.unit_file.read_text(encoding="utf-8") if wish.unit_file.exists() else None,
        enabled=_systemctl("is-enabled", wish.service),
        active=_systemctl("is-active", wish.service),
        has_token=token is not None,
        token_fits=token is not None
        and (token.uid, token.gid) == (0, group.gid if group is not None else None)
        and stat.S_IMODE(token.mode) == TOKEN_MODE,
    )


def installed_unit() -> str | None:
    """The text of the unit file that is there."""
    return UNIT_FILE.read_text(encoding="utf-8") if UNIT_FILE.exists() else None


def installed_ray_unit(role: str) -> str:
    """Likewise, of a machine of a Ray cluster; "" where there is none."""
    path = unit_file(role)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def heartbeat(wish: Wish) -> Json | None:
    """What the service tells of itself."""
    return Client(wish.inbox, wish.outbox, wish.state_dir, Disk()).health()


def main_pid() -> int:
    """The service's process; 0 where it does not run."""
    asked = ["systemctl", "show", "--value", "--property", "MainPID", SERVICE]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - our own words
    return int(said) if said.isdigit() else 0


def _told_in_keeping(wish: Wish) -> int:
    """While it runs it is asked; what was taken ahead of its turn is known only once it has stopped."""
    health = heartbeat(wish) or {}
    return len(rendering_of(health)) + int(health.get("undelivered", 0))


def require_rights() -> None:
    """Raises DarkroomError where there is no systemd, or no right to change anything."""
    if not BOOTED.is_dir():
        hint = "`darkroom run` keeps it running without; `darkroom service show` prints the unit for another machine."
        raise DarkroomError("This machine does not run systemd.", hint=hint)
    if os.geteuid() != 0:
        raise DarkroomError("Only root can do that.", hint="Run it with sudo; --dry-run shows what would be done.")


def carry_out(step: Step) -> None:
    """Do one step. Raises DarkroomError with what the command said."""
    if step.file is not None:
        Disk().write(step.file, step.content.encode(), mode=step.mode, for_all=True)
        return
    if step.on is not None:
        _carry_out_on(step, step.on)
    else:
        _run(step, step.command)


def _carry_out_on(step: Step, folder: Path) -> None:
    """The folder was resolved when it was looked at: a link on the way has been put there since."""
    disk, below = Disk(), str(folder).lstrip("/")
    makes = step.command[0] == "install"
    try:
        if makes:
            _make_folders(disk, folder)
        with disk.anchored(Path("/"), below) as place:
            for command in _as_made(step) if makes else [step.command]:
                _run(step, [_moved(word, folder, place) for word in command], keep_open=int(place.name))
    except OSError as error:
        raise DarkroomError(
            f"{folder} cannot be reached without following a link: {error.strerror}. Nothing was changed there.",
            hint="Look who has put it there, then say it again.",
        ) from error


def _make_folders(disk: Disk, folder: Path) -> None:
    for above, part in zip(reversed(folder.parents), folder.parts[1:], strict=True):
        with disk.anchored(Path("/"), str(above).lstrip("/")) as place:
            disk.make_folder(place / part)


def _as_made(step: Step) -> list[tuple[str, ...]]:
    """What `install -d -o USER -g GROUP -m MODE FOLDER` does to a folder that is there."""
    _, _, _, user, _, group, _, mode, folder = step.command
    return [("chown", f"{user}:{group}", folder), ("chmod", mode, folder)]


def _moved(word: str, folder: Path, place: Path) -> str:
    """A path in the folder, by our handle on the folder."""
    return f"{place}{word[len(str(folder)) :]}" if Path(word).is_relative_to(folder) else word


def _run(step: Step, command: Sequence[str], *, keep_open: int | None = None) -> None:
    handles = () if keep_open is None else (keep_open,)
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=handles)  # noqa: S603 - our own words
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


def _links(path: Path) -> Iterable[Link]:
    leads_to = Path(os.path.realpath(path))
    for place in (*reversed(path.parents), path):
        if os.path.islink(place):
            yield Link(place, leads_to, is_roots=place.lstat().st_uid == 0 and _is_roots(place.parent))


def _is_roots(folder: Path) -> bool:
    """Whether nobody else can change what is in it."""
    status = folder.stat()
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _mirrors(wish: Wish) -> Iterable[Path]:
    """The folders of the outbox whose like is in the inbox, at most as deep as requests may lie."""
    todo = [""]
    while todo:
        above = todo.pop()
        for name in _folders_in(wish.outbox / above):
            folder = f"{above}/{name}".lstrip("/")
            if is_watched(folder) and os.path.isdir(wish.inbox / folder):
                yield wish.outbox / folder
                todo += [folder] if folder.count("/") + 1 < MAX_DEPTH else []


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _places(wish: Wish, mirrors: Sequence[Path]) -> Iterable[tuple[Path, Place]]:
    shared = (wish.inbox, wish.outbox)
    ours = [own_folder(folder) / name for folder in shared for name in OWN_NAMES]
    ours += [wish.state_dir / name for name in STATE_NAMES]
    paths = [*shared, *ours, *mirrors, wish.state_dir, wish.model_cache, *wish.needed]
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
    is_share = kind_of(path).network
    return Place(status.st_uid, status.st_gid, status.st_mode, is_share, waits_for, has_acl=_has_acl(path))


def _has_acl(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def _completion(path: Path) -> Found:
    """What lies where a shell looks for what completes the command."""
    has_folder = path.parent.is_dir()
    if not os.path.lexists(path):
        return Found(has_folder=has_folder, is_read_only=_is_read_only(path.parent))
    try:
        text = path.read_text(encoding="utf-8") if stat.S_ISREG(path.lstat().st_mode) else None
    except (OSError, ValueError):
        text = None
    return Found(text, is_strange=text is None, has_folder=has_folder, is_read_only=_is_read_only(path.parent))


def _is_read_only(folder: Path) -> bool:
    """Whether the disk that it lies on, or would lie on, is mounted so that nobody can write to it."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return bool(os.statvfs(there).f_flag & os.ST_RDONLY)


def _systemctl(question: str, service: str = SERVICE) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["systemctl", question, "--quiet", service],  # noqa: S607 - the system's own
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
            if part.is_file() and not part.is_symlink():
                shutil.copyfile(part, Path(scratch, part.name))
        with closing(sqlite3.connect(Path(scratch, DATABASE))) as copy:
            stages = [row[0] for row in copy.execute("SELECT stage FROM requests WHERE stage != 'settled'")]
    return sum(stage in IN_KEEPING for stage in stages)
