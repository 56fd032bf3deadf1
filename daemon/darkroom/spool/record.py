"""One request, as the state folder knows it, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from darkroom.facts import Artefact, Picture
from darkroom.request.inputs import Bundle
from darkroom.spool.answer import Answer, State


class Stage(StrEnum):
    """How far a request has come, as its record says. Each move is one commit."""

    ACCEPTED = "accepted"  #: its file is in the inbox
    TAKEN = "taken"  #: its bytes are in the state folder; it never returns to the inbox
    RENDERING = "rendering"  #: an attempt has begun, and is counted
    CLOSING = "closing"  #: the outcome is decided; all that its folder needs is in the state folder
    SETTLED = "settled"  #: delivered and answered


FINAL = frozenset(state for state in State if state.is_final)

#: Which answer may stand in which stage. A request that is refused, or cancelled before it was taken, has its end
#: decided while its file is still in the inbox.
LEGAL: Mapping[Stage, frozenset[State]] = MappingProxyType(
    {
        Stage.ACCEPTED: frozenset({State.QUEUED, State.REFUSED, State.CANCELLED}),
        Stage.TAKEN: frozenset({State.QUEUED}),
        Stage.RENDERING: frozenset({State.RENDERING}),
        Stage.CLOSING: FINAL,
        Stage.SETTLED: FINAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request, as the state folder knows it. Raises ValueError for an answer that may not stand in its stage."""

    number: int = 0  #: the order of acceptance; 0 before it is stored
    id: str
    path: str  #: below the inbox
    name: str  #: below the outbox
    stage: Stage
    bundle: Bundle
    mtime_ns: int  #: of the dropped file
    answer: Answer
    priority: int = 0
    owner: int | None = None  #: uid of the dropped file's owner
    attempt: int = 0  #: attempts begun, and not given back
    done: tuple[Picture, ...] = ()  #: those that are finished or withheld, in the order of `Plan.images`
    settled_at: float | None = None  #: Unix time
    cancelling: bool = False  #: it renders, and is to be cancelled

    def __post_init__(self) -> None:
        if self.answer.state not in LEGAL[self.stage]:
            raise ValueError(f"{self.name} ({self.id}): {self.answer.state} in stage {self.stage}")

    @property
    def work_bytes(self) -> int:
        """Of its finished pictures."""
        return sum(each.bytes for each in self.done if isinstance(each, Artefact))
