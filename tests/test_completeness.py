import pytest

from darkroom.inbox.completeness import (
    MALFORMED_SETTLE_S,
    TIMES_SETTLE_S,
    Completeness,
    Patience,
    Verdict,
    completeness_of,
    content_of,
    judge,
)
from darkroom.request.shape import MAX_BYTES

WHOLE = b'{"prompt": "a cat"}'
OPEN = b'{"prompt": "a c'
BEYOND_MENDING = b'{"prompt": "a cat",}'
TOO_LARGE = b"x" * (MAX_BYTES + 1)

LOCAL = Patience.on(network=False, settle_s=10, network_settle_s=60)
SHARE = Patience.on(network=True, settle_s=10, network_settle_s=60)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (WHOLE, Completeness.WHOLE),
        (WHOLE + b"\n", Completeness.WHOLE),
        (b"", Completeness.OPEN),
        (b"\0" * 8, Completeness.OPEN),
        (OPEN, Completeness.OPEN),
        (TOO_LARGE, Completeness.OPEN),
        (BEYOND_MENDING, Completeness.BEYOND_MENDING),
        (WHOLE + b"x", Completeness.BEYOND_MENDING),
    ],
)
def test_the_bytes_say_how_much_of_a_file_is_there(raw: bytes, expected: Completeness) -> None:
    assert completeness_of(content_of(raw), len(raw)) is expected


@pytest.mark.parametrize(
    ("raw", "patience", "still_s", "first_time", "verdict", "why"),
    [
        (WHOLE, LOCAL, 0, True, Verdict.DROP, ""),
        (WHOLE, SHARE, 0, True, Verdict.WAIT, "read again to be sure"),
        (WHOLE, SHARE, 0, False, Verdict.DROP, ""),
        (BEYOND_MENDING, LOCAL, 0, True, Verdict.WAIT, "not a valid request yet, 20 bytes"),
        (BEYOND_MENDING, LOCAL, MALFORMED_SETTLE_S, False, Verdict.DROP, ""),
        (BEYOND_MENDING, SHARE, 59, False, Verdict.WAIT, "still for 59 s"),
        (BEYOND_MENDING, SHARE, 60, False, Verdict.DROP, ""),
        (OPEN, LOCAL, 9.5, False, Verdict.WAIT, "15 bytes for 10 s"),
        (OPEN, LOCAL, 10, False, Verdict.LEAVE, "incomplete"),
        (OPEN, SHARE, 59, False, Verdict.WAIT, "15 bytes for 59 s"),
        (OPEN, SHARE, 60, False, Verdict.LEAVE, "incomplete"),
        (TOO_LARGE, LOCAL, 9, False, Verdict.WAIT, "still arriving"),
        (TOO_LARGE, LOCAL, 10, False, Verdict.LEAVE, f"larger than {MAX_BYTES} bytes"),
    ],
)
def test_bytes_and_stillness_decide_what_becomes_of_a_file(
    raw: bytes, patience: Patience, still_s: float, first_time: bool, verdict: Verdict, why: str
) -> None:
    decided, told = judge(content_of(raw), len(raw), patience, still_s=still_s, first_time=first_time)
    assert decided is verdict
    assert why in told
    assert bool(told) is (verdict is not Verdict.DROP)


def test_a_file_that_looks_unchanged_is_read_again_when_its_bytes_may_be_judged_otherwise() -> None:
    assert [LOCAL.is_over(still_s) for still_s in (0, 1.9, MALFORMED_SETTLE_S)] == [False, False, True]
    assert SHARE.is_over(0)
    assert Patience.on(network=False, settle_s=1, network_settle_s=60).is_over(1)


def test_bytes_that_were_sent_before_wait_for_a_time_that_can_be_believed() -> None:
    for still_s, expected in ((0.9, Verdict.WAIT), (TIMES_SETTLE_S, Verdict.DROP)):
        assert (
            judge(content_of(WHOLE), len(WHOLE), LOCAL, still_s=still_s, first_time=False, doubted=True)[0] is expected
        )
        assert LOCAL.is_over(still_s, doubted=True) is (expected is Verdict.DROP)
