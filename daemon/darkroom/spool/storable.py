"""What SQLite can hold of the numbers and texts of the outside world, and the way back, without a loss.

An inode has 64 bits without a sign, a file's time any number of nanoseconds, and a name any bytes. SQLite's integers
have 64 bits with a sign, its texts are UTF-8. What does not fit is stored as bytes: equal values stay equal, and come
back as they were.
"""

from __future__ import annotations

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def stored(value: object) -> object:
    """A value as SQLite can hold it: a large number by its digits, a text that is not UTF-8 with its surrogates."""
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return hex(value).encode()  # decimal digits have a limit in Python
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def number(value: object) -> int:
    """A number that has been stored. Raises ValueError for what is not one."""
    if isinstance(value, bytes):
        return int(value, 16)
    if isinstance(value, int):
        return value
    raise ValueError(f"not a number: {value!r}")


def text(value: object) -> str:
    """A text that has been stored. Raises ValueError for what is not one."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if isinstance(value, str):
        return value
    raise ValueError(f"not a text: {value!r}")
