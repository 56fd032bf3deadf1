"""The gallery made anew from the outbox alone, whatever has been moved or deleted there. A daemon may be at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from darkroom.disk.files import Disk
from darkroom.gallery.album import Album
from darkroom.gallery.entry import Entry, Found, entry_of, small_name
from darkroom.gallery.ground import Ground
from darkroom.gallery.results import read, walk
from darkroom.gallery.smalls import Smalls

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What has been made."""

    results: int
    small: int  #: pictures that were made small just now; the others were there


def rebuild(root: Path, *, made: str, disk: Disk, tell: Callable[[str, int], None]) -> Rebuilt:
    """Make it. `tell` hears what is counted, and how far.

    The catalogue is made last and quickly: what is delivered meanwhile, the daemon adds to it.
    Raises NotOurs, OSError.
    """
    ground = Ground(root, disk=disk)
    smalls = Smalls(ground, disk=disk)
    ground.prepare()
    small = 0
    for found in _counted(_in_order(disk, root), tell, "pictures of results looked at"):
        small += sum(smalls.make(found))
    used: set[str] = set()
    album = Album(ground, made)
    results = album.replace_all(_counted(_entries(_in_order(disk, root), smalls, used), tell, "results shown"))
    album.sweep()
    smalls.sweep(frozenset(used))
    return Rebuilt(results, small)


def _in_order(disk: Disk, root: Path) -> Iterator[Found]:
    """Each result once, the oldest first; no more is held in memory than where they are."""
    places: dict[str, tuple[tuple[str, str], str]] = {}
    for at in walk(disk, root):
        found = _read(disk, root, at)
        if found is not None:
            places.setdefault(found.answer["id"], (found.order, at))
    for _, at in sorted(places.values()):
        found = _read(disk, root, at)
        if found is not None:
            yield found


def _read(disk: Disk, root: Path, at: str) -> Found | None:
    """What cannot be read is not shown."""
    with suppress(OSError):
        return read(disk, root, at)
    return None


def _entries(results: Iterator[Found], smalls: Smalls, used: set[str]) -> Iterator[Entry]:
    for found in results:
        there = smalls.there(found)
        used |= {small_name(sha256) for sha256 in there}
        yield entry_of(found, there)


def _counted(things: Iterator[T], tell: Callable[[str, int], None], what: str) -> Iterator[T]:
    for number, thing in enumerate(things, 1):
        tell(what, number)
        yield thing
