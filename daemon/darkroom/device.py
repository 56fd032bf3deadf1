"""One renderer as the service sees it: what it does now, whose fault its deaths are, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import structlog

from darkroom import moves
from darkroom.answer import Answer
from darkroom.attempts import Attempts
from darkroom.clock import Clock
from darkroom.errors import ErrorCode
from darkroom.holds import Holds
from darkroom.plan import Plan
from darkroom.render.messages import (
    Alive,
    Cancel,
    Cancelled,
    Failed,
    Finished,
    FromRenderer,
    Load,
    Loaded,
    LoadFailed,
    Ready,
    Render,
    Rendered,
    Started,
    Step,
    ToRenderer,
    Unload,
    Unloaded,
)
from darkroom.render.process import Died

DEVICE = ""  #: the key of the device itself among the holds; no model has this alias
KILLERS = 3  #: so many different requests in a row that kill the renderer hold the device
PROGRESS_EVERY_S = 1.0

_log = structlog.get_logger("darkroom.renderer")


class Renderer(Protocol):
    """A renderer process; what it does is told by events."""

    def start(self) -> None:
        """Start the process."""

    def send(self, message: ToRenderer) -> None:
        """Hand over a message."""

    def kill(self) -> None:
        """End it at once."""

    def stop(self, within_s: float) -> None:
        """End it in order."""


class Condition(StrEnum):
    """What the device does."""

    DOWN = "down"  #: no process; started again when its time has come
    STARTING = "starting"  #: the process imports its libraries
    LOADING = "loading"  #: a model is being loaded, or downloaded
    READY = "ready"
    RENDERING = "rendering"


@dataclass(slots=True)
class Job:
    """A request that the renderer has."""

    id: str
    model: str
    steps_per_image: int
    images: int
    stepped: bool = False  #: it has made a step: what dies now is its fault
    rendered: bool = False  #: off the device, its pictures are being encoded
    render_s: float = 0.0
    revision: str = ""  #: of its model
    first_step_s: float | None = None  #: monotonic
    told_s: float = 0.0  #: when its progress was last published
    cancelled: bool = False


@dataclass(slots=True)
class _Suspect:
    """A request that erred before its first step: its fault only if others do get further."""

    model: str
    errors: int = 0
    others_stepped: bool = False


@dataclass(slots=True)
class _Facts:
    """What the renderer said of itself."""

    ready: Ready | None = None
    model: str | None = None
    revision: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)


class Device:
    """Owned by the service's thread."""

    def __init__(
        self,
        renderer: Renderer,
        attempts: Attempts,
        *,
        clock: Clock,
        host: str,
        stall_s: float,
        max_attempts: int,
        preload: str | None,
    ) -> None:
        self.holds = Holds()
        self.condition = Condition.DOWN
        self._renderer = renderer
        self._attempts = attempts
        self._clock = clock
        self._host = host
        self._stall_s = stall_s
        self._max_attempts = max_attempts
        self._preload = preload
        self._facts = _Facts()
        self._loading: str | None = None
        self._sign_s = 0.0
        self._start_at_s = 0.0
        self._deaths = 0  #: in a row, without a finished request between
        self._killers: list[str] = []
        self._suspects: dict[str, _Suspect] = {}
        self._stalled = False

    # What the service asks ----------------------------------------------------------------------------------------

    @property
    def current(self) -> Job | None:
        """The request on the device."""
        return next((job for job in self._facts.jobs.values() if not job.rendered), None)

    @property
    def is_busy(self) -> bool:
        """Whether it has a request, on the device or being encoded."""
        return bool(self._facts.jobs)

    @property
    def can_render(self) -> bool:
        """Whether a request may be sent now."""
        held = self.holds.is_held(DEVICE, self._clock.monotonic_s())
        return self.condition is Condition.READY and self.current is None and not held

    @property
    def suspects(self) -> frozenset[str]:
        """Requests that should let others go first."""
        return frozenset(self._suspects)

    def held_models(self) -> frozenset[str]:
        """Models that must not be tried yet."""
        return self.holds.held(self._clock.monotonic_s()) - {DEVICE}

    def render(self, answer: Answer, folder: str, stem: str) -> None:
        """Send a request to the device."""
        plan = Plan.from_json(answer.plan or {})
        self._facts.jobs[answer.id] = Job(answer.id, plan.model, plan.num_inference_steps, plan.num_images)
        self._sign_s = self._clock.monotonic_s()
        self.condition = Condition.RENDERING if self._facts.model == plan.model else Condition.LOADING
        self._loading = plan.model if self.condition is Condition.LOADING else None
        self._renderer.send(Render(answer.id, plan, folder, stem))

    def cancel(self, request_id: str) -> None:
        """Let a request leave the device at its next step."""
        job = self._facts.jobs.get(request_id)
        if job is not None and not job.cancelled:
            job.cancelled = True
            self._renderer.send(Cancel(request_id))

    def unload(self) -> None:
        """Free the device."""
        if self._facts.model is not None and self.condition is Condition.READY:
            self._renderer.send(Unload())

    def tick(self) -> None:
        """Start what is down, and kill what gives no sign of life."""
        now_s = self._clock.monotonic_s()
        if self.condition is Condition.DOWN:
            if now_s >= self._start_at_s and not self.holds.is_held(DEVICE, now_s):
                self._start()
        elif self.condition is not Condition.READY and not self._stalled and now_s - self._sign_s > self._stall_s:
            self._stalled = True
            _log.error("renderer_stalled", silent_s=round(now_s - self._sign_s), doing=self.condition.value)
            self._renderer.kill()

    def drop_all(self) -> None:
        """An orderly stop: the requests in hand stay in the register, and this was no attempt."""
        for job in list(self._facts.jobs.values()):
            self._attempts.come_back(job.id, count=False)
        self._facts.jobs.clear()

    def eta_s(self) -> float | None:
        """How long the request on the device will take still, once it has made two steps."""
        job = self.current
        answer = self._attempts.answer(job.id) if job is not None else None
        return answer.eta_s if answer is not None else None

    def describe(self) -> dict[str, Any]:
        """For the heartbeat."""
        ready, hold = self._facts.ready, self.holds.get(DEVICE)
        described = {
            "state": "held" if hold is not None and self.condition is Condition.DOWN else self.condition.value,
            "device": ready.device if ready is not None else None,
            "device_name": ready.device_name if ready is not None else None,
            "model": self._facts.model or self._loading,
            "why": hold.why if hold is not None else None,
        }
        if self.condition is Condition.READY and self._facts.model is None:
            described["state"] = "unloaded"
        return {key: value for key, value in described.items() if value is not None}

    # What the renderer tells --------------------------------------------------------------------------------------

    def handle(self, event: FromRenderer | Died) -> None:
        """Act on what the renderer did."""
        self._sign_s = self._clock.monotonic_s()
        match event:
            case Ready():
                self._ready(event)
            case Loaded():
                self._loaded(event)
            case LoadFailed():
                self._load_failed(event.model, event.message, event.hint)
            case Started():
                self._started(event)
            case Step():
                self._step(event)
            case Rendered():
                self._rendered(event)
            case Finished():
                self._finished(event)
            case Failed():
                self._failed(event)
            case Cancelled():
                self._left(event.id, self._attempts.leave)
            case Died():
                self._died(event)
            case Unloaded():
                self._facts.model = None
            case Alive():
                _log.debug("renderer_alive", doing=event.doing)

    def _start(self) -> None:
        self.condition = Condition.STARTING
        self._stalled = False
        self._facts = _Facts()
        self._sign_s = self._clock.monotonic_s()
        self._renderer.start()

    def _ready(self, ready: Ready) -> None:
        self._facts.ready = ready
        self.condition = Condition.READY
        _log.info("renderer_ready", device=ready.device_name, pid=ready.pid)
        preload = self._preload
        if preload is not None and not self.holds.is_held(preload, self._clock.monotonic_s()):
            self.condition, self._loading = Condition.LOADING, preload
            self._renderer.send(Load(preload))

    def _loaded(self, loaded: Loaded) -> None:
        self._facts.model, self._facts.revision, self._loading = loaded.model, loaded.revision, None
        self.condition = Condition.RENDERING if self.current is not None else Condition.READY
        self.holds.clear(loaded.model)
        _log.info("model_loaded", model=loaded.model, revision=loaded.revision, load_s=loaded.load_s)

    def _load_failed(self, model: str, message: str, hint: str) -> None:
        hold = self.holds.add(model, message, hint, self._clock.monotonic_s())
        self._facts.model, self._loading = None, None
        self.condition = Condition.READY if self.current is None else Condition.RENDERING
        _log.error("model_held", model=model, why=message, hint=hint, again_in_s=self._wait_s(hold.until_s))

    def _started(self, started: Started) -> None:
        self.condition = Condition.RENDERING
        answer = self._attempts.answer(started.id)
        if answer is not None:
            self._attempts.tell(moves.started(answer, tokens=started.tokens, warnings=started.warnings))

    def _step(self, step: Step) -> None:
        job = self._facts.jobs.get(step.id)
        if job is None:
            return
        now_s = self._clock.monotonic_s()
        if not job.stepped:
            job.stepped, job.first_step_s, job.told_s = True, now_s, now_s
            self._others_step(job)
        if now_s - job.told_s >= PROGRESS_EVERY_S:
            job.told_s = now_s
            progress = {"image": step.image, "images": step.images, "step": step.step, "steps": step.steps}
            self._tell_progress(step.id, progress, _eta_s(job, step, now_s))

    def _tell_progress(self, request_id: str, progress: dict[str, int], eta_s: float | None) -> None:
        answer = self._attempts.answer(request_id)
        if answer is not None:
            self._attempts.tell(replace(answer, progress=progress, eta_s=eta_s))

    def _rendered(self, rendered: Rendered) -> None:
        job = self._facts.jobs.get(rendered.id)
        if job is not None:
            job.rendered, job.render_s, job.revision = True, rendered.render_s, self._facts.revision
        self.condition = Condition.READY

    def _finished(self, done: Finished) -> None:
        job = self._facts.jobs.pop(done.id, None)
        self._deaths = 0
        self._killers.clear()
        self.holds.clear(DEVICE)
        if job is None or self._facts.ready is None:
            return
        self._suspects.pop(done.id, None)
        self._attempts.finish(done, job.render_s, self._rendered_by(job, self._facts.ready))

    def _rendered_by(self, job: Job, ready: Ready) -> dict[str, Any]:
        """As it stands in the answer."""
        return {
            "host": self._host,
            "device": ready.device_name,
            "model": job.model,
            "model_revision": job.revision,
            "software": ready.software,
        }

    def _failed(self, failed: Failed) -> None:
        job = self._facts.jobs.pop(failed.id, None)
        self.condition = Condition.READY if self.current is None else self.condition
        if job is None:
            return
        if failed.before_first_step and failed.code != ErrorCode.OUT_OF_MEMORY:
            self._erred_before_first_step(job, failed)
        elif failed.can_retry:
            self._attempts.note_death(failed.id, ErrorCode(failed.code), failed.message, failed.hint)
            self._attempts.come_back(failed.id, count=True)
        else:
            self._attempts.fail(failed.id, failed.code, failed.message, failed.hint)

    def _left(self, request_id: str, end: Callable[[str], None]) -> None:
        self._facts.jobs.pop(request_id, None)
        if self.current is None:
            self.condition = Condition.READY
        end(request_id)

    # Whose fault it is --------------------------------------------------------------------------------------------

    def _erred_before_first_step(self, job: Job, failed: Failed) -> None:
        """Not the request's fault, as far as anybody can tell: its model is held. Unless others do get further."""
        if self._facts.model == job.model:  # it was loaded: perhaps it is this request after all
            suspect = self._suspects.setdefault(job.id, _Suspect(job.model))
            suspect.errors += 1
            if suspect.others_stepped and suspect.errors >= self._max_attempts:
                del self._suspects[job.id]
                self._attempts.fail(job.id, failed.code, failed.message, failed.hint)
                return
        if not self.holds.is_held(job.model, self._clock.monotonic_s()):
            self._hold(job.model, failed.message, failed.hint)
        self._attempts.come_back(job.id, count=False)

    def _others_step(self, job: Job) -> None:
        for request_id, suspect in self._suspects.items():
            if request_id != job.id and suspect.model == job.model:
                suspect.others_stepped = True
        self.holds.clear(job.model)

    def _died(self, died: Died) -> None:
        """The process is gone. A death after a first step is that request's; before it, the model's or the device's."""
        jobs, loading, stalled = list(self._facts.jobs.values()), self._loading, self._stalled
        was = self.condition
        self.condition, self._facts, self._loading = Condition.DOWN, _Facts(), None
        if died.asked and not stalled:
            return
        why = f"gave no sign of life for {self._stall_s:g} s and was killed" if stalled else died.message
        _log.error("renderer_died", why=why, doing=was.value, tail="\n".join(died.stderr_tail[-5:]))
        on_device = next((job for job in jobs if not job.rendered), None)
        for job in jobs:
            if job is not on_device:
                self._attempts.come_back(job.id, count=on_device is None)
        if on_device is not None:
            self._blame(on_device, why, stalled=stalled)
        elif was is Condition.LOADING and loading is not None:
            self._hold(loading, f"The renderer {why} while loading it.", "The log tells more.")
        elif was is Condition.STARTING:
            self._hold(DEVICE, f"The renderer {why} while starting.", "The log tells more; try: darkroom doctor")
        self._deaths += 1
        self._start_at_s = self._clock.monotonic_s() + min(30.0, 0.25 * 2 ** min(self._deaths, 10))

    def _blame(self, job: Job, why: str, *, stalled: bool) -> None:
        if job.cancelled:
            self._attempts.leave(job.id)
            return
        if not job.stepped:
            self._hold(job.model, f"The renderer {why} before the first step.", "The log tells more.")
            self._attempts.come_back(job.id, count=False)
            return
        self._killers = [each for each in self._killers if each != job.id] + [job.id]
        code = ErrorCode.STALLED if stalled else ErrorCode.RENDERER_DIED
        hint = "A smaller size or fewer images may help. The service's log tells more."
        self._attempts.note_death(job.id, code, f"The renderer {why} while it rendered this request.", hint)
        self._attempts.come_back(job.id, count=True)
        if len(self._killers) >= KILLERS:
            self._killers.clear()
            message = f"{KILLERS} different requests in a row ended the renderer; the last time it {why}."
            self._hold(DEVICE, message, "Look after the device; the log tells more.")

    def _hold(self, what: str, why: str, hint: str) -> None:
        hold = self.holds.add(what, why, hint, self._clock.monotonic_s())
        name = {"model": what} if what else {}
        event = "model_held" if what else "device_held"
        _log.error(event, **name, why=why, hint=hint, again_in_s=self._wait_s(hold.until_s))

    def _wait_s(self, until_s: float) -> int:
        return round(until_s - self._clock.monotonic_s())


def _eta_s(job: Job, step: Step, now_s: float) -> float | None:
    """From the mean time of the steps so far; None before the second one."""
    done = (step.image - 1) * step.steps + step.step
    if job.first_step_s is None or done < 2:
        return None
    return round((now_s - job.first_step_s) / (done - 1) * (step.steps * step.images - done), 1)
