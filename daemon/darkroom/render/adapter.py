"""Diffusion models on a device: one adapter for every family, by its row and its pipeline's signature.

What `paint` returns for picture i of a plan is what the stock pipeline returns for one picture with the seed
`plan.images[i].seed`, bit for bit on the same device: each picture is rendered alone, with a fresh scheduler and a
generator of its own on the CPU, from texts that are encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from darkroom.errors import ErrorCode, ModelUnavailable, ModelUnsupported, RenderFailed
from darkroom.models.card import card
from darkroom.models.checkpoint import checkpoint_hash
from darkroom.models.families import few_step
from darkroom.models.family import SCALES, Family, way
from darkroom.models.judge import Judgement
from darkroom.models.schedulers import SCHEDULERS, Impossible, digest, way_out
from darkroom.models.source import LoraSource, ModelSource
from darkroom.render import pictures, scheduling
from darkroom.render.blocks import Blocks
from darkroom.render.controls import Controls
from darkroom.render.embeddings import Embeddings
from darkroom.render.engine import Flagged, OnStep, Pixels, Reading
from darkroom.render.file_hash import FileHash
from darkroom.render.loras import Loras
from darkroom.render.passes import BothPasses
from darkroom.render.pictures import Inputs
from darkroom.render.precision import Broken, Precision
from darkroom.render.reader import Reader
from darkroom.render.relief import Relief
from darkroom.render.siblings import Siblings
from darkroom.render.torch_errors import bytes_of, clear_caches, free_memory, guarded, parts_of
from darkroom.render.upscalers import Upscalers
from darkroom.request.plan import Hires, ImagePlan, Plan

#: The side of the picture that is rendered once after loading, so that the first request does not pay for it.
WARM_UP_PX = 64
NOTHING = Inputs()

_NO_LORAS: Mapping[str, LoraSource] = MappingProxyType({})


class DiffusionModel:
    """A model on its device. Used by one thread."""

    def __init__(
        self,
        pipeline: Any,
        found: Judgement,
        controls: Controls,
        upscalers: Upscalers,
        *,
        is_starter: bool,
        loaded_as: str = "",
        make_room: Callable[[], bool] = lambda: False,
        loras: Mapping[str, LoraSource] = _NO_LORAS,
        embeddings: Embeddings | None = None,
    ) -> None:
        assert found.family is not None  # noqa: S101 - what was loaded has one
        self._family: Family = found.family
        self._pipeline = pipeline
        self._saved = dict(found.scheduler)
        self._embeddings = embeddings or Embeddings(pipeline, ())
        self._blocks = blocks = Blocks(pipeline, self._embeddings.tokens) if self._family.in_blocks else None
        self._siblings = Siblings(pipeline, self._family, blocks, controls)
        self._reader = Reader(pipeline, self._family, blocks, is_taught=bool(self._embeddings.tokens))
        self._upscalers = upscalers
        self._precision = Precision(pipeline)
        self._relief = Relief(pipeline, make_room)
        self._loras = Loras(pipeline, self._family, loras, self._forget)
        self._is_impossible = lru_cache(maxsize=None)(partial(_is_impossible, self._saved))
        self._is_starter = is_starter
        self.revision = found.revision
        self.loaded_as = loaded_as
        self.size_bytes = sum(map(bytes_of, parts_of(pipeline).values()))
        self.own_scheduler = str(self._saved.get("_class_name", ""))
        self._file_hash = FileHash(found.file) if found.file is not None else None
        self._folder_hash = checkpoint_hash(found.folder) if found.folder and self._file_hash is None else ""

    @property
    def checkpoint_hash(self) -> str:
        """By which other programs know it; "" as long as that is not known."""
        return self._file_hash.value if self._file_hash is not None else self._folder_hash

    def warm_up(self, source: ModelSource) -> None:
        """Render one step with the model's own defaults (on a CPU small): what fails from here on was asked for.

        It pages weights in and builds kernels. Whether the picture is any good is not asked: one step of nothing need
        not be. Raises ModelUnavailable for defaults that it can't be rendered with.
        """
        model = card(source, self._family)
        small = max(WARM_UP_PX, self._family.step_px) if self._pipeline.fixed_device.type == "cpu" else None
        scales: dict[str, Any] = dict(model.scales)
        plan = Plan(
            model=source.alias, images=(ImagePlan(0, "", ""),),
            width=small or model.width, height=small or model.height,
            num_inference_steps=model.num_inference_steps, scheduler=model.scheduler, **scales,
        )  # fmt: skip
        try:
            self._read(plan)
        except RenderFailed as error:
            hint = f"Set `scheduler` and `num_inference_steps` of this model to others. {error.hint or ''}".strip()
            raise ModelUnavailable(f"{source.alias}: its defaults don't work. {error.message}", hint=hint) from None
        plan = replace(plan, num_inference_steps=self._family.fewest_steps)
        grey = Image.new("RGB", (plan.width, plan.height), "grey")
        with suppress(RenderFailed):
            self._warm(source, plan, Inputs(references=(grey,) * self._family.fewest_references))
        if self._file_hash is not None:
            self._file_hash.start()  # no sooner: it takes a core for seconds

    def _warm(self, source: ModelSource, plan: Plan, inputs: Inputs) -> None:
        try:
            self._render(plan, plan.images[0], inputs, lambda _step, _steps: None)
        except Broken:
            return
        except (TypeError, ValueError, AttributeError) as error:
            if self._family.is_generic:
                message = f"{source.alias} is a {self._family.title}, which can't be rendered as others are ({error})."
                raise ModelUnsupported(message, hint="Choose a model of a family that is listed.") from None
            raise

    @property
    def scheduler(self) -> str:
        """Digest of the configuration of its saved scheduler."""
        return digest(self._saved, self._family.schedulers, diffusers.__version__)

    def try_schedulers(self, stopped: Callable[[], bool]) -> Impossible:
        """What can't be asked of it, by its scheduler alone."""
        return scheduling.all_impossible(self._saved, self._family.schedulers, stopped)

    def read(self, plan: Plan, inputs: Path | None = None) -> Reading:
        """Count its texts' tokens, and read its pictures. Raises RenderFailed or DevicePoisoned."""
        return guarded(partial(self._read, plan, inputs))

    def paint(self, plan: Plan, reading: Reading, index: int, on_step: OnStep) -> Pixels:
        """Render `plan.images[index]`. Raises RenderFailed, DevicePoisoned or what `on_step` raises."""
        inputs = reading.inputs or NOTHING
        pixels: Pixels = guarded(partial(self._paint, plan, plan.images[index], inputs, on_step))
        return pixels

    @property
    def is_spent(self) -> bool:
        """Whether it has to be loaded anew before its next request."""
        return self._loras.is_spent or self._embeddings.is_spent

    def close(self) -> None:
        """Free the device."""
        if self._file_hash is not None:
            self._file_hash.stop()
        clear_caches(self._pipeline)
        del self._pipeline, self._siblings, self._reader, self._precision, self._relief, self._blocks, self._loras
        del self._upscalers
        free_memory()

    # Text ---------------------------------------------------------------------------------------------------------

    def _read(self, plan: Plan, folder: Path | None = None) -> Reading:
        self._check(plan)
        if plan.hires is not None and plan.hires.upscaler is not None:
            self._upscalers.ready(plan.hires.upscaler)
        inputs = pictures.read(plan, folder) if plan.files and folder is not None else NOTHING
        of_loras = self._loras.apply(plan.loras)
        of_embeddings = self._embeddings.untold(plan)
        tokens, warnings = self._reader.read(self._embeddings.told(plan))
        prompts = dict.fromkeys(image.prompt for image in plan.images)
        passes = [plan, *([plan.second_pass] if plan.second_pass is not None else [])]
        warnings += [*of_loras, *of_embeddings, *inputs.warnings]
        warnings += [told for each in passes for told in self._siblings.of(each).call.not_taken(each)]
        warnings += [self._zero_snr_warning(plan), *(self._starter_warning(prompt) for prompt in prompts)]
        return Reading(tokens, tuple(dict.fromkeys(filter(None, warnings))), inputs)

    def _check(self, plan: Plan) -> None:
        """What can be seen before the first step is told before it, and not after the last one. Raises RenderFailed."""
        if plan.second_pass is not None:
            self._check(plan.second_pass)
        family = self._few_step(plan)
        told = {key for key in SCALES if getattr(plan, key) is not None}
        fits = plan.scheduler in family.schedulers and told == set(family.scales)
        fits = fits and _takes_pictures(family, plan)
        if not fits or plan.width % family.step_px or plan.height % family.step_px:
            raise RenderFailed(
                ErrorCode.MODEL_CHANGED,
                f"The model is {family.title}, and the request was accepted for another one.",
                hint="`darkroom retry NAME` decides it again, for the model that is there now.",
            )
        is_impossible: Callable[[str, int], bool] = self._is_impossible
        if family is not self._family:  # nobody has tried that
            is_impossible = partial(_is_impossible, self._saved_for(family))
        if is_impossible(plan.scheduler, plan.num_inference_steps):
            works = lambda *asked: not is_impossible(*asked)  # noqa: E731 - a sentence of its own would hide it
            raise RenderFailed(
                ErrorCode.UNSUPPORTED,
                f"This model can't be rendered with {plan.scheduler} in {plan.num_inference_steps} steps.",
                hint=way_out(works, plan.scheduler, plan.num_inference_steps, family.schedulers),
            )

    def _few_step(self, plan: Plan) -> Family:
        """What it is with the LoRAs of a plan."""
        return few_step(self._family, map(self._loras.source, plan.loras))

    def _saved_for(self, family: Family) -> dict[str, Any]:
        """What its saved scheduler says, and what a few-step LoRA was made with."""
        return self._saved | ({"timestep_spacing": family.spacing} if family.spacing is not None else {})

    def _forget(self) -> None:
        self._siblings.forget()
        if self._blocks is not None:
            self._blocks.forget()

    def _zero_snr_warning(self, plan: Plan) -> str | None:
        if SCHEDULERS[plan.scheduler].zero_snr or not self._saved.get("rescale_betas_zero_snr"):
            return None
        return f"This model begins in pure noise, which {plan.scheduler} does not: very dark or bright pictures fail."

    def _starter_warning(self, prompt: str) -> str | None:
        if not self._is_starter:
            return None
        from darkroom.starter.vocabulary import unknown_prompt_hint  # noqa: PLC0415 - of no use to other models

        return unknown_prompt_hint(prompt)

    # Pictures -----------------------------------------------------------------------------------------------------

    def _paint(self, plan: Plan, image: ImagePlan, inputs: Inputs, on_step: OnStep) -> Pixels:
        self._loras.apply(plan.loras)
        if plan.hires is None or plan.second_pass is None:
            return self._painted(plan, image, inputs, on_step)
        both = BothPasses(plan.hires, on_step)
        first = self._painted(plan, image, inputs, both.in_first)
        larger, told = self._enlarged(first, plan.hires)
        pixels = self._painted(plan.second_pass, image, Inputs(larger), both.in_second)
        warnings = (*first.warnings, *filter(None, [told]), *pixels.warnings)
        return replace(pixels, warnings=tuple(dict.fromkeys(warnings)))

    def _enlarged(self, first: Pixels, hires: Hires) -> tuple[Image.Image, str | None]:
        """What the second pass begins with, and what to tell of it."""
        if hires.upscaler is None:
            return pictures.by_lanczos(first, hires), None
        return self._upscalers.enlarged(hires.upscaler, pictures.picture_of(first), (hires.width, hires.height))

    def _painted(self, plan: Plan, image: ImagePlan, inputs: Inputs, on_step: OnStep) -> Pixels:
        """One pass, with whatever it takes."""
        warnings: tuple[str, ...] = ()
        while True:
            try:
                pixels: Pixels
                pixels, eased = self._relief.painted(
                    plan.width, plan.height, partial(self._render, plan, image, inputs, on_step)
                )
                warnings = (*warnings, *filter(None, [eased]))
                pixels = replace(pixels, lora_hashes=self._loras.hashes, embedding_hashes=self._embeddings.hashes(plan))
                return replace(pixels, warnings=warnings)
            except Broken as broken:
                raised = self._precision.raised(broken, self._siblings.of(plan).pipeline)
            warnings = (*warnings, *filter(None, [raised]))
            if raised is None:
                hint = self._precision.way_out()
                raise RenderFailed(
                    ErrorCode.BROKEN_PICTURE,
                    "The model returned numbers that are not a picture (NaN or infinite).",
                    hint=hint,
                )

    @torch.inference_mode()
    def _render(self, plan: Plan, image: ImagePlan, inputs: Inputs, on_step: OnStep) -> Pixels:
        painter = self._siblings.of(plan)
        pipeline = painter.pipeline
        pipeline.scheduler = scheduling.fresh(plan.scheduler, self._saved_for(self._few_step(plan)))
        torch.manual_seed(image.seed)  # for what draws without the generator: SD3's control pictures
        image = self._embeddings.told_of(plan, image)
        with painter.call.arguments(plan, image, inputs, on_step, _check_latents) as arguments:
            output = _called(pipeline, arguments)
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise Flagged
        pixels = _as_pixels(np.asarray(output.images[0]))
        if (pixels.width, pixels.height) != (plan.width, plan.height):
            raise RenderFailed(
                ErrorCode.UNSUPPORTED,
                f"The model paints {pixels.width}×{pixels.height} where {plan.width}×{plan.height} was asked for.",
                hint=f'Ask for "width": {pixels.width}, "height": {pixels.height}.',
            )
        return _pasted(pixels, inputs)


def _takes_pictures(family: Family, plan: Plan) -> bool:
    """Whether it can be given what this plan names."""
    wanted = way(
        init=plan.init_image is not None, mask=plan.mask_image is not None, control="control" * bool(plan.control)
    )
    count = len(plan.reference_images)
    return (wanted == "" or wanted in family.siblings) and count <= family.references


def _pasted(pixels: Pixels, inputs: Inputs) -> Pixels:
    """With what is not repainted as it came in."""
    if inputs.mask is None:
        return pixels
    painted = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb)
    return replace(pixels, rgb=pictures.pasted(painted, inputs).tobytes())


def _is_impossible(saved: dict[str, Any], scheduler: str, steps: int) -> bool:
    return scheduling.is_impossible(scheduler, saved, steps)


def _called(pipeline: Any, arguments: dict[str, Any]) -> Any:
    """Those that draw tokens raise where there is nothing to draw from."""
    try:
        return pipeline(**arguments)
    except RuntimeError as error:
        if "probability tensor contains" in str(error):
            raise Broken(by_decoder=False) from None
        raise


def _check_latents(latents: torch.Tensor) -> None:
    """NaN would become a black picture without a word."""
    if latents.is_floating_point() and not bool(torch.isfinite(latents).all()):
        raise Broken(by_decoder=False)


def _as_pixels(picture: NDArray[np.floating[Any]]) -> Pixels:
    """From (height, width, 3) in 0 to 1; rounds as diffusers does for PIL. How transparent it is, is left out."""
    if not bool(np.isfinite(picture).all()):
        raise Broken(by_decoder=True)
    height, width, _ = picture.shape
    return Pixels(width, height, (picture[..., :3] * 255).round().astype(np.uint8).tobytes())
