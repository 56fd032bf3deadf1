import pytest

from darkroom.service.blame import DEVICE, KILLERS, Blame, End
from darkroom.service.job import Job

WHY = "was killed by SIGKILL"


def job(name: str, *, stepped: bool = False, rendered: bool = False, cancelled: bool = False) -> Job:
    return Job(name, "sd15", rendered=rendered, cancelled=cancelled, first_step_s=1.0 if stepped else None)


FRESH, STEPPED = job("cat"), job("cat", stepped=True)
CANCELLED = job("cat", stepped=True, cancelled=True)
ENCODING = job("dog", stepped=True, rendered=True)


@pytest.mark.parametrize(
    ("jobs", "loading", "starting", "ends", "held"),
    [
        ([], None, False, {}, []),
        ([], None, True, {}, [DEVICE]),
        ([], "sd15", False, {}, ["sd15"]),
        ([FRESH], None, False, {"cat": End.FREE}, ["sd15"]),
        ([FRESH], "sd15", False, {"cat": End.FREE}, ["sd15"]),
        ([STEPPED], None, False, {"cat": End.AT_FAULT}, []),
        ([CANCELLED], None, False, {"cat": End.LEFT}, []),
        ([ENCODING], None, False, {"dog": End.COUNTED}, []),
        ([ENCODING], "xl", False, {"dog": End.COUNTED}, ["xl"]),
        ([ENCODING, STEPPED], None, False, {"dog": End.FREE, "cat": End.AT_FAULT}, []),
        ([ENCODING, FRESH], None, False, {"dog": End.FREE, "cat": End.FREE}, ["sd15"]),
        ([ENCODING, CANCELLED], None, False, {"dog": End.FREE, "cat": End.LEFT}, []),
    ],
)
def test_what_the_renderer_was_doing_says_whose_fault_its_death_is(
    jobs: list[Job], loading: str | None, starting: bool, ends: dict[str, End], held: list[str]
) -> None:
    verdict = Blame(max_attempts=3).death(WHY, jobs, loading=loading, starting=starting)
    assert dict(verdict.ends) == ends
    assert [charge.what for charge in verdict.charges] == held
    assert all(WHY in charge.why for charge in verdict.charges)


def held_after(blame: Blame, *names: str) -> list[str]:
    """What is held after the deaths of these requests, each after its first step."""
    verdicts = [blame.death(WHY, [job(name, stepped=True)], loading=None, starting=False) for name in names]
    return [charge.what for verdict in verdicts for charge in verdict.charges]


def test_three_different_requests_in_a_row_are_the_fault_of_the_device() -> None:
    assert KILLERS == 3
    blame = Blame(max_attempts=3)
    assert held_after(blame, "a", "b") == []
    assert held_after(blame, "c") == [DEVICE]
    assert held_after(blame, "d", "e") == []


def test_one_request_that_dies_again_and_again_is_alone_at_fault() -> None:
    assert held_after(Blame(max_attempts=9), *("a" * 9)) == []


def test_a_cancelled_request_leaves_however_its_renderer_ends() -> None:
    encoding = Job("A", "m", rendered=True, cancelled=True)
    rendering = Job("B", "m", first_step_s=1.0)
    blame = Blame(max_attempts=3)
    assert dict(blame.death("died", [encoding, rendering], loading=None, starting=False).ends)["A"] is End.LEFT
    assert blame.death("died", [encoding], loading=None, starting=False).ends == (("A", End.LEFT),)


def test_a_finished_request_between_clears_the_device() -> None:
    blame = Blame(max_attempts=3)
    held_after(blame, "a", "b")
    blame.finished("ok")
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


@pytest.mark.parametrize("other", [FRESH, Job("dog", "another model")])
def test_neither_its_own_step_nor_one_of_another_model_speaks_against_it(other: Job) -> None:
    blame = Blame(max_attempts=2)
    blame.error_before_first_step(FRESH, is_loaded=True)
    blame.first_step(other)
    assert blame.error_before_first_step(FRESH, is_loaded=True) is End.FREE


def test_a_death_before_the_first_step_counts_as_such_an_error() -> None:
    blame = Blame(max_attempts=2)
    first = blame.death(WHY, [FRESH], loaded="sd15", loading=None, starting=False)
    assert (first.ends, [charge.what for charge in first.charges]) == ((("cat", End.FREE),), ["sd15"])
    assert blame.suspects == {"cat"}
    blame.first_step(job("dog"))
    second = blame.death(WHY, [FRESH], loaded="sd15", loading=None, starting=False)
    assert (second.ends, second.charges) == ((("cat", End.FAILED),), ())


def test_a_suspect_lets_one_other_of_its_model_go_first_and_waits_no_longer() -> None:
    blame = Blame(max_attempts=3)
    for _ in range(2):
        blame.error_before_first_step(FRESH, is_loaded=True)
        assert blame.suspects == {"cat"}
        blame.first_step(job("dog"))
        assert blame.suspects == frozenset()


def test_another_model_that_goes_on_says_nothing_of_a_suspect() -> None:
    blame = Blame(max_attempts=1)
    blame.error_before_first_step(FRESH, is_loaded=True)
    blame.first_step(Job("dog", "another model"))
    assert blame.suspects == {"cat"}
    assert blame.error_before_first_step(FRESH, is_loaded=True) is End.FREE


@pytest.mark.parametrize(
    ("kind", "is_loaded", "end"),
    [
        ("ValueError", True, End.FAILED),
        ("TypeError", True, End.FAILED),
        ("IndexError", True, End.FAILED),
        ("NotImplementedError", True, End.FAILED),
        ("AssertionError", True, End.FAILED),
        ("RuntimeError", True, End.FREE),
        ("OSError", True, End.FREE),
        ("", True, End.FREE),
        ("ValueError", False, End.FREE),  # its model has not rendered anything yet
    ],
)
def test_what_libraries_raise_about_what_was_asked_is_the_requests_own_fault(
    kind: str, is_loaded: bool, end: End
) -> None:
    blame = Blame(max_attempts=9)
    assert blame.error_before_first_step(FRESH, is_loaded=is_loaded, kind=kind) is end
    assert blame.suspects == ({"cat"} if is_loaded and end is End.FREE else frozenset())


def test_a_death_while_its_model_is_being_loaded_makes_nobody_a_suspect() -> None:
    blame = Blame(max_attempts=1)
    blame.death(WHY, [FRESH], loading="sd15", starting=False)
    blame.death(WHY, [FRESH], loading=None, starting=False)  # it had told that it could not load it
    assert blame.suspects == frozenset()


def test_three_different_requests_in_a_row_that_find_too_little_memory_are_the_fault_of_the_device() -> None:
    blame = Blame(max_attempts=3)
    charges = [blame.out_of_memory(job(name, stepped=True)) for name in ("a", "a", "b", "c")]
    assert [len(each) for each in charges] == [0, 0, 0, 1]
    assert charges[-1][0].what == DEVICE


def test_an_error_while_its_model_was_not_even_loaded_makes_nobody_a_suspect() -> None:
    blame = Blame(max_attempts=1)
    assert blame.error_before_first_step(FRESH, is_loaded=False) is End.FREE
    assert blame.suspects == frozenset()


def test_a_suspect_that_finishes_is_one_no_more() -> None:
    blame = Blame(max_attempts=2)
    blame.error_before_first_step(FRESH, is_loaded=True)
    blame.finished("cat")
    assert blame.suspects == frozenset()


def test_the_rest_is_estimated_from_the_mean_time_of_the_steps_so_far() -> None:
    cat = Job("cat", "sd15")
    assert cat.eta_s(10.0, done=0, of=20) is None
    assert not cat.step(10.0)
    assert cat.stepped
    assert cat.eta_s(10.0, done=1, of=20) is None
    assert cat.eta_s(12.0, done=5, of=20) == 7.5


def test_progress_is_told_once_a_second() -> None:
    cat = Job("cat", "sd15")
    assert [cat.step(now_s) for now_s in (10.0, 10.5, 11.0, 11.9, 12.0)] == [False, False, True, False, True]
