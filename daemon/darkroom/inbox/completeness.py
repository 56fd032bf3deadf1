"""Is a file complete? Its bytes and its stillness decide; no clock of another machine is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from darkroom.errors import RequestRefused
from darkroom.request.shape import MAX_BYTES, Incomplete, Reading, read

TIMES_SETTLE_S = 1.0  #: stillness after which a writer has set a file's time as well, as some do last
MALFORMED_SETTLE_S = 2.0  #: stillness after which what no further byte can make right is refused
SENT_BEFORE = "still arriving: it was sent before; read again to see whether its time has changed"


class Completeness(Enum):
    """What the bytes of a file say about the rest of it."""

    WHOLE = auto()  #: one JSON object
    OPEN = auto()  #: more bytes could still complete it
    BEYOND_MENDING = auto()  #: no further byte can


class Verdict(Enum):
    """What becomes of a file that has been read."""

    DROP = auto()  #: the service gets it
    WAIT = auto()  #: it is looked at again
    LEAVE = auto()  #: it is answered, and left where it is: its writer may still hold it


@dataclass(frozen=True, slots=True)
class Patience:
    """How still a file has to be, where it lies."""

    settle_s: float  #: for what more bytes could complete
    malformed_s: float  #: for what no further byte can make right
    reads_twice: bool  #: a network file system may show bytes that are still to change

    @classmethod
    def on(cls, *, network: bool, settle_s: float, network_settle_s: float) -> Patience:
        """The patience for a local or a network file system."""
        if network:
            return cls(network_settle_s, network_settle_s, reads_twice=True)
        return cls(settle_s, MALFORMED_SETTLE_S, reads_twice=False)

    def is_over(self, still_s: float, *, doubted: bool = False) -> bool:
        """Whether a file that is arriving and looks unchanged has to be read once more."""
        limit_s = TIMES_SETTLE_S if doubted else min(self.malformed_s, self.settle_s)
        return self.reads_twice or still_s >= limit_s


#: What the bytes of a file hold: a request of any worth, or why they hold none.
Content = Reading | RequestRefused


def content_of(raw: bytes) -> Content:
    """Read a file, once: what it holds goes all the way with it."""
    try:
        return read(raw)
    except RequestRefused as refusal:
        return refusal


def names_in(content: Content) -> tuple[str, ...] | None:
    """The files that a request names; None where more bytes could still name some."""
    if isinstance(content, Reading):
        return content.request.files
    return None if isinstance(content, Incomplete) else ()


def completeness_of(content: Content, size_bytes: int) -> Completeness:
    """Whether more bytes could still make a request of these. What is too large may be shortened, so it is open."""
    if isinstance(content, Incomplete) or size_bytes > MAX_BYTES:
        return Completeness.OPEN
    return Completeness.BEYOND_MENDING if isinstance(content, RequestRefused) else Completeness.WHOLE


def judge_files(patience: Patience, *, still_s: float, is_open: bool) -> Verdict:
    """What becomes of a complete request whose files have been as they are for `still_s`, and not all whole.

    `is_open`: one of them may still come, or more bytes could mend it.
    """
    return Verdict.WAIT if still_s < (patience.settle_s if is_open else patience.malformed_s) else Verdict.LEAVE


def judge(
    content: Content, size_bytes: int, patience: Patience, *, still_s: float, first_time: bool, doubted: bool = False
) -> tuple[Verdict, str]:
    """What becomes of a file that has had these bytes for `still_s`, and why it is not taken.

    `doubted`: they were sent before, with another mtime, which may not be the last one yet.
    """
    match completeness_of(content, size_bytes):
        case Completeness.WHOLE:
            if patience.reads_twice and first_time:
                return Verdict.WAIT, "still arriving: read once; read again to be sure that it does not change"
            if doubted and still_s < TIMES_SETTLE_S:
                return Verdict.WAIT, SENT_BEFORE
            return Verdict.DROP, ""
        case Completeness.BEYOND_MENDING:
            if still_s < patience.malformed_s:
                why = f"still arriving: not a valid request yet, {size_bytes} bytes, still for {still_s:.0f} s"
                return Verdict.WAIT, why
            return Verdict.DROP, ""
        case Completeness.OPEN:
            if still_s < patience.settle_s:
                return Verdict.WAIT, arriving(size_bytes, still_s)
            what = f"larger than {MAX_BYTES} bytes" if size_bytes > MAX_BYTES else "incomplete"
            return Verdict.LEAVE, f"refused as it stands: {what}. It is read again when it changes."


def arriving(size_bytes: int, still_s: float) -> str:
    """Why a file that does not grow is not taken yet."""
    return f"still arriving: {size_bytes} bytes for {still_s:.0f} s"
