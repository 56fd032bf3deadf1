"""ControlNets: read when a plan first names them, and kept while plans do."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.models.source import ControlSource
from darkroom.render import parts
from darkroom.render.torch_errors import free_memory
from darkroom.request.plan import Plan

#: Sets of weights that stay on the device.
KEPT = 4

#: What tells two sets of weights apart.
Key = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Nets:
    """Those of one plan, in the order of `Plan.control`."""

    weights: tuple[Any, ...]
    modes: tuple[int | None, ...]

    @property
    def is_union(self) -> bool:
        """Whether they read pictures of several kinds."""
        return any(mode is not None for mode in self.modes)

    @property
    def as_parts(self) -> Any:
        """As a pipeline is made of them: one that reads several kinds is there once, however often it is asked."""
        reads_several = isinstance(self.weights[0], diffusers.ControlNetUnionModel)
        is_one = len(self.weights) == 1 or (len(set(map(id, self.weights))) == 1 and reads_several)
        return self.weights[0] if is_one else list(self.weights)


class Controls:
    """The ControlNets of the configuration, on one device."""

    def __init__(self, sources: Mapping[str, ControlSource], device: torch.device, *, offline: bool) -> None:
        self._sources, self._device, self._offline = sources, device, offline
        self._kept: OrderedDict[Key, Any] = OrderedDict()

    def nets(self, plan: Plan, dtype: torch.dtype) -> Nets:
        """Those that a plan names, in this precision. Raises RenderFailed."""
        sources = [self._source(each.name) for each in plan.control]
        wanted = {_key(source): source for source in sources}
        self._make_room(wanted)
        loaded = {key: self._loaded(key, source, dtype) for key, source in wanted.items()}
        return Nets(tuple(loaded[_key(source)] for source in sources), tuple(source.mode for source in sources))

    def _source(self, alias: str) -> ControlSource:
        if alias not in self._sources:
            hint = "Put it back, or send the request again without it."
            message = f"The configuration has no control {alias} any more."
            raise RenderFailed(ErrorCode.MODEL_CHANGED, message, hint=hint)
        return self._sources[alias]

    def _make_room(self, wanted: Mapping[Key, ControlSource]) -> None:
        others = [key for key in self._kept if key not in wanted]
        for key in others[: max(0, len(others) + len(wanted) - KEPT)]:
            del self._kept[key]
            free_memory()

    def _loaded(self, key: Key, source: ControlSource, dtype: torch.dtype) -> Any:
        if key not in self._kept:
            self._kept[key] = _read(source, dtype, offline=self._offline)
        self._kept.move_to_end(key)
        net = self._kept[key]
        if net.dtype != dtype:  # the model's precision has been raised meanwhile
            net.to(dtype)
        return net.to(self._device)


def _key(source: ControlSource) -> Key:
    return (source.source, source.revision, source.variant)


def _read(source: ControlSource, dtype: torch.dtype, *, offline: bool) -> Any:
    """By the class that its own files name, which has to be one of ControlNets."""
    where: dict[str, Any] = {"revision": source.revision, "local_files_only": offline}
    try:
        name = str(diffusers.ControlNetModel.load_config(source.source, **where).get("_class_name", ""))
        kind = getattr(diffusers, name, None) if "ControlNet" in name and name.endswith("Model") else None
        if kind is not None:
            return parts.read(kind, source.source, dtype, variant=source.variant, **where)
    except parts.Unfit as unfit:
        raise _unusable(source, f"is not whole: {unfit}.") from None
    except Exception as error:  # noqa: BLE001 - the edge that knows what libraries and the hub raise
        traceback.print_exc()
        raise _unusable(source, f"can't be loaded ({type(error).__name__}).") from None
    raise _unusable(source, f"is a {name or 'folder of no class'}, which is not a ControlNet.")


def _unusable(source: ControlSource, what: str) -> RenderFailed:
    hint = "Look at `source`, `revision` and `variant` of it in the configuration; the renderer's log tells more."
    return RenderFailed(ErrorCode.UNSUPPORTED, f"The control {source.alias} ({source.source}) {what}", hint=hint)
