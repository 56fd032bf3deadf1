"""Trouble with the outbox: what is everybody's, and what is one folder's or one name's."""

from __future__ import annotations

import errno

#: Trouble with the whole share: all wait, and order is kept. Anything else is trouble with one folder or name, such as
#: EBUSY for an answer that a Windows program holds open.
WHOLE_SHARE_ERRNOS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ESTALE,
    errno.ENODEV,
    errno.ENXIO,
    errno.EREMOTEIO,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOMEM,
    errno.ENFILE,
    errno.EMFILE,
)

#: A folder with such a thing in the place of one of our files is somebody else's.
NOT_OURS_ERRNOS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EINVAL,
    errno.ENXIO,
    errno.EACCES,
    errno.EPERM,
)


def in_words(error: OSError, folder: str) -> str:
    """Why nothing could be written into a folder of the outbox; "" is the outbox itself."""
    where = f"the outbox's folder {folder}" if folder else "the outbox"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Darkroom's user has no right to write to {where}; give it that right"
    return f"{where} could not be written to: {error.strerror or error}"
