"""What one training picture shows, how it is drawn, and how the shares of all kinds are set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkroom.starter.art import Rgba
from darkroom.starter.concepts import PAINTABLE, UNLISTED, Concept
from darkroom.starter.drawings import COLOURS, place, recolour
from darkroom.starter.looks import BACKDROPS, FAULTS, LOOKS, STRONG_BACKDROPS, Rng, on_colour, plain

#: Of all pictures that have captions: how many show the art as it is, as a render, recoloured, in a look, or spoiled.
_KINDS = {"plain": 0.25, "fluent": 0.07, "recoloured": 0.24, "look": 0.37, "fault": 0.07}
_FAULT_SHARES = {
    "blurred": 0.4, "blocky": 0.13, "noisy": 0.13, "watermarked": 0.1, "cropped": 0.07, "deformed": 0.08,
    "garish": 0.09,
}  # fmt: skip
_BACKDROP_SHARE = 0.1
_SECOND_COLOUR_SHARE = 0.55
#: How much more often a thing is drawn that is not yet surely recognised.
_WEIGHT_OF_UNLISTED = 1.5

#: Of all pictures that have lists: what they show beside their faults.
_LISTED_KINDS = {"backdrop": 0.36, "look": 0.38, "recoloured": 0.07, "fluent": 0.07, "plain": 0.12}
#: How often each fault is seen where the whole default negative prompt names them all, and in a list of other terms.
_FAULTS_OF_DEFAULT = {
    "blurred": 0.7, "noisy": 0.3, "blocky": 0.3, "watermarked": 0.3, "cropped": 0.25, "deformed": 0.3,
    "garish": 0.06,
}  # fmt: skip
_FAULTS_OF_FREE = dict.fromkeys(_FAULTS_OF_DEFAULT, 0.17)
_DEFAULT_SHARE = 0.62

#: The icon set of the looks that have one of their own.
ARTS = {"flat-design": "flat", "photographic": "fluent"}


@dataclass(frozen=True)
class Sample:
    """What a training picture shows; the caption is drawn from this anew each time it is used."""

    concept: int  #: index into the concepts
    art: str  #: icon set: noto, fluent or flat
    look: str | None = None  #: key of LOOKS
    colour: str | None = None  #: colour word of the thing, when recoloured
    backdrop: str | None = None  #: key of BACKDROPS
    faults: tuple[str, ...] = ()  #: keys of FAULTS, in their order there
    listed: str | None = None  #: captioned by a list of terms: "default" where it holds the whole default, else "free"


class Studio:
    """Draws samples."""

    def __init__(self, art: dict[str, NDArray[np.uint8]], concepts: tuple[Concept, ...]) -> None:
        """`art` as `art.draw_all` returns it, in the order of `concepts`."""
        self._art = art
        self._concepts = concepts
        weights = np.array([_WEIGHT_OF_UNLISTED if c.name in UNLISTED else 1.0 for c in concepts])
        self._weights = weights / weights.sum()
        self._paintable = [i for i, concept in enumerate(concepts) if concept.name in PAINTABLE]
        self._painted: dict[tuple[int, str, str], Rgba | None] = {}

    def choose(self, rng: Rng) -> Sample:
        """A random sample for a caption, with the shares set above."""
        concept = self._concept(rng)
        kind = _pick(_KINDS, rng)
        if kind == "fluent":
            return Sample(concept, "fluent", backdrop=_backdrop(rng, _BACKDROP_SHARE))
        if kind == "recoloured":
            return self._recoloured(rng)
        if kind == "look":
            return self._in_a_look(concept, rng)
        if kind == "fault":
            art = _pick({"noto": 0.8, "fluent": 0.2}, rng)
            look = str(rng.choice(list(LOOKS))) if rng.random() < 0.2 else None
            return Sample(concept, art, look=look, faults=_in_order({_pick(_FAULT_SHARES, rng) for _ in range(2)}))
        return Sample(concept, "noto", backdrop=_backdrop(rng, _BACKDROP_SHARE))

    def choose_listed(self, rng: Rng) -> Sample:
        """A random sample for a list of terms, such as a negative prompt is: all that it names is in the picture."""
        base = "default" if rng.random() < _DEFAULT_SHARE else "free"
        shares = _FAULTS_OF_DEFAULT if base == "default" else _FAULTS_OF_FREE
        faults = {fault for fault, share in shares.items() if rng.random() < share}
        kind = _pick(_LISTED_KINDS, rng)
        if kind == "plain" and not faults:
            faults = {_pick(_FAULT_SHARES, rng)}
        concept = self._concept(rng)
        sample = Sample(concept, "noto", faults=_in_order(faults), listed=base)
        if kind == "backdrop":
            return replace(sample, backdrop=_backdrop(rng, 1))
        if kind == "look":
            return self._listed_look(sample, rng)
        if kind == "recoloured":
            return replace(sample, colour=self._colour_for(concept, "noto", rng))
        return replace(sample, art="fluent" if kind == "fluent" else "noto")

    def draw(self, sample: Sample, rng: Rng) -> Image.Image:
        """A picture of the sample, placed at random."""
        pixels = self._art[sample.art][sample.concept]
        if sample.colour:
            pixels = self._paint(sample.concept, sample.art, sample.colour)
        drawing = place(pixels, rng, mirrors=self._concepts[sample.concept].mirrors)
        if sample.backdrop:
            colours = STRONG_BACKDROPS if sample.listed else BACKDROPS
            picture = on_colour(drawing, colours[sample.backdrop])
        else:
            picture = (LOOKS[sample.look] if sample.look else plain)(drawing, rng)
        for fault in sample.faults:
            picture = FAULTS[fault](picture, rng)
        return picture

    def _listed_look(self, sample: Sample, rng: Rng) -> Sample:
        look = str(rng.choice(list(LOOKS)))
        return replace(sample, look=look, art=ARTS.get(look, "noto"))

    def _concept(self, rng: Rng) -> int:
        return int(rng.choice(len(self._concepts), p=self._weights))

    def _recoloured(self, rng: Rng) -> Sample:
        concept = int(rng.choice(self._paintable)) if self._paintable else self._concept(rng)
        colour, backdrop = self._colour_for(concept, "noto", rng), _backdrop(rng, _SECOND_COLOUR_SHARE)
        return Sample(concept, "noto", colour=colour, backdrop=None if backdrop == colour else backdrop)

    def _in_a_look(self, concept: int, rng: Rng) -> Sample:
        look = str(rng.choice(list(LOOKS)))
        art = ARTS.get(look) or _pick({"noto": 0.93, "fluent": 0.07}, rng)
        colour = self._colour_for(concept, art, rng) if rng.random() < 0.12 else None
        return Sample(concept, art, look=look, colour=colour)

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


def _in_order(faults: set[str]) -> tuple[str, ...]:
    return tuple(fault for fault in FAULTS if fault in faults)


def _pick(shares: dict[str, float], rng: Rng) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
