"""What another machine sends back counts only if it is what was asked for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.cluster.picture import header_of
from darkroom.cluster.returned import SPARE_BYTES, Returned
from darkroom.errors import ErrorCode
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Cancelled,
    Failed,
    Finished,
    Loaded,
    Painted,
    Stepped,
    Withheld,
)
from darkroom.facts import Artefact, Fault, Gap, Progress
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.parameters import Provenance
from darkroom.testing.plans import plan as plan_of

KEY = AttemptKey("A", 3)
PLAN = plan_of(model="card", width=64, height=64, num_images=2)
ATTEMPT = Attempt(KEY, PLAN, "cat", Path("/inputs"), Path("/work"))


def picture(index: int = 0, *, side_px: int = 64, plan: str = "png") -> bytes:
    pixels = Pixels(side_px, side_px, bytes([index]) * (3 * side_px * side_px))
    asked = plan_of(
        model="card", width=side_px, height=side_px, num_images=2, format=plan, quality=None if plan == "png" else 90
    )
    return encode(pixels, asked, asked.images[index], Provenance("local", "card", {}), metadata="none")


def told_of(data: bytes, index: int = 0, **values: object) -> Painted:
    honest = Artefact(
        f"cat-{index + 1}.png",
        PLAN.images[index].seed,
        64,
        64,
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    return Painted(key=KEY, index=index, artefact=replace(honest, **values))  # type: ignore[arg-type]


def expecting(attempt: Attempt = ATTEMPT) -> Returned:
    returned = Returned(header_of)
    returned.expect(attempt)
    return returned


def test_honest_pictures_count_in_their_order() -> None:
    returned = expecting()
    for index in range(2):
        data = picture(index)
        assert returned.why_wrong(told_of(data, index), data) == ""
    assert returned.why_wrong(Finished(key=KEY, encode_s=0.1), None) == ""
    assert not returned.is_current(Finished(key=KEY, encode_s=0.1))


def test_it_goes_on_behind_what_an_earlier_attempt_has_finished() -> None:
    returned = expecting(replace(ATTEMPT, done=(Gap(1),)))
    data = picture(1)
    assert returned.why_wrong(told_of(data, 1), data) == ""


LARGE = bytes(64 * 64 * 3 + SPARE_BYTES + 1)
OTHER = picture(side_px=72)
WRONG = {
    "out of turn": (told_of(picture(1), 1), picture(1)),
    "wrong name": (told_of(picture(), file="../cat-1.png"), picture()),
    "another seed": (told_of(picture(), seed=99), picture()),
    "no bytes": (told_of(picture()), None),
    "with 3 bytes": (told_of(picture()), b"PNG"),
    "other bytes": (told_of(picture()), picture()[:-1] + b"?"),
    "too much": (told_of(LARGE), LARGE),
    "no picture": (told_of(b"not a picture"), b"not a picture"),
    "as JPEG, not png": (told_of(picture(plan="jpeg")), picture(plan="jpeg")),
    "and told of 64 x 64": (told_of(OTHER), OTHER),
    "not 64 x 64": (told_of(OTHER, width=72, height=72), OTHER),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_picture_that_is_not_what_was_asked_for_does_not_count(words: str) -> None:
    returned = expecting()
    assert words in returned.why_wrong(*WRONG[words])
    data = picture()
    assert returned.why_wrong(told_of(data), data) == "", "what was wrong has moved nothing"


def test_no_more_pictures_than_the_plan_has() -> None:
    returned = expecting(replace(ATTEMPT, done=(Gap(1), Gap(2))))
    data = picture(1)
    late = Painted(key=KEY, index=2, artefact=replace(told_of(data, 1).artefact, file="cat-3.png"))
    assert "out of turn" in returned.why_wrong(late, data)
    assert "out of turn" in returned.why_wrong(Withheld(key=KEY, index=1), None)


@pytest.mark.parametrize("number", [2, 4])
def test_another_attempt_of_the_same_request_is_not_current(number: int) -> None:
    returned = expecting()
    stepped = Stepped(key=AttemptKey("A", number), progress=Progress(1, 2, 1, 1))
    assert not returned.is_current(stepped)
    assert returned.attempt(stepped.key) is None
    assert returned.is_current(replace(stepped, key=KEY))
    assert returned.is_current(Loaded(model="card", revision="local", load_s=0.0))


FAILED = Failed(key=KEY, fault=Fault(ErrorCode.RENDER_ERROR, "it erred"), stepped=True)


@pytest.mark.parametrize("end", [Finished(key=KEY, encode_s=0.0), Cancelled(key=KEY), FAILED])
def test_what_comes_after_the_end_is_late(end: Finished | Cancelled | Failed) -> None:
    returned = expecting()
    assert returned.why_wrong(end, None) == ""
    assert not returned.is_current(told_of(picture()))


def test_bytes_with_something_that_has_none() -> None:
    assert "bytes with an event" in expecting().why_wrong(Finished(key=KEY, encode_s=0.0), b"x")


@given(st.binary(max_size=2_000))
def test_the_header_of_anything_can_be_asked_for(data: bytes) -> None:
    assert header_of(data) is None or data


@given(st.integers(0, len(picture()) - 1), st.integers(1, 255))
def test_a_flipped_byte_anywhere_is_seen(at: int, flip: int) -> None:
    whole = picture()
    data = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    assert "other bytes" in expecting().why_wrong(told_of(whole), data)
