"""Attempts on seats: counted before they begin, each picture recorded as it is told, each brought to an end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.errors import ErrorCode
from darkroom.executor.port import AttemptKey, Finished, Painted, Rendered, Stepped, Withheld
from darkroom.facts import Artefact, Fault, Gap, Progress
from darkroom.service.entries import Place
from darkroom.spool.record import Stage
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

TWO = {"prompt": "a cat", "num_images": 2, "num_inference_steps": 4, "seed": 7}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One renders, of two pictures, and stays at its first step."""
    world = World(tmp_path, max_attempts=2)
    world.holding = True
    world.start()
    world.drop("cat.json", TWO)
    world.steps()
    assert world.said("cat")["state"] == "rendering"
    return world


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def key(world: World) -> AttemptKey:
    (attempt,) = painter(world).held
    return attempt.key


def place(world: World) -> Place | None:
    entry = world.running.service._ledger.entries.get(world.record("cat").id)
    return entry.place if entry is not None else None


def test_an_attempt_is_recorded_before_its_seat_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    seen: list[tuple[Stage, int]] = []
    begin = Painter._begin

    def look(painter: Painter, attempt: object) -> None:
        seen.append((world.record("cat").stage, world.record("cat").attempt))
        begin(painter, attempt)  # type: ignore[arg-type]

    monkeypatch.setattr(Painter, "_begin", look)
    world.drop("cat.json", TWO)
    world.steps()
    assert seen == [(Stage.RENDERING, 1)]
    world.die()


def test_each_picture_is_recorded_when_it_is_told_and_stays_so(world: World) -> None:
    artefact = Artefact("cat-1.png", 7, 512, 512, 3, "0" * 64)
    painter(world).tell(Painted(key=key(world), index=0, artefact=artefact))
    world.step()
    assert world.record("cat").done == (artefact,)
    painter(world).tell(Withheld(key=key(world), index=1))
    world.step()
    assert world.record("cat").done == (artefact, Gap(2))
    world.die()


def test_a_picture_that_is_told_twice_or_out_of_turn_is_not_recorded(world: World) -> None:
    artefact = Artefact("cat-1.png", 7, 512, 512, 3, "0" * 64)
    with capture_logs() as log:
        for index in (1, 0, 0):
            painter(world).tell(Painted(key=key(world), index=index, artefact=artefact))
            world.step()
    assert world.record("cat").done == (artefact,)
    assert [each["index"] for each in log if each["event"] == "picture_out_of_turn"] == [1, 0]
    world.die()


def test_what_an_earlier_attempt_or_life_still_has_to_say_changes_nothing(world: World) -> None:
    stale = replace(key(world), number=99)
    painter(world).tell(Finished(key=stale, encode_s=0.0))
    painter(world)._emit(Finished(executor=painter(world).name, life=77, key=key(world), encode_s=0.0))
    painter(world)._emit(Finished(executor="nobody", life=1, key=key(world), encode_s=0.0))
    world.step()
    assert (place(world), world.record("cat").stage) == (Place.RUNNING, Stage.RENDERING)
    world.die()


def test_who_says_that_all_is_done_with_less_than_all_has_had_an_attempt(world: World) -> None:
    painter(world).tell(Rendered(key=key(world), render_s=1.0))
    painter(world).tell(Finished(key=key(world), encode_s=0.0))
    painter(world).held.clear()
    painter(world).hold = False
    world.run()
    answer = world.said("cat")
    assert (answer["state"], answer["attempt"], len(answer["images"])) == ("done", 2, 2)
    world.die()


def test_progress_is_told_once_a_while_with_what_is_left(world: World) -> None:
    revs = set()
    for step in (2, 3, 4):
        painter(world).tell(Stepped(key=key(world), progress=Progress(1, 2, step, 4)))
        world.step(0.1)
        revs.add(world.said("cat")["rev"])
    assert len(revs) == 1  # all within a moment
    world.clock.now_s += 5.0
    painter(world).tell(Stepped(key=key(world), progress=Progress(2, 2, 1, 4)))
    world.step()
    told = world.said("cat")
    assert (told["progress"]["image"], told["progress"]["step"]) == (2, 1)
    assert told["eta_s"] > 0
    assert world.record("cat").answer.progress is None
    world.die()


def test_what_can_be_tried_again_is_until_its_attempts_are_used_up(world: World) -> None:
    for attempt in (1, 2):
        assert world.said("cat")["attempt"] == attempt
        painter(world).fail(Fault(ErrorCode.RENDER_ERROR, "no paint", can_retry=True))
        world.steps()
    answer = world.said("cat")
    assert (answer["state"], answer["attempt"], answer["error"]["code"]) == ("failed", 2, "render_error")
    world.die()


def test_what_cannot_be_tried_again_is_not(world: World) -> None:
    painter(world).fail(Fault(ErrorCode.RENDER_ERROR, "no paint"))
    world.steps()
    assert (world.said("cat")["state"], world.said("cat")["attempt"]) == ("failed", 1)
    world.die()


def test_an_orderly_stop_takes_the_attempt_back(world: World) -> None:
    world.running.service._rendering.drop_all()
    assert (world.record("cat").attempt, world.record("cat").stage, place(world)) == (0, Stage.TAKEN, Place.IN_STATE)
    world.die()


def test_what_is_to_be_cancelled_stays_so_however_its_attempt_ends(world: World) -> None:
    service = world.running.service
    painter(world).deaf = True
    entry = service._ledger.entries.get(world.record("cat").id)
    assert entry is not None
    service._rendering.cancel(entry)
    assert world.record("cat").cancelling
    painter(world).die()
    world.steps()
    assert world.said("cat")["state"] == "cancelled"
    world.die()
