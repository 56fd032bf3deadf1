"""What lies in the inbox, and what has come of it: the values that the inbox and the service hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from darkroom.errors import ErrorCode, Problem, RequestRefused
from darkroom.request.inputs import Bundle, InputFile
from darkroom.request.shape import Reading

BATCH_FILES = 100  #: read at most so many files before the service has seen them
BATCH_BYTES = 4 << 20

Signature = tuple[int, int, int, int]  #: inode, size, mtime_ns, ctime_ns
Version = tuple[int, int, int, int, int]  #: the same of a file that a request names, and its device


class Phase(Enum):
    """What we think of a file in the inbox."""

    ARRIVING = auto()  #: not complete yet
    KNOWN = auto()  #: the service has it
    STUCK = auto()  #: still for too long and incomplete: answered, and left where it is
    ASIDE = auto()  #: no file that can be read: a link, a FIFO, a file without the right to read it


@dataclass(frozen=True, slots=True)
class Lying:
    """A file that a request names, as it lies in the inbox."""

    name: str
    folder: str = ""  #: "cat.files", or "" beside the request
    version: Version | None = None  #: None: it is not there, or cannot be read
    whole: InputFile | None = None
    problem: tuple[str, str] | None = None  #: why it is not whole, and what to do
    missing: bool = False
    open: bool = False  #: it may still come, or more bytes could mend it
    twice: bool = False  #: it lies in both places

    @property
    def is_pending(self) -> bool:
        """Whether it is still being found out what it is."""
        return self.whole is None and self.problem is None

    def problem_at(self, where: str) -> Problem:
        """What is wrong with it. There has to be something."""
        message, hint = self.problem or ("is still being read", "Wait.")
        code = ErrorCode.MISSING_FILE if self.missing else ErrorCode.BAD_FILE
        return Problem(where, f"{self.name} {message}.", hint, code)


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
    names: tuple[str, ...] | None = ()  #: the files that it names; None: nobody knows yet
    lying: tuple[Lying, ...] = ()  #: these files as they were when we last looked


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
    inputs: tuple[InputFile, ...] = ()  #: the files that it names, each whole
    notes: tuple[str, ...] = ()  #: what whoever asked for it should know about them

    @property
    def bundle(self) -> Bundle:
        """What would be taken."""
        return Bundle(self.sha256, self.inputs)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A file that is answered but left where it is: incomplete, too large to read, or without files that it names."""

    path: str
    asked: Reading | RequestRefused  #: what its bytes hold
    sha256: str  #: of what is there, at most MAX_BYTES + 1
    mtime_ns: int
    owner: int | None = None  #: uid of the file's owner
    problems: tuple[Problem, ...] = ()  #: what is wrong with the files that it names
    inputs: tuple[InputFile, ...] = ()  #: those that are whole
    missing: bool = False  #: the others are just not there

    @property
    def refusal(self) -> RequestRefused:
        """Why it is left where it is."""
        return self.asked if isinstance(self.asked, RequestRefused) else RequestRefused(self.problems)

    @property
    def bundle(self) -> Bundle:
        """What is there of it."""
        return Bundle(self.sha256, self.inputs)


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
    LACKING = auto()  #: a file that it names is another one, or not there; it is looked at anew
    GONE = auto()  #: the file is not there
    TROUBLE = auto()  #: the folder does not let us


@dataclass(frozen=True, slots=True)
class Taking:
    """The outcome of `take`."""

    id: str
    path: str
    outcome: Outcome
    mtime_ns: int = 0
    inputs: tuple[InputFile, ...] = ()  #: TAKEN: the files that are in state
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
