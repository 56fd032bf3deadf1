"""A finished picture is kept: whatever ends the renderer or the service, the next attempt goes on behind it."""

from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import ErrorCode
from darkroom.executor.port import Attempt
from darkroom.facts import Fault
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

MANY = {"prompt": "a cat", "num_images": 4, "seed": 7, "style": "none"}


class Counting:
    """Counts how often each picture is painted, over all lives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.painted: list[str] = []
        paint = Painter._paint

        def count(painter: Painter, attempt: Attempt, index: int) -> None:
            self.painted.append(f"{attempt.stem}-{index + 1}")
            paint(painter, attempt, index)

        monkeypatch.setattr(Painter, "_paint", count)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def started(tmp_path: Path, *, after: int, **settings: Any) -> World:
    """A request of four pictures whose renderer stands still when so many of them are finished."""
    world = World(tmp_path, **settings)
    world.holding = True
    world.drop("cat.json", MANY)
    world.start()
    painter(world).hold_after = after
    for _ in range(4):
        world.step()
    assert painter(world).held
    return world


def painter(world: World) -> Painter:
    assert world.painter is not None
    return world.painter


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


ALL = ["cat-1.png", "cat-2.png", "cat-3.png", "cat-4.png"]


def test_a_renderer_that_dies_in_the_middle_does_not_paint_again_what_is_finished(
    tmp_path: Path, counting: Counting
) -> None:
    world = started(tmp_path, after=3)
    painter(world).die()
    painter(world).hold = False
    world.run()
    assert counting.painted == ["cat-1", "cat-2", "cat-3", "cat-4"]
    assert pictures(world.outbox / "cat") == ALL
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["attempt"], [image["seed"] for image in answer["images"]]) == (2, [7, 8, 9, 10])


def test_a_service_that_dies_in_the_middle_goes_on_behind_what_is_finished(tmp_path: Path, counting: Counting) -> None:
    world = started(tmp_path, after=2)
    world.die()
    world.holding = False
    world.start()
    world.run()
    assert counting.painted == ["cat-1", "cat-2", "cat-3", "cat-4"]
    assert pictures(world.outbox / "cat") == ALL


def test_a_service_that_dies_when_all_are_finished_paints_none_again(tmp_path: Path, counting: Counting) -> None:
    world = started(tmp_path, after=4)
    world.die()
    world.holding = False
    world.start()
    world.run()
    assert len(counting.painted) == 4
    assert pictures(world.outbox / "cat") == ALL


def test_pictures_that_are_gone_or_torn_are_painted_again_and_those_before_them_are_not(
    tmp_path: Path, counting: Counting
) -> None:
    world = started(tmp_path, after=3)
    (work,) = (world.state / "work").iterdir()
    (work / "cat-2.png").write_bytes(b"torn")
    painter(world).die()
    painter(world).hold = False
    world.run()
    assert counting.painted == ["cat-1", "cat-2", "cat-3", "cat-2", "cat-3", "cat-4"]
    assert pictures(world.outbox / "cat") == ALL


def test_a_cancel_in_the_middle_delivers_what_is_finished(tmp_path: Path) -> None:
    world = started(tmp_path, after=3)
    (world.inbox / "cat.cancel").write_bytes(b"")
    world.run()
    assert pictures(world.outbox / "cat.cancelled") == ALL[:3]
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["state"], answer["result"]) == ("cancelled", "cat.cancelled")
    assert [image["file"] for image in answer["images"]] == ALL[:3]
    assert (world.outbox / "cat.cancelled" / "request.json").exists()


def test_a_failure_in_the_middle_delivers_what_is_finished(tmp_path: Path) -> None:
    world = started(tmp_path, after=2)
    painter(world).fail(Fault(ErrorCode.BROKEN_PICTURE, "NaN"))
    world.run()
    assert pictures(world.outbox / "cat.failed") == ALL[:2]
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["error"]["code"], len(answer["images"])) == ("broken_picture", 2)


def test_one_whose_attempts_are_used_up_is_delivered_with_what_is_finished(tmp_path: Path) -> None:
    world = started(tmp_path, after=1, max_attempts=2)
    for _ in range(2):
        painter(world).hold_after += 1
        painter(world).die()
        for _ in range(8):
            world.step()
    world.run()
    answer = world.answer("cat")
    assert answer is not None
    assert (answer["state"], answer["error"]["code"]) == ("failed", "renderer_died")
    assert pictures(world.outbox / "cat.failed") == [image["file"] for image in answer["images"]] == ALL[:2]


def test_a_cancel_while_it_waits_for_its_next_attempt_delivers_what_is_finished(tmp_path: Path) -> None:
    world = started(tmp_path, after=2)
    world.die()
    world.start()
    (world.inbox / ".darkroom" / "pause").write_bytes(b"")
    (world.inbox / "cat.cancel").write_bytes(b"")
    world.run()
    assert pictures(world.outbox / "cat.cancelled") == ALL[:2]


def test_pictures_of_a_failed_request_that_are_lost_before_their_delivery_do_not_keep_it(tmp_path: Path) -> None:
    world = started(tmp_path, after=2)
    (work,) = (world.state / "work").iterdir()
    painter(world).fail(Fault(ErrorCode.BROKEN_PICTURE, "NaN"))
    (work / "cat-1.png").unlink()
    world.run()
    answer = world.answer("cat")
    assert answer is not None
    assert answer["state"] == "failed"
    assert "images" not in answer
    assert (world.outbox / "cat.failed" / "request.json").exists()


def test_what_renders_says_nothing_of_pictures_that_nobody_can_see_yet(tmp_path: Path) -> None:
    world = started(tmp_path, after=3)
    answer = world.answer("cat")
    assert answer is not None
    assert answer["state"] == "rendering"
    assert "images" not in answer
