"""The renderer process as the service sees it, with a test card instead of a model."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image

import darkroom
from darkroom.actor import Broken
from darkroom.errors import ErrorCode
from darkroom.executor import local
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import (
    Alive,
    Attempt,
    AttemptKey,
    Cancel,
    Cancelled,
    Died,
    Event,
    Failed,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    OfAttempt,
    Painted,
    Ready,
    Render,
    Rendered,
    Stepped,
    Unload,
    Unloaded,
    Withheld,
)
from darkroom.executor.settings import PictureMetadata, RendererSettings
from darkroom.facts import Artefact, Gap, Picture, Progress
from darkroom.models.source import ModelSource
from darkroom.render.agenda import Agenda
from darkroom.render.alive import SignsOfLife, WorkDone
from darkroom.render.engine import Pixels
from darkroom.render.finish import Finisher, Job
from darkroom.render.parameters import Provenance
from darkroom.request.plan import MOST_IMAGES, Plan
from darkroom.testing.faults import CountingDisk
from darkroom.testing.plans import plan as plan_of
from darkroom.testing.waiting import wait_for

T = TypeVar("T")

DEADLINE_S = 30.0

PLAN = plan_of(model="card")
LARGE = plan_of(model="card", width=1024, height=1024, format="webp", quality=100)
ENDLESS = plan_of(model="slow", num_inference_steps=100_000)
MANY = plan_of(model="slow", num_inference_steps=20, num_images=MOST_IMAGES)

SOURCES = {
    "card": "testcard",
    "slow": "testcard:step_s=0.01",
    "other": "testcard",
    "faulty": "testcard:die_on=DIE,hang_on=HANG,oom_on=OOM,nan_on=NAN,flag_on=FLAG,warn_on=WARN",
    "unloadable": "testcard:fail_load=1",
    "deadly": "testcard:die_load=1",
    "mistyped": "testcard:speed=3",
}


class Renderer:
    """A renderer process and all that it told."""

    def __init__(self, folder: Path, life: int = 1, metadata: PictureMetadata = "full") -> None:
        self.folder = folder
        self.number = 1  #: of every attempt
        self.told: list[Event] = []
        self.seen: dict[str, str] = {}  #: what each picture held when it was told
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        models = {alias: ModelSource(alias, source) for alias, source in SOURCES.items()}
        settings = RendererSettings(models=models, picture_metadata=metadata)
        self.process = RendererProcess(settings, name="seat", emit=self._hear)
        self.process.start(life)

    def _hear(self, event: Event | Broken) -> None:
        assert not isinstance(event, Broken), event
        if isinstance(event, Painted):
            file = self.folder / event.key.id / event.artefact.file
            self.seen[event.artefact.file] = hashlib.sha256(file.read_bytes()).hexdigest()
        self._events.put(event)

    def live(self, life: int) -> None:
        """Another life; nothing has been told in it."""
        self.told.clear()
        self.process.start(life)

    def begin(self, folder: Path) -> None:
        """For the next test: nothing has been told."""
        self.folder, self.number = folder, self.number + 1
        self.told.clear()
        self.seen.clear()

    def key(self, name: str) -> AttemptKey:
        return AttemptKey(name, self.number)

    def render(self, name: str, plan: Plan = PLAN, *, done: tuple[Picture, ...] = (), stem: str = "") -> None:
        work = self.folder / name
        work.mkdir(exist_ok=True)
        self.process.send(Render(Attempt(self.key(name), plan, stem or name, self.folder, work, done)))

    def cancel(self, name: str) -> None:
        self.process.send(Cancel(self.key(name)))

    def wait_for(self, kind: type[T], name: str | None = None, **fields: object) -> T:
        """The next event of this kind, of this attempt, with these fields; everything before it is in `told`."""
        wanted = fields if name is None else {"key": self.key(name), **fields}
        deadline = time.monotonic() + DEADLINE_S
        while True:
            event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            self.told.append(event)
            if isinstance(event, kind) and all(getattr(event, key) == value for key, value in wanted.items()):
                return event

    def of(self, name: str, kind: type[T]) -> list[T]:
        """What was told of an attempt, of one kind."""
        ours = [event for event in self.told if isinstance(event, OfAttempt) and event.key == self.key(name)]
        return [event for event in ours if isinstance(event, kind)]

    def kinds_of(self, name: str) -> list[str]:
        return [type(event).__name__ for event in self.of(name, OfAttempt)]

    def pictures(self, name: str) -> tuple[Artefact, ...]:
        """Those that were told, which come in order."""
        told = self.of(name, Painted)
        assert [each.index for each in told] == list(range(told[0].index, told[0].index + len(told)) if told else ())
        return tuple(each.artefact for each in told)

    def files(self, name: str) -> dict[str, str]:
        """What lies in the folder of an attempt, with its digest."""
        found = sorted((self.folder / name).iterdir())
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def digests(pictures: tuple[Artefact, ...]) -> dict[str, str]:
    return {picture.file: picture.sha256 for picture in pictures}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    """One that all tests share that leave it alive."""
    renderer = Renderer(tmp_path_factory.mktemp("running"))
    yield renderer
    renderer.process.stop(within_s=0)


@pytest.fixture
def renderer(running: Renderer, tmp_path: Path) -> Renderer:
    running.begin(tmp_path)
    return running


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Renderer]:
    """One of its own, for a test that it does not survive."""
    renderer = Renderer(tmp_path)
    yield renderer
    renderer.process.stop(within_s=0)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# What is told -------------------------------------------------------------------------------------------------------


def test_a_request_is_told_from_ready_to_finished_in_order(mortal: Renderer) -> None:
    mortal.process.send(Load("card"))
    mortal.render("cat", replace(PLAN, images=plan_of(num_images=2).images))
    mortal.wait_for(Finished, "cat")

    ready, loaded = mortal.told[:2]
    assert isinstance(ready, Ready)
    assert (ready.device, ready.pid) == ("cpu", mortal.process.pid)
    assert ready.software["darkroom"] == darkroom.__version__, "of which the starter model is a part"
    assert isinstance(loaded, Loaded)
    assert (loaded.model, loaded.revision) == ("card", "local")
    kinds = mortal.kinds_of("cat")
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    assert {*kinds[1:-1]} == {"Stepped", "Painted", "Rendered"}
    assert kinds.count("Rendered") == 1
    last_steps = [each.progress for each in mortal.of("cat", Stepped) if each.progress.step == each.progress.steps]
    assert last_steps == [Progress(1, 2, 3, 3), Progress(2, 2, 3, 3)]
    assert [(each.file, each.seed) for each in mortal.pictures("cat")] == [("cat-1.png", 7), ("cat-2.png", 8)]
    assert sorted(os.listdir(mortal.folder / "cat")) == ["cat-1.png", "cat-2.png"]


def test_every_event_says_whose_it_is(mortal: Renderer) -> None:
    mortal.render("cat")
    mortal.wait_for(Finished, "cat")
    mortal.process.kill()
    mortal.wait_for(Died)
    assert {(event.executor, event.life) for event in mortal.told} == {("seat", 1)}

    mortal.live(5)
    mortal.render("dog")
    mortal.wait_for(Finished, "dog")
    mortal.process.stop(within_s=DEADLINE_S)
    mortal.wait_for(Died)
    assert {(event.executor, event.life) for event in mortal.told} == {("seat", 5)}


def test_pictures_are_told_one_by_one_each_when_it_is_whole(renderer: Renderer) -> None:
    renderer.render("cat", replace(LARGE, images=plan_of(num_images=3).images))
    renderer.wait_for(Finished, "cat")

    assert len(renderer.pictures("cat")) == 3
    assert renderer.seen == digests(renderer.pictures("cat")) == renderer.files("cat")
    for picture in renderer.pictures("cat"):
        path = renderer.folder / "cat" / picture.file
        assert picture.bytes == path.stat().st_size
        with Image.open(path) as image:
            assert image.size == (picture.width, picture.height) == (1024, 1024)


def test_a_picture_is_durable_before_it_is_told(tmp_path: Path) -> None:
    disk, agenda = CountingDisk(), Agenda()
    told: list[object] = []

    def send(event: Event) -> None:
        told.append((type(event).__name__, list(disk.effects)))

    finisher = Finisher(send, agenda, disk)
    plan = plan_of(width=8, height=8)
    job = Job(Attempt(AttemptKey("cat", 1), plan, "cat", tmp_path, tmp_path), Provenance("local", "card", {}))
    finisher.add(job, 0, Pixels(8, 8, bytes(8 * 8 * 3)))
    finisher.end(job)
    finisher.close()

    written = [("write", "cat-1.png"), ("sync", tmp_path.name)]
    assert told == [("Painted", written), ("Finished", written)]


def test_a_picture_has_its_own_prompt_and_seed(renderer: Renderer) -> None:
    fox = plan_of(prompt="a fox", seed=40).images
    moon = plan_of(prompt="a moon", seed=2).images
    renderer.render("both", replace(PLAN, images=fox + moon), stem="x")
    renderer.wait_for(Finished, "both")
    assert [picture.seed for picture in renderer.pictures("both")] == [40, 2]

    renderer.render("moon", replace(PLAN, images=moon))
    renderer.wait_for(Finished, "moon")
    with (
        Image.open(renderer.folder / "both" / "x-2.png") as one,
        Image.open(renderer.folder / "moon" / "moon-1.png") as other,
    ):
        assert one.tobytes() == other.tobytes()
        assert one.info["parameters"] == other.info["parameters"]


def test_pictures_say_of_themselves_what_the_renderer_was_told(tmp_path: Path) -> None:
    renderer = Renderer(tmp_path, metadata="mark")
    try:
        renderer.render("cat")
        renderer.wait_for(Finished, "cat")
    finally:
        renderer.process.stop(within_s=0)

    with Image.open(tmp_path / "cat" / "cat-1.png") as image:
        assert set(image.info) == {"xmp", "XML:com.adobe.xmp"}


def test_the_same_plan_gives_the_same_bytes(renderer: Renderer) -> None:
    renderer.render("one")
    renderer.render("two")
    renderer.wait_for(Finished, "two")

    assert renderer.pictures("one")[0].sha256 == renderer.pictures("two")[0].sha256


# Where an earlier attempt has ended ---------------------------------------------------------------------------------


def test_an_attempt_goes_on_behind_what_is_done_with_the_same_bytes(renderer: Renderer) -> None:
    plan = replace(PLAN, images=plan_of(num_images=3).images)
    renderer.render("whole", plan, stem="cat")
    renderer.wait_for(Finished, "whole")
    whole = renderer.pictures("whole")

    (renderer.folder / "rest").mkdir()
    (renderer.folder / "whole" / "cat-1.png").rename(renderer.folder / "rest" / "cat-1.png")
    renderer.render("rest", plan, stem="cat", done=whole[:1])
    renderer.wait_for(Finished, "rest")

    assert [each.index for each in renderer.of("rest", Painted)] == [1, 2]
    assert renderer.pictures("rest") == whole[1:]
    assert renderer.files("rest") == digests(whole)
    assert {each.progress.image for each in renderer.of("rest", Stepped)} == {2, 3}


def test_where_all_is_done_nothing_is_painted(renderer: Renderer) -> None:
    renderer.render("cat")
    renderer.wait_for(Finished, "cat")
    renderer.begin(renderer.folder)
    renderer.render("cat", done=(Artefact("cat-1.png", 7, 64, 64, 1, "0" * 64),))
    renderer.wait_for(Finished, "cat")

    assert renderer.kinds_of("cat") == ["Started", "Rendered", "Finished"]


# What overlaps, and what is cancelled -------------------------------------------------------------------------------


def test_the_next_request_starts_while_the_last_one_is_encoded(renderer: Renderer) -> None:
    renderer.render("large", replace(LARGE, width=2048, height=2048))
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    kinds = [(type(event).__name__, event.key.id) for event in renderer.told if isinstance(event, OfAttempt)]
    assert kinds.index(("Rendered", "large")) < kinds.index(("Started", "next")) < kinds.index(("Finished", "large"))
    assert kinds.index(("Painted", "large")) < kinds.index(("Finished", "large")) < kinds.index(("Finished", "next"))


def test_a_request_is_cancelled_at_its_next_step_and_the_next_one_renders(renderer: Renderer) -> None:
    renderer.render("endless", ENDLESS)
    renderer.wait_for(Stepped, "endless")
    renderer.cancel("endless")
    renderer.wait_for(Cancelled, "endless")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert set(renderer.kinds_of("endless")) == {"Started", "Stepped", "Cancelled"}
    assert renderer.files("endless") == {}


def test_a_cancel_in_the_middle_leaves_the_finished_pictures(renderer: Renderer) -> None:
    renderer.render("many", MANY)
    renderer.wait_for(Painted, "many", index=1)
    renderer.cancel("many")
    renderer.wait_for(Cancelled, "many")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert renderer.kinds_of("many")[-1] == "Cancelled"
    assert 2 <= len(renderer.pictures("many")) < MANY.num_images
    assert renderer.files("many") == digests(renderer.pictures("many"))


def test_a_waiting_request_is_cancelled_while_another_renders(renderer: Renderer) -> None:
    renderer.render("endless", ENDLESS)
    renderer.render("waiting")
    renderer.cancel("waiting")
    renderer.wait_for(Cancelled, "waiting")
    renderer.cancel("endless")
    renderer.wait_for(Cancelled, "endless")
    renderer.render("last")
    renderer.wait_for(Finished, "last")

    assert renderer.kinds_of("waiting") == ["Cancelled"]


def test_cancelling_what_is_over_or_was_never_there_is_not_answered(renderer: Renderer) -> None:
    renderer.render("cat")
    renderer.wait_for(Finished, "cat")
    renderer.cancel("cat")
    renderer.cancel("nobody")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert not [event for event in renderer.told if isinstance(event, Cancelled)]


def test_a_cancel_of_an_earlier_attempt_leaves_the_next_one_alone(renderer: Renderer) -> None:
    renderer.render("cat", MANY)
    renderer.wait_for(Stepped, "cat")
    renderer.process.send(Cancel(AttemptKey("cat", renderer.number - 1)))
    renderer.wait_for(Painted, "cat", index=1)
    renderer.cancel("cat")
    renderer.wait_for(Cancelled, "cat")


def test_a_request_that_is_cancelled_while_it_is_encoded_ends_once(renderer: Renderer) -> None:
    renderer.render("large", replace(LARGE, width=2048, height=2048))
    renderer.wait_for(Rendered, "large")
    renderer.cancel("large")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert [kind for kind in renderer.kinds_of("large") if kind in ("Finished", "Cancelled")] == ["Cancelled"]


# Models and failures ------------------------------------------------------------------------------------------------


def test_another_model_is_loaded_in_place_of_the_first(renderer: Renderer) -> None:
    renderer.process.send(Unload())
    renderer.wait_for(Unloaded)
    renderer.render("one")
    renderer.render("two", replace(PLAN, model="other"))
    renderer.render("three", replace(PLAN, model="other"))
    renderer.wait_for(Finished, "three")
    renderer.process.send(Unload())
    renderer.wait_for(Unloaded)
    renderer.render("four", replace(PLAN, model="other"))
    renderer.wait_for(Finished, "four")

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
    failed = renderer.wait_for(Failed, "cat")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert message in told.message
    assert told.hint
    assert not failed.stepped
    assert failed.fault.can_retry


@pytest.mark.parametrize(("word", "code"), [("OOM", ErrorCode.OUT_OF_MEMORY), ("NAN", ErrorCode.BROKEN_PICTURE)])
def test_a_request_that_fails_leaves_the_renderer_alive(renderer: Renderer, word: str, code: ErrorCode) -> None:
    renderer.render("cat", plan_of(model="faulty", prompt=f"a castle {word}"))
    failed = renderer.wait_for(Failed, "cat")
    renderer.render("next", plan_of(model="faulty"))
    renderer.wait_for(Finished, "next")

    assert failed.fault.code == code
    assert failed.stepped


def test_a_request_that_fails_in_the_middle_keeps_what_is_finished(renderer: Renderer) -> None:
    images = plan_of(num_images=2).images + plan_of(prompt="OOM", seed=9).images
    renderer.render("cat", replace(PLAN, model="faulty", images=images))
    renderer.wait_for(Failed, "cat")

    assert len(renderer.pictures("cat")) == 2
    assert renderer.kinds_of("cat")[-1] == "Failed"
    assert renderer.files("cat") == digests(renderer.pictures("cat"))


@pytest.mark.parametrize(
    ("prompt", "withheld", "files"),
    [
        ("FLAG-2", [1], ["cat-1.png", "cat-3.png"]),
        ("FLAG-1 FLAG-3", [0, 2], ["cat-2.png"]),
        ("FLAG", [0, 1, 2], []),
        ("FLAG-12", [], ["cat-1.png", "cat-2.png", "cat-3.png"]),
    ],
)
def test_a_picture_that_is_flagged_is_told_in_its_turn_and_costs_no_other(
    renderer: Renderer, prompt: str, withheld: list[int], files: list[str]
) -> None:
    renderer.render("cat", plan_of(model="faulty", prompt=prompt, num_images=3))
    renderer.wait_for(Finished, "cat")

    told = [event for event in renderer.of("cat", OfAttempt) if isinstance(event, Painted | Withheld)]
    assert [event.index for event in told] == [0, 1, 2]
    assert [event.index for event in told if isinstance(event, Withheld)] == withheld
    assert sorted(renderer.files("cat")) == files


def test_an_attempt_goes_on_behind_what_is_withheld(renderer: Renderer) -> None:
    plan = plan_of(model="faulty", prompt="FLAG-2", num_images=3)
    renderer.render("cat", plan, done=(Artefact("cat-1.png", 7, 64, 64, 1, "0" * 64), Gap(2)))
    renderer.wait_for(Finished, "cat")

    assert [event.index for event in renderer.of("cat", Painted)] == [2]
    assert renderer.of("cat", Withheld) == []


def test_what_comes_to_light_while_it_is_painted_is_told_at_the_end_once(renderer: Renderer) -> None:
    renderer.render("cat", plan_of(model="faulty", prompt="WARN", num_images=3))
    finished = renderer.wait_for(Finished, "cat")
    renderer.render("next", plan_of(model="faulty"))
    nothing = renderer.wait_for(Finished, "next")

    assert finished.warnings == ("The test card found WARN.",)
    assert nothing.warnings == ()


def test_behind_a_picture_that_cannot_be_written_none_is_told_as_withheld(renderer: Renderer) -> None:
    missing = renderer.folder / "missing"
    plan = plan_of(model="faulty", prompt="FLAG-2", num_images=2)
    renderer.process.send(Render(Attempt(renderer.key("cat"), plan, "cat", missing, missing)))
    renderer.wait_for(Failed, "cat")

    assert renderer.of("cat", Withheld) == []


def test_a_picture_that_cannot_be_written_fails_its_request_alone(renderer: Renderer) -> None:
    missing = renderer.folder / "missing"
    renderer.process.send(Render(Attempt(renderer.key("cat"), PLAN, "cat", missing, missing)))
    failed = renderer.wait_for(Failed, "cat")
    renderer.render("next")
    renderer.wait_for(Finished, "next")

    assert "No such file or directory" in failed.fault.message
    assert failed.fault.can_retry


# How it dies --------------------------------------------------------------------------------------------------------


def test_a_renderer_that_dies_in_a_step_is_told_and_can_be_started_again(mortal: Renderer) -> None:
    mortal.render("cat", plan_of(model="faulty", prompt="DIE"))
    died = mortal.wait_for(Died)
    mortal.process.start(2)
    mortal.render("next")
    mortal.wait_for(Finished, "next")

    assert mortal.kinds_of("cat") == ["Started", "Stepped"]
    assert "SIGKILL" in died.why
    assert "memory" in died.why
    assert not died.asked
    assert sum(isinstance(event, Died) for event in mortal.told) == 1


def test_one_that_cannot_read_what_it_is_told_ends_and_tells_why(mortal: Renderer) -> None:
    mortal.render("cat", plan_of(model="card", num_images=MOST_IMAGES + 1))  # more than there are
    died = mortal.wait_for(Died)
    assert not died.asked
    assert died.tail[-1] == f"ValueError: a plan of {MOST_IMAGES + 1} pictures"


def test_a_renderer_that_dies_while_loading_is_told(mortal: Renderer) -> None:
    mortal.process.send(Load("deadly"))

    assert "SIGKILL" in mortal.wait_for(Died).why


def test_a_renderer_that_hangs_is_killed_and_what_is_sent_to_the_dead_is_no_error(mortal: Renderer) -> None:
    mortal.render("cat", plan_of(model="faulty", prompt="HANG"))
    mortal.wait_for(Stepped, "cat")
    pid = mortal.process.pid
    mortal.process.kill()
    died = mortal.wait_for(Died)

    assert died.asked
    assert mortal.process.pid is None
    assert pid is not None
    assert is_gone(pid)
    mortal.process.send(Load("card"))
    mortal.process.kill()
    mortal.process.stop(within_s=1)


def test_a_second_start_of_a_living_renderer_is_a_mistake(renderer: Renderer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        renderer.process.start(2)


def test_stop_finishes_the_picture_in_hand_and_not_the_request(mortal: Renderer) -> None:
    mortal.render("many", MANY)
    mortal.wait_for(Painted, "many", index=0)
    mortal.process.stop(within_s=DEADLINE_S)
    died = mortal.wait_for(Died)

    begun = max(each.progress.image for each in mortal.of("many", Stepped))
    assert (died.why, died.asked) == ("ended", True)
    assert len(mortal.pictures("many")) == begun < MANY.num_images
    assert mortal.files("many") == mortal.seen == digests(mortal.pictures("many"))
    assert set(mortal.kinds_of("many")) == {"Started", "Stepped", "Painted"}


def test_stop_finishes_what_is_encoded_and_drops_what_has_not_begun(mortal: Renderer) -> None:
    mortal.render("large", LARGE)
    mortal.render("slow", replace(ENDLESS, num_inference_steps=50))
    mortal.render("waiting")
    mortal.wait_for(Stepped, "slow")  # `Started` is told before the picture is begun
    mortal.process.stop(within_s=DEADLINE_S)
    died = mortal.wait_for(Died)

    assert (died.why, died.asked) == ("ended", True)
    assert mortal.kinds_of("large")[-1] == "Finished"
    assert "Finished" in mortal.kinds_of("slow")  # the picture in hand was its last one
    assert mortal.kinds_of("waiting") == []


def test_stop_before_anything_else_ends_the_renderer(mortal: Renderer) -> None:
    mortal.process.stop(within_s=DEADLINE_S)

    assert mortal.wait_for(Died).why == "ended"


def test_stop_kills_a_renderer_that_does_not_listen(mortal: Renderer) -> None:
    mortal.wait_for(Ready)
    assert mortal.process.pid is not None
    os.kill(mortal.process.pid, signal.SIGSTOP)
    mortal.process.stop(within_s=0.1)

    assert "SIGKILL" in mortal.wait_for(Died).why


def test_signals_for_a_whole_group_leave_the_renderer_to_the_service(renderer: Renderer) -> None:
    renderer.render("first")
    renderer.wait_for(Finished, "first")
    assert renderer.process.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(renderer.process.pid, number)
    renderer.render("cat")
    renderer.wait_for(Finished, "cat")

    assert os.getpgid(renderer.process.pid) != os.getpgid(0)


def test_what_the_renderer_printed_last_is_told_with_its_death(mortal: Renderer) -> None:
    mortal.wait_for(Ready)
    assert mortal.process.pid is not None
    os.kill(mortal.process.pid, signal.SIGABRT)
    died = mortal.wait_for(Died)

    assert died.why == "was ended by SIGABRT"
    assert any("Fatal Python error: Aborted" in line for line in died.tail)
    assert len(died.tail) <= 50


def test_a_renderer_that_cannot_be_started_is_told_as_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    renderer = Renderer(tmp_path)
    died = renderer.wait_for(Died)

    assert "could not be started" in died.why
    assert "no-python" in died.why


def test_test_cards_need_no_torch(renderer: Renderer) -> None:
    renderer.render("cat")
    renderer.wait_for(Finished, "cat")

    assert "torch" not in Path(f"/proc/{renderer.process.pid}/maps").read_text()


# One that errs or lies ----------------------------------------------------------------------------------------------

LIAR = r"""
    import socket, sys
    from darkroom.executor.port import AttemptKey, Load, Painted, Ready, Unloaded
    from darkroom.executor.wire import STOP, decode, encode
    from darkroom.facts import Artefact

    end = socket.socket(fileno=int(sys.argv[1]))
    lines = end.makefile("rb")
    lines.readline()
    for line in (b"null\n", b"\xff\n", b"[" * 100_000 + b"\n", encode(Load("card")), STOP, b'{"kind": "Died"}\n'):
        end.sendall(line)
    end.sendall(encode(Ready(device="cpu", title="liar")))
    key = decode(lines.readline()).attempt.key
    for file, size in (("gone.png", 3), ("short.png", 4)):
        end.sendall(encode(Painted(key=key, index=0, artefact=Artefact(file, 7, 64, 64, size, "0" * 64))))
    end.sendall(encode(Unloaded()))
    lines.readline()
"""


def test_a_renderer_that_errs_in_what_it_says_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "liar.py").write_text(textwrap.dedent(LIAR))
    monkeypatch.setattr(local, "RENDERER", "liar")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    liar = Renderer(tmp_path)
    liar.wait_for(Ready)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "short.png").write_bytes(b"png")
    liar.render("cat")
    liar.wait_for(Unloaded)
    liar.process.stop(within_s=DEADLINE_S)

    gone, short = liar.of("cat", Failed)
    assert gone.fault.message == "The picture gone.png was told and is not there: No such file or directory."
    assert short.fault.message == "The picture short.png was told with 4 bytes and has 3."
    assert [type(event) for event in liar.told] == [Ready, Failed, Failed, Unloaded]
    assert {(event.executor, event.life) for event in liar.told} == {("seat", 1)}


# A service that dies ------------------------------------------------------------------------------------------------

SERVICE = """
    import sys, time
    from pathlib import Path
    from darkroom.executor.port import Attempt, AttemptKey, Render, Stepped
    from darkroom.executor.local import RendererProcess
    from darkroom.models.source import ModelSource
    from darkroom.executor.settings import RendererSettings
    from darkroom.testing.plans import plan

    def emit(event):
        if isinstance(event, Stepped):
            print(process.pid, flush=True)

    card = ModelSource("card", "testcard:hang_on=castle")
    process = RendererProcess(RendererSettings(models={"card": card}), name="cpu", emit=emit)
    process.start(1)
    folder = Path(sys.argv[1])
    process.send(Render(Attempt(AttemptKey("cat", 1), plan(model="card"), "cat", folder, folder)))
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
        wait_for(lambda: is_gone(pid), "the renderer ends with its service")


def test_a_loader_that_works_gives_signs_of_life() -> None:
    told: queue.SimpleQueue[Alive] = queue.SimpleQueue()
    alive = SignsOfLife(told.put, interval_s=0.05)
    with alive.during("loading card"):
        deadline = time.monotonic() + DEADLINE_S
        while told.empty():
            sum(range(10_000))
            assert time.monotonic() < deadline

    assert told.get() == Alive(doing="loading card")


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
    settings = replace(settings, picture_metadata="mark")

    assert RendererSettings.from_line(settings.as_line()) == settings
