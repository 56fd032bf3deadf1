"""What the starter model's evaluation measures, on pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from darkroom.starter.measures import LookJudge, colour_of, corner_grain, fringes, ground_of
from darkroom.starter.unwanted import Trial, brightness, greenness, orangeness, unwanted

WHITE = (255, 255, 255)


def square(colour: tuple[int, int, int], ground: tuple[int, int, int] = WHITE) -> np.ndarray:
    picture = np.full((96, 96, 3), ground, np.uint8)
    picture[24:72, 24:72] = colour
    return picture


def test_the_thing_and_the_ground_each_have_their_colour() -> None:
    picture = square((90, 150, 230), (110, 190, 110))
    assert colour_of(picture) == "blue"
    assert ground_of(picture) == "green"
    assert [ground_of(square((0, 0, 0), (v, v, v))) for v in (255, 150, 10)] == ["white", "gray", "black"]


def test_grain_is_seen_in_the_corners_and_flatness_is_none() -> None:
    flat = np.stack([square((90, 150, 230))] * 2)
    grain = flat.astype(float) + np.random.default_rng(0).normal(0, 20, flat.shape)
    assert np.all(corner_grain(flat) == 0)
    assert np.all(corner_grain(grain) > 5)


def test_a_checkered_ground_has_fringes_and_a_sloped_one_has_not() -> None:
    rows, columns = np.indices((96, 96))
    everywhere = np.ones((1, 96, 96), bool)
    checks = np.repeat(((rows + columns) % 2 * 10.0)[None, ..., None], 3, 3)
    slope = np.repeat((rows + 2.0 * columns)[None, ..., None], 3, 3)
    assert fringes(checks, everywhere) == pytest.approx(10)
    assert fringes(slope, everywhere) == pytest.approx(0)


def test_likeness_is_nothing_at_the_plain_pictures_and_one_at_the_look() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    features = rng.normal(0, 0.1, (100, 3)) + labels[:, None] * np.array([1.0, 0, 0])
    judge = LookJudge(features, labels)
    assert judge.likeness(features[labels == 0], 1).mean() == pytest.approx(0, abs=1e-6)
    assert judge.likeness(features[labels == 1], 1).mean() == pytest.approx(1, abs=1e-6)


def test_each_unwanted_thing_is_asked_for_with_one_seed_without_and_with_it() -> None:
    cases = unwanted(lambda _: brightness)
    assert len(cases) == 10
    without, with_it = cases[0].requests(("apple", "cat"), 7)
    assert without == [
        {"prompt": "a apple", "style": "fantasy", "seed": 7},
        {"prompt": "a cat", "style": "fantasy", "seed": 8},
    ]
    assert [request["negative_prompt"] for request in with_it] == ["purple background"] * 2


def test_a_change_counts_in_its_direction_and_by_what_is_seen() -> None:
    green, white = square((0, 0, 0), (110, 190, 110))[None], square((0, 0, 0))[None]
    case = unwanted(lambda _: brightness)[3]
    assert Trial(case, green, white).changes[0] == pytest.approx(80 / 20)
    assert Trial(case, white, green).changes[0] < 0
    assert greenness(green)[0] == 80
    assert orangeness(square((0, 0, 0), (250, 160, 60))[None])[0] == 190
