"""An error that nobody foresaw, planted at every call that is made for the sake of one thing, in turn."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import CO_GENERATOR
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import structlog

import darkroom
from darkroom.guard import Guard
from darkroom.names import GALLERY
from darkroom.testing.world import World
from tests import sampling
from tests.pictures_made import PNG

HOME = os.path.dirname(darkroom.__file__) + os.sep
OURS = "cat"  #: the one over which the errors come
SAMPLED_S = 6.0  #: without SAMPLED_ALL, so long
pytestmark = pytest.mark.timeout(900)

Site = tuple[str, str]  #: module, function


class Unforeseen(RuntimeError):
    """What nobody has thought of."""


@dataclass
class Lines:
    """What the log says."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def note(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        self.events.append(dict(event))
        raise structlog.DropEvent

    def named(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event]


@pytest.fixture
def log() -> Iterator[Lines]:
    lines = Lines()
    structlog.configure(processors=[lines.note], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield lines
    structlog.reset_defaults()


class Plant:
    """Watches calls of functions of ours that are made inside a guard for OURS, and errs at one of them."""

    def __init__(self, at: Site | None = None, *, when: str = "call", once: bool = False) -> None:
        self._when = when
        self.seen: dict[Site, None] = {}
        self.erred = 0
        self._at, self._once = at, once
        self._ids: set[str] = {OURS, f"{OURS}.json", f"{OURS}.cancel", f"{OURS}.5.priority"}
        self._depth = 0  # of guards around what is done for OURS
        self._codes: dict[CodeType, Site | None] = {}

    @contextmanager
    def grown(self) -> Iterator[None]:
        alone = Guard.alone

        @contextmanager
        def watched(guard: Guard, kind: Any, name: str, **more: Any) -> Iterator[None]:
            is_ours = name in self._ids or self._is_our_id(guard, name)
            with alone(guard, kind, name, **more):
                self._depth += is_ours
                self._watch()
                try:
                    yield
                finally:
                    self._depth -= is_ours
                    self._watch()  # Python drops a profiler that errs

        Guard.alone = watched  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            Guard.alone = alone  # type: ignore[method-assign]

    def _watch(self) -> None:
        sys.setprofile(self._profile if self._depth else None)

    def _is_our_id(self, guard: Guard, name: str) -> bool:
        depth, self._depth = self._depth, 0
        try:
            return len(name) == 26 and guard.name_of(name) == OURS
        finally:
            self._depth = depth

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != self._when or not self._depth or _goes_on(frame, event):
            return
        site = self._site(frame.f_code)
        if site is None:
            return
        self.seen.setdefault(site)
        if site == self._at and not (self._once and self.erred):
            self.erred += 1
            raise Unforeseen(f"planted at {site[1]}")

    def _site(self, code: CodeType) -> Site | None:
        if code not in self._codes:
            self._codes[code] = self._new_site(code)
        return self._codes[code]

    @staticmethod
    def _new_site(code: CodeType) -> Site | None:
        module = code.co_filename.removeprefix(HOME)
        is_ours = code.co_filename.startswith(HOME) and not module.startswith(
            ("testing", "guard.py", "inbox/decoder.py")
        )
        if not is_ours or code.co_qualname.endswith(">") or code.co_qualname == "Daemon._emit":
            return None  # the last one is also how the painter, which has no thread, tells what it does
        return module, code.co_qualname


def _goes_on(frame: FrameType, event: str) -> bool:
    """Whether a generator is only resumed, or has only given a value: neither is a call, nor the end of one."""
    if not frame.f_code.co_flags & CO_GENERATOR:
        return False
    return event == "return" or frame.f_code.co_code[frame.f_lasti + 1] != 0  # RESUME says where it is


# What may happen to a request -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """What becomes of OURS: what is done before the errors come, what is done then, and how it ends."""

    name: str
    before: Callable[[World], None]
    then: Callable[[World], None]
    end: str
    result: str | None
    gallery: bool = False


def nothing(world: World) -> None:
    """Nothing to do."""


def drop_ours(world: World) -> None:
    world.drop(f"{OURS}.json", {"prompt": "a cat", "num_images": 2})


def drop_wrong(world: World) -> None:
    world.drop(f"{OURS}.json", {"prompt": "a cat", "stile": "x"})


def drop_half(world: World) -> None:
    world.drop(f"{OURS}.json", b'{"prompt": "a c')


def drop_bundle(world: World) -> None:
    """With one picture beside it, and one in its folder."""
    (world.inbox / "photo.png").write_bytes(PNG)
    (world.inbox / f"{OURS}.files").mkdir()
    (world.inbox / f"{OURS}.files" / "mask.png").write_bytes(PNG)
    world.drop(f"{OURS}.json", {"prompt": "a cat", "init_image": "photo.png", "mask_image": "mask.png"})


def is_accepted(world: World) -> None:
    """OURS waits behind another one that renders."""
    world.holding = True
    world.start()
    world.drop("first.json", {"prompt": "the first"})
    world.step()
    world.step()
    drop_ours(world)
    world.step()


def is_rendering(world: World) -> None:
    world.holding = True
    world.start()
    drop_ours(world)
    world.step()
    world.step()


def and_dies(until: Callable[[World], None]) -> Callable[[World], None]:
    def die(world: World) -> None:
        until(world)
        world.die()
        world.holding = False

    return die


def release(world: World) -> None:
    world.holding = False
    if world.painter is not None:
        world.painter.hold = False
        world.painter.release()


def cancel(world: World) -> None:
    (world.inbox / f"{OURS}.cancel").touch()
    for _ in range(3):
        world.step()
    release(world)


def delete(world: World) -> None:
    (world.inbox / f"{OURS}.json").unlink()
    for _ in range(4):
        world.step()
    release(world)


def rank(world: World) -> None:
    (world.inbox / f"{OURS}.5.priority").touch()
    for _ in range(3):
        world.step()
    release(world)


def is_done(world: World) -> None:
    drop_ours(world)
    world.live()


def send_again(world: World) -> None:
    kept = world.outbox / OURS / "request.json"
    told = world.answer(OURS) or {}
    assert told["state"] == "done"
    path = world.inbox / f"{OURS}.json"
    path.write_bytes(kept.read_bytes())


def drop_in(world: World) -> None:
    """In a sub-folder, which the outbox mirrors."""
    drop_ours(world)
    world.drop("alice/fox.json", {"prompt": "a fox"})


STORIES = [
    Story("done", nothing, drop_ours, "done", OURS),
    Story("refused", nothing, drop_wrong, "refused", f"{OURS}.refused"),
    Story("incomplete", nothing, drop_half, "refused", None),
    Story("cancelled while it waits", is_accepted, cancel, "cancelled", f"{OURS}.cancelled"),
    Story("cancelled while it renders", is_rendering, cancel, "cancelled", f"{OURS}.cancelled"),
    Story("deleted", is_accepted, delete, "cancelled", None),
    Story("accepted in another life", and_dies(is_accepted), nothing, "done", OURS),
    Story("rendering in another life", and_dies(is_rendering), nothing, "done", OURS),
    Story("beside a sub-folder", nothing, drop_in, "done", OURS),
    Story("with pictures", nothing, drop_bundle, "done", OURS),
    Story("ranked while it waits", is_accepted, rank, "done", OURS),
    Story("shown in the gallery", nothing, drop_ours, "done", OURS, gallery=True),
]


def live(world: World, story: Story, plant: Plant, *, steps: int) -> None:
    """The errors come; others drop their requests meanwhile."""
    with plant.grown():
        if world.daemon is None:
            world.start()
        story.then(world)
        release(world)
        world.drop("dog.json", {"prompt": "a dog"})
        world.drop("bob/owl.json", {"prompt": "an owl"})
        for _ in range(steps):
            world.step(2.0)


def check_others(world: World) -> None:
    for name in ("dog", "bob/owl"):
        answer = world.answer(name) or {}
        assert answer.get("state") == "done", f"{name} was kept waiting: {answer}"
        assert (world.outbox / name / "answer.json").exists()


def check_ours(world: World, story: Story, plant: Plant) -> None:
    answer = world.answer(OURS) or {}
    if plant.erred and answer.get("state") == "done" and "cancelled while" in story.name:
        return  # it was finished before the wish could be heard
    assert (answer.get("state"), answer.get("result")) == (story.end, story.result)
    if story.result is not None:
        assert (world.outbox / story.result / "request.json").exists()
    folders = [each.name for each in world.outbox.iterdir() if each.is_dir() and each.name.startswith(OURS)]
    assert folders == ([story.result] if story.result else [])


def check_gallery(world: World, *names: str) -> None:
    parts = [each.read_text() for each in (world.outbox / GALLERY / "parts").iterdir()]
    for name in names:
        assert sum(part.count(f'"at":"{name}"') for part in parts) == 1, f"{name} is shown once"


def check_nothing_is_left(world: World, story: Story) -> None:
    left = {each.name for each in world.inbox.rglob("*") if each.is_file() and ".darkroom" not in each.parts}
    assert left == ({f"{OURS}.json"} if story.name == "incomplete" else set())
    assert [each.name for each in world.outbox.rglob(".*") if each.name != ".darkroom"] == []
    assert [each for name in ("requests", "work") for each in (world.state / name).iterdir()] == []


def outlive_wishes(world: World) -> None:
    """One whose request has ended before it was heard goes when it has been there for long."""
    if not [*world.inbox.glob(f"{OURS}.*cancel"), *world.inbox.glob(f"{OURS}.*priority")]:
        return
    world.start()
    for _ in range(5):
        world.step(world.config.settle_s)
    world.run()
    world.die()


def check_told(world: World, log: Lines, plant: Plant) -> None:
    """While it lasts, by the log with its name, and where a person looks."""
    told = log.named("unforeseen_error")
    assert any(OURS in str({**each, "why": ""}) and "exc_info" in each for each in told), "the log does not name it"
    assert "Unforeseen" in str(told[-1]["why"])
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    seen = json.dumps([str(snapshot.not_taken), str(snapshot.troubled), world.answer(OURS)])
    assert OURS in seen


def tell_a_story(root: Path, story: Story, log: Lines, plant: Plant, *, steps: int = 12) -> World:
    world = World(root, max_attempts=3, gallery=story.gallery)
    story.before(world)
    log.events.clear()
    live(world, story, plant, steps=steps)
    check_others(world)
    if plant.erred:
        check_told(world, log, plant)
    world.run()
    check_ours(world, story, plant)
    check_others(world)
    if story.gallery:
        check_gallery(world, "dog", "bob/owl")
    world.die()
    world.live()
    outlive_wishes(world)
    if story.gallery:
        check_gallery(world, OURS, "dog", "bob/owl")
    check_ours(world, story, plant)
    check_nothing_is_left(world, story)
    return world


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_without_an_error_all_is_well(story: Story, root: Path, log: Lines) -> None:
    tell_a_story(root, story, log, Plant())


def sites_of(story: Story, root: Path, log: Lines) -> list[Site]:
    plant = Plant()
    tell_a_story(root, story, log, plant)
    return list(plant.seen)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_an_error_at_any_call_made_for_one_thing_costs_that_thing_alone(story: Story, root: Path, log: Lines) -> None:
    sites = [
        (site, when, once)
        for site in sites_of(story, root / "traced", log)
        for when in ("call", "return")
        for once in (False, True)
    ]
    functions = len({site for site, _, _ in sites})
    sampling.chance(f"{story.name}, some of {len(sites)} errors at {functions} functions").shuffle(sites)
    end_s = time.monotonic() + SAMPLED_S / len(STORIES)
    done = 0
    for number, (site, when, once) in enumerate(sites):
        if time.monotonic() > end_s and not sampling.ALL:
            break
        plant = Plant(site, when=when, once=once)
        try:
            tell_a_story(root / str(number), story, log, plant)
        except Exception as error:
            raise AssertionError(
                f"{story.name}: an error at {site} ({when}, once={once}, {plant.erred} times)"
            ) from error
        shutil.rmtree(root / str(number))
        done += 1
    print(f"{done} tried")  # noqa: T201 - as above


@pytest.mark.parametrize("story", STORIES[:2], ids=lambda story: story.name)
def test_an_error_that_is_swallowed_is_noticed(
    story: Story, root: Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an `except: pass`."""
    sites = sites_of(story, root / "traced", log)
    monkeypatch.setattr(Guard, "_note", lambda *_: None)
    for number, site in enumerate(sites[:: len(sites) // 5]):
        with pytest.raises((AssertionError, OSError)):
            tell_a_story(root / str(number), story, log, Plant(site))
