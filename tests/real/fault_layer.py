"""A FUSE file system that shows a folder and fails on demand: fault_layer.py FOLDER PLACE RULE KIND.

The file RULE is read at each operation. It holds {} or one rule:

    {"ops": ["write", "create"], "match": "cat", "skip": 3, "times": 2, "errno": 5}
    {"ops": [], "hang_while": "/a/path"}

Operations of these names (none: every one) on paths that contain `match` are counted from when the rule was written;
after the first `skip`, the next `times` fail with `errno`, or wait while the path exists. How many there were stands in
RULE.count. Run by the system's own Python, for which Debian has the binding (python3-fusepy).
"""

import errno
import json
import os
import sys
import threading
import time
from typing import Any

from fusepy import FUSE, FuseOSError, Operations  # type: ignore[import-not-found]

NEVER_FAIL = ("init", "destroy", "release", "flush", "statfs", "getxattr", "listxattr")
STAT = ("st_atime", "st_ctime", "st_gid", "st_ino", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
STATFS = (
    *("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree"),
    *("f_files", "f_flag", "f_frsize", "f_namemax"),
)
TIMES_NS = ("st_atime", "st_ctime", "st_mtime")


class Layer(Operations):  # type: ignore[misc]
    """Passes everything through to `root`, unless the rule says otherwise."""

    use_ns = True

    def __init__(self, root: str, rule: str) -> None:
        self._root = os.path.realpath(root)
        self._rule = rule
        self._lock = threading.Lock()
        self._text = ""
        self._now: dict[str, Any] = {}
        self._count = 0

    def __call__(self, op: str, path: str, *args: Any) -> Any:
        """Every operation comes through here."""
        if not hasattr(self, op):
            raise FuseOSError(errno.ENOSYS)
        if op not in NEVER_FAIL:
            self._obey(op, path)
        return getattr(self, op)(self._root + path, *args)

    def _obey(self, op: str, path: str) -> None:
        with self._lock:
            rule = self._read()
            if not rule or (rule["ops"] and op not in rule["ops"]) or rule.get("match", "") not in path:
                return
            self._count += 1
            number = self._count
            with open(self._rule + ".count", "w") as file:
                file.write(str(number))
        skip = rule.get("skip", 0)
        if not skip < number <= skip + rule.get("times", 1 << 62):
            return
        while "hang_while" in rule and os.path.exists(rule["hang_while"]):
            time.sleep(0.02)
        if rule.get("errno"):
            raise FuseOSError(rule["errno"])

    def _read(self) -> dict[str, Any]:
        with open(self._rule) as file:
            text = file.read()
        if text != self._text:
            self._text, self._now, self._count = text, json.loads(text), 0
        return self._now

    # What a folder does -------------------------------------------------------------------------------------------

    def getattr(self, path: str, handle: int | None = None) -> dict[str, Any]:
        status = os.lstat(path)
        return {key: getattr(status, key + "_ns" if key in TIMES_NS else key) for key in STAT}

    def readdir(self, path: str, handle: int) -> list[str]:
        return [".", "..", *os.listdir(path)]

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(path)
        return {key: getattr(status, key) for key in STATFS}

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def create(self, path: str, mode: int, info: Any = None) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        return os.pwrite(handle, data, offset)

    def truncate(self, path: str, length: int, handle: int | None = None) -> None:
        os.truncate(path, length)

    def flush(self, path: str, handle: int) -> None:
        """Nothing is held back here."""

    def release(self, path: str, handle: int) -> None:
        os.close(handle)

    def fsync(self, path: str, only_data: bool, handle: int) -> None:
        os.fsync(handle)

    def fsyncdir(self, path: str, only_data: bool, handle: int) -> None:
        """The folder below is on a disk that no test cuts."""

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def rename(self, path: str, target: str) -> None:
        os.rename(path, self._root + target)

    def symlink(self, path: str, target: str) -> None:
        os.symlink(target, path)

    def readlink(self, path: str) -> str:
        return os.readlink(path)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        os.utime(path, ns=times)


if __name__ == "__main__":
    FUSE(
        Layer(sys.argv[1], sys.argv[3]),
        sys.argv[2],
        foreground=True,
        nothreads=False,
        fsname="faults",
        subtype=sys.argv[4],
        use_ino=True,
    )
