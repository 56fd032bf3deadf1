"""What has to be done to install the service, or to remove it: a list of commands, decided from how the machine is.

Pure: `host` looks at the machine and carries the steps out. What is done already is not a step, so that a second run
does nothing.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from darkroom.errors import DarkroomError
from darkroom.names import HEALTH, MARKER, OWN_FOLDER, OWNER
from darkroom.systemd.completions import (
    Found,
    completions_left_alone,
    completions_to_install,
    completions_to_remove,
)
from darkroom.systemd.step import Step
from darkroom.systemd.unit import MODEL_CACHE, STATE_DIR

SERVICE = "darkroom"
UNIT_FILE = Path("/etc/systemd/system/darkroom.service")
#: The full name of a user that was made here: only such a user is removed again.
FULL_NAME = "Darkroom service"
#: What the service makes in its state folder.
DATABASE = "darkroom.sqlite3"
STATE_NAMES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock", HEALTH, "requests", "work")
#: What only the daemon writes in its own folder of inbox and outbox.
OWN_NAMES = (MARKER, OWNER, HEALTH)
#: Where a person's changes of the unit lie (`systemctl edit`).
DROP_INS = Path("/etc/systemd/system/darkroom.service.d")
GROUP_UNKNOWN = 6  #: groupdel's exit status for a group that is not there
PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is put there
PRIVATE_HOMES = (Path("/root"),)  #: never to be opened
FOLDER_MODE = 0o2775  #: the group may do in it what the owner may, and what is made in it belongs to the group


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
    has_acl: bool = False  #: more is allowed than the mode says

    @property
    def is_folder(self) -> bool:
        """Whether it is one, now that links are followed."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Link:
    """A link on the way to a folder that is configured."""

    path: Path
    leads_to: Path  #: where the whole way leads
    is_roots: bool  #: nobody but root can redirect it


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
    said: tuple[Path, ...] = ()  #: inbox and outbox as they are configured; the others are what they lead to
    python: Path | None = None  #: the interpreter that the service runs on, one of `needed`
    completions: Mapping[Path, str] = field(default_factory=dict)  #: what lets shells complete the command

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
    in_keeping: int = 0  #: taken, not delivered: only the state folder has them. While it is active: what it tells
    links: tuple[Link, ...] = ()  #: on the way to inbox and outbox
    mirrors: tuple[Path, ...] = ()  #: folders of the outbox that mirror one of the inbox
    has_drop_ins: bool = False
    completions: Mapping[Path, Found] = field(default_factory=dict)  #: what lies where they belong
    ray_role: str = ""  #: "head" or "worker", where a unit of a Ray cluster has the same user


# Installing ----------------------------------------------------------------------------------------------------------


def to_install(wish: Wish, facts: Facts) -> list[Step]:
    """The steps that are left to do. Raises DarkroomError when the service could not start afterwards."""
    _refuse_other_configuration("install", wish, facts)
    _refuse_private_folders(wish)
    _refuse_links(wish, facts)
    _refuse_what_is_not_a_folder(wish, facts)
    _refuse_what_cannot_be_reached(wish, facts)
    steps = [*account_steps(wish.user, wish.group, facts.account, facts.group)]
    for folder in (wish.inbox, wish.outbox):
        steps += _shared_folder(folder, wish, facts)
        steps += _ours_in(folder, wish, facts)
    for path, usual in wish.kept_by_systemd:
        if path != usual:
            steps += _private_folder(path, wish, facts)
    return [*steps, *_unit(wish, facts), *completions_to_install(wish.completions, facts.completions)]


def account_steps(user: str, group: str, account: Account | None, found: Group | None) -> Iterator[Step]:
    """Make what is not there of the service's user and group."""
    if found is None:
        yield Step("Whoever is in this group may use inbox and outbox.", ("groupadd", "--system", group))
    if account is None:
        options = ["--system", "--gid", group, "--home-dir", str(STATE_DIR), "--no-create-home"]
        options += ["--shell", "/usr/sbin/nologin", "--comment", FULL_NAME]
        yield Step("The service runs as a user of its own.", ("useradd", *options, user))


def _shared_folder(folder: Path, wish: Wish, facts: Facts) -> list[Step]:
    """What people own is never given to somebody else: an existing folder is at most opened to the group."""
    place = facts.places.get(folder)
    if place is None:
        waits = next((facts.places[parent].waits_for for parent in folder.parents if parent in facts.places), "")
        return [] if waits else [_make_folder(f"{folder} is not there yet.", folder, wish, FOLDER_MODE)]
    if place.is_share or place.waits_for or _is_open_to_group(place, facts):
        return []
    why = f"The service cannot write to {folder} yet; its owner stays."
    return [
        Step(why, ("chgrp", wish.group, str(folder)), on=folder),
        Step("What is made in it belongs to the group, too.", ("chmod", "g+rwxs", str(folder)), on=folder),
    ]


def _ours_in(folder: Path, wish: Wish, facts: Facts) -> Iterator[Step]:
    """What a Darkroom has made there that ran as another user, by hand perhaps, this one could not change."""
    own = own_folder(folder)
    before = facts.places.get(own)
    if before is None or before.is_share:
        return
    if any(_is_strange(path, facts) for path in (own, *(own / name for name in OWN_NAMES))):
        yield Step("Its marker is the service's to keep.", _give(own, wish), on=folder)
    for mirror in facts.mirrors if folder == wish.outbox else ():
        place = facts.places[mirror]
        if place.uid == before.uid and not _is_open_to_group(place, facts):
            yield Step("Made by the Darkroom that was here before.", ("chown", *_owners(wish), str(mirror)), on=mirror)


def _private_folder(path: Path, wish: Wish, facts: Facts) -> Iterator[Step]:
    place = facts.places.get(path)
    if place is None:
        yield _make_folder(f"{path} is the service's own.", path, wish, 0o750)
        return
    if place.is_share or not _is_strange(path, facts):
        return
    if not _is_writable(place, facts):
        yield Step(
            f"The service cannot write to {path} yet; its owner stays.", ("chgrp", wish.group, str(path)), on=path
        )
        yield Step("The group may do what its owner may.", ("chmod", "g+rwx", str(path)), on=path)
    theirs = [path / name for name in STATE_NAMES if path / name in facts.places and _is_strange(path / name, facts)]
    if path == wish.state_dir and path / DATABASE in facts.places and theirs:
        words = ("chown", "-R", "-h", *_owners(wish), *map(str, theirs))
        yield Step("The state of the Darkroom that was here before.", words, on=path)


def _is_strange(path: Path, facts: Facts) -> bool:
    place = facts.places.get(path)
    return place is not None and (facts.account is None or place.uid != facts.account.uid)


def _is_writable(place: Place, facts: Facts) -> bool:
    return place.gid in _groups(facts) and place.mode & 0o070 == 0o070


def _give(path: Path, wish: Wish) -> tuple[str, ...]:
    return ("chown", "-R", "-h", *_owners(wish), str(path))


def _owners(wish: Wish) -> tuple[str]:
    return (f"{wish.user}:{wish.group}",)


def _groups(facts: Facts) -> frozenset[int]:
    known = facts.account.groups if facts.account else frozenset()
    return known | ({facts.group.gid} if facts.group else set())


def _is_open_to_group(place: Place, facts: Facts) -> bool:
    """Whether the service may write, and what it makes there belongs to the folder's group."""
    if facts.account is not None and place.uid == facts.account.uid:
        return place.mode & 0o700 == 0o700
    return place.gid in _groups(facts) and place.mode & 0o2070 == 0o2070


def _make_folder(why: str, path: Path, wish: Wish, mode: int) -> Step:
    command = ("install", "-d", "-o", wish.user, "-g", wish.group, "-m", f"{mode:04o}", str(path))
    return Step(why, command, on=path)


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
        steps.append(Step("Restart it; nothing is lost by that.", ("systemctl", "restart", SERVICE)))
    return steps


def configuration_of(unit: str) -> Path | None:
    """The file that a unit's command names with `--config`."""
    named = option_of(unit, "--config")
    return Path(named) if named is not None else None


def option_of(unit: str, option: str) -> str | None:
    """What a unit's command says behind an option."""
    words = shlex.split(setting_of(unit, "ExecStart").replace("$$", "$"))
    return next((value for name, value in pairwise(words) if name == option), None)


def setting_of(unit: str, key: str) -> str:
    """The value of a key of a unit; "" where it has none."""
    line = next((line for line in unit.splitlines() if line.startswith(f"{key}=")), "")
    return line.partition("=")[2].strip().replace("%%", "%")


def variable_of(unit: str, name: str) -> str | None:
    """What a unit sets an environment variable to."""
    words = (word.partition("=") for word in shlex.split(setting_of(unit, "Environment")))
    return next((value for key, _, value in words if key == name), None)


def _refuse_other_configuration(action: str, wish: Wish, facts: Facts) -> None:
    """Said in a checkout, its own configuration is found first: it would lead the service to other folders."""
    installed = configuration_of(facts.unit) if facts.unit is not None else None
    if installed is None or wish.config_is_named or installed == wish.config:
        return
    said = f"darkroom service {action} --config"
    other = f" `{said} {shlex.quote(str(wish.config))}` would take the other one." if wish.config is not None else ""
    raise DarkroomError(
        f"The installed service uses {installed}; this command, run here, uses {wish.config or 'no file'}.",
        hint=f"`{said} {shlex.quote(str(installed))}` keeps it.{other}",
    )


def _refuse_private_folders(wish: Wish) -> None:
    """The unit's PrivateTmp: what others put into /tmp, the service would never see."""
    for folder in (wish.inbox, wish.outbox, wish.state_dir, wish.model_cache):
        if any(folder.is_relative_to(hidden) for hidden in PRIVATE):
            hint = "Name a place elsewhere, such as /srv/darkroom."
            raise DarkroomError(f"{folder} would be hidden from the service, which has a /tmp of its own.", hint=hint)


def _refuse_links(wish: Wish, facts: Facts) -> None:
    """Whoever can redirect a link could have root open any folder of the machine to the group."""
    for link in _redirected(wish, facts):
        raise DarkroomError(
            f"{link.path} is a link, and nothing is changed through links that others could redirect.",
            hint=f"Name the folder that it leads to in the configuration: {link.leads_to}.",
        )


def _redirected(wish: Wish, facts: Facts) -> list[Link]:
    return [link for link in facts.links if link.path in wish.said or not link.is_roots]


def _refuse_what_is_not_a_folder(wish: Wish, facts: Facts) -> None:
    for path in (wish.inbox, wish.outbox, wish.state_dir, wish.model_cache):
        place = facts.places.get(path)
        if place is not None and not place.is_folder:
            raise DarkroomError(f"{path} is not a folder.", hint="Name another one in the configuration.")


def _refuse_what_cannot_be_reached(wish: Wish, facts: Facts) -> None:
    for path in wish.needed:
        closed = _first_closed((*reversed(path.parents), path), facts)
        if closed is not None:
            raise DarkroomError(
                f"The user {wish.user} could not read {path}: {closed} is closed to it.", hint=_cure(path, closed, wish)
            )
    for folder in (wish.inbox, wish.outbox, wish.state_dir, wish.model_cache):
        closed = _first_closed(tuple(reversed(folder.parents)), facts)
        if closed is not None:
            hint = "Name a folder elsewhere, such as /srv/darkroom" + (
                "." if closed in PRIVATE_HOMES else f", or let others pass: chmod o+x {shlex.quote(str(closed))}"
            )
            raise DarkroomError(f"The user {wish.user} could not reach {folder}: {closed} is closed to it.", hint=hint)


def _first_closed(way: Sequence[Path], facts: Facts) -> Path | None:
    return next((step for step in way if step in facts.places and not _may_read(facts.places[step], facts)), None)


def _cure(path: Path, closed: Path, wish: Wish) -> str:
    """Nobody should open root's home, or another's, for a program's sake."""
    if path == wish.python:
        return (
            "This Python belongs to one person. Make the virtual environment again with the system's own:"
            " make clean; make PYTHON=/usr/bin/python3 venv"
        )
    move = "Move it to where everybody can read it"
    kind = "such as /etc/darkroom for a configuration or a style book, /srv for models, /opt for Darkroom itself"
    opened = "" if closed in PRIVATE_HOMES else f"; or open {closed}"
    return f"{move}, {kind}{opened}."


def _may_read(place: Place, facts: Facts) -> bool:
    """Whether the service's user may read a file, or pass through a folder."""
    if place.has_acl or place.is_share:
        return True  # the mode does not tell
    wanted = 0o1 if stat.S_ISDIR(place.mode) else 0o4
    if facts.account is not None and place.uid == facts.account.uid:
        return bool(place.mode >> 6 & wanted)
    if facts.account is not None and place.gid in facts.account.groups:
        return bool(place.mode >> 3 & wanted)
    return bool(place.mode & wanted)


# Removing ------------------------------------------------------------------------------------------------------------


def to_remove(wish: Wish, facts: Facts, *, discard: bool) -> list[Step]:
    """The steps that leave what people own, and nothing else. Raises DarkroomError while requests are in keeping."""
    if is_absent(facts):
        return []
    _refuse_other_configuration("remove", wish, facts)
    if facts.ray_role:
        hint = f"Take it out first: darkroom service remove --ray-{facts.ray_role}"
        raise DarkroomError("This machine is part of a Ray cluster, which uses the same user and models.", hint=hint)
    if facts.in_keeping and not discard:
        count = f"{facts.in_keeping} request" + ("s are" if facts.in_keeping > 1 else " is")
        raise DarkroomError(
            f"{count} taken and not delivered; {wish.state_dir} holds the only copy.",
            hint="Let the service finish (`darkroom status`), or say --discard-requests.",
        )
    # The unit goes after what it names: a removal that was interrupted finds them again.
    steps = [*_stopped(facts), *_no_state(wish, facts), *_no_traces(wish, facts)]
    steps += completions_to_remove(facts.completions)
    return [*steps, *_no_unit(facts), *_no_account(wish, facts)]


def is_absent(facts: Facts) -> bool:
    """Whether no service is installed. Half of one may be, when a removal was interrupted: then its user is left."""
    of_old = facts.account is not None and facts.account.full_name == FULL_NAME
    return facts.unit is None and not facts.active and not of_old and STATE_DIR not in facts.places


def _stopped(facts: Facts) -> Iterator[Step]:
    if facts.active:
        yield STOP
    if facts.enabled:
        yield Step("It no longer starts with the machine.", ("systemctl", "disable", SERVICE))


def _no_unit(facts: Facts) -> Iterator[Step]:
    if facts.unit is not None:
        yield Step("Its unit.", ("rm", str(UNIT_FILE)))
        yield Step("Let systemd forget it.", ("systemctl", "daemon-reload"))


def _no_state(wish: Wish, facts: Facts) -> Iterator[Step]:
    """A model cache of a person's own choice may be shared with other programs: it stays."""
    if wish.state_dir in facts.places:
        why = "Its state: what it remembers of requests, all delivered."
        if wish.state_dir == STATE_DIR:
            yield Step(why, _remove(wish.state_dir))
        elif facts.unit is not None:  # a folder of a person's own choice may hold other things
            command = ("rm", "-rf", "--one-file-system", *(str(wish.state_dir / name) for name in STATE_NAMES))
            yield Step(why, command, on=wish.state_dir)
            command = ("rmdir", "--ignore-fail-on-non-empty", str(wish.state_dir))
            yield Step("Its folder, if nothing else is in it.", command)
    if wish.model_cache in facts.places and wish.model_cache == MODEL_CACHE:
        yield Step("Its models; they can be fetched again.", _remove(wish.model_cache))


def _no_traces(wish: Wish, facts: Facts) -> Iterator[Step]:
    if facts.unit is None or _redirected(wish, facts):
        return  # nobody knows whether these folders were its own; or whose they are
    for folder in (wish.inbox, wish.outbox):
        own = own_folder(folder)
        if own in facts.places:
            yield Step("Its marker and heartbeat; everything else there is yours.", _remove(own), on=folder)


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
    lines += [f"{link.path}, a link, with what Darkroom keeps there" for link in _redirected(wish, facts)]
    if wish.config is not None:
        lines.append(f"configuration {wish.config}")
    if facts.has_drop_ins:
        lines.append(f"changes of the unit in {DROP_INS}")
    return lines


def not_installed(facts: Facts) -> list[str]:
    """What an installation does not do, and why, for the person who asks for it."""
    return list(completions_left_alone(facts.completions))
