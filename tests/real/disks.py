"""Disks that can be cut off, filled and made read-only: small ext4 file systems in files, mounted by loop devices."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from darkroom.testing.waiting import wait_for

EXT4_IOC_SHUTDOWN = 0x8004587D  # fs/ext4/ext4.h
NO_LOG_FLUSH = 2
CHUNK = bytes(1 << 16)
CLONE_NEWNS = 0x00020000  # linux/sched.h


@cache
def keep_mounts_to_ourselves() -> None:
    """From here on, what this process mounts is seen by it and its children alone, and is gone when they are.

    A container that somebody starts meanwhile would copy our mounts; while it runs, no disk could be unmounted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class LoopDisk:
    """A mounted file system of its own. What was not fsynced is lost when it is cut."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place

    @classmethod
    @contextmanager
    def mounted(cls, image: Path, place: Path, *, mib: int = 24) -> Iterator[LoopDisk]:
        """Make it, mount it at `place`, and unmount it at the end."""
        keep_mounts_to_ourselves()
        with open(image, "wb") as file:
            file.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        place.mkdir(parents=True, exist_ok=True)
        disk = cls(image, place)
        disk.mount()
        (place / "lost+found").rmdir()
        disk.sync()
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", place], check=False)

    def mount(self) -> None:
        """Mount it; its journal is replayed."""
        subprocess.run(["mount", "-o", "loop", self.image, self.place], check=True)

    def unmount(self) -> None:
        """Unmount it as soon as nobody uses it any more."""
        wait_for(lambda: _succeeds("umount", self.place), f"{self.place} can be unmounted")

    def cut(self) -> None:
        """The power is gone: what is only in memory never reaches the disk, and every later write fails."""
        handle = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def power_on(self) -> None:
        """Mount again what was cut."""
        self.unmount()
        self.mount()

    def clear(self) -> None:
        """Remove everything on it, durably."""
        for path in self.place.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.sync()

    def sync(self) -> None:
        """Make everything on it durable."""
        subprocess.run(["sync", "--file-system", self.place], check=True)

    def fill(self) -> Path:
        """Leave no free byte; returns the file to remove again."""
        ballast = self.place / ".ballast"
        with open(ballast, "wb", buffering=0) as writer:
            for size in (len(CHUNK), 512, 1):
                _write_until_full(writer.fileno(), CHUNK[:size])
        return ballast

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Inside, nothing can be changed on it; begins when nobody has a file open for writing."""
        wait_for(lambda: _succeeds("mount", "-o", "remount,ro", self.place), "it can be made read-only")
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", self.place], check=True)


def _succeeds(*command: str | Path) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _write_until_full(handle: int, chunk: bytes) -> None:
    try:
        while True:
            os.write(handle, chunk)
            os.fsync(handle)
    except OSError:
        return
