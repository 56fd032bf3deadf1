from pathlib import Path

import pytest

from darkroom.errors import ErrorCode
from darkroom.executor.port import Attempt, AttemptKey
from darkroom.facts import Fault
from darkroom.service.blame import OF_THE_REQUEST, STRIKES, Blame, End
from darkroom.service.holds import HoldKey, ModelHold, SeatHold
from darkroom.service.seats import Running
from darkroom.testing.plans import plan
from darkroom.testing.world import World

WHY = "was killed by SIGKILL"


def job(
    name: str, *, model: str = "sd15", stepped: bool = False, rendered: bool = False, cancelled: bool = False
) -> Running:
    attempt = Attempt(AttemptKey(name, 1), plan(model=model), name, Path("/inputs"), Path("/work"))
    return Running(attempt, name, rendered=rendered, cancelled=cancelled, first_step_s=1.0 if stepped else None)


SEAT = SeatHold("cpu")
MODEL, XL = ModelHold("sd15"), ModelHold("xl")


FRESH, STEPPED = job("cat"), job("cat", stepped=True)
CANCELLED = job("cat", stepped=True, cancelled=True)
ENCODING = job("dog", stepped=True, rendered=True)


@pytest.mark.parametrize(
    ("jobs", "loading", "starting", "ends", "held"),
    [
        ([], None, False, {}, []),
        ([], None, True, {}, [SEAT]),
        ([], "sd15", False, {}, [MODEL]),
        ([FRESH], None, False, {"cat": End.FREE}, [MODEL]),
        ([FRESH], "sd15", False, {"cat": End.FREE}, [MODEL]),
        ([STEPPED], None, False, {"cat": End.AT_FAULT}, []),
        ([CANCELLED], None, False, {"cat": End.LEFT}, []),
        ([ENCODING], None, False, {"dog": End.COUNTED}, []),
        ([ENCODING], "xl", False, {"dog": End.COUNTED}, [XL]),
        ([ENCODING, STEPPED], None, False, {"dog": End.FREE, "cat": End.AT_FAULT}, []),
        ([ENCODING, FRESH], None, False, {"dog": End.FREE, "cat": End.FREE}, [MODEL]),
        ([ENCODING, CANCELLED], None, False, {"dog": End.FREE, "cat": End.LEFT}, []),
    ],
)
def test_what_the_renderer_was_doing_says_whose_fault_its_death_is(
    jobs: list[Running], loading: str | None, starting: bool, ends: dict[str, End], held: list[HoldKey]
) -> None:
    verdict = Blame(max_attempts=3).death(WHY, jobs, seat="cpu", loading=loading, starting=starting)
    assert dict(verdict.ends) == ends
    assert [charge.what for charge in verdict.charges] == held
    assert all(WHY in charge.why for charge in verdict.charges)


def held_after(blame: Blame, *names: str, seat: str = "cpu") -> list[HoldKey]:
    """What is held after the deaths of these requests, each after its first step."""
    verdicts = [blame.death(WHY, [job(name, stepped=True)], seat=seat) for name in names]
    return [charge.what for verdict in verdicts for charge in verdict.charges]


def test_three_different_requests_in_a_row_are_the_fault_of_the_device() -> None:
    assert STRIKES == 3
    blame = Blame(max_attempts=3)
    assert held_after(blame, "a", "b") == []
    assert held_after(blame, "c") == [SEAT]
    assert held_after(blame, "d", "e") == []


def test_one_request_that_dies_again_and_again_is_alone_at_fault() -> None:
    assert held_after(Blame(max_attempts=9), *("a" * 9)) == []


def test_a_cancelled_request_leaves_however_its_renderer_ends() -> None:
    encoding, rendering = job("A", rendered=True, cancelled=True), job("B", stepped=True)
    blame = Blame(max_attempts=3)
    assert blame.death("died", [encoding, rendering], seat="cpu").ends["A"] is End.LEFT
    assert blame.death("died", [encoding], seat="cpu").ends == {"A": End.LEFT}


def test_a_finished_request_between_clears_the_device() -> None:
    blame = Blame(max_attempts=3)
    held_after(blame, "a", "b")
    blame.all_is_well("cpu")
    assert held_after(blame, "c", "d") == []


def test_an_error_before_the_first_step_is_the_models_fault_while_no_other_gets_further() -> None:
    blame = Blame(max_attempts=2)
    assert [blame.error_before_first_step(FRESH, is_loaded=True) for _ in range(5)] == [End.FREE] * 5
    assert blame.suspects == {"cat"}


def test_it_is_the_requests_own_when_others_of_its_model_get_further() -> None:
    blame = Blame(max_attempts=2)
    assert blame.error_before_first_step(FRESH, is_loaded=True) is End.FREE
    blame.first_step(job("dog"))
    assert blame.error_before_first_step(FRESH, is_loaded=True) is End.FAILED
    assert blame.suspects == frozenset()


@pytest.mark.parametrize("other", [FRESH, job("dog", model="another model")])
def test_neither_its_own_step_nor_one_of_another_model_speaks_against_it(other: Running) -> None:
    blame = Blame(max_attempts=2)
    blame.error_before_first_step(FRESH, is_loaded=True)
    blame.first_step(other)
    assert blame.error_before_first_step(FRESH, is_loaded=True) is End.FREE


def test_a_death_before_the_first_step_counts_as_such_an_error() -> None:
    blame = Blame(max_attempts=2)
    first = blame.death(WHY, [FRESH], seat="cpu", loaded="sd15")
    assert (first.ends, [charge.what for charge in first.charges]) == ({"cat": End.FREE}, [MODEL])
    assert blame.suspects == {"cat"}
    blame.first_step(job("dog"))
    second = blame.death(WHY, [FRESH], seat="cpu", loaded="sd15")
    assert (second.ends, second.charges) == ({"cat": End.FAILED}, ())


def test_a_suspect_lets_one_other_request_of_its_model_go_first_and_waits_no_longer() -> None:
    blame = Blame(max_attempts=3)
    for _ in range(2):
        blame.error_before_first_step(FRESH, is_loaded=True)
        assert blame.suspects == {"cat"}
        blame.first_step(job("bird", model="another model"))
        assert blame.suspects == {"cat"}, "those of another model prove nothing"
        blame.first_step(job("dog"))
        assert blame.suspects == frozenset()


@pytest.mark.parametrize("kind", ["ValueError", "TypeError", "IndexError", "NotImplementedError", "AssertionError"])
def test_what_libraries_say_of_what_was_asked_is_the_requests_own_fault_at_once(kind: str) -> None:
    blame = Blame(max_attempts=3)
    assert blame.error_before_first_step(FRESH, is_loaded=True, kind=kind) is End.FAILED
    assert blame.error_before_first_step(FRESH, is_loaded=True, kind="RuntimeError") is End.FREE


@pytest.mark.parametrize("code", sorted(OF_THE_REQUEST))
def test_a_fault_that_is_about_the_request_fails_it_before_its_first_step_and_holds_no_model(
    code: ErrorCode, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.holding = True
    world.drop("cat.json", {"prompt": "a cat"})
    world.start()
    for _ in range(4):
        world.step()
    assert world.painter is not None
    world.painter.fail(Fault(code, "It is about the request.", "Change it."), stepped=False)
    world.run()
    assert world.running.service.snapshot is not None
    assert world.running.service.snapshot.held == ()
    answer = world.answer("cat") or {}
    assert (answer["state"], answer["error"]["code"]) == ("failed", code)
    world.die()


def test_a_death_while_its_model_is_being_loaded_makes_nobody_a_suspect() -> None:
    blame = Blame(max_attempts=1)
    blame.death(WHY, [FRESH], seat="cpu", loading="sd15")
    blame.death(WHY, [FRESH], seat="cpu")  # it had told that it could not load it
    assert blame.suspects == frozenset()


def test_three_in_a_row_that_find_too_little_memory_hold_the_device_and_get_their_attempts_back() -> None:
    blame = Blame(max_attempts=3)
    verdicts = [blame.out_of_memory(job(name, stepped=True), "cpu") for name in ("a", "a", "b", "c")]
    assert [len(verdict.charges) for verdict in verdicts] == [0, 0, 0, 1]
    assert [verdict.ends[name] for verdict, name in zip(verdicts, "aabc", strict=True)] == [
        End.AT_FAULT, End.AT_FAULT, End.AT_FAULT, End.FREE,
    ]  # fmt: skip
    assert verdicts[-1].charges[0].what == SEAT
    assert verdicts[-1].forgiven == ("a", "b")


def test_three_deaths_in_a_row_hold_the_device_and_are_attempts_all_the_same() -> None:
    blame = Blame(max_attempts=3)
    verdicts = [blame.death(WHY, [job(name, stepped=True)], seat="cpu") for name in "abc"]
    assert [verdict.ends[name] for verdict, name in zip(verdicts, "abc", strict=True)] == [End.AT_FAULT] * 3
    assert verdicts[-1].forgiven == ()


def test_deaths_on_different_seats_are_counted_apart() -> None:
    blame = Blame(max_attempts=9)
    assert held_after(blame, "a", "b", seat="0") == []
    assert held_after(blame, "c", seat="1") == []
    assert held_after(blame, "d", seat="0") == [SeatHold("0")]


def test_renderers_of_one_device_are_counted_together() -> None:
    blame = Blame(max_attempts=9)
    verdicts = [
        blame.death(WHY, [job(name, stepped=True)], seat=f"cuda:0/{number}", device="cuda:0")
        for number, name in enumerate("abc", start=1)
    ]
    assert [charge.what for verdict in verdicts for charge in verdict.charges] == [SeatHold("cuda:0")]
    start = blame.death(WHY, [], seat="cuda:0/1", device="cuda:0", starting=True)
    assert [charge.what for charge in start.charges] == [SeatHold("cuda:0/1")]


def test_a_request_that_ended_a_renderer_lets_others_of_its_model_go_first_until_one_is_finished() -> None:
    blame = Blame(max_attempts=9)
    held_after(blame, "a")
    for each in (job("dog", model="another model"), job("a")):
        blame.finished(each)
    blame.first_step(job("dog"))
    assert (blame.suspects, blame.struck) == (frozenset({"a"}), {"a": "cpu"})
    blame.finished(job("dog"))
    assert (blame.suspects, blame.struck) == (frozenset(), {"a": "cpu"})
    blame.ended("a")
    assert blame.struck == {}


def test_an_error_while_its_model_was_not_even_loaded_makes_nobody_a_suspect() -> None:
    blame = Blame(max_attempts=1)
    assert blame.error_before_first_step(FRESH, is_loaded=False) is End.FREE
    assert blame.suspects == frozenset()


def test_a_suspect_that_finishes_is_one_no_more() -> None:
    blame = Blame(max_attempts=2)
    blame.error_before_first_step(FRESH, is_loaded=True)
    blame.ended("cat")
    assert blame.suspects == frozenset()
