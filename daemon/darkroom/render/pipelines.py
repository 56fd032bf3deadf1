"""Pipelines of diffusers, read from a model's folder."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from darkroom.errors import ModelUnavailable, ModelUnsupported
from darkroom.models.family import Family
from darkroom.models.files import read_json
from darkroom.models.judge import OPTIONAL_PARTS, Judgement
from darkroom.models.source import ModelSource
from darkroom.render import model_files, one_file, parts, quantizing, scheduling

#: Whatever a model knows, it reads these differently.
TWO_WORDS = ("cat", "dog")

#: A start, a word and an end.
FEWEST_TOKENS = 3

#: What a pipeline that makes pictures from words alone cannot do without.
NEEDED_ARGUMENTS = frozenset({"prompt", "generator", "output_type"})
#: Of what makes video or shapes.
MOVING = {"num_frames", "video_length", "frame_size"}

#: It says of each part that is handed in, and is of a pipeline's own library, all that the part is made of.
logging.getLogger("diffusers.pipelines.pipeline_loading_utils").addFilter(
    lambda record: "non-standard module" not in record.getMessage()
)


class OnOneDevice:
    """Mixed into a pipeline's class: it stays where it was put, and its folder is read as it was judged.

    The stock property walks all modules for offload hooks that we never set: 11 to 14 ms of every call.
    """

    fixed_device: torch.device
    scheduler_in_hand: str  #: the class of the one that is handed in, whatever the saved one is

    @classmethod
    def load_config(cls, *arguments: Any, **options: Any) -> Any:
        """As it is written, but for parts that are not read; one that is null is left out, as with two nulls."""
        loaded = super().load_config(*arguments, **options)  # type: ignore[misc]
        written = loaded[0] if isinstance(loaded, tuple) else loaded
        for part in OPTIONAL_PARTS:
            if written.get(part, ...) is None:
                written[part] = [None, None]
        written["scheduler"] = ["diffusers", cls.scheduler_in_hand]
        return loaded

    @property
    def _execution_device(self) -> torch.device:
        return self.fixed_device


def read(source: ModelSource, found: Judgement, dtype: torch.dtype) -> Any:
    """The pipeline in memory. Raises ModelUnavailable."""
    family = found.family
    if family is None or found.place is None:
        raise model_files.unusable(source, found)
    kind = _kind(source, family)
    if source.is_starter:
        import darkroom.starter.autoencoder  # noqa: F401, PLC0415 - its model_index.json names a class in there
    pipeline = _made(source, found, kind, _in_hand(family, found.scheduler), dtype)
    quantizing.after_reading(source, pipeline, dtype)
    _check_tokenizers(source, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _kind(source: ModelSource, family: Family) -> type[DiffusionPipeline]:
    """The class that renders it. Raises ModelUnavailable for one that is not here, or not for words alone."""
    kind: Any = getattr(diffusers, family.pipeline, None)
    if kind is None:
        raise ModelUnsupported(
            f"{source.alias} is a {family.pipeline}, which diffusers {diffusers.__version__} does not know.",
            hint="Install a newer diffusers, or choose another model.",
        )
    if missing := getattr(kind, "_backends", None):  # diffusers has a stand-in for it
        raise ModelUnavailable(
            f"{source.alias} is a {family.pipeline}, which needs the Python packages {', '.join(missing)}.",
            hint="Install them where Darkroom is installed, and start it again.",
        )
    if not _is_from_words(kind):
        raise ModelUnsupported(
            f"{source.alias} is a {family.pipeline}, which does not make a picture from words alone.",
            hint="Choose a model that does.",
        )
    found: type[DiffusionPipeline] = kind
    return found


def _is_from_words(kind: Any) -> bool:
    """Whether it is a pipeline that is called with a prompt, and with nothing else that has to be given."""
    if not isinstance(kind, type) or not issubclass(kind, DiffusionPipeline):
        return False
    takes = inspect.signature(kind.__call__).parameters
    needed = {
        name for name, each in takes.items() if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    }
    is_moving = not takes.keys().isdisjoint(MOVING)
    return takes.keys() >= NEEDED_ARGUMENTS and needed <= {"self", "prompt"} and not is_moving


def _in_hand(family: Family, saved: Any) -> Any:
    """A scheduler to load with: each picture gets one of its own."""
    if scheduling.is_classic(family.schedulers[0]):  # only the facts of the saved one are of use
        return diffusers.DDIMScheduler(clip_sample=False, steps_offset=1)
    return scheduling.fresh(family.schedulers[0], saved)


def _made(
    source: ModelSource, found: Judgement, kind: type[DiffusionPipeline], scheduler: Any, dtype: torch.dtype
) -> Any:
    adapted: Any = type(
        kind.__name__,
        (OnOneDevice, kind),
        {"__module__": kind.__module__, "scheduler_in_hand": type(scheduler).__name__},
    )
    try:
        made = one_file.made_of(source, found, dtype)
        quantizing.alone(source, {name: made[name] for name, part in found.parts.items() if not part.is_quantised})
        if found.folder is None:
            return one_file.whole(adapted, made, scheduler)
        options = _absent(source, found, kind) | made
        options |= _from_folder(source, found, adapted, dtype, but=options)
        return adapted.from_pretrained(found.folder, local_files_only=True, scheduler=scheduler, **options)
    except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        traceback.print_exc()
        raise model_files.unloadable(source) from None


def _from_folder(
    source: ModelSource, found: Judgement, kind: type[Any], dtype: torch.dtype, *, but: Collection[str]
) -> dict[str, Any]:
    """Every part with weights that lies in the model's folder, `but` these. Raises ModelUnavailable."""
    assert found.folder is not None  # noqa: S101 - asked by the caller
    takes = inspect.signature(kind.__init__).parameters.keys() - set(but) - {"scheduler"}
    named = {name: each for name, each in kind.load_config(found.folder).items() if name in takes and _is_part(each)}
    fewer_bits = quantizing.while_reading(source, {name: library for name, (library, _) in named.items()}, dtype)
    read: dict[str, Any] = {}
    for name, (library, class_name) in named.items():
        if (part := parts.class_of(library, class_name)) is None:
            continue
        place = found.folder / name
        how = {"variant": parts.variant_in(place, found.variant), "local_files_only": True} | fewer_bits.get(name, {})
        how |= {"ignore_mismatched_sizes": not _is_packed(place, how)}  # they are told, and not ignored
        try:
            read[name] = parts.read(part, place, dtype, **how)
        except parts.Unfit as unfit:
            raise model_files.incomplete(source, name, place, str(unfit)) from None
    return read


def _is_packed(place: Path, how: Mapping[str, Any]) -> bool:
    """Whether its tensors are in fewer bits, now or when they are read, and so of other sizes."""
    return bool({"quantization_config"} & ({*how} | {*read_json(place / "config.json")}))


def _is_part(entry: Any) -> bool:
    """Whether an entry of the index names a library and a class."""
    return isinstance(entry, (list, tuple)) and len(entry) == 2 and all(isinstance(each, str) for each in entry)


def _absent(source: ModelSource, found: Judgement, kind: type[DiffusionPipeline]) -> dict[str, Any]:
    """What the pipeline does without."""
    takes = inspect.signature(kind.__init__).parameters
    absent: dict[str, Any] = {part: None for part in (*found.absent, "image_encoder") if part in takes}
    if not source.safety_checker:
        absent |= {part: None for part in OPTIONAL_PARTS if part in takes}
        absent |= {"requires_safety_checker": False} if "requires_safety_checker" in takes else {}
    return absent


# Tokenizers -------------------------------------------------------------------------------------------------------


def _check_tokenizers(source: ModelSource, pipeline: Any) -> None:
    for part in ("", "_2", "_3"):
        tokenizer = getattr(pipeline, f"tokenizer{part}", None)
        encoder = getattr(pipeline, f"text_encoder{part}", None)
        if hasattr(tokenizer, "all_special_tokens") and encoder is not None:
            _check_words(source, tokenizer, f"tokenizer{part}")
            if type(encoder).__name__.startswith("CLIPText"):
                _check_clip(source, tokenizer, encoder, f"tokenizer{part}")


def _check_words(source: ModelSource, tokenizer: Any, part: str) -> None:
    first, second = (tokenizer(word, add_special_tokens=False).input_ids for word in TWO_WORDS)
    if first == second:
        raise ModelUnavailable(
            f"{source.alias}: its {part} reads {TWO_WORDS[0]!r} and {TWO_WORDS[1]!r} as the same word.",
            hint=f"`{part}/vocab.json` or `tokenizer.json` is not the model's own: copy the model again.",
        )


def _check_clip(source: ModelSource, tokenizer: Any, encoder: Any, part: str) -> None:
    """Without its `tokenizer_config.json` a tokenizer believes in 10^30 tokens, and long prompts crash the encoder."""
    positions = encoder.config.max_position_embeddings
    if tokenizer.model_max_length < FEWEST_TOKENS:
        raise ModelUnavailable(
            f"{source.alias}: its {part} lets {tokenizer.model_max_length} tokens through, no room for a word.",
            hint=f"`{part}/tokenizer_config.json` is wrong: copy the model again.",
        )
    if tokenizer.model_max_length > positions:
        raise ModelUnavailable(
            f"{source.alias}: its {part} lets too many tokens through, its text encoder has room for {positions}.",
            hint=f"`{part}/tokenizer_config.json` is missing or wrong: copy the model again.",
        )
    largest = max(tokenizer.get_vocab().values())
    rows = encoder.get_input_embeddings().num_embeddings
    if largest >= rows:
        raise ModelUnavailable(
            f"{source.alias}: its {part} numbers its tokens up to {largest}, its text encoder knows {rows}.",
            hint="Tokenizer and text encoder are of two models: copy the model again.",
        )
