"""doctor: whether inbox, outbox and state are there, what they lie on, and who may write there."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from darkroom.cli.finding import Finding, Verdict
from darkroom.cli.installed import as_another
from darkroom.config.settings import Config
from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.mounts import Mount, expected_mount, kind_of
from darkroom.disk.nesting import TO_DO, nested
from darkroom.names import MARKER, OWN_FOLDER
from darkroom.rights import how_to_get_in, who


def folder(name: str, path: Path, config: Config) -> Iterator[Finding]:
    """Whether it is there, and can be used."""
    waits_for = expected_mount(path)
    if waits_for is not None:
        yield Finding(Verdict.FAIL, name, f"{path}: {waits_for}.", "Mount it.")
        return
    try:
        is_folder = path.is_dir()
    except PermissionError:
        yield _closed(name, path, f"{path} cannot be looked at by {who()}.")
        return
    if not is_folder:
        yield _absent(name, path)
        return
    mount = kind_of(path)
    yield _writable(name, path)
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        return
    yield Finding(Verdict.OK, name, _what_it_lies_on(name, mount, config))
    if name != "state":
        yield _marker(name, path)
    yield _free_space(name, path, config)


def entangled(config: Config) -> Iterator[Finding]:
    """Folders that lie in each other."""
    for says in nested({"inbox": config.inbox, "outbox": config.outbox, "state": config.state_dir}):
        yield Finding(Verdict.FAIL, "folders", says, TO_DO)


def _closed(name: str, path: Path, says: str) -> Finding:
    """Somebody looks who is not the service: its own folders are none of theirs."""
    user = as_another()
    if user is not None and name == "state":
        return Finding(Verdict.OK, name, f"{path} is closed to {who()}; the service uses it as {user}.")
    return Finding(Verdict.FAIL, name, says, how_to_get_in(path) or f"Give {user or who()} the right to use it.")


def _absent(name: str, path: Path) -> Finding:
    """The state folder is made at start; inbox and outbox are other people's, and a missing one is a mistake."""
    if path.exists():
        return Finding(Verdict.FAIL, name, f"{path} is not a folder.", "Name another one.")
    if name == "state" and os.access(_nearest_folder(path), os.W_OK | os.X_OK, effective_ids=True):
        return Finding(Verdict.OK, name, f"{path} is not there yet; it will be made at the first start.")
    hint = f"mkdir -p {shlex.quote(str(path))}, and let Darkroom's user write there."
    return Finding(Verdict.FAIL, name, f"{path} is not there.", hint)


def _nearest_folder(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.is_dir())


def _writable(name: str, path: Path) -> Finding:
    """Write, rename and fsync in our own folder, as the daemon does."""
    disk = Disk()
    own = OWN_FOLDER if name != "state" else ""
    made = not os.path.lexists(path / own)
    try:
        if made:
            disk.make_folder(path / own)
        with disk.anchored(path, own) as place:
            _probe(disk, place / f".doctor-{os.getpid()}")
        if made:
            (path / own).rmdir()
    except OSError as error:
        if os.path.islink(path / own):
            hint = "Nothing is written through links: remove it."
            return Finding(Verdict.FAIL, name, f"{path / own} is a link.", hint)
        if error.errno in (errno.EACCES, errno.EPERM):
            return _closed(name, path, f"{who()} cannot write to {path}.")
        return Finding(Verdict.FAIL, name, f"{path} cannot be written: {error.strerror}.", _mend(error, path))
    return Finding(Verdict.OK, name, f"{path} can be written, renamed in and synced.")


def _probe(disk: Disk, probe: Path) -> None:
    disk.write(probe, b"probe")
    disk.rename(probe, probe.with_name(probe.name + "-2"))
    disk.remove(probe.with_name(probe.name + "-2"))


def _mend(error: OSError, path: Path) -> str:
    if error.errno == errno.EROFS:
        return "Mount it writable; under systemd, name it in ReadWritePaths (`darkroom service show`)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free space on it."
    return f"See that {path} is a folder that can be written: `ls -ld`, and the share's own rights."


def _what_it_lies_on(name: str, mount: Mount, config: Config) -> str:
    where = f"{mount.kind} ({mount.source})" if mount.source else mount.kind
    if name != "inbox":
        return f"lies on {where}."
    if not mount.network:
        return f"lies on {where}: new files are noticed at once."
    seconds = f"{config.scan_interval_s:g} s"
    slow = " An NFS client hides new names for up to acdirmax (60 s): mount with acdirmax=1 for less."
    return f"lies on {where}: no file events, so it is listed every {seconds}.{slow if 'nfs' in mount.kind else ''}"


def _marker(name: str, path: Path) -> Finding:
    if (path / OWN_FOLDER / MARKER).is_file():
        return Finding(Verdict.OK, name, "carries Darkroom's marker.")
    return Finding(Verdict.OK, name, "carries no marker yet; it gets one at the first start.")


def _free_space(name: str, path: Path, config: Config) -> Finding:
    free = free_bytes(path)
    if free is None:
        return Finding(Verdict.OK, name, "its file system does not say how much is free.")
    text = f"{free / 1024**3:.1f} GiB free."
    if free < config.min_free_bytes:
        return Finding(Verdict.FAIL, name, text, "Free space: nothing is taken below min_free_bytes.")
    if name == "state" and free < config.min_free_bytes + config.max_undelivered_bytes:
        hint = "Free space, or lower max_undelivered_bytes: results wait here while the outbox is away."
        return Finding(Verdict.WARN, name, text, hint)
    return Finding(Verdict.OK, name, text)
