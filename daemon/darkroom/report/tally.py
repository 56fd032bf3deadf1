"""What is counted of a request's way. The service tells it to a tally; this one counts nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended. Seconds are None where a moment has not come."""

    state: str  #: "done", "refused", "failed", "cancelled"
    model: str = ""  #: alias; "" of a request that was refused
    code: str = ""  #: of its error
    queued_s: float | None = None
    render_s: float | None = None
    encode_s: float | None = None
    deliver_s: float | None = None


class Tally:
    """Hears of everything and keeps nothing. Every method may be called by any thread, and returns at once."""

    def life_began(self) -> None:
        """A life of the service: the first one, or another in the same process."""

    def turned(self, late_s: float) -> None:
        """The service's loop has made its turn of each second, so late."""

    def accepted(self, model: str) -> None:
        """A request was accepted, or refused (then without a model)."""

    def attempted(self, model: str) -> None:
        """An attempt begins."""

    def stepped(self, device: str) -> None:
        """A denoising step has ended."""

    def painted(self, model: str) -> None:
        """A picture is finished."""

    def withheld(self, model: str) -> None:
        """A picture is finished that nobody gets."""

    def ended(self, ending: Ending) -> None:
        """A request has come to its end, and its folder is in the outbox."""

    def loaded(self, model: str, load_s: float) -> None:
        """A model is on a device."""

    def model_held(self, model: str) -> None:
        """A model is not tried for a while."""

    def seat_ready(self, seat: str) -> None:
        """A renderer is there, by the name that it has from now on."""

    def seat_held(self, seat: str) -> None:
        """A renderer is not tried for a while."""

    def renderer_died(self, seat: str, *, stalled: bool) -> None:
        """A renderer has ended, and nobody asked it to."""

    def notified(self, outcome: str) -> None:
        """What came of telling a command: "told", "failed", "dropped"."""

    def answered(self, page: str, status: int) -> None:
        """A request over HTTP was answered; `page` is "health", "metrics", "files" or "none"."""
