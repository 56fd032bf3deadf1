"""Which folder lies inside which, by what they are: links, mounts and the case of letters give one many names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from darkroom.disk.mounts import MOUNT_TABLE, place_of

TO_DO = "Give each a folder of its own."


def nested(folders: Mapping[str, Path], *, mount_table: Path = MOUNT_TABLE) -> Iterator[str]:
    """A sentence for each of these, by the name it has here, that is another one or lies inside it.

    Folders need not exist; one that nobody lets us look at says nothing. On a share that hangs it waits.
    """
    for name, path in folders.items():
        for other, outer in folders.items():
            if name == other or (met := _met(path, outer, mount_table)) is None:
                continue
            if met != path:
                yield f"the {name} {path} is inside the {other} {outer}, whatever links or mounts call it."
            elif name > other:  # of two that are the same, one is told
                yield f"the {name} {path} is the same folder as the {other} {outer}, whatever links or mounts call it."


def _met(path: Path, outer: Path, mount_table: Path) -> Path | None:
    """`path`, or the folder above it, that is `outer`; None when none of them is."""
    real = Path(os.path.realpath(path))
    wanted = _identity(outer)
    for step in (real, *real.parents) if wanted is not None else ():
        if _identity(step) == wanted:
            return path if step == real else step
    return _met_in_file_system(path, outer, mount_table)


def _met_in_file_system(path: Path, outer: Path, mount_table: Path) -> Path | None:
    """What is mounted elsewhere has other folders above it: then the mount table says where it really lies."""
    device, inside = place_of(path, mount_table=mount_table)
    other_device, outside = place_of(outer, mount_table=mount_table)
    if not device or device != other_device or not Path(inside).is_relative_to(outside):
        return None
    return path if inside == outside else outer


def _identity(path: Path) -> tuple[int, int] | None:
    """Of what is there; None where nothing is, where nobody lets us look, and on file systems that number nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None
