"""models try: one small picture, without a daemon: does it load and paint here, how long, with how much memory."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from darkroom.actor import Broken
from darkroom.cli import terminal
from darkroom.cli.configured import known_of
from darkroom.cli.exits import DONE
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError
from darkroom.executor import port
from darkroom.executor.local import RendererProcess
from darkroom.log import setup as log
from darkroom.models.card import ModelCard
from darkroom.request.decide import decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read

#: What is painted: every model knows one, the starter too.
PROMPT = "a cat"
SIDE_PX, STEPS = 256, 4
STOP_WITHIN_S = 10.0

T = TypeVar("T", bound=port.Event)


def try_model(config: Config, alias: str) -> int:
    """Load it, paint, and tell."""
    log.set_up(level="warning", form="console")  # what libraries print is told where it ends badly
    plan = _plan(config, alias)
    with TemporaryDirectory(prefix="darkroom-try-") as work, _renderer(config, alias) as told:
        ready = told.wait_for(port.Ready)
        terminal.err().print(f"{ready.title}: loading {alias} …")
        told.process.send(port.Load(alias))
        loaded = told.wait_for(port.Loaded)
        held = f" as {loaded.loaded_as}" if loaded.loaded_as else ""
        terminal.out().print(f"loaded{held} in {loaded.load_s:.1f} s, revision {loaded.revision}")
        attempt = port.Attempt(port.AttemptKey("try", 1), plan, "try", Path(work), Path(work))
        told.process.send(port.Render(attempt))
        rendered = told.wait_for(port.Rendered)
        finished = told.wait_for(port.Finished)
    size = f"{plan.width}×{plan.height} in {plan.num_inference_steps} steps"
    peak = f", {terminal.size(rendered.peak_bytes)} of memory at most" if rendered.peak_bytes else ""
    terminal.out().print(f"painted {size}: {rendered.render_s:.1f} s{peak}")
    for warning in finished.warnings:
        terminal.complain(warning)
    return DONE


def _plan(config: Config, alias: str) -> Plan:
    """Its own defaults, small, in few steps."""
    known = known_of(config)
    card = config.rules().card(alias, known(alias))
    asked = {
        "prompt": PROMPT,
        "model": alias,
        "style": "none",
        "default_negative": False,
        **_small(card),
        "num_inference_steps": max(min(card.num_inference_steps, STEPS), card.family.fewest_steps),
    }
    return decide(read(json.dumps(asked).encode()), config.rules(), drawn_seed=0, known=known).plan


def _small(card: ModelCard) -> dict[str, int]:
    step = card.family.step_px
    side = max(card.min_px, min(card.width, SIDE_PX // step * step))
    return {"width": side, "height": side}


class _Told:
    """What a renderer tells, and its process."""

    def __init__(self, config: Config, alias: str) -> None:
        self._events: queue.SimpleQueue[port.Event | Broken] = queue.SimpleQueue()
        settings = replace(config.renderer_settings(), models={alias: config.sources()[alias]})
        self.process = RendererProcess(settings, name="try", emit=self._events.put)
        self.process.start(1)

    def wait_for(self, kind: type[T]) -> T:
        """The next event of this kind. Raises DarkroomError when there will be none."""
        while not isinstance(event := self._events.get(), kind):
            match event:
                case port.LoadFailed():
                    raise DarkroomError(event.message, hint=event.hint)
                case port.Failed():
                    raise DarkroomError(event.fault.message, hint=event.fault.hint)
                case port.Died():
                    raise DarkroomError(f"The renderer {event.why}.", hint="\n".join(event.tail[-3:]))
                case Broken():
                    raise DarkroomError("The renderer's thread has ended.", hint=str(event.error))
                case port.Alive(bytes_done=int() as done, bytes_total=total):
                    of = f" of {terminal.size(total)}" if total else ""
                    terminal.err().print(f"{terminal.size(done)}{of} have come")
        return event


@contextmanager
def _renderer(config: Config, alias: str) -> Iterator[_Told]:
    told = _Told(config, alias)
    try:
        yield told
    finally:
        told.process.stop(STOP_WITHIN_S)
