"""Where a model's parts lie, and who leaves: tables, and what holds of all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.models.fit import GIB, Offload, Room, leaving, offload, picture_bytes

#: FLUX.1 in half precision, in GiB.
FLUX = {"transformer": 22 * GIB, "text_encoder_2": 9 * GIB, "text_encoder": GIB // 4, "vae": GIB // 4}
PICTURE = 3 * GIB


@pytest.mark.parametrize(
    ("asked", "free_gib", "is_processor", "expected"),
    [
        (Offload.AUTO, 80, False, Offload.NONE),
        (Offload.AUTO, 35, False, Offload.NONE),  # 31.5 of weights, and the picture
        (Offload.AUTO, 34, False, Offload.MODEL),
        (Offload.AUTO, 25, False, Offload.MODEL),  # the largest part, and the picture
        (Offload.AUTO, 24, False, Offload.GROUP),
        (Offload.AUTO, 1, False, Offload.GROUP),
        (Offload.AUTO, 1, True, Offload.NONE),  # it would lie in the same memory
        (Offload.NONE, 1, False, Offload.NONE),
        (Offload.MODEL, 80, False, Offload.MODEL),
        (Offload.GROUP, 80, False, Offload.GROUP),
        (Offload.GROUP, 80, True, Offload.GROUP),
    ],
)
def test_parts_lie_where_there_is_room_unless_they_are_told_where(
    asked: Offload, free_gib: int, is_processor: bool, expected: Offload
) -> None:
    assert offload(asked, FLUX, PICTURE, Room(is_processor, free_gib * GIB)) is expected


def test_a_larger_picture_needs_more() -> None:
    assert picture_bytes(1000, 1000) == 3 * GIB
    assert picture_bytes(2000, 1000) == 5 * GIB


TWO = [("old", 2 * GIB), ("new", 4 * GIB)]


@pytest.mark.parametrize(
    ("wanted", "free", "most", "expected"),
    [
        (3, 8, 4, []),
        (8, 8, 4, []),
        (9, 8, 4, ["old"]),
        (10, 8, 4, ["old"]),
        (11, 8, 4, ["old", "new"]),
        (99, 8, 4, ["old", "new"]),  # it will be offloaded, or fail and say so
        (1, 8, 2, ["old"]),
        (1, 8, 1, ["old", "new"]),
        (None, 80, 4, ["old", "new"]),
    ],
)
def test_the_least_recently_used_leaves_first_and_no_more_than_has_to(
    wanted: int | None, free: int, most: int, expected: list[str]
) -> None:
    assert leaving(TWO, wanted * GIB if wanted is not None else None, free * GIB, most) == expected


@given(st.lists(st.integers(0, 50), max_size=6), st.none() | st.integers(0, 99), st.integers(0, 99), st.integers(1, 6))
def test_who_leaves_leaves_room_and_nobody_leaves_for_nothing(
    sizes: list[int], wanted: int | None, free: int, most: int
) -> None:
    residents = [(str(at), size) for at, size in enumerate(sizes)]
    gone = leaving(residents, wanted, free, most)
    assert gone == [alias for alias, _ in residents[: len(gone)]]
    stay = len(residents) - len(gone)
    freed = free + sum(sizes[: len(gone)])
    assert stay < most or not residents
    assert stay == 0 or (wanted is not None and wanted <= freed)
    if gone and wanted is not None:
        assert stay + 1 >= most or wanted > freed - sizes[len(gone) - 1]
