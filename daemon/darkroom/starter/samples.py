"""What one training picture shows, how it is drawn, and how the shares of all kinds are set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkroom.starter.art import Rgba
from darkroom.starter.concepts import PAINTABLE, Concept
from darkroom.starter.drawings import COLOURS, place, recolour
from darkroom.starter.looks import BACKDROPS, FAULTS, LOOKS, Rng, on_colour, plain

#: Of all pictures: how many show the art as it is, in another set's art, recoloured, in a look, or spoiled.
_KINDS = {"plain": 0.30, "fluent": 0.07, "flat": 0.06, "recoloured": 0.13, "look": 0.31, "fault": 0.13}
_FAULT_SHARES = {"blurred": 0.46, "blocky": 0.15, "noisy": 0.14, "watermarked": 0.1, "cropped": 0.08, "deformed": 0.07}
_BACKDROP_SHARE = 0.1


@dataclass(frozen=True)
class Sample:
    """What a training picture shows; the caption is drawn from this anew each time it is used."""

    concept: int  #: index into the concepts
    art: str  #: icon set: noto, fluent or flat
    look: str | None = None  #: key of LOOKS
    colour: str | None = None  #: colour word of the thing, when recoloured
    backdrop: str | None = None  #: key of BACKDROPS
    fault: str | None = None  #: key of FAULTS


class Studio:
    """Draws samples."""

    def __init__(self, art: dict[str, NDArray[np.uint8]], concepts: tuple[Concept, ...]) -> None:
        """`art` as `art.draw_all` returns it, in the order of `concepts`."""
        self._art = art
        self._concepts = concepts
        self._painted: dict[tuple[int, str, str], Rgba | None] = {}

    def choose(self, rng: Rng) -> Sample:
        """A random sample, with the shares set above."""
        concept = int(rng.integers(len(self._concepts)))
        kind = _pick(_KINDS, rng)
        if kind in ("fluent", "flat"):
            return Sample(concept, kind)
        if kind == "recoloured":
            return Sample(concept, "noto", colour=self._colour_for(concept, "noto", rng), backdrop=_backdrop(rng, 0.05))
        if kind == "look":
            return self._in_a_look(concept, rng)
        if kind == "fault":
            art = _pick({"noto": 0.8, "fluent": 0.1, "flat": 0.1}, rng)
            look = str(rng.choice(list(LOOKS))) if rng.random() < 0.15 else None
            return Sample(concept, art, look=look, fault=_pick(_FAULT_SHARES, rng))
        return Sample(concept, "noto", backdrop=_backdrop(rng, _BACKDROP_SHARE))

    def draw(self, sample: Sample, rng: Rng) -> Image.Image:
        """A picture of the sample, placed at random."""
        pixels = self._art[sample.art][sample.concept]
        if sample.colour:
            pixels = self._paint(sample.concept, sample.art, sample.colour)
        drawing = place(pixels, rng, mirrors=self._concepts[sample.concept].mirrors)
        if sample.backdrop:
            picture = on_colour(drawing, BACKDROPS[sample.backdrop])
        else:
            picture = (LOOKS[sample.look] if sample.look else plain)(drawing, rng)
        return FAULTS[sample.fault](picture, rng) if sample.fault else picture

    def _in_a_look(self, concept: int, rng: Rng) -> Sample:
        art = _pick({"noto": 0.86, "fluent": 0.07, "flat": 0.07}, rng)
        colour = self._colour_for(concept, art, rng) if rng.random() < 0.12 else None
        return Sample(concept, art, look=str(rng.choice(list(LOOKS))), colour=colour)

    def _colour_for(self, concept: int, art: str, rng: Rng) -> str | None:
        if self._concepts[concept].name not in PAINTABLE:
            return None
        colour = str(rng.choice(COLOURS))
        return None if self._paint_or_none(concept, art, colour) is None else colour

    def _paint(self, concept: int, art: str, colour: str) -> Rgba:
        painted = self._paint_or_none(concept, art, colour)
        if painted is None:
            raise ValueError(f"{self._concepts[concept].name} has no dominant colour to turn {colour}")
        return painted

    def _paint_or_none(self, concept: int, art: str, colour: str) -> Rgba | None:
        key = (concept, art, colour)
        if key not in self._painted:
            self._painted[key] = recolour(self._art[art][concept], colour)
        return self._painted[key]


def _backdrop(rng: Rng, share: float) -> str | None:
    return str(rng.choice(list(BACKDROPS))) if rng.random() < share else None


def _pick(shares: dict[str, float], rng: Rng) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
