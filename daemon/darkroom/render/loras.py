"""LoRAs of one pipeline: loaded by diffusers when a plan names them, and taken out again without a trace.

Where a plan names none, none is left in the model: its pictures are those of the model alone, bit for bit. Where it
names some, those of earlier plans may stay loaded, without effect, up to KEPT.
"""

from __future__ import annotations

import hashlib
import re
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.models.family import Family
from darkroom.models.files import Unusable
from darkroom.models.header import read_header
from darkroom.models.lora_names import by_authors, is_read
from darkroom.models.loras import CHOOSE_A_LORA, read_lora
from darkroom.models.source import LoraSource
from darkroom.render.lora_spelling import respelled
from darkroom.render.torch_errors import free_memory, is_out_of_memory, is_poisonous
from darkroom.request.plan import Lora

#: LoRAs that stay loaded beside those of the plan in hand, all of them together.
KEPT = 4

#: Of the device's memory, what may be taken after all are gone without a suspicion.
SLACK_BYTES = 64 << 20

#: Of a SHA-256, how many digits name a LoRA to others.
DIGITS = 12

_Version = tuple[int, int]  #: bytes and time of a file

_LAYER = re.compile(r"(.+?)\.(?:lora|lora_[A-Za-z_]+|lokr_\w+|dora_scale|alpha)(?:\..*)?")


@dataclass(frozen=True, slots=True)
class _Loaded:
    adapter: str  #: what peft calls it
    version: _Version
    warnings: tuple[str, ...]
    sha256: str  #: of its tensors' bytes, the first digits


class Loras:
    """Those of one pipeline. `changed` is called whenever texts are read otherwise from then on."""

    def __init__(
        self, pipeline: Any, family: Family, sources: Mapping[str, LoraSource], changed: Callable[[], None]
    ) -> None:
        self._pipeline = pipeline
        self._family = family
        self._sources = sources
        self._changed = changed
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # by alias; the last one was used last
        self._active: tuple[Lora, ...] = ()
        self._numbers = count()
        self._before: _Trace | None = None  # the model without any, while there are some
        self.is_spent = False  #: whether something stayed in the model that should not have

    @property
    def hashes(self) -> dict[str, str]:
        """Of those in effect, by alias, as A1111's web UI counts them: of the tensors without the header."""
        return {lora.name: self._loaded[lora.name].sha256 for lora in self._active}

    def source(self, lora: Lora) -> LoraSource:
        """Raises RenderFailed for one that the configuration does not have any more."""
        if lora.name not in self._sources:
            hint = "`darkroom retry NAME` decides the request again."
            raise RenderFailed(ErrorCode.MODEL_CHANGED, f"There is no LoRA {lora.name} any more.", hint=hint)
        return self._sources[lora.name]

    def apply(self, loras: tuple[Lora, ...]) -> tuple[str, ...]:
        """Have exactly these in effect; returns what is to be told of them. Raises RenderFailed."""
        sources = [self.source(lora) for lora in loras]
        stale = [each.alias for each in sources if self._is_stale(each)]
        if loras != self._active or stale:
            self._changed()
            self._active = ()
            if not loras:
                self.unload()
                return ()
            try:
                self._put_in(loras, sources, stale)
            except Exception:
                self.unload()
                raise
        return tuple(warning for lora in loras for warning in self._loaded[lora.name].warnings)

    def unload(self) -> None:
        """Take all of them out, and see that nothing of them is left."""
        self._loaded.clear()
        self._active = ()
        before, self._before = self._before, None
        if before is not None:
            self._pipeline.unload_lora_weights()
            free_memory()
            self.is_spent |= not before.is_equal(_Trace(self._pipeline))

    def _is_stale(self, source: LoraSource) -> bool:
        loaded = self._loaded.get(source.alias)
        return loaded is not None and _version(source) not in (loaded.version, None)

    def _put_in(self, loras: tuple[Lora, ...], sources: list[LoraSource], stale: list[str]) -> None:
        if self._before is None:
            self._before = _Trace(self._pipeline)
        self._drop(stale)
        for source in sources:
            if source.alias not in self._loaded:
                self._loaded[source.alias] = self._load(source)
            self._loaded.move_to_end(source.alias)
        self._drop(list(self._loaded)[: max(0, len(self._loaded) - max(KEPT, len(loras)))])
        adapters = [self._loaded[lora.name].adapter for lora in loras]
        self._pipeline.set_adapters(adapters, [lora.weight for lora in loras])
        self._active = loras

    def _drop(self, aliases: list[str]) -> None:
        if aliases:
            self._pipeline.delete_adapters([self._loaded.pop(alias).adapter for alias in aliases])

    def _load(self, source: LoraSource) -> _Loaded:
        try:
            version = _version(source)
            left_out = read_lora(source).left_out
            return self._load_file(source, version or (0, 0), left_out)
        except Unusable as error:
            message = f"The LoRA {source.alias} can't be used: {error.message}"
            raise RenderFailed(ErrorCode.UNSUPPORTED, message, hint=error.hint) from None
        except OSError as error:
            message = f"The LoRA {source.alias} can't be read: {error.strerror}."
            hint = f"Look at {source.file}, and at the disk that it lies on."
            raise RenderFailed(ErrorCode.RENDER_ERROR, message, hint=hint, can_retry=True) from None

    def _load_file(self, source: LoraSource, version: _Version, left_out: int) -> _Loaded:
        adapter = f"darkroom_{next(self._numbers)}"
        file = source.file
        with self._converted() as converted:
            try:
                missing = self._read(file, adapter)
            except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
                if is_out_of_memory(error) or is_poisonous(error):
                    raise
                traceback.print_exc()
                raise self._does_not_fit(source) from None
        carrying = sum(1 for _ in self._carrying(adapter))
        if not carrying:
            raise self._does_not_fit(source)
        wanted = len({found[1] for key in converted if (found := _LAYER.fullmatch(key))}) + missing
        told = (*_told(source, max(wanted - carrying, 0), wanted), *_left_out(source, left_out))
        return _Loaded(adapter, version, told, _hash(file))

    def _read(self, file: Path, adapter: str) -> int:
        """Put it into the pipeline; returns how many of its layers were left out before that."""
        if is_read(read_header(file).shapes, self._family):
            self._pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=adapter)
            return 0
        found = respelled(load_file(file), _parts(self._pipeline), by_authors(self._family))
        if found.tensors:
            self._pipeline.load_lora_weights(found.tensors, adapter_name=adapter)
        return found.missing

    def _does_not_fit(self, source: LoraSource) -> RenderFailed:
        message = f"The LoRA {source.alias} does not fit this model: none of its layers could be put into it."
        return RenderFailed(ErrorCode.UNSUPPORTED, message, hint=CHOOSE_A_LORA)

    @contextmanager
    def _converted(self) -> Iterator[set[str]]:
        """The keys of what is loaded meanwhile, as diffusers calls them."""
        stock, keys = self._pipeline.lora_state_dict, set[str]()

        def look(*arguments: Any, **options: Any) -> Any:
            found = stock(*arguments, **options)
            keys.update(found[0] if isinstance(found, tuple) else found)
            return found

        self._pipeline.lora_state_dict = look
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what does not fit is counted
                yield keys
        finally:
            del self._pipeline.lora_state_dict

    def _carrying(self, adapter: str) -> Iterator[BaseTunerLayer]:
        """The layers that this LoRA changes."""
        for part in _parts(self._pipeline).values():
            for module in part.modules():
                if isinstance(module, BaseTunerLayer) and any(
                    adapter in getattr(module, kind) for kind in module.adapter_layer_names
                ):
                    yield module


class _Trace:
    """What a model is made of, to see later whether it is the same again."""

    def __init__(self, pipeline: Any) -> None:
        self._weights = {
            (part_name, name): (tuple(weight.shape), weight.dtype, _changes(weight))
            for part_name, part in _parts(pipeline).items()
            for name, weight in part.state_dict(keep_vars=True).items()
        }
        self._bytes = torch.cuda.memory_allocated() if pipeline.fixed_device.type == "cuda" else 0

    def is_equal(self, later: _Trace) -> bool:
        """Whether nothing was added to it or changed in it."""
        return self._weights == later._weights and later._bytes <= self._bytes + SLACK_BYTES


def _changes(weight: torch.Tensor) -> int:
    """How often it was written to, as torch counts."""
    return 0 if weight.is_inference() else int(weight._version)  # noqa: SLF001 - there is no other name


def _parts(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Those that can carry one, by name."""
    parts = {name: getattr(pipeline, name, None) for name in pipeline._lora_loadable_modules}  # noqa: SLF001 - its own list
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def _told(source: LoraSource, missing: int, wanted: int) -> tuple[str, ...]:
    if not missing:
        return ()
    return (f"{missing} of the {wanted} layers that the LoRA {source.alias} changes are not in this model.",)


def _left_out(source: LoraSource, tensors: int) -> tuple[str, ...]:
    if not tensors:
        return ()
    which = f"{tensors} tensors of the LoRA {source.alias} (DoRA's lengths, or whole differences)"
    return (f"{which} are of a kind that diffusers leaves out: its effect is another one than where it was made.",)


def _version(source: LoraSource) -> _Version | None:
    """Changes with its file; None where that is gone: what is loaded goes on."""
    try:
        status = source.file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(8 + int.from_bytes(opened.read(8), "little"))
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGITS]
