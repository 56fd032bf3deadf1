"""The renderer process as the service sees it, with a test card instead of a model."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image

import darkroom
from darkroom.errors import ErrorCode
from darkroom.executor.local import Died, Event, RendererProcess
from darkroom.executor.settings import RendererSettings
from darkroom.executor.wire import (
    Alive,
    Cancel,
    Cancelled,
    Failed,
    Finished,
    Interrupt,
    Interrupted,
    Load,
    Loaded,
    LoadFailed,
    Ready,
    Render,
    Rendered,
    Started,
    Step,
    Stop,
    Unload,
    Unloaded,
)
from darkroom.models.source import ModelSource
from darkroom.render.alive import SignsOfLife, WorkDone
from darkroom.request.plan import Plan

T = TypeVar("T")

DEADLINE_S = 30.0

PLAN = Plan(
    model="card",
    prompt="a castle on a hill",
    negative_prompt="",
    style="none",
    width=64,
    height=64,
    num_inference_steps=3,
    guidance_scale=7.5,
    scheduler="euler",
    seed=7,
    num_images=1,
    format="png",
    quality=None,
)

SOURCES = {
    "card": "testcard",
    "slow": "testcard:step_s=0.01",
    "other": "testcard",
    "faulty": "testcard:die_on=DIE,hang_on=HANG,oom_on=OOM,nan_on=NAN",
    "unloadable": "testcard:fail_load=1",
    "deadly": "testcard:die_load=1",
    "mistyped": "testcard:speed=3",
}


class Renderer:
    """A renderer process and all that it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Event] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        models = {alias: ModelSource(alias, source) for alias, source in SOURCES.items()}
        self.process = RendererProcess(RendererSettings(models=models), emit=self._events.put)
        self.process.start()

    def render(self, name: str, plan: Plan = PLAN) -> None:
        folder = self.folder / name
        folder.mkdir()
        self.process.send(Render(name, plan, str(folder), name))

    def wait_for(self, kind: type[T], **fields: object) -> T:
        """The next event of this kind with these fields; everything before it is in `told`."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            self.told.append(event)
            if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
                return event

    def kinds_of(self, request_id: str) -> list[str]:
        return [type(event).__name__ for event in self.told if getattr(event, "id", None) == request_id]


@pytest.fixture
def renderer(tmp_path: Path) -> Iterator[Renderer]:
    renderer = Renderer(tmp_path)
    yield renderer
    renderer.process.stop(within_s=0)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        threading.Event().wait(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_request_is_told_from_ready_to_finished_in_order(renderer: Renderer) -> None:
    renderer.process.send(Load("card"))
    renderer.render("cat", replace(PLAN, num_images=2))
    finished = renderer.wait_for(Finished)

    assert isinstance(renderer.told[0], Ready)
    assert renderer.told[1] == Loaded("card", "local", renderer.told[1].load_s)  # type: ignore[union-attr]
    kinds = renderer.kinds_of("cat")
    assert kinds[0] == "Started"
    assert kinds[-2:] == ["Rendered", "Finished"]
    assert set(kinds[1:-2]) == {"Step"}
    last_steps = [event for event in renderer.told if isinstance(event, Step) and event.step == event.steps]
    assert last_steps == [Step("cat", 1, 2, 3, 3), Step("cat", 2, 2, 3, 3)]
    assert [(picture.file, picture.seed) for picture in finished.pictures] == [("cat-1.png", 7), ("cat-2.png", 8)]
    assert sorted(os.listdir(renderer.folder / "cat")) == ["cat-1.png", "cat-2.png"]


def test_pictures_are_on_disk_as_told(renderer: Renderer) -> None:
    renderer.render("cat")
    (picture,) = renderer.wait_for(Finished).pictures

    data = (renderer.folder / "cat" / picture.file).read_bytes()
    assert (picture.bytes, picture.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with Image.open(renderer.folder / "cat" / picture.file) as image:
        assert image.size == (picture.width, picture.height) == (64, 64)


def test_the_same_plan_gives_the_same_bytes(renderer: Renderer) -> None:
    renderer.render("one")
    renderer.render("two")
    first, second = renderer.wait_for(Finished).pictures, renderer.wait_for(Finished).pictures

    assert first[0].sha256 == second[0].sha256


def test_the_next_request_starts_while_the_last_one_is_encoded(renderer: Renderer) -> None:
    renderer.render("large", replace(PLAN, width=2048, height=2048, format="webp", quality=100))
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    kinds = [(type(event).__name__, getattr(event, "id", None)) for event in renderer.told]
    assert kinds.index(("Rendered", "large")) < kinds.index(("Started", "next")) < kinds.index(("Finished", "large"))
    assert kinds.index(("Finished", "large")) < kinds.index(("Finished", "next"))


def test_a_request_is_cancelled_at_its_next_step_and_the_next_one_renders(renderer: Renderer) -> None:
    renderer.render("endless", replace(PLAN, model="slow", num_inference_steps=100_000))
    renderer.wait_for(Step, id="endless")
    renderer.process.send(Cancel("endless"))
    renderer.wait_for(Cancelled, id="endless")
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert "Rendered" not in renderer.kinds_of("endless")
    assert os.listdir(renderer.folder / "endless") == []


def test_a_waiting_request_is_cancelled_while_another_renders(renderer: Renderer) -> None:
    renderer.render("endless", replace(PLAN, model="slow", num_inference_steps=100_000))
    renderer.render("waiting")
    renderer.process.send(Cancel("waiting"))
    renderer.wait_for(Cancelled, id="waiting")
    renderer.process.send(Cancel("endless"))
    renderer.wait_for(Cancelled, id="endless")
    renderer.render("last")
    renderer.wait_for(Finished, id="last")

    assert renderer.kinds_of("waiting") == ["Cancelled"]


def test_cancelling_what_is_over_or_was_never_there_is_not_answered(renderer: Renderer) -> None:
    renderer.render("cat")
    renderer.wait_for(Finished, id="cat")
    renderer.process.send(Cancel("cat"))
    renderer.process.send(Cancel("nobody"))
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert not [event for event in renderer.told if isinstance(event, Cancelled)]


def test_a_request_that_is_cancelled_while_it_is_encoded_ends_once(renderer: Renderer) -> None:
    renderer.render("large", replace(PLAN, width=2048, height=2048, format="webp", quality=100))
    renderer.wait_for(Rendered, id="large")
    renderer.process.send(Cancel("large"))
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert [kind for kind in renderer.kinds_of("large") if kind in ("Finished", "Cancelled")] == ["Cancelled"]


def test_another_model_is_loaded_in_place_of_the_first(renderer: Renderer) -> None:
    renderer.render("one")
    renderer.render("two", replace(PLAN, model="other"))
    renderer.render("three", replace(PLAN, model="other"))
    renderer.wait_for(Finished, id="three")
    renderer.process.send(Unload())
    renderer.wait_for(Unloaded)
    renderer.render("four", replace(PLAN, model="other"))
    renderer.wait_for(Finished, id="four")

    assert [event.model for event in renderer.told if isinstance(event, Loaded)] == ["card", "other", "other"]


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("unloadable", "unloadable cannot be loaded"),
        ("mistyped", "a test card has no option 'speed'"),
        ("nobody", "No model is called 'nobody'"),
    ],
)
def test_what_cannot_be_loaded_is_not_the_fault_of_the_request(renderer: Renderer, alias: str, message: str) -> None:
    renderer.render("cat", replace(PLAN, model=alias))
    told = renderer.wait_for(LoadFailed)
    failed = renderer.wait_for(Failed, id="cat")
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert message in told.message
    assert told.hint
    assert failed.before_first_step
    assert failed.can_retry


@pytest.mark.parametrize(("word", "code"), [("OOM", ErrorCode.OUT_OF_MEMORY), ("NAN", ErrorCode.BROKEN_PICTURE)])
def test_a_request_that_fails_leaves_the_renderer_alive(renderer: Renderer, word: str, code: ErrorCode) -> None:
    renderer.render("cat", replace(PLAN, model="faulty", prompt=f"a castle {word}"))
    failed = renderer.wait_for(Failed, id="cat")
    renderer.render("next", replace(PLAN, model="faulty"))
    renderer.wait_for(Finished, id="next")

    assert failed.code == code
    assert not failed.before_first_step


def test_a_picture_that_cannot_be_written_fails_its_request_alone(renderer: Renderer) -> None:
    renderer.process.send(Render("cat", PLAN, str(renderer.folder / "missing"), "cat"))
    failed = renderer.wait_for(Failed, id="cat")
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert "No such file or directory" in failed.message
    assert failed.can_retry


def test_a_renderer_that_dies_in_a_step_is_told_and_can_be_started_again(renderer: Renderer) -> None:
    renderer.render("cat", replace(PLAN, model="faulty", prompt="DIE"))
    died = renderer.wait_for(Died)
    renderer.process.start()
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    assert renderer.kinds_of("cat") == ["Started", "Step"]
    assert (died.returncode, died.signal, died.asked) == (-signal.SIGKILL, "SIGKILL", False)
    assert "memory" in died.message
    assert sum(isinstance(event, Died) for event in renderer.told) == 1


def test_a_renderer_that_dies_while_loading_is_told(renderer: Renderer) -> None:
    renderer.process.send(Load("deadly"))

    assert renderer.wait_for(Died).signal == "SIGKILL"


def test_a_renderer_that_hangs_is_killed(renderer: Renderer) -> None:
    renderer.render("cat", replace(PLAN, model="faulty", prompt="HANG"))
    renderer.wait_for(Step, id="cat")
    pid = renderer.process.pid
    renderer.process.kill()
    died = renderer.wait_for(Died)

    assert died.asked
    assert renderer.process.pid is None
    assert pid is not None
    assert is_gone(pid)


def test_sending_to_a_dead_renderer_is_no_error(renderer: Renderer) -> None:
    renderer.process.kill()
    renderer.wait_for(Died)
    renderer.process.send(Load("card"))
    renderer.process.kill()
    renderer.process.stop(within_s=1)


def test_a_second_start_of_a_living_renderer_is_a_mistake(renderer: Renderer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        renderer.process.start()


def test_stop_finishes_what_is_rendered_and_drops_the_rest(renderer: Renderer) -> None:
    renderer.render("large", replace(PLAN, width=1024, height=1024, format="webp", quality=100))
    renderer.render("endless", replace(PLAN, model="slow", num_inference_steps=100_000))
    renderer.wait_for(Started, id="endless")
    renderer.process.stop(within_s=DEADLINE_S)
    died = renderer.wait_for(Died)

    assert (died.returncode, died.asked) == (0, True)
    assert "Finished" in renderer.kinds_of("large")
    assert set(renderer.kinds_of("endless")) <= {"Started", "Step"}


def test_an_interrupted_request_leaves_after_the_picture_in_hand_which_is_durable(renderer: Renderer) -> None:
    plan = replace(PLAN, model="slow", num_inference_steps=30, num_images=16)
    renderer.render("many", plan)
    renderer.wait_for(Step, id="many", image=2)
    renderer.process.send(Interrupt("many"))
    interrupted = renderer.wait_for(Interrupted, id="many")
    renderer.render("next")
    renderer.wait_for(Finished, id="next")

    files = sorted((renderer.folder / "many").iterdir())
    assert [file.name for file in files] == ["many-1.png", "many-2.png"]
    told = {picture.file: picture.sha256 for picture in interrupted.pictures}
    assert told == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_what_is_interrupted_before_its_first_picture_leaves_with_none(renderer: Renderer) -> None:
    renderer.render("first", replace(PLAN, model="slow", num_inference_steps=50))
    renderer.render("second")
    renderer.process.send(Interrupt("second"))
    assert renderer.wait_for(Interrupted, id="second").pictures == ()
    assert "Finished" in renderer.kinds_of("first")


def test_who_is_interrupted_in_the_last_picture_is_finished(renderer: Renderer) -> None:
    renderer.render("one", replace(PLAN, model="slow", num_inference_steps=30))
    renderer.wait_for(Step, id="one")
    renderer.process.send(Interrupt("one"))
    assert len(renderer.wait_for(Finished, id="one").pictures) == 1


def test_stop_kills_a_renderer_that_does_not_listen(renderer: Renderer) -> None:
    renderer.wait_for(Ready)
    assert renderer.process.pid is not None
    os.kill(renderer.process.pid, signal.SIGSTOP)
    renderer.process.stop(within_s=0.1)

    assert renderer.wait_for(Died).signal == "SIGKILL"


def test_signals_for_a_whole_group_leave_the_renderer_to_the_service(renderer: Renderer) -> None:
    renderer.wait_for(Ready)
    assert renderer.process.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(renderer.process.pid, number)
    renderer.render("cat")
    renderer.wait_for(Finished, id="cat")

    assert os.getpgid(renderer.process.pid) != os.getpgid(0)


def test_what_the_renderer_printed_last_is_told_with_its_death(renderer: Renderer) -> None:
    renderer.wait_for(Ready)
    assert renderer.process.pid is not None
    os.kill(renderer.process.pid, signal.SIGABRT)
    died = renderer.wait_for(Died)

    assert died.signal == "SIGABRT"
    assert any("Fatal Python error: Aborted" in line for line in died.stderr_tail)
    assert len(died.stderr_tail) <= 50


def test_a_renderer_that_cannot_be_started_is_told_as_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    renderer = Renderer(tmp_path)
    died = renderer.wait_for(Died)

    assert "could not be started" in died.message
    assert "no-python" in died.message


def test_test_cards_need_no_torch(renderer: Renderer) -> None:
    renderer.render("cat")
    renderer.wait_for(Finished, id="cat")

    assert "torch" not in Path(f"/proc/{renderer.process.pid}/maps").read_text()


SERVICE = """
    import sys, time
    from darkroom.request.plan import Plan
    from darkroom.executor.wire import Render, Step
    from darkroom.executor.local import RendererProcess
    from darkroom.models.source import ModelSource
    from darkroom.executor.settings import RendererSettings

    def emit(event):
        if isinstance(event, Step):
            print(process.pid, flush=True)

    card = ModelSource("card", "testcard:hang_on=castle")
    process = RendererProcess(RendererSettings(models={"card": card}), emit=emit)
    process.start()
    plan = Plan("card", "castle", "", "none", 64, 64, 3, 7.5, "euler", 7, 1, "png", None)
    process.send(Render("cat", plan, sys.argv[1], "cat"))
    time.sleep(60)
"""


def test_a_renderer_that_hangs_does_not_outlive_a_killed_service(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(darkroom.__file__).parent.parent)}
    command = [sys.executable, "-c", textwrap.dedent(SERVICE), str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # nothing of it runs: neither does the thread that would see the channel end
        assert not is_gone(pid)
        service.kill()
        wait_until(lambda: is_gone(pid))


def test_a_loader_that_works_gives_signs_of_life() -> None:
    told: queue.SimpleQueue[Alive] = queue.SimpleQueue()
    alive = SignsOfLife(told.put, interval_s=0.05)
    with alive.during("loading card"):
        deadline = time.monotonic() + DEADLINE_S
        while told.empty():
            sum(range(10_000))
            assert time.monotonic() < deadline

    assert told.get() == Alive("loading card")


def test_what_could_hang_in_a_way_that_looks_like_work_gives_no_signs_of_life() -> None:
    told: queue.SimpleQueue[Alive] = queue.SimpleQueue()
    alive = SignsOfLife(told.put, interval_s=0.02)
    with alive.during("loading card"):
        alive.fall_silent()
        busy_until_s = time.process_time() + 0.3
        while time.process_time() < busy_until_s:
            sum(range(10_000))
    assert told.empty()


def test_a_process_that_stands_still_gives_none() -> None:
    before = WorkDone(cpu_s=1.0, io_bytes=1_000)

    assert not WorkDone(cpu_s=1.001, io_bytes=1_400).is_beyond(before)
    assert WorkDone(cpu_s=1.5, io_bytes=1_400).is_beyond(before)
    assert WorkDone(cpu_s=1.001, io_bytes=9_000_000).is_beyond(before)


def test_settings_survive_their_way_to_the_renderer() -> None:
    card = ModelSource("card", "testcard", revision="main", variant="fp16", dtype="float32", safety_checker=True)
    settings = RendererSettings({"card": card}, device="cuda:1", model_cache="/models", offline=True, threads=2)

    assert RendererSettings.from_line(settings.as_line()) == settings


def test_stop_before_anything_else_ends_the_renderer(renderer: Renderer) -> None:
    renderer.process.send(Stop())

    assert renderer.wait_for(Died).returncode == 0
