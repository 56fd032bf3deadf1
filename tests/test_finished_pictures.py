"""A picture that is finished or withheld stays so: whatever ends its attempt, the next one goes on behind it."""

import json
from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import ErrorCode
from darkroom.executor.port import Attempt, Started, Withheld
from darkroom.facts import Fault, Gap, Tokens
from darkroom.spool.record import Record
from darkroom.testing.faults import Crash, CrashingDisk
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


def started(tmp_path: Path, *, after: int, flagged: Collection[int] = (), **settings: Any) -> World:
    """A request of four pictures whose renderer stands still when so many of them are finished, or withheld."""
    world = World(tmp_path, **settings)
    world.holding, world.flagged = True, frozenset(flagged)
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


# What is withheld ----------------------------------------------------------------------------------------------------


def answered(world: World) -> dict[str, Any]:
    answer = world.answer("cat")
    assert answer is not None
    return answer


def record(world: World) -> Record:
    (request_id,) = world.running.spool.unsettled()
    found = world.running.spool.get(request_id)
    assert found is not None
    return found


def test_the_others_come_with_their_numbers_and_the_answer_names_what_is_withheld(tmp_path: Path) -> None:
    world = started(tmp_path, after=0, flagged={2, 4})
    painter(world).release()
    world.run()
    answer = answered(world)
    assert (answer["state"], answer["withheld"], "error" in answer) == ("done", [2, 4], False)
    assert [(image["file"], image["seed"]) for image in answer["images"]] == [("cat-1.png", 7), ("cat-3.png", 9)]
    assert pictures(world.outbox / "cat") == ["cat-1.png", "cat-3.png"]
    assert json.loads((world.outbox / "cat" / "answer.json").read_bytes()) == answer


def test_a_request_of_which_all_is_withheld_has_failed_and_says_why(tmp_path: Path) -> None:
    world = started(tmp_path, after=0, flagged={1, 2, 3, 4})
    painter(world).release()
    world.run()
    answer = answered(world)
    assert (answer["state"], answer["result"], answer["attempt"]) == ("failed", "cat.failed", 1)
    assert (answer["error"]["code"], answer["withheld"], "images" in answer) == ("filtered", [1, 2, 3, 4], False)
    assert answer["error"]["hint"]
    assert sorted(path.name for path in (world.outbox / "cat.failed").iterdir()) == ["answer.json", "request.json"]
    assert list((world.state / "work").iterdir()) == []


@pytest.mark.parametrize("end", ["renderer", "service"])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_whatever_dies_behind_a_picture_that_is_withheld_it_is_not_painted_again(
    tmp_path: Path, counting: Counting, after: int, end: str
) -> None:
    world = started(tmp_path, after=after, flagged={1, 2})
    assert record(world).done[:2] == (Gap(1), Gap(2))[:after]
    world.holding = False
    if end == "renderer":
        painter(world).die()
        painter(world).hold = False
    else:
        world.die()
        world.start()
    world.run()
    assert counting.painted == ["cat-1", "cat-2", "cat-3", "cat-4"]
    assert (answered(world)["withheld"], pictures(world.outbox / "cat")) == ([1, 2], ALL[2:])


def test_a_cancel_and_a_failure_behind_it_tell_of_it_too(tmp_path: Path) -> None:
    for name, end in (
        ("cancelled", lambda world: (world.inbox / "cat.cancel").touch()),
        ("failed", lambda world: painter(world).fail(Fault(ErrorCode.BROKEN_PICTURE, "NaN"))),
    ):
        world = started(tmp_path / name, after=3, flagged={2})
        end(world)
        world.run()
        answer = answered(world)
        assert (answer["state"], answer["withheld"]) == (name, [2])
        assert [image["file"] for image in answer["images"]] == ["cat-1.png", "cat-3.png"]


def test_a_cancel_of_what_turns_out_to_be_withheld_altogether_is_a_cancel(tmp_path: Path) -> None:
    world = started(tmp_path, after=0, flagged={1, 2, 3, 4})
    painter(world).deaf = True
    (world.inbox / "cat.cancel").touch()
    world.step()
    painter(world).release()
    world.run()
    assert (answered(world)["state"], "error" in answered(world)) == ("cancelled", False)


def test_one_that_is_told_out_of_turn_is_not_believed(tmp_path: Path) -> None:
    world = started(tmp_path, after=1)
    key = painter(world).held[0].key
    for index in (0, 2, -1):
        painter(world).tell(Withheld(key=key, index=index))
    painter(world).release()
    world.run()
    assert ("withheld" in answered(world), pictures(world.outbox / "cat")) == (False, ALL)


def test_a_death_before_any_effect_loses_and_doubles_nothing_of_it(tmp_path: Path) -> None:
    for at in count(1):
        world = World(tmp_path / str(at))
        world.flagged = frozenset({2})
        world.drop("cat.json", MANY)
        try:
            world.live(CrashingDisk(at))
        except Crash:
            world.die()
            world.live()
        else:
            break
        answer = answered(world)
        assert (answer["state"], answer["withheld"]) == ("done", [2])
        assert pictures(world.outbox / "cat") == [image["file"] for image in answer["images"]] == [ALL[0], *ALL[2:]]
        assert [each.name for each in world.outbox.iterdir() if each.is_dir() and each.name[0] != "."] == ["cat"]
    assert at > 20


# What comes to light while it is painted -----------------------------------------------------------------------------


@pytest.mark.parametrize(("flagged", "state"), [((), "done"), ((1, 2, 3, 4), "failed")])
def test_warnings_of_the_end_come_behind_those_of_the_beginning_each_once(
    tmp_path: Path, flagged: tuple[int, ...], state: str
) -> None:
    world = started(tmp_path, after=0, flagged=flagged)
    key = painter(world).held[0].key
    painter(world).tell(Started(key=key, tokens=Tokens(1, 1, 75), warnings=("Cut.", "Long.")))
    painter(world).warnings = ("Dark.", "Cut.")
    painter(world).release()
    world.run()
    answer = answered(world)
    assert (answer["state"], answer["warnings"]) == (state, ["Cut.", "Long.", "Dark."])
