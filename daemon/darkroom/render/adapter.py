"""Diffusion models on a device; the one place that builds and runs pipelines.

What `paint` returns for picture i of a plan is what the stock pipeline returns for one picture with the seed
`plan.seed + i`, bit for bit on the same device: each picture is rendered alone, with a fresh scheduler and a generator
of its own on the CPU, from embeddings that are encoded once.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
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
from darkroom.executor.settings import RendererSettings
from darkroom.facts import Tokens
from darkroom.models.files import Fate
from darkroom.models.judge import Judgement, judge_folder
from darkroom.models.schedulers import SCHEDULERS, Impossible, digest, way_out
from darkroom.models.source import ModelSource
from darkroom.render import model_files, scheduling
from darkroom.render.engine import DevicePoisoned, DriverLate, Flagged, LeaveDevice, Model, OnStep, Pixels, Reading
from darkroom.render.token_limit import special_warning, unread_warning
from darkroom.request.plan import ImagePlan, Plan

T = TypeVar("T")

#: Texts whose embeddings are kept: a few hundred kilobytes each; the default negative prompt hits nearly always.
KEPT_EMBEDDINGS = 16

#: The side of the picture that is rendered once after loading, so that the first request does not pay for it.
WARM_UP_PX = 64


#: Where drivers put the files of their devices.
DEVICE_FILES = Path("/dev")

#: Parts of a folder that no picture needs.
OPTIONAL_PARTS = ("safety_checker", "feature_extractor", "image_encoder")

#: Whatever a model knows, it reads these differently.
TWO_WORDS = ("cat", "dog")


class Pipeline(StableDiffusionPipeline):
    """Stable Diffusion on one device that does not change.

    The stock property walks all modules for offload hooks that we never set: 11 to 14 ms of every call.
    """

    fixed_device: torch.device

    @classmethod
    def load_config(cls, *arguments: Any, **options: Any) -> Any:
        """As it is written, but for parts that are not read; one that is null is left out, as with two nulls."""
        loaded = super().load_config(*arguments, **options)
        written = loaded[0] if isinstance(loaded, tuple) else loaded
        for part in OPTIONAL_PARTS:
            if written.get(part, ...) is None:
                written[part] = [None, None]
        written["scheduler"] = ["diffusers", "DDIMScheduler"]  # the one that is handed in, whatever the saved one is
        return loaded

    @property
    def _execution_device(self) -> torch.device:
        return self.fixed_device


class TorchDevice:
    """The device that the settings ask for. Where it is not there, every load says so.

    Raises DriverLate where "auto" would mean to render on the processor for a night: a process that has asked too
    early may never see the device.
    """

    def __init__(self, settings: RendererSettings) -> None:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        if settings.device == "auto" and _driver_is_late():
            raise DriverLate
        self._offline = model_files.is_offline(settings)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.software = {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        self._threads = torch.get_num_threads()
        self._downloads: ModelSource | None = None
        self._asked = settings.device
        self._device = torch.device(_chosen(settings.device))
        self.name = str(self._device)
        self.title = _title(self._device, available=_missing(settings.device) is None)

    @property
    def downloaded_bytes(self) -> int | None:
        """How much has come of what is being downloaded; None when nothing is."""
        source = self._downloads
        return model_files.downloaded_bytes(source) if source is not None else None

    def look(self, source: ModelSource) -> None:
        """Judge a model by its files. Raises ModelUnavailable for one that can't be loaded."""
        found = model_files.found(source, offline=self._offline)
        if found.fate not in (Fate.USABLE, Fate.ABSENT):
            raise model_files.unusable(source, found)

    def load(self, source: ModelSource, moving: Callable[[], None]) -> Model:
        """Put a model on the device and render once. Raises ModelUnavailable or DevicePoisoned."""
        if problem := _missing(self._asked):
            raise problem
        try:
            return _guarded(partial(self._load, source, moving))
        except RenderFailed as error:
            if error.code is ErrorCode.OUT_OF_MEMORY:
                hint = "End other programs that use the device, or choose a smaller model."
                raise ModelUnavailable(f"{source.alias} can't be loaded: {error.message}", hint=hint) from None
            raise model_files.unloadable(source) from None

    def _load(self, source: ModelSource, moving: Callable[[], None]) -> DiffusionModel:
        # The starter's operations are too small to share: two threads take twice the CPU time of one and, on a busy
        # machine, where each waits for the other hundreds of times a step, many times as long.
        torch.set_num_threads(1 if source.is_starter else self._threads)
        pipeline, found = self._read(source)
        _check_tokenizer(source, pipeline)
        pipeline.set_progress_bar_config(disable=True)
        if self._device.type == "cuda":
            moving()  # a driver that hangs keeps the processor busy, so being busy is not a sign of life from here on
        pipeline.to(self._device)
        pipeline.fixed_device = self._device
        if self._device.type == "cuda":
            pipeline.unet.to(memory_format=torch.channels_last)
            pipeline.vae.to(memory_format=torch.channels_last)
        model = DiffusionModel(pipeline, found, is_starter=source.is_starter)
        model.warm_up(source)
        return model

    def _read(self, source: ModelSource) -> tuple[Pipeline, Judgement]:
        """The pipeline in memory, and what its files say of it."""
        found = model_files.found(source, offline=self._offline)
        if found.fate is Fate.ABSENT:  # or an earlier download was cut short, and is taken up again
            self._downloads = source
            try:
                snapshot = model_files.download(source, partial(_download, source))
            finally:
                self._downloads = None
            found = replace(judge_folder(source, snapshot), revision=snapshot.name)
        if found.fate is not Fate.USABLE or found.folder is None:
            raise model_files.unusable(source, found)
        return self._from_folder(source, found, found.folder), found

    def _from_folder(self, source: ModelSource, found: Judgement, folder: Path) -> Pipeline:
        if source.is_starter:
            import darkroom.starter.autoencoder  # noqa: F401, PLC0415 - its model_index.json names a class in there
        try:
            pipeline: Pipeline = Pipeline.from_pretrained(
                folder,
                dtype=_dtype(source.dtype, self._device),
                local_files_only=True,
                # Only the facts of the saved one are of use; its class may not even be made here.
                scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
                image_encoder=None,
                **_what_to_fetch(replace(source, variant=found.variant)),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            traceback.print_exc()
            raise model_files.unloadable(source) from None
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


def _driver_is_late() -> bool:
    """A CUDA build of torch, and device files that the driver's own module has made, but no device."""
    has_files = any(DEVICE_FILES.glob("nvidia[0-9]*"))
    return torch.version.cuda is not None and has_files and not torch.cuda.is_available()


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
        arguments |= {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
    return arguments


def _download(source: ModelSource) -> str:
    return str(Pipeline.download(source.source, revision=source.revision, **_what_to_fetch(source)))


def _check_tokenizer(source: ModelSource, pipeline: Pipeline) -> None:
    """Without its `tokenizer_config.json` a tokenizer believes in 10^30 tokens, and long prompts crash the encoder."""
    reads, positions = pipeline.tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings
    if reads > positions:
        raise ModelUnavailable(
            f"{source.alias}: its tokenizer lets too many tokens through, its text encoder has room for {positions}.",
            hint="`tokenizer/tokenizer_config.json` is missing or wrong: copy the model again.",
        )
    first, second = (pipeline.tokenizer(word, add_special_tokens=False).input_ids for word in TWO_WORDS)
    if first == second:
        raise ModelUnavailable(
            f"{source.alias}: its tokenizer reads {TWO_WORDS[0]!r} and {TWO_WORDS[1]!r} as the same word.",
            hint="`tokenizer/vocab.json` or `tokenizer.json` is not the model's own: copy the model again.",
        )
    largest = max(pipeline.tokenizer.get_vocab().values())
    rows = pipeline.text_encoder.get_input_embeddings().num_embeddings
    if largest >= rows:
        raise ModelUnavailable(
            f"{source.alias}: its tokenizer numbers its tokens up to {largest}, its text encoder knows {rows}.",
            hint="Tokenizer and text encoder are of two models: copy the model again.",
        )


class DiffusionModel:
    """A Stable Diffusion model on its device. Used by one thread."""

    def __init__(self, pipeline: Pipeline, found: Judgement, *, is_starter: bool) -> None:
        self._pipeline = pipeline
        self._saved = dict(found.scheduler)
        self._specials = tuple(pipeline.tokenizer.all_special_tokens)
        self._is_impossible = lru_cache(maxsize=None)(partial(_is_impossible, self._saved))
        self._is_starter = is_starter
        self.revision = found.revision
        self._embedding = lru_cache(maxsize=KEPT_EMBEDDINGS)(self._encode)

    def warm_up(self, source: ModelSource) -> None:
        """Render one step with the model's own defaults (on a CPU small): what fails from here on was asked for.

        It pages weights in and builds kernels. Whether the picture is any good is not asked: one step of nothing need
        not be. Raises ModelUnavailable for defaults that it can't be rendered with.
        """
        on_cpu = self._pipeline.fixed_device.type == "cpu"
        plan = Plan(
            model=source.alias, images=(ImagePlan(0, "", ""),),
            width=WARM_UP_PX if on_cpu else source.width, height=WARM_UP_PX if on_cpu else source.height,
            num_inference_steps=source.num_inference_steps, guidance_scale=source.guidance_scale,
            scheduler=source.scheduler,
        )  # fmt: skip
        try:
            self._read(plan)
        except RenderFailed as error:
            hint = "Set `scheduler` and `num_inference_steps` of this model to others."
            raise ModelUnavailable(f"{source.alias}: its defaults don't work. {error.message}", hint=hint) from None
        with suppress(RenderFailed):
            self._paint(replace(plan, num_inference_steps=1), plan.images[0], lambda _step, _steps: None)

    @property
    def scheduler(self) -> str:
        """Digest of the configuration of its saved scheduler."""
        return digest(self._saved, diffusers.__version__)

    def try_schedulers(self, stopped: Callable[[], bool]) -> Impossible:
        """What can't be asked of it, by its scheduler alone."""
        return scheduling.all_impossible(self._saved, stopped)

    def read(self, plan: Plan) -> Reading:
        """Tokenize and encode the prompts. Raises RenderFailed or DevicePoisoned."""
        return _guarded(partial(self._read, plan))

    def paint(self, plan: Plan, reading: Reading, index: int, on_step: OnStep) -> Pixels:  # noqa: ARG002 - protocol
        """Render `plan.images[index]`. Raises RenderFailed, DevicePoisoned or what `on_step` raises."""
        pixels: Pixels = _guarded(partial(self._paint, plan, plan.images[index], on_step))
        return pixels

    def close(self) -> None:
        """Free the device."""
        self._embedding.cache_clear()
        del self._pipeline, self._embedding
        _free_memory()

    # Text ---------------------------------------------------------------------------------------------------------

    def _read(self, plan: Plan) -> Reading:
        if self._is_impossible(plan.scheduler, plan.num_inference_steps):
            raise self._cannot(plan)
        limit = self._pipeline.tokenizer.model_max_length - 2  # a start and an end token
        prompts = tuple(dict.fromkeys(image.prompt for image in plan.images))
        negatives = tuple(dict.fromkeys(image.negative_prompt for image in plan.images))
        texts = [("prompt", text) for text in prompts] + [("negative prompt", text) for text in negatives]
        warnings = [unread_warning(what, text, self._count, limit) for what, text in texts]
        warnings += [self._zero_snr_warning(plan), *(self._starter_warning(prompt) for prompt in prompts)]
        warnings += [special_warning(what, text, self._specials) for what, text in texts]
        self._embeddings(plan, plan.images[0])  # what can fail does so before the first step
        tokens = Tokens(max(map(self._count, prompts)), max(map(self._count, negatives)), limit)
        return Reading(tokens, tuple(dict.fromkeys(filter(None, warnings))))

    def _embeddings(self, plan: Plan, image: ImagePlan) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Of both prompts, each encoded once; none for a negative prompt that is not asked for."""
        guided = plan.guidance_scale > 1  # the pipeline's own rule
        return self._embedding(image.prompt), self._embedding(image.negative_prompt) if guided else None

    def _count(self, text: str) -> int:
        return len(self._pipeline.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    @torch.inference_mode()
    def _encode(self, text: str) -> torch.Tensor:
        """As the pipeline encodes either prompt: one text, padded and cut to the model's length."""
        embedding: torch.Tensor = self._pipeline.encode_prompt([text], self._pipeline.fixed_device, 1, False)[0]
        return embedding

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

    @torch.inference_mode()
    def _paint(self, plan: Plan, image: ImagePlan, on_step: OnStep) -> Pixels:
        prompt, negative_prompt = self._embeddings(plan, image)
        pipeline = self._pipeline
        pipeline.scheduler = scheduling.fresh(plan.scheduler, self._saved)
        output = pipeline(
            prompt_embeds=prompt,
            negative_prompt_embeds=negative_prompt,
            width=plan.width,
            height=plan.height,
            num_inference_steps=plan.num_inference_steps,
            guidance_scale=plan.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(image.seed)],
            output_type="pt",
            callback_on_step_end=partial(_after_step, plan.num_inference_steps, on_step),
            callback_on_step_end_tensor_inputs=["latents"],
        )
        if any(output.nsfw_content_detected or ()):
            raise Flagged
        return _as_pixels(output.images[0])

    def _cannot(self, plan: Plan) -> RenderFailed:
        """What can be seen before the first step is told before it, and not after the last one."""
        return RenderFailed(
            ErrorCode.UNSUPPORTED,
            f"This model can't be rendered with {plan.scheduler} in {plan.num_inference_steps} steps.",
            hint=way_out(lambda *asked: not self._is_impossible(*asked), plan.scheduler, plan.num_inference_steps),
        )


def _is_impossible(saved: dict[str, Any], scheduler: str, steps: int) -> bool:
    return scheduling.is_impossible(scheduler, saved, steps)


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
    kind = type(error).__name__
    return RenderFailed(ErrorCode.RENDER_ERROR, text, hint="The renderer's log tells more.", kind=kind)


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
