"""An error that nobody foresaw costs the one thing that it came with: told, tried again later, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

from darkroom import backoff
from darkroom.log.logger import Logger

GRACE_S = 5.0  #: from a new try to the moment when it counts as well again
FORGIVEN_S = 600.0  #: after so long without another error the next one counts as the first

_log = Logger("darkroom")


class Kind(StrEnum):
    """What something is done for."""

    FILE = "file"  #: in the inbox; its name is its path
    TAKING = "taking"  #: a file out of the inbox; its name is its path
    REQUEST = "request"  #: its name is its id
    ANSWER = "answer"  #: its name is the request's
    RESULT = "result"  #: a folder on its way to the outbox; its name is the request's
    HANDOVER = "handed_over"  #: an answer or a result, to the outbox's thread; its name is that of the file or folder
    FOLDER = "folder"
    HEARTBEAT = "heartbeat"
    GALLERY = "gallery"  #: a result that the gallery is to show; its name is its folder


@dataclass(slots=True)
class Trouble:
    """What one thing has met."""

    why: str
    failures: int
    until_s: float  #: when it may be tried again
    told: bool = False  #: to the person whose thing it is
    open: bool = True  #: it has not been tried again yet


class Alone:
    """A block that is made for the sake of one thing."""

    def __init__(self, take: Callable[[BaseException], bool]) -> None:
        self._take = take

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: TracebackType | None) -> bool:
        """Whether the error ends here."""
        return error is not None and self._take(error)


class Guard:
    """Stands around each call that is made for the sake of one thing. Used by one thread; `clock` is monotonic.

    `passes`: errors that are everybody's, besides MemoryError, and go on: they are met by beginning again.
    """

    def __init__(self, clock: Callable[[], float], *, passes: tuple[type[BaseException], ...] = ()) -> None:
        self._clock = clock
        self._passes: tuple[type[BaseException], ...] = (MemoryError, *passes)
        self._troubles: dict[tuple[Kind, str], Trouble] = {}
        self.let_go: dict[Kind, tuple[Callable[[str], None], ...]] = {}  #: what else is done at once; may not fail
        self.name_of: Callable[[str], str] = str  #: of a request, for the log
        #: All that is in trouble, and why; replaced whole at each change, so that any thread may read it.
        self.open: dict[tuple[Kind, str], str] = {}

    def alone(self, kind: Kind, name: str, *, passes: tuple[type[BaseException], ...] = ()) -> Alone:
        """What errs inside is this thing's trouble alone, and the block ends there, but for what also `passes` here.

        What comes after the block in the same function should be for that case: let the block end with `return`.
        """
        return Alone(lambda error: self._take(kind, name, error, passes))

    def _take(self, kind: Kind, name: str, error: BaseException, passes: tuple[type[BaseException], ...]) -> bool:
        """Whether an error ends here."""
        if not isinstance(error, Exception) or isinstance(error, self._passes + passes):
            return False
        self._note(kind, name, error)
        for let_go in self.let_go.get(kind, ()):
            let_go(name)
        return True

    def waits(self, kind: Kind, name: str) -> bool:
        """Whether it is to be left alone for now."""
        trouble = self._troubles.get((kind, name))
        return trouble is not None and self._clock() < trouble.until_s

    def why(self, kind: Kind, name: str) -> str:
        """What it has met, for a person; "" if nothing."""
        trouble = self._troubles.get((kind, name))
        return trouble.why if trouble is not None and trouble.open else ""

    def due(self) -> list[tuple[Kind, str]]:
        """What is to be tried again now. Say `tries` when that is done."""
        now_s = self._clock()
        self._show()
        return [key for key, trouble in self._troubles.items() if trouble.open and now_s >= trouble.until_s]

    def tries(self, kind: Kind, name: str) -> None:
        """It goes on, and a moment will tell; should it err once more, it waits for longer."""
        trouble = self._troubles.get((kind, name))
        if trouble is not None:
            trouble.open, trouble.until_s = False, self._clock()
            self._show()

    def works(self, kind: Kind, name: str) -> None:
        """It is well, or gone."""
        if self._troubles.pop((kind, name), None) is not None:
            self._show()

    def news(self) -> list[tuple[Kind, str, str]]:
        """What is in trouble and has not been told to anybody yet, and why; each once."""
        new = [(key, trouble) for key, trouble in self._troubles.items() if trouble.open and not trouble.told]
        for _, trouble in new:
            trouble.told = True
        return [(*key, trouble.why) for key, trouble in new]

    def _note(self, kind: Kind, name: str, error: Exception) -> None:
        now_s = self._clock()
        before = self._troubles.get((kind, name))
        failures = before.failures if before is not None and now_s - before.until_s < FORGIVEN_S else 0
        delay_s = backoff.UNFORESEEN.delay_s(failures + 1)
        why = f"an unexpected error: {describe(error)}; it is tried again. The service's log tells more"
        self._troubles = {key: each for key, each in self._troubles.items() if each.until_s > now_s - FORGIVEN_S}
        self._troubles[kind, name] = Trouble(why, failures + 1, now_s + delay_s)
        self._show()
        _log.error(
            "unforeseen_error", **self._about(kind, name), why=describe(error), again_in_s=delay_s, exc_info=error
        )

    def _show(self) -> None:
        now_s = self._clock()
        self.open = {
            key: trouble.why
            for key, trouble in self._troubles.items()
            if trouble.open or now_s - trouble.until_s < GRACE_S
        }

    def _about(self, kind: Kind, name: str) -> dict[str, str]:
        if kind is not Kind.REQUEST:
            return {kind.value: name}
        try:
            return {"request": self.name_of(name), "id": name}
        except Exception:  # noqa: BLE001 - the record itself may be what errs
            return {"request": name, "id": name}


def describe(error: BaseException) -> str:
    """In a line."""
    text = str(error)[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
