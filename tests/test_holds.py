from darkroom.backoff import MODEL_OR_SEAT
from darkroom.service.holds import Holds, ModelHold, SeatHold

SD15, STARTER, SEAT = ModelHold("sd15"), ModelHold("starter"), SeatHold("cpu")


def test_what_failed_is_held_and_tried_again_later() -> None:
    holds = Holds()
    holds.add(SD15, "it cannot be loaded", "Look at its files.", now_s=100.0)
    assert holds.is_held(SD15, 104.9)
    assert not holds.is_held(SD15, 105.0)
    assert not holds.is_held(STARTER, 100.0)


def test_each_failure_in_a_row_doubles_the_wait_up_to_five_minutes() -> None:
    holds = Holds()
    waits_s = [holds.add(SD15, "why", "", now_s=0.0).until_s for _ in range(40)]
    assert waits_s[:8] == [MODEL_OR_SEAT.first_s, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert waits_s[-1] == MODEL_OR_SEAT.last_s


def test_the_last_reason_is_the_one_that_is_told_even_when_the_next_try_is_due() -> None:
    holds = Holds()
    holds.add(SD15, "first", "a", now_s=0.0)
    holds.add(SD15, "second", "b", now_s=10.0)
    hold = holds.get(SD15)
    assert hold is not None
    assert (hold.why, hold.hint, hold.failures) == ("second", "b", 2)
    assert holds.all() == {SD15: hold}


def test_one_success_forgets_all_failures() -> None:
    holds = Holds()
    for _ in range(5):
        holds.add(SD15, "why", "", now_s=0.0)
    assert holds.clear(SD15)
    assert not holds.clear(SD15)
    assert (holds.get(SD15), holds.all()) == (None, {})
    assert holds.add(SD15, "why", "", now_s=0.0).until_s == MODEL_OR_SEAT.first_s


def test_each_thing_is_held_for_itself() -> None:
    holds = Holds()
    holds.add(SD15, "why", "", now_s=0.0)
    holds.add(SEAT, "why", "", now_s=3.0)
    assert [holds.is_held(key, 4.0) for key in (SD15, SEAT)] == [True, True]
    assert [holds.is_held(key, 6.0) for key in (SD15, SEAT)] == [False, True]


def test_a_model_is_kept_from_every_seat_or_from_one() -> None:
    holds = Holds()
    holds.add(ModelHold("sd15", "0"), "no room", "", now_s=0.0)
    assert [holds.keeps("sd15", seat, 1.0) for seat in ("0", "1")] == [True, False]
    holds.add(SD15, "its files are torn", "", now_s=0.0)
    assert [holds.keeps("sd15", seat, 1.0) for seat in ("0", "1")] == [True, True]
    hold = holds.of_model("sd15", "1")
    assert hold is not None
    assert hold.why == "its files are torn"
