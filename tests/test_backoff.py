from hypothesis import given
from hypothesis import strategies as st

from darkroom import backoff
from darkroom.backoff import Backoff

ALL = [each for each in vars(backoff).values() if isinstance(each, Backoff)]


def test_each_failure_in_a_row_doubles_the_wait_up_to_the_last() -> None:
    assert [Backoff(1.0, 5.0).delay_s(failures) for failures in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.integers(-5, 10**12))
def test_no_number_of_failures_is_too_many(failures: int) -> None:
    for each in ALL:
        assert each.first_s <= each.delay_s(failures) <= each.last_s
