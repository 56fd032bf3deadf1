"""The renderer process: reads messages, renders one request at a time in order of arrival, tells what happens.

Started as `python -m darkroom.render.worker FD`; FD is one end of a socket pair. Four threads: the main one owns the
device; one reads the channel, so that a cancel arrives during a render; one makes files of pictures while the next
request renders; one gives signs of life while something long has no steps.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from functools import partial
from typing import BinaryIO, assert_never

from darkroom import __version__
from darkroom.disk.files import Disk
from darkroom.errors import DeviceGone, ErrorCode, ModelUnavailable, ModelUnsupported, NoRoomForModel, RenderFailed
from darkroom.executor.child import Channel, take_channel
from darkroom.executor.port import (
    Cancel,
    Cancelled,
    Failed,
    Load,
    Loaded,
    LoadFailed,
    Ready,
    Render,
    Rendered,
    Started,
    Tried,
    Unload,
    Unloaded,
)
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import EXIT_DRIVER_LATE, EXIT_POISONED, Stop, decode
from darkroom.facts import Fault
from darkroom.models.schedulers import Impossible
from darkroom.render import testcard
from darkroom.render.agenda import Agenda, Task
from darkroom.render.alive import SignsOfLife
from darkroom.render.engine import DevicePoisoned, DriverLate, Flagged, LeaveDevice, Model
from darkroom.render.finish import Finisher, Job
from darkroom.render.opening import open_device
from darkroom.render.parameters import Provenance
from darkroom.render.residents import OnDevice, Residents
from darkroom.render.steps import Steps
from darkroom.request.plan import Plan


class Worker:
    """The device thread: one request at a time, by one of the models that are on the device."""

    def __init__(self, settings: RendererSettings, channel: Channel, agenda: Agenda, alive: SignsOfLife) -> None:
        self._settings = settings
        self._channel = channel
        self._agenda = agenda
        self._alive = alive
        self._finisher = Finisher(channel.send, agenda, Disk(), settings.picture_metadata)
        self._residents = Residents(settings.resident_models)
        self._trials: list[threading.Thread] = []
        self._tried: dict[str, Impossible] = {}  # by digest of the saved scheduler
        self._enlarger: OnDevice | None = None  # as long as no model is to be loaded
        self._trouble: ModelUnavailable | None = None  # why the last model could not be loaded
        with alive.during("starting"):
            self._device = open_device(settings)

    def run(self) -> int:
        """Work until stopped; returns the exit status."""
        device = self._device
        software = {"darkroom": __version__, **device.software}
        ready = Ready(
            device=device.name,
            title=device.title,
            pid=os.getpid(),
            cuda_devices=device.cuda_devices,
            software=software,
        )
        self._channel.send(ready)
        threading.Thread(target=self._learn, name="learn", daemon=True).start()  # the hub may hang
        status = 0
        try:
            while (task := self._agenda.next()) is not None:
                self._do(task)
        except DevicePoisoned as error:
            sys.stderr.write(f"{error}\n")
            status = EXIT_POISONED
        self._finisher.close()
        self._agenda.stop()
        for trial in self._trials:
            trial.join()
        return status

    def _learn(self) -> None:
        """What the configured models are; whoever decides requests reads the files."""
        for source in self._settings.models.values():
            self._device.learn(source)

    def _do(self, task: Task) -> None:
        match task:
            case Load(model=alias):
                self._load(alias)
            case Render():
                self._render(task)
            case Unload():
                self._enlarger = None
                self._residents.let_all_go()
                self._channel.send(Unloaded())
            case _:
                assert_never(task)

    # Models -------------------------------------------------------------------------------------------------------

    def _load(self, alias: str) -> OnDevice | None:
        """The model behind this alias, loaded if it is not there yet; None when it cannot be, which has been told."""
        if (there := self._residents.use(alias)) is not None:
            self._channel.send(self._as_loaded(there, load_s=0.0))
            return there
        began_s = time.monotonic()
        done, total = lambda: self._device.downloaded_bytes, lambda: self._device.download_bytes
        try:
            with self._alive.during(f"loading {alias}", bytes_done=done, bytes_total=total):
                loaded = self._put_on_device(alias)
        except ModelUnavailable as error:
            self._trouble = error
            self._channel.send(_load_failed(alias, error, self._residents.aliases))
            return None
        except DevicePoisoned as error:
            self._channel.send(LoadFailed(model=alias, message=str(error), hint=POISONED_HINT, only_here=True))
            raise
        load_s = round(time.monotonic() - began_s, 3)
        self._channel.send(self._as_loaded(loaded, load_s=load_s))
        if loaded.model.scheduler:
            self._trials = [each for each in self._trials if each.is_alive()]
            self._trials.append(threading.Thread(target=self._try, args=(alias, loaded.model), name="trial"))
            self._trials[-1].start()
        return loaded

    def _as_loaded(self, there: OnDevice, *, load_s: float) -> Loaded:
        return Loaded(
            model=there.alias,
            revision=there.model.revision,
            load_s=load_s,
            loaded_as=there.model.loaded_as,
            resident=self._residents.aliases,
        )

    def _try(self, alias: str, model: Model) -> None:
        """Beside the first picture: a second or two that nobody has to wait for, once for each saved scheduler."""
        impossible = self._tried.get(model.scheduler)
        if impossible is None:
            impossible = model.try_schedulers(lambda: self._agenda.stopped)
            if self._agenda.stopped:
                return
            self._tried[model.scheduler] = impossible
        self._channel.send(Tried(model=alias, scheduler=model.scheduler, impossible=impossible))

    def _put_on_device(self, alias: str) -> OnDevice:
        source = self._settings.models.get(alias)
        if source is None:
            known = ", ".join(sorted(self._settings.models)) or "none"
            raise ModelUnavailable(f"No model is called {alias!r}.", hint=f"The configuration has: {known}.")
        self._enlarger = None
        device = testcard.Easel() if source.is_testcard else self._device
        device.look(source)  # what is loaded makes room only for what can take its place
        self._residents.make_room_for(device.needs_bytes(source), device.free_bytes)
        load = partial(device.load, source, self._alive.fall_silent, self._residents.let_one_go)
        try:
            model = load()
        except NoRoomForModel:
            if not self._residents.aliases:
                raise
            self._residents.let_all_go()
            model = load()
        return self._residents.add(OnDevice(alias, model, device))

    # Requests -----------------------------------------------------------------------------------------------------

    def _render(self, render: Render) -> None:
        """Render one attempt; how it ended is told by the finisher, when nobody writes its files any more."""
        try:
            loaded = self._what_renders(render.attempt.plan)
        except RenderFailed as error:
            job = Job(render.attempt, NO_PROVENANCE)
            self._finisher.end(job, _failed(job, Steps(render, self._channel, self._agenda), error))
            return
        if loaded is None:
            self._finisher.end(Job(render.attempt, NO_PROVENANCE), _never_began(render, self._trouble))
            return
        job = Job(render.attempt, loaded.provenance)
        steps = Steps(render, self._channel, self._agenda)
        try:
            self._paint_all(job, loaded, steps)
        except LeaveDevice:
            self._finisher.end(job)
        except DevicePoisoned:
            self._finisher.end(job)  # not its own fault for sure: the service judges by this process's death
            raise
        except RenderFailed as error:
            self._finisher.end(job, _failed(job, steps, error))
        except Exception as error:  # noqa: BLE001 - whatever it is, this attempt failed and the next one goes on
            traceback.print_exc()
            failure = RenderFailed(CODE, describe(error), hint=REPORT_HINT, kind=type(error).__name__)
            self._finisher.end(job, _failed(job, steps, failure))
        else:
            self._finisher.end(job)
        if loaded.model.is_spent:
            self._residents.let_go(loaded.alias)

    def _what_renders(self, plan: Plan) -> OnDevice | None:
        """The model of a plan, or what does without; None: it could not be loaded. Raises RenderFailed."""
        if plan.upscale is None:
            return self._residents.use(plan.model) or self._load(plan.model)
        if self._enlarger is None:
            self._enlarger = OnDevice("", self._device.enlarger(), self._device)
        return self._enlarger

    def _paint_all(self, job: Job, loaded: OnDevice, steps: Steps) -> None:
        """Every picture that is neither finished nor withheld yet, in order."""
        attempt, model = job.attempt, loaded.model
        began_s = time.monotonic()
        with self._alive.during(f"rendering {attempt.key.id}") if loaded.device.name == "cpu" else nullcontext():
            steps.leave_if_told()
            reading = model.read(attempt.plan, attempt.inputs)
            self._channel.send(Started(key=attempt.key, tokens=reading.tokens, warnings=reading.warnings))
            for index in range(len(attempt.done), attempt.plan.num_images):
                steps.begin(index)
                try:
                    pixels = model.paint(attempt.plan, reading, index, steps)
                except Flagged:
                    self._finisher.withhold(job, index)
                else:
                    self._finisher.add(job, index, pixels)
        self._channel.send(
            Rendered(
                key=attempt.key,
                render_s=round(time.monotonic() - began_s, 4),
                peak_bytes=loaded.device.peak_bytes(),
            )
        )


CODE = ErrorCode.RENDER_ERROR
POISONED_HINT = "The renderer is started again; `nvidia-smi` and the kernel's log tell more."
REPORT_HINT = "The renderer's log tells more."
NO_PROVENANCE = Provenance("", "", {})


def _load_failed(alias: str, error: ModelUnavailable, resident: tuple[str, ...]) -> LoadFailed:
    return LoadFailed(
        model=alias,
        message=error.message,
        hint=error.hint,
        only_here=isinstance(error, NoRoomForModel),
        of_device=isinstance(error, DeviceGone),
        for_good=isinstance(error, ModelUnsupported),
        resident=resident,
    )


def _failed(job: Job, steps: Steps, error: RenderFailed) -> Failed:
    fault = Fault(ErrorCode(error.code), error.message, error.hint, error.can_retry, error.kind)
    return Failed(key=job.attempt.key, fault=fault, stepped=steps.began)


def _never_began(render: Render, trouble: ModelUnavailable | None) -> Failed:
    if isinstance(trouble, ModelUnsupported):
        fault = Fault(ErrorCode.UNSUPPORTED, trouble.message, trouble.hint)
    else:
        fault = Fault(CODE, f"The model {render.attempt.plan.model!r} could not be loaded.", can_retry=True)
    return Failed(key=render.attempt.key, fault=fault, stepped=False)


def describe(error: BaseException) -> str:
    """An error of a library in one line: its kind, and the first line of its message."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


# Starting ---------------------------------------------------------------------------------------------------------


def listen(reader: BinaryIO, channel: Channel, agenda: Agenda) -> None:
    """Take messages from the service until it is gone; then the process ends at once, whatever the device does.

    So it does at an error that nobody foresaw: a renderer that hears nothing would wait for ever, and seem well.
    """
    status = 1
    try:
        for line in reader:
            match decode(line):
                case Cancel(key=key):
                    if agenda.cancel(key):
                        channel.send(Cancelled(key=key))
                case Stop():
                    agenda.stop()
                case Load() | Render() | Unload() as task:
                    agenda.add(task)
        status = 0
    except Exception:  # noqa: BLE001 - the service shows the last lines of it
        traceback.print_exc()
    os._exit(status)


def main(channel_fd: int, parent_pid: int) -> None:
    """Run one renderer until it is stopped, its service is gone, or its device is poisoned."""
    end, reader = take_channel(channel_fd, parent_pid)
    settings = RendererSettings.from_line(reader.readline())
    channel, agenda = Channel(end), Agenda()
    threading.Thread(target=listen, args=(reader, channel, agenda), name="listener", daemon=True).start()
    try:
        worker = Worker(settings, channel, agenda, SignsOfLife(channel.send))
        gc.freeze()  # the libraries' own half a million objects need not be looked through for each model that goes
        status = worker.run()
    except DriverLate:
        status = EXIT_DRIVER_LATE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not `sys.exit`: tearing CUDA down takes long and may crash


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
