"""Every change that is made to a disk is a function here: temp beside target, write, fsync, rename, fsync folder.

`Disk` is a class so that a test can put a fault before and after each single effect: every effect passes through
`effect`, which does nothing here.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain, count, islice
from pathlib import Path

from darkroom.disk.reading import Reads, SourceUnreadable, chunk_at
from darkroom.log.logger import Logger
from darkroom.names import arriving_name

MOST_TREE_STEPS = 100_000  #: of a folder that is being removed; each looks at up to a thousand names
MOST_IN_THE_WAY = 100  #: so many temporary names are tried where folders have them
RENAME_NOREPLACE = 1  # linux/fs.h
AT_FDCWD = -100

OURS = 0o644  #: mode of a file that only the daemon may write, though the umask may give the group more


class Disk(Reads):
    """The real disk: all that is read of it, and every change."""

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        """Around every single change of the disk; tests override it to crash or to fail here."""
        yield

    # Writing ------------------------------------------------------------------------------------------------------

    def write(self, path: Path, data: bytes, *, durable: bool = True, mode: int = 0o666, for_all: bool = False) -> None:
        """Replace `path` whole: readers see the old bytes or the new ones. `durable` also fsyncs the folder.

        The data is fsynced in any case: a rename that outlives its data would show an empty file after a power cut.
        `for_all`: it has this mode whatever the umask hides, since others are to read it.
        """
        self._replace(path, data, mode, synced=True, for_all=for_all)
        if durable:
            self.sync_folder(path.parent)

    def write_own(self, path: Path, data: bytes, *, durable: bool = True, mode: int = OURS) -> None:
        """The same in a folder that is ours alone: a folder that has the file's name gets another one, and is told."""
        try:
            self.write(path, data, durable=durable, mode=mode)
        except IsADirectoryError:
            self._set_aside(path)
            self.write(path, data, durable=durable, mode=mode)

    def refresh_own(self, path: Path, data: bytes) -> None:
        """Likewise, and fsync nothing."""
        try:
            self.refresh(path, data)
        except IsADirectoryError:
            self._set_aside(path)
            self.refresh(path, data)

    def _set_aside(self, path: Path) -> None:
        free = next(each for number in count(1) if not os.path.lexists(each := path.with_name(f"{path.name}-{number}")))
        self.rename_new(path, free)
        why = f"a folder had the name of a file that Darkroom writes there; it is called {free.name} now"
        _log.warning("in_the_way", path=os.path.realpath(path), why=why, do="Look what it is, and remove it.")

    def refresh(self, path: Path, data: bytes, *, mode: int = 0o666, for_all: bool = False) -> None:
        """Replace `path` whole, and fsync nothing: for what is written anew after every start.

        A power cut may leave it empty, or as it was before.
        """
        self._replace(path, data, mode, synced=False, for_all=for_all)

    def create(self, path: Path, data: bytes, *, mode: int = 0o666) -> None:
        """Write a new file inside a folder that nobody reads yet, and fsync it."""
        with self.effect("write", path):
            self._write(path, data, mode)

    def create_exclusive(self, path: Path, data: bytes, *, mode: int = 0o666) -> None:
        """Create `path` whole, by link. Raises FileExistsError when it is there already."""
        temporary = _temporary_for(path)
        with self.effect("write", temporary):
            self._write(temporary, data, mode)
        try:
            self.rename_new(temporary, path)
        except OSError:
            self._forget(temporary)
            raise

    def rename(self, source: Path, target: Path) -> None:
        """Rename over whatever is there, and fsync the folder of the target."""
        with self.effect("rename", target):
            os.rename(source, target)
        self.sync_folder(target.parent)

    def set_aside(self, source: Path, target: Path) -> None:
        """Rename over whatever is there, and fsync nothing: a crash may undo it."""
        with self.effect("rename", target):
            os.rename(source, target)

    def rename_new(self, source: Path, target: Path) -> None:
        """Rename to a name that must be free. Raises FileExistsError, also for an empty folder in the way."""
        with self.effect("rename", target):
            _rename_noreplace(source, target)
        self.sync_folder(target.parent)

    def remove(self, path: Path) -> None:
        """Remove a file; a missing one is fine."""
        with self.effect("remove", path):
            path.unlink(missing_ok=True)
        self.sync_folder(path.parent)

    def remove_files(self, paths: Sequence[Path]) -> None:
        """Remove files of one folder, in this order; missing ones are fine. A crash may bring the last ones back."""
        for path in paths:
            with self.effect("remove", path):
                path.unlink(missing_ok=True)

    def remove_empty(self, path: Path) -> None:
        """Remove a folder that nothing is in. Raises OSError where something is."""
        with self.effect("rmdir", path):
            path.rmdir()
        self.sync_folder(path.parent)

    def make_folder(self, path: Path, *, shared: bool = False, private: bool = False) -> None:
        """Make a folder and its parents; an existing one is fine.

        What the group may do in the folder above, it may do in a `shared` one, whatever the umask: a person's own would
        close it to the daemon. A `private` one is closed to all others, also if it was there; its parents are not.
        """
        if not path.is_dir():
            self.make_folder(path.parent, shared=shared)
            with self.effect("mkdir", path):
                path.mkdir(0o700 if private else 0o777, exist_ok=True)
                if shared:
                    _open_like_parent(path)
            self.sync_folder(path.parent)
        if private:
            self.close_to_others(path)

    def make_hidden(self, path: Path) -> bool:
        """Make a folder that appears later, by a rename that makes it durable. False where its name is taken."""
        try:
            with self.effect("mkdir", path):
                path.mkdir()
        except FileExistsError:
            return False
        return True

    def open_like(self, path: Path, model: Path) -> None:
        """Let group and others do in a folder what they may do in another one, as far as that is ours to say."""
        self._change_rights(path, path.stat().st_mode | model.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))

    def keep_from_others(self, path: Path) -> None:
        """Let nobody else change what is in a folder, as far as that is ours to say."""
        self._change_rights(path, path.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))

    def _change_rights(self, path: Path, mode: int) -> None:
        status = path.stat()
        if status.st_mode != mode and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            with suppress(PermissionError), self.effect("chmod", path):
                _chmod(path, stat.S_IMODE(mode))

    def close_to_others(self, path: Path) -> None:
        """Take every right from group and others, where it is ours to take: not from a file that a link leads to."""
        if path.is_dir() or not path.is_symlink():
            self._change_rights(path, path.stat().st_mode & ~(stat.S_IRWXG | stat.S_IRWXO))

    def remove_tree(self, path: Path) -> None:
        """Remove a folder of ours and what is in it, never following a link; a missing one is fine.

        A link or a file in its place is removed alone. Others may have put anything into it, nested deeper than any
        path can say: no step needs more than two open folders. Raises OSError, EBUSY when more comes than is removed.
        """
        if not os.path.lexists(path):
            return
        try:
            with self.anchored(path.parent, path.name) as place:
                self._empty(place)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            with self.effect("remove", path):
                path.unlink(missing_ok=True)
            return
        with self.effect("rmdir", path):
            path.rmdir()

    def _empty(self, folder: Path) -> None:
        """What is nested is brought up into `folder` first, one level at a time, and is then as flat as the rest."""
        numbers = count()
        for _ in range(MOST_TREE_STEPS):
            with os.scandir(folder) as entries:
                found = [(each.name, each.is_dir(follow_symlinks=False)) for each in islice(entries, 1000)]
            if not found:
                return
            for name, is_folder in found:
                if is_folder:
                    self._flatten(folder, name, numbers)
                else:
                    with self.effect("remove", folder / name):
                        (folder / name).unlink(missing_ok=True)
        raise OSError(errno.EBUSY, "somebody fills it as fast as it is emptied", os.fspath(folder))

    def _flatten(self, folder: Path, name: str, numbers: Iterator[int]) -> None:
        """Remove the sub-folder `name`; the folders in it come to lie beside it."""
        with self.anchored(folder, name) as inside, os.scandir(inside) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._bring_up(inside / entry.name, folder, numbers)
                else:
                    with self.effect("remove", inside / entry.name):
                        (inside / entry.name).unlink(missing_ok=True)
        try:
            with self.effect("rmdir", folder / name):
                (folder / name).rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # some shares skip names while others are being removed: look again
                raise

    def _bring_up(self, source: Path, folder: Path, numbers: Iterator[int]) -> None:
        for number in islice(numbers, MOST_TREE_STEPS):
            with suppress(FileExistsError), self.effect("rename", folder / str(number)):
                _rename_noreplace(source, folder / str(number))
                return
        raise OSError(errno.EBUSY, "its names are all in use", os.fspath(folder))

    def copy_new(self, source: Path, target: Path) -> None:
        """Copy a file of ours into a folder that nobody reads yet, and fsync it.

        Raises SourceUnreadable when it is the reading that fails.
        """
        with self.effect("write", target), os.fdopen(_open_new(target, 0o666), "wb") as writer:
            for chunk in _chunks_of(source):
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())

    def copy_from(self, handle: int, target: Path, *, limit: int, mode: int = 0o600) -> tuple[str, int]:
        """Copy at most `limit` + 1 bytes of an open file into a folder that nobody reads yet, and fsync it.

        Returns their SHA-256 and number. Raises SourceUnreadable when it is the reading that fails.
        """
        digest, size = hashlib.sha256(), 0
        with self.effect("write", target), os.fdopen(_open_new(target, mode), "wb") as writer:
            while chunk := chunk_at(handle, size, min(1 << 20, limit + 1 - size)):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        return digest.hexdigest(), size

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable. Some network file systems cannot (EINVAL): they promise nothing here."""
        with self.effect("sync", path):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
                    raise
            finally:
                os.close(handle)

    def _replace(self, path: Path, data: bytes, mode: int, *, synced: bool, for_all: bool = False) -> None:
        temporary = _temporary_for(path)
        try:
            with self.effect("write", temporary):
                self._write(temporary, data, mode, synced=synced, for_all=for_all)
            with self.effect("rename", path):
                os.replace(temporary, path)
        except OSError:
            self._forget(temporary)
            raise

    @staticmethod
    def _write(path: Path, data: bytes, mode: int, *, synced: bool = True, for_all: bool = False) -> None:
        with os.fdopen(_open_new(path, mode), "wb") as writer:
            if for_all:
                with suppress(PermissionError):  # a share that knows no modes decides by itself
                    os.fchmod(writer.fileno(), mode)
            writer.write(data)
            writer.flush()
            if synced:
                os.fsync(writer.fileno())

    @staticmethod
    def _forget(temporary: Path) -> None:
        """Best effort on the way out of another error: what stays behind has a hidden name that is swept later."""
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            return


def free_bytes(path: Path) -> int | None:
    """Free space for an ordinary user; None where the file system does not say: no blocks at all is not a full disk."""
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize if usage.f_blocks else None


def _chmod(path: Path, mode: int) -> None:
    """Do without the set-group-ID bit where it may not be named: systemd's RestrictSUIDSGID forbids even to keep it."""
    try:
        path.chmod(mode)
    except PermissionError:
        if not mode & stat.S_ISGID:
            raise
        path.chmod(mode & ~stat.S_ISGID)


def _open_like_parent(path: Path) -> None:
    """Give the group what it has one folder above. A share that knows no modes decides by itself."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)  # no link that took its place
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        with suppress(PermissionError):
            os.fchmod(handle, mode | path.parent.stat().st_mode & stat.S_IRWXG)
    finally:
        os.close(handle)


def _temporary_for(path: Path) -> Path:
    """Hidden, beside its target, and the same each time: what a crash leaves is overwritten by the next try.

    A folder of that name is somebody's: it is left alone and told, and the next name is taken.
    """
    first = arriving_name(path.name)
    start = arriving_name(os.fsdecode(os.fsencode(path.name)[:100])).removesuffix(".part")
    names = chain((first,), (f"{start}.{number}.part" for number in range(2, MOST_IN_THE_WAY)))
    for each in map(path.with_name, names):
        if not each.is_dir() or each.is_symlink():
            return each
        _tell_in_the_way(os.path.realpath(each))
    return path.with_name(first)


@lru_cache(maxsize=1000)
def _tell_in_the_way(path: str) -> None:
    """Once for each folder."""
    why = "a folder has the name of a file that Darkroom writes for a moment; another name is used"
    _log.warning("in_the_way", path=path, why=why, do="Remove that folder.")


def _open_new(path: Path, mode: int) -> int:
    """A handle on a file that is new: half a file that a crash left, or somebody's trap, is removed and not opened."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, mode)


def _chunks_of(source: Path) -> Iterator[bytes]:
    try:
        reader = open(source, "rb", buffering=0)  # noqa: SIM115 - only what reads is in the try
    except OSError as error:
        raise SourceUnreadable(error.errno, f"{source}: {error.strerror}") from error
    with reader:
        while True:
            try:
                chunk = reader.read(1 << 20)
            except OSError as error:
                raise SourceUnreadable(error.errno, f"{source}: {error.strerror}") from error
            if not chunk:
                return
            yield chunk


_log = Logger("darkroom")
_libc = ctypes.CDLL(None, use_errno=True)


def _rename_noreplace(source: Path, target: Path) -> None:
    """`renameat2(RENAME_NOREPLACE)`; where the file system lacks it, look first: nobody else writes our names."""
    result = _libc.renameat2(
        AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), ctypes.c_uint(RENAME_NOREPLACE)
    )
    if result == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    os.rename(source, target)
