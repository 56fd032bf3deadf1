"""What comes back from another machine is what was asked for, or it does not count. Pure: bytes in, a reason out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from darkroom.executor.port import Attempt, AttemptKey, Cancelled, Event, Failed, Finished, OfAttempt, Painted, Withheld

#: Longer messages carry no meaning: an event is some hundred bytes, warnings some thousand.
MAX_LINE_BYTES = 1 << 20

#: Of a picture: more than three bytes a pixel, with what it says of itself, is no picture that we asked for.
SPARE_BYTES = 4 << 20

EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}

#: Format ("PNG"), width and height, as the header of these bytes has them; None for what is no picture.
ReadHeader = Callable[[bytes], tuple[str, int, int] | None]


@dataclass(slots=True)
class _Open:
    attempt: Attempt
    told: int  #: pictures that are finished or withheld


class Returned:
    """The attempts that another machine has, and how far each of them is."""

    def __init__(self, read_header: ReadHeader) -> None:
        self._read_header = read_header
        self._open: dict[AttemptKey, _Open] = {}

    def expect(self, attempt: Attempt) -> None:
        """It is about to be sent."""
        self._open[attempt.key] = _Open(attempt, len(attempt.done))

    def attempt(self, key: AttemptKey) -> Attempt | None:
        """The attempt of this key, if it is still to be told of."""
        found = self._open.get(key)
        return found.attempt if found is not None else None

    def is_current(self, event: Event) -> bool:
        """Whether an event is about nothing that has ended, or that was never sent there."""
        return not isinstance(event, OfAttempt) or event.key in self._open

    def why_wrong(self, event: Event, data: bytes | None) -> str:
        """Why a current event cannot be believed, after "sent"; "" when it can, which is then noted."""
        match event:
            case Painted():
                why = self._why_no_picture(event, data)
            case Withheld():
                why = "" if event.index == self._open[event.key].told else f"picture {event.index + 1} out of turn"
            case _:
                why = "bytes with an event that has none" if data is not None else ""
        if not why and isinstance(event, Painted | Withheld):
            self._open[event.key].told += 1
        if not why and isinstance(event, Finished | Failed | Cancelled):
            del self._open[event.key]
        return why

    def _why_no_picture(self, painted: Painted, data: bytes | None) -> str:
        found = self._open[painted.key]
        plan, artefact, index = found.attempt.plan, painted.artefact, painted.index
        if index != found.told or index >= plan.num_images:
            return f"picture {index + 1} out of turn"
        if artefact.file != f"{found.attempt.stem}-{index + 1}.{EXTENSIONS[plan.format]}":
            return f"a picture with a wrong name, {artefact.file[:100]!r}"
        if artefact.seed != plan.images[index].seed:
            return f"picture {index + 1} of another seed"
        if data is None:
            return f"no bytes of picture {index + 1}"
        if len(data) != artefact.bytes:
            return f"picture {index + 1} with {len(data)} bytes, and told of {artefact.bytes}"
        if len(data) > 3 * artefact.width * artefact.height + SPARE_BYTES:
            return f"picture {index + 1} with {len(data)} bytes, too much for {artefact.width} x {artefact.height}"
        if hashlib.sha256(data).hexdigest() != artefact.sha256:
            return f"picture {index + 1} with other bytes than it told of (sha256)"
        return self._why_other_picture(painted, found.attempt, data)

    def _why_other_picture(self, painted: Painted, attempt: Attempt, data: bytes) -> str:
        plan, artefact, number = attempt.plan, painted.artefact, painted.index + 1
        header = self._read_header(data)
        if header is None:
            return f"picture {number} that is no picture"
        kind, width, height = header
        if kind.lower() != plan.format:
            return f"picture {number} as {kind}, not {plan.format}"
        if (width, height) != (artefact.width, artefact.height):
            return f"picture {number} of {width} x {height}, and told of {artefact.width} x {artefact.height}"
        if plan.size is not None and (width, height) != plan.size:
            return f"picture {number} of {width} x {height}, not {plan.size[0]} x {plan.size[1]}"
        return ""
