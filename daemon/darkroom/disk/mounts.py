"""What a folder lies on, read from the mount table: file events, durability and "is it there at all?" hang on it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
FSTAB = Path("/etc/fstab")
#: Where an administrator's mount units lie, and those that systemd makes from fstab.
UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/run/systemd/generator"))

#: What an installation spreads over several file systems; they stay mounted from boot to shutdown.
_SYSTEM_PLACES = frozenset(("/", "/home", "/opt", "/root", "/srv", "/tmp", "/usr", "/var", "/var/lib"))  # noqa: S108
#: Other machines write here without a file event reaching us; what we fsync is as durable as the server says.
_NETWORK_KINDS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "vboxsf", "vmhgfs", "prl_fs", "virtiofs", "fakeowner", "davfs",
    "ceph", "glusterfs", "afs", "coda", "lustre", "beegfs", "gpfs", "gfs2", "ocfs2", "orangefs", "autofs", "fuse",
})  # fmt: skip
#: File systems of local disks that happen to be served through FUSE.
_LOCAL_FUSE_KINDS = frozenset({"fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs", "fuse.mergerfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table."""

    source: str  #: "/dev/sda1", "nas:/export", …
    kind: str  #: type of the file system, as the kernel calls it
    root: str  #: which folder of the file system is seen here: "/" unless it is a bind mount or a subvolume
    mount_point: str
    device: str = ""  #: "major:minor": of all mounts of one file system the same

    @property
    def network(self) -> bool:
        """Whether others change it without our kernel knowing. Unknown FUSE file systems count: polling is safe."""
        if self.kind.startswith("fuse."):
            return self.kind not in _LOCAL_FUSE_KINDS
        return self.kind in _NETWORK_KINDS


#: What is said of a folder when the mount table does not tell.
UNKNOWN = Mount(source="", kind="unknown", root="/", mount_point="/")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    parent: int
    mount: Mount

    def is_seen_through(self, parent: _Row | None) -> bool:
        """Whether it shows what its parent shows at that place anyway: a folder mounted over itself.

        systemd does so to each folder that a service may write. An empty mount point stays one under it.
        """
        if parent is None or parent is self or parent.mount.device != self.mount.device:
            return False
        below = os.path.relpath(self.mount.mount_point, parent.mount.mount_point)
        return self.mount.root == os.path.normpath(os.path.join(parent.mount.root, below))


def kind_of(path: Path, *, mount_table: Path = MOUNT_TABLE) -> Mount:
    """The mount that holds `path`, which need not exist. Links are followed: on a hung share that waits as it does."""
    return _walk(os.path.realpath(path), _read_table(mount_table))


def place_of(path: Path, *, mount_table: Path = MOUNT_TABLE) -> tuple[str, str]:
    """Its file system and where in it `path` lies, whichever mount it is seen through; ("", …): nothing tells."""
    real = os.path.realpath(path)
    mount = _walk(real, _read_table(mount_table))
    return mount.device, os.path.normpath(os.path.join(mount.root, os.path.relpath(real, mount.mount_point)))


def is_mounted(path: str, *, mount_table: Path = MOUNT_TABLE) -> bool:
    """Whether something else than the folder itself is mounted exactly there."""
    rows = _read_table(mount_table)
    by_id = {row.id: row for row in rows}
    there = [row for row in rows if row.mount.mount_point == path]
    return any(not row.is_seen_through(by_id.get(row.parent)) for row in there)


def expected_mount(
    path: Path,
    *,
    mount_table: Path = MOUNT_TABLE,
    fstab: Path = FSTAB,
    unit_folders: Iterable[Path] = UNIT_FOLDERS,
    below: Path = Path("/"),
) -> str | None:
    """Why `path` should wait for a mount: fstab or a unit names it or a parent, and nothing is mounted there.

    Only mount points below `below` count. None when nothing is missing. An empty mount point looks like an empty
    folder; this tells them apart.
    """
    real, above = os.path.realpath(path), os.path.realpath(below)
    for place, where in _named_places(fstab, unit_folders):
        if place == above or not _holds(above, place) or not _holds(place, real):
            continue
        if not is_mounted(place, mount_table=mount_table):
            return f"{where} mounts {place}, and nothing is mounted there"
    return None


def share_point(
    path: Path,
    *,
    mount_table: Path = MOUNT_TABLE,
    fstab: Path = FSTAB,
    unit_folders: Iterable[Path] = UNIT_FOLDERS,
) -> str | None:
    """Where the share that holds `path` is mounted, or should be; None for what stays mounted while the system runs."""
    real = os.path.realpath(path)
    named = [place for place, _ in _named_places(fstab, unit_folders) if _holds(place, real)]
    place = max([kind_of(path, mount_table=mount_table).mount_point, *named], key=len)
    return None if place in _SYSTEM_PLACES else place


def _walk(path: str, rows: Sequence[_Row]) -> Mount:
    """Follow `path` down through the mounts, as the kernel does: a mount over a parent hides what lies below it."""
    ids = {row.id for row in rows}
    here = [row for row in rows if row.parent == row.id or row.parent not in ids]
    found, above, passed = UNKNOWN, None, set()
    while here := [row for row in here if row.id not in passed and _holds(row.mount.mount_point, path)]:
        first = min(here, key=lambda row: len(row.mount.mount_point))
        found = found if first.is_seen_through(above) else first.mount
        above = first
        passed.add(first.id)  # a table that goes round in a circle has an end, too
        here = [row for row in rows if row.parent == first.id]
    return found


def _holds(place: str, path: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _read_table(mount_table: Path) -> tuple[_Row, ...]:
    return _parse_table("\n".join(_lines(mount_table)))


@lru_cache(maxsize=4)
def _parse_table(text: str) -> tuple[_Row, ...]:
    """Kept, since it is asked for before every write and seldom changes.

    Fields: id parent device root mount-point options [tags …] - kind source options (proc_pid_mountinfo(5)).
    """
    return tuple(row for line in text.split("\n") if (row := _row(line)) is not None)


def _row(line: str) -> _Row | None:
    """None for a line that is not one of the kernel's: it says nothing."""
    fields = [_unescape(word) for word in line.split(" ")]  # the source may be empty
    if "-" not in fields[6:-2] or not fields[4].startswith("/"):
        return None
    end = fields.index("-", 6)
    mount = Mount(source=fields[end + 2], kind=fields[end + 1], root=fields[3], mount_point=fields[4], device=fields[2])
    try:
        return _Row(int(fields[0]), int(fields[1]), mount)
    except ValueError:
        return None


def _named_places(fstab: Path, unit_folders: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Every place that something is to be mounted at, and who says so."""
    yield from ((place, str(fstab)) for place in _fstab_places(fstab))
    yield from ((place, unit.name) for unit, place in _unit_places(unit_folders))


def _fstab_places(fstab: Path) -> Iterator[str]:
    for line in _lines(fstab):
        fields = [_unescape(word) for word in re.split(r"[ \t]+", line.strip())]
        if len(fields) > 2 and not fields[0].startswith("#") and fields[1].startswith("/"):
            yield fields[1].rstrip("/") or "/"


def _unit_places(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for unit in sorted(folder.glob("*.mount")):
            for line in _lines(unit):
                if line.startswith("Where="):
                    yield unit, line.removeprefix("Where=").strip().rstrip("/") or "/"


def _lines(path: Path) -> list[str]:
    """A file that is not there, or that we may not read, says nothing."""
    try:
        return os.fsdecode(path.read_bytes()).split("\n")
    except OSError:
        return []


def _unescape(word: str) -> str:
    """A word of the table, in which blanks stand as a backslash and three octal digits."""

    def decode(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 8) & 0xFF])

    return os.fsdecode(re.sub(rb"\\([0-7]{3})", decode, os.fsencode(word)))
