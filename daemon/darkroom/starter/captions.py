"""Words for training pictures: the style book's keywords, what people call things and what they call bad pictures."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom.starter.concepts import OWN_COLOURS, Concept
from darkroom.starter.looks import LOOKS, Rng
from darkroom.starter.samples import Sample

_ARTICLES = ("a", "a", "a", "the", "one", "a single", "a cute", "a beautiful", "my", "a small", "a big")
_OPENINGS = ("a picture of a", "a drawing of a", "an image of a", "a photo of a", "a painting of a", "a close-up of a")
_PRAISE = (
    "high quality",
    "sharp",
    "detailed",
    "highly detailed",
    "best quality",
    "crisp",
    "masterpiece",
    "sharp focus",
)
_CHAFF = (
    "8k", "4k", "trending on artstation", "professional", "centered", "white background", "simple", "isolated", "icon",
    "illustration", "award winning", "intricate", "elegant", "hd", "studio", "nice", "lovely", "cartoon", "colorful",
    "vibrant colors", "modern", "smooth", "daylight", "clean geometry", "on a table", "in a forest", "on a hill",
)  # fmt: skip
#: Styles of the book that no look imitates: their words are learnt as leaving the picture as it is.
_WITHOUT_LOOK = ("photographic", "isometric")
_ART_STYLES = {"fluent": "3d-render", "flat": "flat-design"}

_FAULT_WORDS = {
    "blurred": ("blurry", "low quality", "worst quality", "blurred", "out of focus", "soft", "bad quality"),
    "blocky": ("jpeg artifacts", "low quality", "worst quality", "compressed"),
    "noisy": ("noise", "noisy", "grainy", "low quality"),
    "watermarked": ("watermark", "signature", "text"),
    "cropped": ("cropped", "out of frame"),
    "deformed": (
        "deformed",
        "disfigured",
        "ugly",
        "bad anatomy",
        "extra limbs",
        "poorly drawn face",
        "poorly drawn hands",
    ),
}
#: Words that hold for whole looks, as people write them in negative prompts.
_LOOK_WORDS = {
    "fantasy": ("purple background", "fantasy", "purple glow"),
    "night": ("night", "dark background", "night sky"),
    "golden-hour": ("orange background", "sunset"),
    "neon": ("neon", "dark background"),
    "pencil-sketch": ("pencil drawing", "sketch", "monochrome", "drawing"),
    "ink": ("line art", "ink drawing", "monochrome, black and white"),
    "black-and-white": ("monochrome, black and white", "black and white", "gray", "monochrome"),
    "vintage": ("sepia", "vintage", "old photo"),
    "pixel-art": ("pixel art", "pixelated"),
    "watercolor": ("watercolor", "watercolour painting"),
    "oil-painting": ("oil painting", "painting"),
    "comic": ("comic", "comic style", "bold outlines"),
    "anime": ("anime", "manga", "cel shading"),
    "cinematic": ("cinematic", "film still", "dark background"),
}


@dataclass(frozen=True)
class StyleBook:
    """The parts of ``styles.toml`` that captions are made of."""

    keywords: dict[str, str]  #: each style's prompt text
    negatives: tuple[str, ...]  #: each style's negative prompt
    default_negative: str

    @classmethod
    def read(cls, path: Path) -> StyleBook:
        """Raises OSError or tomllib.TOMLDecodeError when `path` is not a style book."""
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        styles = content["styles"]
        return cls(
            keywords={name: style["prompt"] for name, style in styles.items()},
            negatives=tuple(style["negative_prompt"] for style in styles.values() if "negative_prompt" in style),
            default_negative=content["default_negative_prompt"],
        )


class Captions:
    """Draws a caption for a sample, a new one each time."""

    def __init__(self, book: StyleBook, concepts: Sequence[Concept]) -> None:
        """Raises ValueError when the book lacks a style that has a look."""
        missing = set(LOOKS) - set(book.keywords)
        if missing:
            raise ValueError(f"the style book lacks these styles, which have a look: {', '.join(sorted(missing))}")
        self._book = book
        self._concepts = concepts

    def draw(self, sample: Sample, rng: Rng) -> str:
        """One caption; never empty."""
        if sample.fault:
            return self._of_fault(sample, sample.fault, rng)
        tags = self._style_tags(sample, rng)
        if tags and rng.random() < 0.07:
            return ", ".join(tags)
        subject = self._subject(sample, rng)
        extras = self._extras(sample, rng)
        if rng.random() < 0.65:
            return ", ".join([*tags, subject, *extras])
        return ", ".join([subject, *extras, *tags] if rng.random() < 0.5 else [subject, *tags, *extras])

    def corpus(self) -> list[str]:
        """Every phrase a caption can hold, for the tokenizer."""
        words = [word for concept in self._concepts for word in concept.words]
        faults = [word for group in (*_FAULT_WORDS.values(), *_LOOK_WORDS.values()) for word in group]
        book = [*self._book.keywords.values(), *self._book.negatives, self._book.default_negative]
        return [*words, *faults, *book, *_ARTICLES, *_OPENINGS, *_PRAISE, *_CHAFF]

    def _subject(self, sample: Sample, rng: Rng) -> str:
        concept = self._concepts[sample.concept]
        name = concept.name if rng.random() < 0.6 else str(rng.choice(concept.words))
        colour = sample.colour
        if colour is None and sample.art == "noto" and rng.random() < 0.12:
            colour = OWN_COLOURS.get(concept.name)
        if colour:
            name = f"{colour} {name}"
        draw = rng.random()
        if draw < 0.5:
            name = f"{rng.choice(_ARTICLES)} {name}"
        elif draw < 0.62:
            name = f"{rng.choice(_OPENINGS)} {name}"
        if name.startswith("a ") and name[2] in "aeiou" and rng.random() < 0.7:
            name = "an" + name[1:]
        if sample.backdrop:
            name += f"{rng.choice([' on a', ',', ', on a', ' with a'])} {sample.backdrop} background"
        return name

    def _style_tags(self, sample: Sample, rng: Rng) -> list[str]:
        tags = []
        if sample.look:
            tags.append(self._keywords(sample.look, rng))
        if sample.art in _ART_STYLES and (not sample.look or rng.random() < 0.5):
            tags.append(self._keywords(_ART_STYLES[sample.art], rng))
        if not sample.look and sample.art == "noto" and rng.random() < 0.06:
            tags.append(self._keywords(str(rng.choice(_WITHOUT_LOOK)), rng))
        return tags

    def _keywords(self, style: str, rng: Rng) -> str:
        """The style's text: mostly whole, sometimes parts of it, sometimes a plain word for it."""
        text = (
            self._book.keywords[style].replace("isometric view of {prompt}", "isometric view").replace("{prompt}, ", "")
        )
        draw = rng.random()
        if draw < 0.5:
            return text
        if draw < 0.82 or style not in _LOOK_WORDS:
            return _some_of(text.split(", "), rng)
        return str(rng.choice(_LOOK_WORDS[style]))

    def _extras(self, sample: Sample, rng: Rng) -> list[str]:
        extras = [str(rng.choice(_PRAISE))] if rng.random() < 0.22 else []
        while not sample.look and not sample.backdrop and rng.random() < 0.13:
            extras.append(str(rng.choice(_CHAFF)))
        return extras

    def _of_fault(self, sample: Sample, fault: str, rng: Rng) -> str:
        """Half of them like a negative prompt, without a thing; half like a prompt that asks for a bad picture."""
        if rng.random() < 0.5:
            return self._like_a_negative(fault, rng)
        words = _some_of(_FAULT_WORDS[fault], rng)
        parts = [self._subject(sample, rng), *self._style_tags(sample, rng)]
        return ", ".join([words, *parts] if rng.random() < 0.4 else [*parts, words])

    def _like_a_negative(self, fault: str, rng: Rng) -> str:
        words = self._book.default_negative.split(", ")
        draw = rng.random()
        if draw < 0.4:
            text = self._book.default_negative
        elif draw < 0.6:
            start = int(rng.integers(0, len(words) - 3))
            text = ", ".join(words[start : start + int(rng.integers(3, len(words)))])
        else:
            text = _some_of(_FAULT_WORDS[fault], rng)
        if draw < 0.6 and rng.random() < 0.3:
            other = str(rng.choice(self._book.negatives))
            text = f"{text}, {other}" if rng.random() < 0.7 else f"{other}, {text}"
        return text


def _some_of(words: Sequence[str], rng: Rng) -> str:
    """One to all of `words`, in their order three times out of four."""
    count = int(rng.integers(1, len(words) + 1))
    chosen = rng.choice(len(words), count, replace=False)
    if rng.random() < 0.75:
        chosen.sort()
    return ", ".join(words[i] for i in chosen)
