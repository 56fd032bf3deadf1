"""What has to be done to install the service, or to remove it: a list of commands, decided from how the machine is.

Pure: `host` looks at the machine and carries the steps out. What is done already is no step, so that a second run does
nothing.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from darkroom.errors import DarkroomError
from darkroom.names import HEALTH, OWN_FOLDER
from darkroom.systemd.unit import MODEL_CACHE, STATE_DIR

SERVICE = "darkroom"
UNIT_FILE = Path("/etc/systemd/system/darkroom.service")
#: The full name of a user that was made here: only such a user is removed again.
FULL_NAME = "Darkroom service"
#: What the service makes in its state folder.
STATE_NAMES = ("darkroom.sqlite3", "darkroom.sqlite3-wal", "darkroom.sqlite3-shm", "lock", HEALTH, "requests", "work")
GROUP_UNKNOWN = 6  #: groupdel's exit status for a group that is not there
PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is put there
FOLDER_MODE = 0o2775  #: the group may do in it what the owner may, and what is made in it belongs to the group


@dataclass(frozen=True, slots=True)
class Step:
    """One change to the machine: a command, or a file to write."""

    why: str
    command: tuple[str, ...] = ()
    file: Path | None = None
    content: str = ""
    also_fine: int = 0  #: an exit status that means: it was so already

    def __str__(self) -> str:
        """The command as a person would type it."""
        return f"write {self.file}" if self.file is not None else shlex.join(self.command)


STOP = Step("Stop it; the picture in hand is finished first.", ("systemctl", "stop", SERVICE))
START_AGAIN = Step("There is work left: let it go on.", ("systemctl", "start", SERVICE))


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the machine."""

    uid: int
    groups: frozenset[int]  #: the primary one and the others
    full_name: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of the machine."""

    gid: int
    members: tuple[str, ...] = ()  #: all but the service's user


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a folder as it is now."""

    uid: int
    gid: int
    mode: int
    is_share: bool = False  #: on a network file system, which has its own idea of owners and modes
    waits_for: str = ""  #: what should be mounted there and is not


@dataclass(frozen=True, slots=True)
class Wish:
    """What the service is to be."""

    user: str
    group: str
    inbox: Path
    outbox: Path
    state_dir: Path
    model_cache: Path
    unit: str  #: text of the unit file
    needed: tuple[Path, ...] = ()  #: what its user has to be able to read
    config: Path | None = None  #: the configuration that the unit names
    config_is_named: bool = False  #: a person has named it, for this very command

    @property
    def kept_by_systemd(self) -> tuple[tuple[Path, Path], ...]:
        """State and models, each with the place that systemd makes by itself."""
        return ((self.state_dir, STATE_DIR), (self.model_cache, MODEL_CACHE))


@dataclass(frozen=True, slots=True)
class Facts:
    """How the machine is."""

    account: Account | None = None
    group: Group | None = None
    places: dict[Path, Place] = field(default_factory=dict)  #: what exists of the paths that matter, and their parents
    unit: str | None = None  #: text of the unit file that is there
    enabled: bool = False
    active: bool = False
    in_keeping: int = 0  #: taken, not delivered: only the state folder has them. Not known (0) while it is active


# Installing ----------------------------------------------------------------------------------------------------------


def to_install(wish: Wish, facts: Facts) -> list[Step]:
    """The steps that are left to do. Raises DarkroomError when the service could not start afterwards."""
    _refuse_other_configuration("install", wish, facts)
    _refuse_private_folders(wish)
    _refuse_what_cannot_be_reached(wish, facts)
    steps = [*_account(wish, facts)]
    for folder in (wish.inbox, wish.outbox):
        steps += _shared_folder(folder, wish, facts)
    for path, usual in wish.kept_by_systemd:
        if path != usual and path not in facts.places:
            steps.append(Step(f"{path} is the service's own.", _make_folder(path, wish, 0o750)))
    return steps + _unit(wish, facts)


def _account(wish: Wish, facts: Facts) -> Iterator[Step]:
    if facts.group is None:
        yield Step("Whoever is in this group may use inbox and outbox.", ("groupadd", "--system", wish.group))
    if facts.account is None:
        options = ["--system", "--gid", wish.group, "--home-dir", str(STATE_DIR), "--no-create-home"]
        options += ["--shell", "/usr/sbin/nologin", "--comment", FULL_NAME]
        yield Step("The service runs as a user of its own.", ("useradd", *options, wish.user))


def _shared_folder(folder: Path, wish: Wish, facts: Facts) -> list[Step]:
    """What people own is never given to somebody else: an existing folder is at most opened to the group."""
    place = facts.places.get(folder)
    if place is None:
        waits = next((facts.places[parent].waits_for for parent in folder.parents if parent in facts.places), "")
        return [] if waits else [Step(f"{folder} is not there yet.", _make_folder(folder, wish, FOLDER_MODE))]
    if place.is_share or place.waits_for or _is_open_to_group(place, facts):
        return []
    why = f"The service cannot write to {folder} yet; its owner stays."
    return [
        Step(why, ("chgrp", wish.group, str(folder))),
        Step("What is made in it belongs to the group, too.", ("chmod", "g+rwxs", str(folder))),
    ]


def _is_open_to_group(place: Place, facts: Facts) -> bool:
    """Whether the service may write, and what it makes there belongs to the folder's group."""
    if facts.account is not None and place.uid == facts.account.uid:
        return place.mode & 0o700 == 0o700
    known = (facts.account.groups if facts.account else frozenset()) | ({facts.group.gid} if facts.group else set())
    return place.gid in known and place.mode & 0o2070 == 0o2070


def _make_folder(path: Path, wish: Wish, mode: int) -> tuple[str, ...]:
    return ("install", "-d", "-o", wish.user, "-g", wish.group, "-m", f"{mode:04o}", str(path))


def _unit(wish: Wish, facts: Facts) -> list[Step]:
    steps = []
    changed = facts.unit != wish.unit
    if changed:
        steps.append(Step("What systemd has to know (`darkroom service show`).", file=UNIT_FILE, content=wish.unit))
        steps.append(Step("Let systemd read it.", ("systemctl", "daemon-reload")))
    if not facts.enabled:
        steps.append(Step("Start it with the machine.", ("systemctl", "enable", SERVICE)))
    if not facts.active:
        steps.append(Step("Start it now.", ("systemctl", "start", SERVICE)))
    elif changed:
        steps.append(Step("Start it anew; nothing is lost by that.", ("systemctl", "restart", SERVICE)))
    return steps


def configuration_of(unit: str) -> Path | None:
    """The file that a unit's command names with `--config`."""
    command = next((line for line in unit.splitlines() if line.startswith("ExecStart=")), "")
    words = shlex.split(command.partition("=")[2].replace("%%", "%").replace("$$", "$"))
    return next((Path(value) for option, value in pairwise(words) if option == "--config"), None)


def _refuse_other_configuration(action: str, wish: Wish, facts: Facts) -> None:
    """Said in a checkout, its own configuration is found first: it would lead the service to other folders."""
    installed = configuration_of(facts.unit) if facts.unit is not None else None
    if installed is None or wish.config_is_named or installed == wish.config:
        return
    said = f"darkroom service {action} --config"
    other = f" `{said} {wish.config}` would take the other one." if wish.config is not None else ""
    raise DarkroomError(
        f"The installed service uses {installed}; this command, run here, uses {wish.config or 'no file'}.",
        hint=f"`{said} {installed}` keeps it.{other}",
    )


def _refuse_private_folders(wish: Wish) -> None:
    """The unit's PrivateTmp: what others put into /tmp, the service would never see."""
    for folder in (wish.inbox, wish.outbox, wish.state_dir, wish.model_cache):
        if any(folder.is_relative_to(hidden) for hidden in PRIVATE):
            hint = "Name a place elsewhere, such as /srv/darkroom."
            raise DarkroomError(f"{folder} would be hidden from the service, which has a /tmp of its own.", hint=hint)


def _refuse_what_cannot_be_reached(wish: Wish, facts: Facts) -> None:
    for path in wish.needed:
        for step in (*reversed(path.parents), path):
            place = facts.places.get(step)
            if place is not None and not _may_read(place, facts):
                raise DarkroomError(
                    f"The user {wish.user} could not read {path}: {step} is closed to it.",
                    hint="Put Darkroom (and the Python that it runs on) where everybody can read it, such as /opt, or"
                    f" open {step}.",
                )


def _may_read(place: Place, facts: Facts) -> bool:
    """Whether the service's user may read a file, or pass through a folder."""
    wanted = 0o1 if stat.S_ISDIR(place.mode) else 0o4
    if facts.account is not None and place.uid == facts.account.uid:
        return bool(place.mode >> 6 & wanted)
    if facts.account is not None and place.gid in facts.account.groups:
        return bool(place.mode >> 3 & wanted)
    return bool(place.mode & wanted)


# Removing ------------------------------------------------------------------------------------------------------------


def to_remove(wish: Wish, facts: Facts, *, discard: bool) -> list[Step]:
    """The steps that leave what people own, and nothing else. Raises DarkroomError while requests are in keeping."""
    _refuse_other_configuration("remove", wish, facts)
    if facts.in_keeping and not discard:
        count = f"{facts.in_keeping} request" + ("s are" if facts.in_keeping > 1 else " is")
        raise DarkroomError(
            f"{count} taken and not delivered; {wish.state_dir} holds the only copy.",
            hint="Let the service finish (`darkroom status`), or say --discard-requests.",
        )
    return [*_no_unit(facts), *_no_state(wish, facts), *_no_traces(wish, facts), *_no_account(wish, facts)]


def _no_unit(facts: Facts) -> Iterator[Step]:
    if facts.active:
        yield STOP
    if facts.enabled:
        yield Step("Start it with the machine no more.", ("systemctl", "disable", SERVICE))
    if facts.unit is not None:
        yield Step("Its unit.", ("rm", str(UNIT_FILE)))
        yield Step("Let systemd forget it.", ("systemctl", "daemon-reload"))


def _no_state(wish: Wish, facts: Facts) -> Iterator[Step]:
    """A model cache of a person's own choice may be shared with other programs: it stays."""
    if wish.state_dir in facts.places:
        why = "Its state: what it remembers of requests, all delivered."
        if wish.state_dir == STATE_DIR:
            yield Step(why, _remove(wish.state_dir))
        else:  # a folder of a person's own choice may hold other things
            yield Step(why, ("rm", "-rf", "--one-file-system", *(str(wish.state_dir / name) for name in STATE_NAMES)))
            command = ("rmdir", "--ignore-fail-on-non-empty", str(wish.state_dir))
            yield Step("Its folder, if nothing else is in it.", command)
    if wish.model_cache in facts.places and wish.model_cache == MODEL_CACHE:
        yield Step("Its models; they can be fetched again.", _remove(wish.model_cache))


def _no_traces(wish: Wish, facts: Facts) -> Iterator[Step]:
    for folder in (wish.inbox, wish.outbox):
        own = own_folder(folder)
        if own in facts.places:
            yield Step("Its marker and heartbeat; everything else there is yours.", _remove(own))


def _no_account(wish: Wish, facts: Facts) -> Iterator[Step]:
    """A user that was there before stays. So does a group with people in it: through it they reach their pictures."""
    if facts.account is None or facts.account.full_name != FULL_NAME:
        return
    yield Step("Its user.", ("userdel", wish.user))
    if _takes_group_along(wish, facts):
        # Most systems' userdel has removed it by now.
        yield Step("Its group: nobody else is in it.", ("groupdel", wish.group), also_fine=GROUP_UNKNOWN)


def _takes_group_along(wish: Wish, facts: Facts) -> bool:
    """Only a group that bears the name of the user that goes was made for it."""
    goes = facts.account is not None and facts.account.full_name == FULL_NAME
    return goes and wish.group == wish.user and facts.group is not None and not facts.group.members


def _remove(path: Path) -> tuple[str, ...]:
    return ("rm", "-r", "--one-file-system", str(path))


def own_folder(folder: Path) -> Path:
    """Where the marker lies in an inbox or outbox."""
    return folder / OWN_FOLDER


def left(wish: Wish, facts: Facts) -> list[str]:
    """What a removal leaves, for the person who asks for it."""
    lines = [
        f"{name} {path}" for name, path in (("inbox", wish.inbox), ("outbox", wish.outbox)) if path in facts.places
    ]
    if wish.model_cache != MODEL_CACHE and wish.model_cache in facts.places:
        lines.append(f"models in {wish.model_cache}")
    if facts.account is not None and facts.account.full_name != FULL_NAME:
        lines.append(f"user {wish.user}, who was there before")
    if facts.group is not None and not _takes_group_along(wish, facts):
        lines.append(f"group {wish.group}" + (f" ({', '.join(facts.group.members)})" if facts.group.members else ""))
    return lines
