"""Two passes of one picture: how the steps of both are told as one count."""

from __future__ import annotations

from darkroom.render.engine import OnStep
from darkroom.request.plan import Hires


class BothPasses:
    """Of both passes, as they are told to `on_step`: those that are painted, and no others."""

    def __init__(self, hires: Hires, on_step: OnStep) -> None:
        self._on_step = on_step
        self._first = 0
        self._second = max(1, int(hires.num_inference_steps * hires.strength))

    def in_first(self, step: int, steps: int) -> None:
        """A step of the first pass."""
        self._first = steps
        self._on_step(step, steps + self._second)

    def in_second(self, step: int, steps: int) -> None:
        """A step of the second pass; how many it has is known now."""
        done = -(-step * self._second // steps)
        self._on_step(self._first + done, self._first + self._second)
