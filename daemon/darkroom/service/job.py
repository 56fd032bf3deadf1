"""A request that the renderer has: how far it is, and how long it will take still."""

from __future__ import annotations

from dataclasses import dataclass

PROGRESS_EVERY_S = 1.0  #: its progress is told no more often


@dataclass(slots=True)
class Job:
    """From the moment it was sent until its pictures are complete."""

    id: str
    model: str
    rendered: bool = False  #: off the device, its pictures are being encoded
    render_s: float = 0.0
    revision: str = ""  #: of its model
    first_step_s: float | None = None  #: monotonic
    told_s: float = 0.0  #: when its progress was last told
    cancelled: bool = False
    done: int = 0  #: steps, of all pictures together
    picture_ends: int = 0  #: steps, of all pictures together, at the end of the picture in hand

    @property
    def stepped(self) -> bool:
        """Whether it has made a step: what dies now is its fault."""
        return self.first_step_s is not None

    def step(self, now_s: float) -> bool:
        """It has made a step. Returns whether that is to be told."""
        if self.first_step_s is None:
            self.first_step_s = self.told_s = now_s
        if now_s - self.told_s < PROGRESS_EVERY_S:
            return False
        self.told_s = now_s
        return True

    def picture_eta_s(self, now_s: float) -> float | None:
        """How long the picture in hand will take still; None while nobody can tell."""
        return self.eta_s(now_s, done=self.done, of=self.picture_ends)

    def eta_s(self, now_s: float, *, done: int, of: int) -> float | None:
        """From the mean time of the `done` steps, of all pictures together; None before the second one."""
        if self.first_step_s is None or done < 2:
            return None
        return round((now_s - self.first_step_s) / (done - 1) * (of - done), 1)
