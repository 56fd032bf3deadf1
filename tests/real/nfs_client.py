"""A small NFS client on libnfs, the library of nfs-cp, for what nfs-cp cannot do.

nfs_client.py replace URL FOLDER NAME    truncate NAME and write standard input into it
nfs_client.py append URL FOLDER NAME     write standard input behind what is there, as it comes
nfs_client.py rename URL FOLDER OLD NEW
"""

import ctypes
import os
import sys

_lib = ctypes.CDLL("libnfs.so.13")
_lib.nfs_init_context.restype = ctypes.c_void_p
_lib.nfs_parse_url_dir.restype = ctypes.c_void_p
_lib.nfs_get_error.restype = ctypes.c_char_p


class Share:
    """A mounted folder of a server."""

    def __init__(self, url: str) -> None:
        self._context = ctypes.c_void_p(_lib.nfs_init_context())
        parsed = _lib.nfs_parse_url_dir(self._context, url.encode())
        if not parsed:
            raise OSError(f"{url} is not an NFS URL")
        server, path = ctypes.cast(parsed, ctypes.POINTER(ctypes.c_char_p))[:2]
        self._check(_lib.nfs_mount(self._context, server, path), url)

    def open(self, path: str, flags: int) -> ctypes.c_void_p:
        """A handle on a file."""
        handle = ctypes.c_void_p()
        self._check(_lib.nfs_open(self._context, path.encode(), flags, ctypes.byref(handle)), path)
        return handle

    def open_or_create(self, path: str) -> ctypes.c_void_p:
        """A handle on a file that may be new; libnfs' version 4 takes O_CREAT for O_EXCL as well."""
        try:
            return self.open(path, os.O_RDWR)
        except FileNotFoundError:
            return self.open(path, os.O_RDWR | os.O_CREAT)

    def write(self, handle: ctypes.c_void_p, offset: int, data: bytes) -> None:
        """Write all of it."""
        while data:
            part = data[:512]  # libnfs cannot encode longer ones in version 4
            arguments = (ctypes.c_uint64(offset), ctypes.c_uint64(len(part)), part)
            self._check(_lib.nfs_pwrite(self._context, handle, *arguments), "write")
            offset, data = offset + len(part), data[len(part) :]

    def size(self, handle: ctypes.c_void_p) -> int:
        """How long the file is."""
        position = ctypes.c_uint64()
        seek = _lib.nfs_lseek(self._context, handle, ctypes.c_int64(0), os.SEEK_END, ctypes.byref(position))
        self._check(seek, "seek")
        return position.value

    def close(self, handle: ctypes.c_void_p) -> None:
        """Let the server have all of it."""
        self._check(_lib.nfs_close(self._context, handle), "close")

    def rename(self, old: str, new: str) -> None:
        """Rename, also over what is there."""
        self._check(_lib.nfs_rename(self._context, old.encode(), new.encode()), old)

    def _check(self, status: int, what: str) -> None:
        if status < 0:
            raise OSError(-status, f"{what}: {(_lib.nfs_get_error(self._context) or b'').decode()}")


def main() -> None:
    command, url, *names = sys.argv[1:]
    share = Share(url)
    match command:
        case "rename":
            share.rename(f"/{names[0]}", f"/{names[1]}")
        case "replace":
            handle = share.open(f"/{names[0]}", os.O_WRONLY | os.O_TRUNC)
            share.write(handle, 0, sys.stdin.buffer.read())
            share.close(handle)
        case "append":
            handle = share.open_or_create(f"/{names[0]}")
            offset = share.size(handle)
            while chunk := os.read(0, 4096):
                share.write(handle, offset, chunk)
                offset += len(chunk)
            share.close(handle)


main()
