"""The conversation with one renderer: what it does now, what it is told to do, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import structlog

from darkroom.clock import Clock
from darkroom.errors import ErrorCode
from darkroom.executor.local import Died, Renderer
from darkroom.executor.wire import (
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
    Unload,
    Unloaded,
)
from darkroom.request.plan import Plan
from darkroom.service.attempts import Attempts
from darkroom.service.blame import DEVICE, Blame, Charge, End
from darkroom.service.holds import Holds
from darkroom.service.job import Job
from darkroom.spool import moves
from darkroom.spool.answer import Answer

_log = structlog.get_logger("darkroom.renderer")


class Condition(StrEnum):
    """What the device does."""

    DOWN = "down"  #: no process; started again when its time has come
    STARTING = "starting"  #: the process imports its libraries
    LOADING = "loading"  #: a model is being loaded, or downloaded
    READY = "ready"
    RENDERING = "rendering"


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
        self._blame = Blame(max_attempts=max_attempts)
        self._preload = preload
        self._facts = _Facts()
        self._loading: str | None = None
        self._sign_s = 0.0
        self._start_at_s = 0.0
        self._deaths = 0  #: in a row, without a finished request between
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
        return self._blame.suspects

    def held_models(self) -> frozenset[str]:
        """Models that must not be tried yet."""
        return self.holds.held(self._clock.monotonic_s()) - {DEVICE}

    def render(self, answer: Answer, folder: str, stem: str) -> None:
        """Send a request to the device."""
        plan = Plan.from_json(answer.plan or {})
        self._facts.jobs[answer.id] = Job(answer.id, plan.model)
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
        """An orderly stop: the requests in hand stay in the register, and this was not an attempt."""
        for job in list(self._facts.jobs.values()):
            if job.cancelled:
                self._attempts.leave(job.id)
            else:
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
            "model": self._loading or self._facts.model,
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
        hold = self.holds.get(loaded.model)
        if hold is not None and hold.in_loading:
            self.holds.clear(loaded.model)
        _log.info("model_loaded", model=loaded.model, revision=loaded.revision, load_s=loaded.load_s)

    def _load_failed(self, model: str, message: str, hint: str) -> None:
        self._hold(Charge(model, message, hint, in_loading=True))
        self._facts.model, self._loading = None, None
        self.condition = Condition.READY if self.current is None else Condition.RENDERING

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
            self._blame.first_step(job)
            self.holds.clear(job.model)
        if job.step(now_s):
            self._tell_progress(job, step, now_s)

    def _tell_progress(self, job: Job, step: Step, now_s: float) -> None:
        answer = self._attempts.answer(job.id)
        if answer is not None:
            progress = {"image": step.image, "images": step.images, "step": step.step, "steps": step.steps}
            done = (step.image - 1) * step.steps + step.step
            eta_s = job.eta_s(now_s, done=done, of=step.steps * step.images)
            self._attempts.tell(replace(answer, progress=progress, eta_s=eta_s))

    def _rendered(self, rendered: Rendered) -> None:
        job = self._facts.jobs.get(rendered.id)
        if job is not None:
            job.rendered, job.render_s, job.revision = True, rendered.render_s, self._facts.revision
        self.condition = Condition.READY

    def _finished(self, done: Finished) -> None:
        job = self._facts.jobs.pop(done.id, None)
        self._deaths = 0
        self._blame.finished(done.id)
        self.holds.clear(DEVICE)
        if job is None or self._facts.ready is None:
            return
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
            charges = self._blame.out_of_memory(job) if failed.code == ErrorCode.OUT_OF_MEMORY else ()
            self._hold_all(charges)
            self._attempts.note_death(failed.id, ErrorCode(failed.code), failed.message, failed.hint)
            self._attempts.come_back(failed.id, count=not charges)
        else:
            self._attempts.fail(failed.id, failed.code, failed.message, failed.hint)

    def _left(self, request_id: str, end: Callable[[str], None]) -> None:
        self._facts.jobs.pop(request_id, None)
        if self.current is None:
            self.condition = Condition.READY
        end(request_id)

    # Whose fault it is --------------------------------------------------------------------------------------------

    def _erred_before_first_step(self, job: Job, failed: Failed) -> None:
        if self._blame.error_before_first_step(job, is_loaded=self._facts.model == job.model) is End.FAILED:
            self._attempts.fail(job.id, failed.code, failed.message, failed.hint)
            return
        if not self.holds.is_held(job.model, self._clock.monotonic_s()):
            self._hold(Charge(job.model, failed.message, failed.hint))
        self._attempts.come_back(job.id, count=False)

    def _died(self, died: Died) -> None:
        """The process is gone."""
        jobs, was, stalled = list(self._facts.jobs.values()), self.condition, self._stalled
        loading, loaded = self._loading if was is Condition.LOADING else None, self._facts.model
        self.condition, self._facts, self._loading = Condition.DOWN, _Facts(), None
        if died.asked and not stalled:
            return
        why = f"gave no sign of life for {self._stall_s:g} s and was killed" if stalled else died.message
        _log.error("renderer_died", why=why, doing=was.value, tail="\n".join(died.stderr_tail[-5:]))
        verdict = self._blame.death(why, jobs, loaded=loaded, loading=loading, starting=was is Condition.STARTING)
        self._hold_all(verdict.charges)
        for request_id, end in verdict.ends:
            self._end(request_id, end, why, stalled=stalled)
        self._deaths += 1
        self._start_at_s = self._clock.monotonic_s() + min(30.0, 0.25 * 2 ** min(self._deaths, 10))

    def _end(self, request_id: str, end: End, why: str, *, stalled: bool) -> None:
        """A request has lost its renderer."""
        if end is End.LEFT:
            self._attempts.leave(request_id)
            return
        code = ErrorCode.STALLED if stalled else ErrorCode.RENDERER_DIED
        hint = "A smaller size or fewer images may help. The service's log says more."
        if end is End.FAILED:
            message = f"The renderer {why} before the first step of this request, again and again; others went on."
            self._attempts.fail(request_id, code, message, hint)
            return
        if end is End.AT_FAULT:
            self._attempts.note_death(request_id, code, f"The renderer {why} while it rendered this request.", hint)
        self._attempts.come_back(request_id, count=end is not End.FREE)

    def _hold_all(self, charges: Iterable[Charge]) -> None:
        for charge in charges:
            if not self.holds.is_held(charge.what, self._clock.monotonic_s()):  # else this has been told just now
                self._hold(charge)

    def _hold(self, charge: Charge) -> None:
        now_s = self._clock.monotonic_s()
        hold = self.holds.add(charge.what, charge.why, charge.hint, now_s, in_loading=charge.in_loading)
        name = {"model": charge.what} if charge.what else {}
        event = "model_held" if charge.what else "device_held"
        again_in_s = round(hold.until_s - now_s)
        _log.error(event, **name, why=charge.why, hint=charge.hint, again_in_s=again_in_s)
