"""Ten things that people do not want, each asked for beside the default negative prompt, and what is seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkroom.starter.customer import Customer, Request
from darkroom.starter.measures import corner_colour, corner_grain, purpleness, saturation, sharpness

Floats = NDArray[np.float64]
Pictures = NDArray[Any]
Measure = Callable[[Pictures], Floats]


@dataclass(frozen=True)
class Unwanted:
    """A request, what its sender does not want, and the change that a person would see."""

    prompt: str  #: with {} for the thing
    style: str
    negative: str
    effect: str
    measure: Measure
    least: float  #: by so much the measure has to change, and in this direction, to be seen

    def requests(self, things: tuple[str, ...], first_seed: int) -> tuple[list[Request], list[Request]]:
        """For each thing the request without the negative prompt, and with it."""
        without: list[Request] = [
            {"prompt": self.prompt.format(thing), "style": self.style, "seed": first_seed + i}
            for i, thing in enumerate(things)
        ]
        return without, [{**request, "negative_prompt": self.negative} for request in without]


def orangeness(pictures: Pictures) -> Floats:
    """How far the corners' red stands above their blue, (B,)."""
    red, _, blue = corner_colour(pictures).T
    return np.asarray(red - blue)


def greenness(pictures: Pictures) -> Floats:
    """How far the corners' green stands above their red and blue, (B,)."""
    red, green, blue = corner_colour(pictures).T
    return np.asarray(green - (red + blue) / 2)


def brightness(pictures: Pictures) -> Floats:
    """Of the corners, (B,)."""
    return np.asarray(corner_colour(pictures).mean(1))


def log_sharpness(pictures: Pictures) -> Floats:
    """The natural logarithm of `sharpness`, (B,)."""
    return np.asarray(np.log(sharpness(pictures) + 1))


def unwanted(likeness: Callable[[str], Measure]) -> tuple[Unwanted, ...]:
    """The ten; `likeness` gives, for a style, how much pictures look like it: 0 like plain ones, 1 like that style."""
    return (
        Unwanted("a {}", "fantasy", "purple background", "less purple", purpleness, -20),
        Unwanted("a {}", "golden-hour", "orange background", "less orange", orangeness, -20),
        Unwanted("a {}", "night", "dark background", "brighter", brightness, 20),
        Unwanted("a {} on a green background", "none", "green background", "less green", greenness, -20),
        Unwanted("a {}", "none", "monochrome, black and white", "more colour", saturation, 0.02),
        Unwanted("a {}", "fantasy", "monochrome, black and white", "more colour", saturation, 0.02),
        Unwanted("a {}", "pixel-art", "pixelated", "less like it", likeness("pixel-art"), -0.15),
        Unwanted("a {}", "comic", "halftone dots", "less like it", likeness("comic"), -0.15),
        Unwanted("a {}, soft", "none", "out of focus", "sharper", log_sharpness, 0.1),
        Unwanted("a {}, grainy", "none", "film grain", "smoother", corner_grain, -1),
    )


def try_each(customer: Customer, cases: tuple[Unwanted, ...], things: tuple[str, ...], first_seed: int) -> list[Trial]:
    """Ask for all of it."""
    trials = []
    for number, case in enumerate(cases):
        without, with_it = case.requests(things, first_seed + 1000 * number)
        trials.append(Trial(case, customer.ask(without), customer.ask(with_it)))
    return trials


@dataclass(frozen=True)
class Trial:
    """The pictures of one case, (B, H, W, 3) each."""

    case: Unwanted
    without: NDArray[np.uint8]
    with_it: NDArray[np.uint8]

    @property
    def changes(self) -> Floats:
        """Of the measure, (B,); positive is the right way, 1 the least that is seen."""
        measure = self.case.measure
        return np.asarray((measure(self.with_it) - measure(self.without)) / self.case.least)
