from darkroom.service.holds import FIRST_S, LAST_S, Holds


def test_what_failed_is_held_and_tried_again_later() -> None:
    holds = Holds()
    holds.add("sd15", "it cannot be loaded", "Look at its files.", now_s=100.0)
    assert holds.is_held("sd15", 100.0)
    assert holds.held(104.9) == {"sd15"}
    assert not holds.is_held("sd15", 105.0)
    assert holds.held(105.0) == frozenset()
    assert not holds.is_held("starter", 100.0)


def test_each_failure_in_a_row_doubles_the_wait_up_to_five_minutes() -> None:
    holds = Holds()
    waits_s = [holds.add("sd15", "why", "", now_s=0.0).until_s for _ in range(40)]
    assert waits_s[:8] == [FIRST_S, 10.0, 20.0, 40.0, 80.0, 160.0, LAST_S, LAST_S]
    assert waits_s[-1] == LAST_S


def test_the_last_reason_is_the_one_that_is_told_even_when_the_next_try_is_due() -> None:
    holds = Holds()
    holds.add("sd15", "first", "a", now_s=0.0)
    holds.add("sd15", "second", "b", now_s=10.0)
    hold = holds.get("sd15")
    assert hold is not None
    assert (hold.why, hold.hint, hold.failures) == ("second", "b", 2)
    assert holds.all() == {"sd15": hold}


def test_one_success_forgets_all_failures() -> None:
    holds = Holds()
    for _ in range(5):
        holds.add("sd15", "why", "", now_s=0.0)
    assert holds.clear("sd15")
    assert not holds.clear("sd15")
    assert (holds.get("sd15"), holds.all()) == (None, {})
    assert holds.add("sd15", "why", "", now_s=0.0).until_s == FIRST_S


def test_each_thing_is_held_for_itself() -> None:
    holds = Holds()
    holds.add("sd15", "why", "", now_s=0.0)
    holds.add("starter", "why", "", now_s=3.0)
    assert holds.held(4.0) == {"sd15", "starter"}
    assert holds.held(6.0) == {"starter"}
