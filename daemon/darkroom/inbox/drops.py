"""What lies in the inbox, and what has come of it: the values that the inbox and the service hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from darkroom.errors import RequestRefused
from darkroom.request.shape import Reading

BATCH_FILES = 100  #: read at most so many files before the service has seen them
BATCH_BYTES = 4 << 20

Signature = tuple[int, int, int, int]  #: inode, size, mtime_ns, ctime_ns


class Phase(Enum):
    """What we think of a file in the inbox."""

    ARRIVING = auto()  #: not complete yet
    KNOWN = auto()  #: the service has it
    STUCK = auto()  #: still for too long and incomplete: answered, and left where it is
    ASIDE = auto()  #: no file that can be read: a link, a FIFO, a file without the right to read it


@dataclass(slots=True)
class Seen:
    """A request file as it was when we last looked."""

    phase: Phase
    signature: Signature | None  #: None: known from before this start
    since_s: float  #: monotonic time since when it has looked like this
    digest: str = ""
    why: str = ""  #: why it is not taken
    doubted: bool = False  #: its bytes were sent before: is its mtime final?
    complete_s: float | None = None  #: monotonic time since when there has been a complete file of this name


@dataclass(frozen=True, slots=True)
class Drop:
    """A complete request file: its bytes parse, or more of them would not make it right."""

    path: str
    asked: Reading | RequestRefused  #: what its bytes hold
    bytes: int
    sha256: str
    mtime_ns: int
    owner: int | None = None  #: uid of the file's owner
    still: bool = False  #: it has been doubted, and nothing about it has changed since


@dataclass(frozen=True, slots=True)
class Stuck:
    """A file that is answered but left where it is: incomplete, or too large to read."""

    path: str
    refusal: RequestRefused
    sha256: str  #: of what is there, at most MAX_BYTES + 1
    mtime_ns: int
    owner: int | None = None  #: uid of the file's owner


@dataclass(frozen=True, slots=True)
class WishFile:
    """A file whose name asks for something (`names.Wish`); `expired` when it has been there for `settle_s`."""

    path: str
    expired: bool


@dataclass(frozen=True, slots=True)
class Hidden:
    """A hidden name of ours: the original path, and the id of the request that was being taken."""

    path: str
    id: str
    name: str = ""  #: the hidden name itself, where it is another one than we make of the path


@dataclass(frozen=True, slots=True)
class Returned:
    """A request that had lost its record is in the inbox again."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What one look at the inbox found. Only news, but for the last five."""

    drops: tuple[Drop, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    vanished: tuple[str, ...] = ()
    wishes: tuple[WishFile, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    returned: tuple[Returned, ...] = ()
    not_taken: tuple[tuple[str, str], ...] = ()  #: name, why
    not_taken_more: int = 0
    arriving: int = 0  #: files that may still become requests
    more: bool = False  #: there are more files to read at once
    paused: bool = False
    away: str = ""  #: why the inbox cannot be used


class Outcome(Enum):
    """How taking a request ended."""

    TAKEN = auto()  #: its bytes are in state and its file has its hidden name
    CHANGED = auto()  #: other bytes than were accepted; the file is looked at anew
    GONE = auto()  #: the file is not there
    TROUBLE = auto()  #: the folder does not let us


@dataclass(frozen=True, slots=True)
class Taking:
    """The outcome of `take`."""

    id: str
    path: str
    outcome: Outcome
    mtime_ns: int = 0
    why: str = ""
    lasting: bool = (
        False  #: TROUBLE with this file or its folder, and not with the whole inbox or with the state folder
    )


@dataclass(slots=True)
class Found:
    """What a look has found so far."""

    settle_s: float  #: after which a wish expires
    drops: list[Drop] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    wishes: list[WishFile] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    bytes: int = 0
    expired: int = 0  #: wishes that are to be removed after this look

    def add(self, drop: Drop) -> None:
        """A request file is complete."""
        self.drops.append(drop)
        self.bytes += drop.bytes

    def add_wish(self, path: str, still_s: float) -> None:
        """A wish has been there for so long. Thousands expire over many looks, and let others go on."""
        expired = still_s >= self.settle_s and self.expired < BATCH_FILES
        self.expired += expired
        self.wishes.append(WishFile(path, expired))

    @property
    def has_room(self) -> bool:
        """Whether another file may be read before the service has seen these."""
        return len(self.drops) < BATCH_FILES and self.bytes < BATCH_BYTES
