"""Diffusion models on a device; the only module of the renderer that imports torch and diffusers.

What `paint` returns for picture i of a plan is what the stock pipeline returns for one picture with the seed
`plan.seed + i`, bit for bit on the same device: each picture is rendered alone, with a fresh scheduler and a generator
of its own on the CPU, from embeddings that are encoded once.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError

from darkroom.errors import ErrorCode, ModelUnavailable, RenderFailed
from darkroom.executor.devices import cpu
from darkroom.executor.settings import ModelSource, RendererSettings
from darkroom.render import model_files
from darkroom.render.engine import DevicePoisoned, LeaveDevice, Model, OnStep, Pixels, Reading
from darkroom.render.token_limit import unread_warning
from darkroom.request.plan import SCHEDULERS, Plan

T = TypeVar("T")

#: Texts whose embeddings are kept: a few hundred kilobytes each; the default negative prompt hits nearly always.
KEPT_EMBEDDINGS = 16

#: The side of the picture that is rendered once after loading, so that the first request does not pay for it.
WARM_UP_PX = 64


#: What to do when loading fails in a way in which a request can fail, too.
LOAD_HINTS = {
    ErrorCode.OUT_OF_MEMORY: "End other programs that use the device, or choose a smaller model.",
}


class Pipeline(StableDiffusionPipeline):
    """Stable Diffusion on one device that does not change.

    The stock property walks all modules for offload hooks that we never set: 11 to 14 ms of every call.
    """

    fixed_device: torch.device

    @property
    def _execution_device(self) -> torch.device:
        return self.fixed_device


class TorchDevice:
    """The device that the settings ask for. Where it is not there, every load says so."""

    def __init__(self, settings: RendererSettings) -> None:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        self._offline = settings.offline
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.software = {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        self._threads = torch.get_num_threads()
        self._asked = settings.device
        self._device = torch.device(_chosen(settings.device))
        self.name = str(self._device)
        self.title = _title(self._device, available=_missing(settings.device) is None)

    def load(self, source: ModelSource, moving: Callable[[], None]) -> Model:
        """Put a model on the device and render once. Raises ModelUnavailable or DevicePoisoned."""
        if problem := _missing(self._asked):
            raise problem
        try:
            return _guarded(partial(self._load, source, moving))
        except RenderFailed as error:
            hint = LOAD_HINTS.get(error.code, error.hint)
            raise ModelUnavailable(f"{source.alias} cannot be loaded: {error.message}", hint=hint) from None

    def _load(self, source: ModelSource, moving: Callable[[], None]) -> DiffusionModel:
        # The starter's operations are too small to share: two threads take twice the CPU time of one and, on a busy
        # machine, where each waits for the other hundreds of times a step, many times as long.
        torch.set_num_threads(1 if source.is_starter else self._threads)
        pipeline, revision = self._read(source)
        _check_tokenizer(source, pipeline)
        pipeline.set_progress_bar_config(disable=True)
        if self._device.type == "cuda":
            moving()  # a driver that hangs keeps the processor busy, so being busy is not a sign of life from here on
        pipeline.to(self._device)
        pipeline.fixed_device = self._device
        if self._device.type == "cuda":
            pipeline.unet.to(memory_format=torch.channels_last)
            pipeline.vae.to(memory_format=torch.channels_last)
        model = DiffusionModel(pipeline, revision, is_starter=source.is_starter)
        model.warm_up()
        return model

    def _read(self, source: ModelSource) -> tuple[Pipeline, str]:
        """The pipeline in memory, and its revision."""
        folder = model_files.local_folder(source)
        if folder is not None:
            return self._from_folder(source, folder), model_files.LOCAL
        snapshot = model_files.cached_snapshot(source)
        if snapshot is not None:
            try:
                return self._from_folder(source, snapshot), snapshot.name
            except ModelUnavailable:
                if self._offline:
                    raise  # otherwise: an earlier download was cut short, and is taken up again
        if self._offline:
            raise model_files.not_cached(source)
        snapshot = model_files.download(source, partial(_download, source))
        return self._from_folder(source, snapshot), snapshot.name

    def _from_folder(self, source: ModelSource, folder: Path) -> Pipeline:
        model_files.check_folder(source, folder)
        if source.is_starter:
            import darkroom.starter.autoencoder  # noqa: F401, PLC0415 - its model_index.json names a class in there
        try:
            pipeline: Pipeline = Pipeline.from_pretrained(
                folder,
                dtype=_dtype(source.dtype, self._device),
                local_files_only=True,
                **_what_to_fetch(source),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            traceback.print_exc()
            raise model_files.unloadable(source, folder, error) from None
        return pipeline


def _chosen(asked: str) -> str:
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    return "cuda:0" if asked == "cuda" else asked


def _title(device: torch.device, *, available: bool) -> str:
    """The device as people call it."""
    if not available:
        return "not available"
    return cpu().title if device.type == "cpu" else str(torch.cuda.get_device_name(device))


def _missing(asked: str) -> ModelUnavailable | None:
    """Why the device that was asked for cannot be had."""
    wanted = _chosen(asked)
    if wanted == "cpu":
        return None
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        hint = (
            'Install a torch with CUDA, or set `device` to "auto" or "cpu".'
            if torch.version.cuda is None
            else 'Look at `nvidia-smi` (driver, rights to /dev/nvidia*), or set `device` to "auto" or "cpu".'
        )
        return ModelUnavailable(f"The device is set to {asked!r}, but {why}.", hint=hint)
    count = torch.cuda.device_count()
    if int(wanted.partition(":")[2]) >= count:
        return ModelUnavailable(
            f"The device is set to {asked!r}, but there are only {count} CUDA devices.",
            hint=f"Set `device` to one of cuda:0 to cuda:{count - 1}.",
        )
    return None


def _dtype(asked: str, device: torch.device) -> torch.dtype:
    """On a CPU always float32, whatever the files hold: half precision is 14 times slower there."""
    if device.type == "cpu":
        return torch.float32
    names = {"auto": torch.float16, "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    return names[asked]


def _what_to_fetch(source: ModelSource) -> dict[str, Any]:
    """Arguments of `from_pretrained` and `download` that decide which files are used. Never a pickle."""
    arguments: dict[str, Any] = {"use_safetensors": True}
    if source.variant:
        arguments["variant"] = source.variant
    if not source.safety_checker:
        arguments |= {"safety_checker": None, "requires_safety_checker": False}
    return arguments


def _download(source: ModelSource) -> str:
    return str(Pipeline.download(source.source, revision=source.revision, **_what_to_fetch(source)))


def _check_tokenizer(source: ModelSource, pipeline: Pipeline) -> None:
    """Without its `tokenizer_config.json` a tokenizer believes in 10^30 tokens, and long prompts crash the encoder."""
    reads, positions = pipeline.tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings
    if reads > positions:
        raise ModelUnavailable(
            f"{source.alias}: its tokenizer lets {reads} tokens through, its text encoder has room for {positions}.",
            hint="`tokenizer/tokenizer_config.json` is missing or wrong: copy the model again.",
        )


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Both prompts as the U-Net takes them; no negative one where guidance is off."""

    prompt: torch.Tensor
    negative_prompt: torch.Tensor | None


class DiffusionModel:
    """A Stable Diffusion model on its device. Used by one thread."""

    def __init__(self, pipeline: Pipeline, revision: str, *, is_starter: bool) -> None:
        self._pipeline = pipeline
        self._scheduler_config = pipeline.scheduler.config
        self._is_starter = is_starter
        self.revision = revision
        self._embedding = lru_cache(maxsize=KEPT_EMBEDDINGS)(self._encode)

    def warm_up(self) -> None:
        """Render once, small: pages weights in, builds kernels, and fails now rather than under a request.

        Whether the picture is any good is not asked: one step of nothing need not be.
        """
        plan = Plan(
            model="", prompt="", negative_prompt="", style="none", width=WARM_UP_PX, height=WARM_UP_PX,
            num_inference_steps=1, guidance_scale=1.0, scheduler="euler", seed=0, num_images=1, format="png",
            quality=None,
        )  # fmt: skip
        with suppress(RenderFailed):
            self._paint(plan, self._read(plan), 0, lambda _step, _steps: None)

    def read(self, plan: Plan) -> Reading:
        """Tokenize and encode the prompts. Raises RenderFailed or DevicePoisoned."""
        return _guarded(partial(self._read, plan))

    def paint(self, plan: Plan, reading: Reading, image: int, on_step: OnStep) -> Pixels:
        """Render picture `image` (from 0). Raises RenderFailed, DevicePoisoned or what `on_step` raises."""
        pixels: Pixels = _guarded(partial(self._paint, plan, reading, image, on_step))
        return pixels

    def close(self) -> None:
        """Free the device."""
        self._embedding.cache_clear()
        del self._pipeline, self._embedding
        _free_memory()

    # Text ---------------------------------------------------------------------------------------------------------

    def _read(self, plan: Plan) -> Reading:
        limit = self._pipeline.tokenizer.model_max_length - 2  # a start and an end token
        texts = {"prompt": plan.prompt, "negative_prompt": plan.negative_prompt}
        warnings = [unread_warning(what.replace("_", " "), text, self._count, limit) for what, text in texts.items()]
        warnings += [_guidance_warning(plan), self._starter_warning(plan)]
        guided = plan.guidance_scale > 1  # the pipeline's own rule
        embeddings = Embeddings(
            prompt=self._embedding(plan.prompt),
            negative_prompt=self._embedding(plan.negative_prompt) if guided else None,
        )
        tokens = {what: self._count(text) for what, text in texts.items()}
        return Reading({**tokens, "limit": limit}, tuple(filter(None, warnings)), embeddings)

    def _count(self, text: str) -> int:
        return len(self._pipeline.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    @torch.inference_mode()
    def _encode(self, text: str) -> torch.Tensor:
        """As the pipeline encodes either prompt: one text, padded and cut to the model's length."""
        embedding: torch.Tensor = self._pipeline.encode_prompt([text], self._pipeline.fixed_device, 1, False)[0]
        return embedding

    def _starter_warning(self, plan: Plan) -> str | None:
        if not self._is_starter:
            return None
        from darkroom.starter.vocabulary import unknown_prompt_hint  # noqa: PLC0415 - of no use to other models

        return unknown_prompt_hint(plan.prompt)

    # Pictures -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _paint(self, plan: Plan, reading: Reading, image: int, on_step: OnStep) -> Pixels:
        embeddings = reading.embeddings
        assert isinstance(embeddings, Embeddings)  # noqa: S101 - `_read` made it
        pipeline = self._pipeline
        pipeline.scheduler = self._fresh_scheduler(plan.scheduler)
        output = pipeline(
            prompt_embeds=embeddings.prompt,
            negative_prompt_embeds=embeddings.negative_prompt,
            width=plan.width,
            height=plan.height,
            num_inference_steps=plan.num_inference_steps,
            guidance_scale=plan.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(plan.seed + image)],
            output_type="pt",
            callback_on_step_end=partial(_after_step, plan.num_inference_steps, on_step),
            callback_on_step_end_tensor_inputs=["latents"],
        )
        if any(output.nsfw_content_detected or ()):
            raise RenderFailed(
                ErrorCode.RENDER_ERROR,
                f"The model's safety checker blanked picture {image + 1}.",
                hint="Ask for something else, or set `safety_checker = false` for this model.",
            )
        return _as_pixels(output.images[0])

    def _fresh_scheduler(self, name: str) -> Any:
        """A scheduler keeps state while it steps, and an interrupted one keeps it dirty."""
        choice = SCHEDULERS[name]
        return getattr(diffusers, choice.diffusers_class).from_config(self._scheduler_config, **choice.config)


def _guidance_warning(plan: Plan) -> str | None:
    if plan.guidance_scale > 1 or not plan.negative_prompt:
        return None
    return f"With guidance_scale {plan.guidance_scale:g} the negative prompt has no effect; it has above 1."


def _after_step(
    steps: int, on_step: OnStep, pipeline: Pipeline, index: int, _timestep: object, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Some schedulers call the model more often than they were asked for steps: progress is told in steps."""
    calls = pipeline.num_timesteps
    if index + 1 == calls:
        _check_finite(tensors["latents"])
    on_step(-(-(index + 1) * steps // calls), steps)
    return {}


def _check_finite(values: torch.Tensor) -> None:
    """NaN would become a black picture without a word."""
    if not bool(torch.isfinite(values).all()):
        raise RenderFailed(
            ErrorCode.BROKEN_PICTURE,
            "The model returned numbers that are not a picture (NaN or infinite).",
            hint='Set `dtype = "float32"` (or "bfloat16") for this model: half precision overflows on some devices.',
        )


def _as_pixels(picture: torch.Tensor) -> Pixels:
    """From (3, height, width) in 0 to 1; rounds as diffusers does for PIL."""
    _check_finite(picture)
    _, height, width = picture.shape
    rgb = (picture.permute(1, 2, 0).float() * 255).round().to(torch.uint8)
    return Pixels(width, height, rgb.cpu().contiguous().numpy().tobytes())


# Errors -----------------------------------------------------------------------------------------------------------


def _guarded(call: Callable[[], T]) -> T:
    """Translate what torch and diffusers raise, and let go of the memory that their frames hold."""
    try:
        return call()
    except (LeaveDevice, RenderFailed, ModelUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - the edge that knows foreign exceptions
        translated = _translated(error)
        traceback.print_exception(error)
        _clear_frames(error)
    # Outside of the handler nothing refers to the error any more, nor to the tensors in its frames.
    _free_memory()
    raise translated


def _translated(error: Exception) -> Exception:
    text = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}".removesuffix(": ")
    if is_out_of_memory(error):
        return RenderFailed(
            ErrorCode.OUT_OF_MEMORY,
            f"The device has too little memory ({text}).",
            hint="Ask for a smaller picture, or end other programs that use the device.",
            can_retry=True,
        )
    if is_poisonous(error):
        return DevicePoisoned(f"The CUDA device reported an error that outlasts it ({text}).")
    return RenderFailed(ErrorCode.RENDER_ERROR, text, hint="The renderer's log tells more.")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller request, or a later one, could have worked."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def is_poisonous(error: Exception) -> bool:
    """Whether every later call on this device will fail in this process."""
    signs = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_EXECUTION_FAILED", "cuDNN error")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _clear_frames(error: BaseException | None) -> None:
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
