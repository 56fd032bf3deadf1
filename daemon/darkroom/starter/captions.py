"""Words for training pictures: the style book's keywords, what people call things and what they call bad pictures."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom.starter.concepts import OWN_COLOURS, Concept
from darkroom.starter.looks import BACKDROPS, LOOKS, Rng
from darkroom.starter.samples import Sample

_ARTICLES = ("a", "a", "a", "the", "one", "a single", "a cute", "a beautiful", "my", "a small", "a big")
_OPENINGS = ("a picture of a", "a drawing of a", "an image of a", "a close-up of a")
_GROUNDS = (" on a {} background", ", {} background", ", on a {} background", " with a {} background", " on {}")
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
    "illustration", "award winning", "intricate", "elegant", "hd", "studio", "nice", "lovely", "cartoon",
    "modern", "smooth", "daylight", "on a table", "in a forest", "on a hill",
)  # fmt: skip
#: Terms of negative prompts that nothing in the training pictures shows.
_UNSEEN = (
    "photo grain", "hands", "people", "bad", "boring", "messy", "low contrast", "duplicate", "lowres", "error", "nsfw",
    "amateur", "logo", "mutated", "cluttered", "perspective", "fisheye", "texture", "realistic", "bad art",
)  # fmt: skip

_FAULT_WORDS = {
    "blurred": ("blurry", "low quality", "worst quality", "blurred", "out of focus", "soft", "bad quality"),
    "blocky": ("jpeg artifacts", "low quality", "worst quality", "compressed"),
    "noisy": ("noise", "noisy", "grainy", "low quality", "film grain"),
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
    "garish": ("colorful", "saturated", "color", "oversaturated", "vivid colors"),
}
#: Words that hold for whole looks, as people write them in negative prompts.
_LOOK_WORDS = {
    "fantasy": ("fantasy", "purple glow", "sparkles", "magical"),
    "night": ("night", "dark background", "night sky", "stars"),
    "golden-hour": ("sunset", "warm light", "golden hour"),
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
    "cinematic": ("cinematic", "film still", "vignette"),
    "photographic": ("photo", "photograph", "realistic photo"),
    "isometric": ("isometric", "isometric view", "diorama"),
    "flat-design": ("flat design", "flat colors", "vector illustration"),
}
_RENDER_WORDS = ("3d render", "glossy", "3d")


@dataclass(frozen=True)
class StyleBook:
    """The parts of ``styles.toml`` that captions are made of."""

    keywords: dict[str, str]  #: each style's prompt text
    negative_of: dict[str, str]  #: the styles' negative prompts
    default_negative: str

    @classmethod
    def read(cls, path: Path) -> StyleBook:
        """Raises OSError or tomllib.TOMLDecodeError when `path` is not a style book."""
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        styles = content["styles"]
        return cls(
            keywords={name: style["prompt"] for name, style in styles.items()},
            negative_of={
                name: style["negative_prompt"] for name, style in styles.items() if "negative_prompt" in style
            },
            default_negative=content["default_negative_prompt"],
        )

    @property
    def negatives(self) -> tuple[str, ...]:
        """Each style's negative prompt."""
        return tuple(self.negative_of.values())

    def prompts(self, style: str, prompt: str) -> tuple[str, str]:
        """What a request with this style, or with one that the book lacks, becomes: the prompt and the negative one."""
        text = self.keywords.get(style, "")
        whole = text.replace("{prompt}", prompt) if "{prompt}" in text else ", ".join(filter(None, [text, prompt]))
        return whole, ", ".join(filter(None, [self.negative_of.get(style), self.default_negative]))


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
        if sample.listed:
            return self._list(sample, rng)
        tags = self._style_tags(sample, rng)
        if tags and rng.random() < 0.05:
            return ", ".join(tags)
        subject = self._subject(sample, rng)
        extras = self._extras(sample, rng)
        extras += [", ".join(_some_of(_FAULT_WORDS[fault], rng)) for fault in sample.faults]
        rng.shuffle(extras)
        if sample.look and "{prompt}" in (text := self._book.keywords[sample.look]) and rng.random() < 0.6:
            return text.replace("{prompt}", ", ".join([subject, *extras]))
        if rng.random() < 0.65:
            return ", ".join([*tags, subject, *extras])
        return ", ".join([subject, *extras, *tags] if rng.random() < 0.5 else [*extras, subject, *tags])

    def corpus(self) -> list[str]:
        """Every phrase a caption can hold, for the tokenizer."""
        words = [word for concept in self._concepts for word in concept.words]
        terms = [word for group in (*_FAULT_WORDS.values(), *_LOOK_WORDS.values()) for word in group]
        book = [*self._book.keywords.values(), *self._book.negatives, self._book.default_negative]
        return [*words, *terms, *book, *_ARTICLES, *_OPENINGS, *_PRAISE, *_CHAFF, *_UNSEEN, *_RENDER_WORDS]

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
            ground = f"{sample.backdrop} background"
            if rng.random() < 0.12:
                return f"{ground}, {name}"
            name += str(rng.choice(_GROUNDS)).format(sample.backdrop)
        return name

    def _style_tags(self, sample: Sample, rng: Rng) -> list[str]:
        tags = []
        if sample.look:
            tags.append(self._keywords(sample.look, rng))
        if sample.art == "fluent" and (not sample.look or rng.random() < 0.5) and sample.look != "photographic":
            tags.append(self._keywords("3d-render", rng))
        return tags

    def _keywords(self, style: str, rng: Rng) -> str:
        """The style's text: mostly whole, sometimes parts of it, sometimes a plain word for it."""
        text = self._book.keywords[style].replace(" of {prompt}", "").replace("{prompt}, ", "")
        draw = rng.random()
        if draw < 0.5:
            return text
        if draw < 0.82 or style not in _LOOK_WORDS:
            return ", ".join(_some_of(text.split(", "), rng))
        return str(rng.choice(_LOOK_WORDS[style]))

    def _extras(self, sample: Sample, rng: Rng) -> list[str]:
        """Words that change nothing: mostly few, sometimes as many as people write who want much."""
        count = int(rng.integers(4, 13)) if rng.random() < 0.1 else int(rng.geometric(0.7)) - 1
        words = _PRAISE if sample.look or sample.backdrop or sample.faults else (*_PRAISE, *_CHAFF)
        return [str(word) for word in rng.choice(words, min(count, len(words)), replace=False)]

    def _list(self, sample: Sample, rng: Rng) -> str:
        """Terms in the order that the daemon gives them, mostly: what was asked, then a style's, then the default's."""
        asked = self._shown(sample, rng)
        if rng.random() < 0.2:
            asked.append(self._something_else(rng))
        if rng.random() < 0.3:
            asked += [str(word) for word in rng.choice(_UNSEEN, int(rng.integers(1, 5)), replace=False)]
        rng.shuffle(asked)
        styles = self._negative_of_style(sample, rng) if rng.random() < 0.4 else []
        default = self._book.default_negative.split(", ") if sample.listed == "default" else []
        groups = [asked, styles, default]
        if rng.random() < 0.25:
            rng.shuffle(groups)
        terms = [term for group in groups for term in group] or [self._concepts[sample.concept].name]
        if rng.random() < 0.1:
            rng.shuffle(terms)
        return ", ".join(dict.fromkeys(terms))

    def _shown(self, sample: Sample, rng: Rng) -> list[str]:
        """Terms for what the picture shows; a fault that the default names is seldom named again."""
        terms = []
        if sample.backdrop:
            terms.append(f"{sample.backdrop} {rng.choice(['background', 'background', 'background', 'backdrop'])}")
        if sample.look:
            words = (*_LOOK_WORDS[sample.look], *self._keywords(sample.look, rng).split(", "))
            terms += _some_of(words, rng)[:3] if rng.random() < 0.8 else list(words)
        if sample.colour:
            name = self._concepts[sample.concept].name
            terms.append(sample.colour if rng.random() < 0.6 else f"{sample.colour} {name}")
        if sample.art == "fluent" and sample.look is None:
            terms += _some_of(_RENDER_WORDS, rng)
        for fault in sample.faults:
            if fault == "garish" or rng.random() < (0.3 if sample.listed == "default" else 0.95):
                terms += _some_of(_FAULT_WORDS[fault], rng)[:3]
        if rng.random() < 0.08:
            terms.append(self._concepts[sample.concept].name)
        return terms

    def _something_else(self, rng: Rng) -> str:
        """A term for something that cannot be seen together with everything else."""
        if rng.random() < 0.5:
            return f"{rng.choice(list(BACKDROPS))} background"
        return str(rng.choice(_LOOK_WORDS[str(rng.choice(list(LOOKS)))]))

    def _negative_of_style(self, sample: Sample, rng: Rng) -> list[str]:
        """One that names something in the picture, or nothing that any picture shows; now and then any at all."""
        lists = [text.split(", ") for text in self._book.negatives]
        shown = {sample.look, *sample.faults, f"{sample.backdrop} background"}
        if rng.random() < 0.6:
            named = [(terms, _NAMES.keys() & set(terms)) for terms in lists]
            lists = [terms for terms, known in named if not known or any(_NAMES[term] & shown for term in known)]
        return lists[int(rng.integers(len(lists)))]


def _names() -> dict[str, set[str | None]]:
    """For every term that pictures show, the looks, faults and grounds that it names."""
    names: dict[str, set[str | None]] = {f"{word} background": {f"{word} background"} for word in BACKDROPS}
    for thing, words in (*_LOOK_WORDS.items(), *_FAULT_WORDS.items()):
        for word in words:
            names.setdefault(word, set()).add(thing)
    return names


_NAMES = _names()


def _some_of(words: Sequence[str], rng: Rng) -> list[str]:
    """One to all of `words`, in their order three times out of four."""
    count = int(rng.integers(1, len(words) + 1))
    chosen = rng.choice(len(words), count, replace=False)
    if rng.random() < 0.75:
        chosen.sort()
    return [words[i] for i in chosen]
