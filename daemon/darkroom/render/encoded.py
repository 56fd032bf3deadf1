"""Texts that a pipeline has encoded, kept for its next pictures: the same words, the same numbers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch

#: Calls whose results are kept: a few hundred kilobytes each, or megabytes with large encoders.
KEPT = 8


class Encoded:
    """Stands before `encode_prompt` of one pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()
        if hasattr(pipeline, "encode_prompt"):
            self._encode = pipeline.encode_prompt
            pipeline.encode_prompt = self._once

    def forget(self) -> None:
        """The same words may be read otherwise from now on."""
        self._kept.clear()

    def _once(self, *arguments: Any, **options: Any) -> Any:
        key = repr((arguments, sorted(options.items())))
        if _has_numbers((arguments, tuple(options.values()))):
            return self._encode(*arguments, **options)
        if key not in self._kept:
            self._kept[key] = self._encode(*arguments, **options)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return _fresh(self._kept[key])


def _has_numbers(values: Any) -> bool:
    """Whether any of these is a tensor, or a thing that is told from another one by its place alone."""
    if isinstance(values, list | tuple):
        return any(map(_has_numbers, values))
    return not isinstance(values, str | int | float | bool | torch.device | torch.dtype | None)


def _fresh(result: Any) -> Any:
    """Lists of it may be changed by who gets them; tensors are not."""
    if isinstance(result, tuple):
        return tuple(map(_fresh, result))
    return list(map(_fresh, result)) if isinstance(result, list) else result
