from itertools import product
from pathlib import Path

import pytest

from darkroom.spool.record import Stage
from darkroom.spool.recovery import HiddenStep, Step, step_at_start, step_for_hidden
from darkroom.testing.faults import CountingDisk, Crash, CrashingDisk
from darkroom.testing.world import World

#: The table of ARCHITECTURE.md: record, attempts left, bytes there → step.
TABLE = {
    (Stage.ACCEPTED, True, True): Step.WAIT_FOR_LISTING,
    (Stage.ACCEPTED, True, False): Step.WAIT_FOR_LISTING,
    (Stage.ACCEPTED, False, True): Step.WAIT_FOR_LISTING,
    (Stage.ACCEPTED, False, False): Step.WAIT_FOR_LISTING,
    (Stage.TAKEN, True, True): Step.QUEUE,
    (Stage.TAKEN, True, False): Step.LOSE,
    (Stage.TAKEN, False, True): Step.QUEUE,
    (Stage.TAKEN, False, False): Step.LOSE,
    (Stage.RENDERING, True, True): Step.QUEUE,
    (Stage.RENDERING, True, False): Step.LOSE,
    (Stage.RENDERING, False, True): Step.FAIL,
    (Stage.RENDERING, False, False): Step.LOSE,
    (Stage.CLOSING, True, True): Step.DELIVER,
    (Stage.CLOSING, True, False): Step.DELIVER,
    (Stage.CLOSING, False, True): Step.DELIVER,
    (Stage.CLOSING, False, False): Step.DELIVER,
    (Stage.SETTLED, True, True): Step.SWEEP,
    (Stage.SETTLED, True, False): Step.SWEEP,
    (Stage.SETTLED, False, True): Step.SWEEP,
    (Stage.SETTLED, False, False): Step.SWEEP,
}


@pytest.mark.parametrize(("stage", "has_attempts", "has_bytes"), list(TABLE))
def test_every_row_that_a_crash_can_leave_has_its_step(stage: Stage, has_attempts: bool, has_bytes: bool) -> None:
    for attempt, max_attempts in ((0, 1), (2, 3)) if has_attempts else ((1, 1), (3, 3), (4, 3)):
        step = step_at_start(stage, attempt=attempt, max_attempts=max_attempts, has_bytes=has_bytes)
        assert step is TABLE[stage, has_attempts, has_bytes]


def test_the_table_has_every_row() -> None:
    assert set(TABLE) == set(product(Stage, (True, False), (True, False)))


@pytest.mark.parametrize("stage", [None, *Stage])
def test_a_hidden_name_is_a_drop_again_until_its_bytes_are_in_our_keeping(stage: Stage | None) -> None:
    expected = HiddenStep.PUT_BACK if stage in (None, Stage.ACCEPTED) else HiddenStep.REMOVE
    assert step_for_hidden(stage) is expected


@pytest.mark.parametrize("name", ["cat.json", "alice/" + "é" * 125 + ".json"])
def test_a_request_that_was_hidden_when_we_died_goes_on_under_its_own_name(name: str, tmp_path: Path) -> None:
    counting = CountingDisk()
    lived = World(tmp_path / "lived")
    lived.drop("cat.json", {"prompt": "a cat"})
    lived.live(counting)
    hidden = next(number for number, (_, file) in enumerate(counting.effects, 1) if file.endswith(".taken"))

    world = World(tmp_path / "crashed")
    world.drop("cat.json", {"prompt": "a cat"})
    (world.inbox / name).parent.mkdir(exist_ok=True)
    (world.inbox / "cat.json").rename(world.inbox / name)
    with pytest.raises(Crash):
        world.live(CrashingDisk(at=hidden + 1))
    (accepted,) = map(world.running.spool.get, world.running.spool.unsettled())
    assert accepted is not None
    world.die()
    world.live()
    told = world.answer(accepted.name)
    assert told is not None
    assert (told["state"], told["id"]) == ("done", accepted.id)
    assert [path.name for path in world.inbox.rglob("*") if ".darkroom" not in path.parts and path.is_file()] == []
