"""A test card: paints a picture without any model, to try folders and clients before a model is there.

Its source is "testcard", or "testcard:option=value,…":

    step_s=0.05        seconds a step takes (0)
    load_s=0.5         seconds that loading takes (0)

and, for tests of what goes wrong, at the first step of a request whose prompt has WORD in it:

    die_on=WORD        the process kills itself
    hang_on=WORD       the process stands still until it is killed
    oom_on=WORD        the device has too little memory
    nan_on=WORD        the model returns NaN

or at the last step of a picture whose prompt has WORD in it:

    flag_on=WORD       the safety checker flags it; WORD-2 stands for the second picture alone
    warn_on=WORD       a warning comes to light

or while loading (`1` is always; a path is while that file exists):

    fail_load=1        the model cannot be loaded
    die_load=1         the process kills itself
    hang_load=1        the process stands still until it is killed
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import PIL
from PIL import Image, ImageDraw, ImageFont

from darkroom.errors import ErrorCode, ModelUnavailable, RenderFailed
from darkroom.facts import Tokens
from darkroom.models.source import ModelSource
from darkroom.render.engine import Flagged, Model, OnStep, Pixels, Reading
from darkroom.render.passes import BothPasses
from darkroom.render.weightless import NoDevice, Weightless
from darkroom.request.plan import ImagePlan, Plan

if TYPE_CHECKING:
    from darkroom.render.pictures import Inputs

NUMBERS = ("step_s", "load_s")
WORDS = ("die_on", "hang_on", "oom_on", "nan_on", "flag_on", "warn_on")
CONDITIONS = ("fail_load", "die_load", "hang_load")

#: Longer texts are cut on the card, not in the picture's metadata.
MAX_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Options:
    """What stands behind "testcard:"."""

    step_s: float = 0.0
    load_s: float = 0.0
    words: dict[str, str] = field(default_factory=dict)  #: fault → the word of a prompt that causes it
    conditions: dict[str, str] = field(default_factory=dict)  #: fault while loading → "1", or a path

    @classmethod
    def of(cls, source: str) -> Options:
        """Read the options of a source. Raises ValueError for one that a test card does not have."""
        pairs = [part.partition("=") for part in source.partition(":")[2].split(",") if part]
        given = {key.strip(): value.strip() for key, _, value in pairs}
        if unknown := given.keys() - {*NUMBERS, *WORDS, *CONDITIONS}:
            raise ValueError(f"a test card has no option {min(unknown)!r}")
        numbers = {key: float(given[key]) for key in NUMBERS if key in given}
        words = {key: given[key] for key in WORDS if given.get(key)}
        conditions = {key: given[key] for key in CONDITIONS if key in given}
        return cls(**numbers, words=words, conditions=conditions)

    def holds(self, condition: str) -> bool:
        """Whether a fault while loading is to happen now."""
        value = self.conditions.get(condition, "")
        return value == "1" or (value.startswith("/") and Path(value).exists())


@dataclass(frozen=True, slots=True)
class Easel(NoDevice):
    """The device of a test card: no device."""

    name: str = field(default="cpu", kw_only=True)
    title: str = field(default="test card", kw_only=True)
    software: dict[str, str] = field(default_factory=lambda: {"pillow": PIL.__version__}, kw_only=True)

    def enlarger(self) -> Model:
        """Lanczos, whatever is named."""
        from darkroom.render.enlarging import ByLanczos, Enlarger  # noqa: PLC0415 - numpy, which few requests need

        return Enlarger(ByLanczos())

    def load(
        self,
        source: ModelSource,
        moving: Callable[[], None],  # noqa: ARG002 - part of the protocol
        make_room: Callable[[], bool],  # noqa: ARG002 - likewise
    ) -> Card:
        """Pretend to load. Raises ModelUnavailable for unknown options, or when told to."""
        try:
            options = Options.of(source.source)
        except ValueError as error:
            raise ModelUnavailable(f"{source.alias}: {error}.", hint="See `source` in the configuration.") from None
        time.sleep(options.load_s)
        if options.holds("hang_load"):
            threading.Event().wait()
        if options.holds("die_load"):
            os.kill(os.getpid(), signal.SIGKILL)
        if options.holds("fail_load"):
            raise ModelUnavailable(f"{source.alias} cannot be loaded: its source says so.", hint="Remove `fail_load`.")
        return Card(options)


@dataclass(frozen=True, slots=True)
class Card(Weightless):
    """A model that is none."""

    options: Options
    revision: str = field(default="local", kw_only=True)

    def read(self, plan: Plan, inputs: Path | None = None) -> Reading:
        """Count words: a test card reads them all. Pictures are read as for any model."""
        image = plan.images[0]
        prompt, negative_prompt = len(image.prompt.split()), len(image.negative_prompt.split())
        tokens = Tokens(prompt, negative_prompt, limit=max(4_000, prompt, negative_prompt))
        if not plan.files or inputs is None:
            return Reading(tokens)
        from darkroom.render import pictures  # noqa: PLC0415 - numpy is not needed for what comes from words

        found = pictures.read(plan, inputs)
        return Reading(tokens, found.warnings, found)

    def paint(self, plan: Plan, reading: Reading, index: int, on_step: OnStep) -> Pixels:
        """Take the plan's number of steps, then paint; the same picture for the same prompts, seed and size."""
        if plan.hires is not None and plan.second_pass is not None:
            from darkroom.render.pictures import Inputs, by_lanczos  # noqa: PLC0415 - as above

            both = BothPasses(plan.hires, on_step)
            first = self._painted(plan, reading.inputs, index, both.in_first)
            painted = self._painted(plan.second_pass, Inputs(by_lanczos(first, plan.hires)), index, both.in_second)
        else:
            painted = self._painted(plan, reading.inputs, index, on_step)
        self._flag_if_told(plan.images[index].prompt, index + 1)
        return replace(painted, warnings=self._warnings(plan.images[index].prompt))

    def _painted(self, plan: Plan, inputs: Inputs | None, index: int, on_step: OnStep) -> Pixels:
        """One pass."""
        for step in range(1, plan.num_inference_steps + 1):
            if self.options.step_s:
                time.sleep(self.options.step_s)
            on_step(step, plan.num_inference_steps)
            self._fail_if_told(plan.images[index].prompt)
        painted = _paint(plan, plan.images[index])
        return painted if inputs is None else _over(painted, plan, inputs)

    def _flag_if_told(self, prompt: str, number: int) -> None:
        word = self.options.words.get("flag_on")
        told = re.findall(rf"{re.escape(word)}(?:-(\d+))?", prompt) if word else []
        if "" in told or str(number) in told:
            raise Flagged

    def _warnings(self, prompt: str) -> tuple[str, ...]:
        word = self.options.words.get("warn_on")
        return (f"The test card found {word}.",) if word and word in prompt else ()

    def _fail_if_told(self, prompt: str) -> None:
        faults = {fault for fault, word in self.options.words.items() if word in prompt}
        if "die_on" in faults:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang_on" in faults:
            threading.Event().wait()
        if "oom_on" in faults:
            raise RenderFailed(ErrorCode.OUT_OF_MEMORY, "The test card has no memory left.", hint="Remove `oom_on`.")
        if "nan_on" in faults:
            raise RenderFailed(ErrorCode.BROKEN_PICTURE, "The test card is broken.", hint="Remove `nan_on`.")


def _paint(plan: Plan, image: ImagePlan) -> Pixels:
    size = (plan.width, plan.height)
    dark, light = _colours(f"{image.seed}\n{image.prompt}\n{image.negative_prompt}")
    ramp = Image.linear_gradient("L").resize(size)
    picture = Image.composite(Image.new("RGB", size, dark), Image.new("RGB", size, light), ramp)
    _write_text(picture, f"seed {image.seed}, {plan.width} x {plan.height} px\n\n{image.prompt}")
    return Pixels(plan.width, plan.height, picture.tobytes())


def _over(painted: Pixels, plan: Plan, inputs: Inputs) -> Pixels:
    """Painted over the picture that came in, as thickly as its strength says; where the mask is black, not at all."""
    from darkroom.render.pictures import pasted  # noqa: PLC0415 - as above

    card = Image.frombytes("RGB", (painted.width, painted.height), painted.rgb)
    if inputs.init is not None:
        card = Image.blend(inputs.init, card, plan.strength or 0)
    return replace(painted, rgb=pasted(card, inputs).tobytes())


def _colours(text: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A dark and a light colour, decided by the text."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    dark = (digest[0] // 3, digest[1] // 3, digest[2] // 3)
    light = (255 - digest[3] // 3, 255 - digest[4] // 3, 255 - digest[5] // 3)
    return dark, light


def _write_text(picture: Image.Image, text: str) -> None:
    """White on a dark outline, wrapped to the width."""
    height_px = max(10, picture.width // 20)
    font = ImageFont.load_default(height_px)
    characters = max(8, int(picture.width / (height_px * 0.55)) - 2)
    shown = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"
    lines = [line for part in shown.splitlines() for line in textwrap.wrap(part, characters) or [""]]
    margin = height_px // 2
    draw = ImageDraw.Draw(picture)
    draw.multiline_text(
        (margin, margin), "\n".join(lines), fill="white", font=font, stroke_width=max(1, height_px // 12),
        stroke_fill="black",
    )  # fmt: skip
