from itertools import product

import pytest

from darkroom.service.entries import IN_LINE, MOVES, Entries, Entry, Place


def entry(name: str = "cat", request_id: str = "", order: int = 1) -> Entry:
    return Entry(request_id or f"id-{name}", f"{name}.json", name, "", "sd15", 0, order)


def way_to(place: Place | None) -> list[Place]:
    """The shortest way of a request to this place."""
    ways: list[list[Place]] = [[]]
    while True:
        way = ways.pop(0)
        if (way[-1] if way else None) == place:
            return way
        ways += [[*way, following] for following in MOVES[way[-1] if way else None] if following is not None]


def at(place: Place | None) -> tuple[Entries, Entry]:
    entries, one = Entries(), entry()
    for number, each in enumerate(way_to(place)):
        if number == 0:
            entries.enter(one, each, 0.0)
        else:
            entries.move(one, each, float(number))
    return entries, one


@pytest.mark.parametrize(("before", "after"), list(product([None, *Place], [None, *Place])))
def test_every_move_is_made_that_is_in_the_table_and_no_other(before: Place | None, after: Place | None) -> None:
    entries, one = at(before)

    def move() -> None:
        if before is None and after is None:
            assert entries.leave(one.id) is None
        elif after is None:
            assert entries.leave(one.id) is one
        elif before is None:
            entries.enter(one, after, 9.0)
        else:
            entries.move(one, after, 9.0)

    if after in MOVES[before] or (before, after) == (None, None):
        move()
        assert one.place == after
        assert entries.count(*Place) == (after is not None)
    else:
        with pytest.raises(AssertionError, match="no move"):
            move()


def test_every_place_can_be_reached_and_left() -> None:
    for place in Place:
        assert way_to(place)
        assert MOVES[place], f"nothing leads out of {place}"


def test_a_request_is_found_by_its_file_until_it_is_taken_and_by_its_name_from_then_on() -> None:
    entries, cat = at(Place.TAKING)
    assert entries.of_path("cat.json") is cat
    entries.move(cat, Place.IN_STATE, 1.0)
    assert entries.of_path("cat.json") is None
    assert entries.meant_by("cat") is cat


def test_a_newer_request_of_the_same_name_is_not_lost_when_the_older_one_ends() -> None:
    entries, older = at(Place.DELIVERING)
    newer = entries.enter(entry(request_id="newer"), Place.IN_INBOX, 0.0)
    assert entries.meant_by("cat") is newer
    entries.move(older, Place.TELLING, 1.0)
    entries.leave(older.id)
    assert entries.of_path("cat.json") is newer
    assert entries.meant_by("cat") is newer


def test_of_two_taken_requests_of_a_name_the_newer_one_is_found_first() -> None:
    entries, older = at(Place.RUNNING)
    newer = entries.enter(entry(request_id="newer", order=2), Place.IN_STATE, 0.0)
    assert entries.meant_by("cat") is newer
    for place in (Place.RUNNING, Place.DELIVERING, Place.TELLING):
        entries.move(newer, place, 1.0)
    assert entries.meant_by("cat") is older


def test_a_request_is_live_once() -> None:
    entries, cat = at(Place.IN_INBOX)
    with pytest.raises(AssertionError, match="live already"):
        entries.enter(entry(), Place.IN_INBOX, 0.0)
    assert entries.at(Place.IN_INBOX) == [cat]


def test_who_waits_in_line_may_be_called_from_where_it_is() -> None:
    assert {Place.IN_INBOX, Place.TAKING, Place.IN_STATE} == IN_LINE


def test_a_name_in_another_spelling_means_the_only_one_that_folds_to_it() -> None:
    entries, cat = at(Place.IN_INBOX)
    assert entries.meant_by("CAT") is cat
    other = entries.enter(Entry("other", "Cat.json", "Cat", "", "sd15", 0, 2), Place.IN_INBOX, 0.0)
    assert entries.meant_by("Cat") is other
    assert entries.meant_by("cat") is cat
    assert entries.meant_by("CAT") is None
    assert entries.meant_by("dog") is None
