"""What torch and diffusers raise, in our words; and the memory that their frames hold, let go."""

from __future__ import annotations

import ctypes
import functools
import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import torch

from darkroom.errors import ErrorCode, ModelUnavailable, RenderFailed
from darkroom.render.engine import DevicePoisoned, LeaveDevice

T = TypeVar("T")


def guarded(call: Callable[[], T]) -> T:
    """Translate what torch and diffusers raise, and let go of the memory that their frames hold."""
    try:
        return call()
    except (LeaveDevice, RenderFailed, ModelUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - the edge that knows foreign exceptions
        translated = _translated(error)
        traceback.print_exception(error)
        clear_frames(error)
    # Outside of the handler nothing refers to the error any more, nor to the tensors in its frames.
    free_memory()
    raise translated


def _translated(error: Exception) -> Exception:
    text = named(error)
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


def named(error: Exception) -> str:
    """Its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}".removesuffix(": ")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller request, or a later one, could have worked."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def parts_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Those of its parts that have weights."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def clear_caches(pipeline: Any) -> None:
    """Let its classes forget what they have computed: some of diffusers' keep it for ever, and the module."""
    modules = (module for part in parts_of(pipeline).values() for module in part.modules())
    for kind in {base for module in modules for base in type(module).__mro__}:
        for function in vars(kind).values():
            for kept in (function, *_enclosed_by(function)):
                if isinstance(kept, functools._lru_cache_wrapper):  # noqa: SLF001 - the type has no other name
                    kept.cache_clear()


def _enclosed_by(function: object) -> Iterator[object]:
    """What a decorator has put beside a function."""
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # an empty one
            yield cell.cell_contents


def bytes_of(part: torch.nn.Module) -> int:
    """How much memory its weights take, the quantized ones too."""
    return sum(map(_bytes_of, (*part.parameters(), *part.buffers())))


def _bytes_of(tensor: torch.Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__") and type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes_of(getattr(tensor, name)) for name in names)
    return int(tensor.nbytes)


def is_poisonous(error: Exception) -> bool:
    """Whether every later call on this device will fail in this process."""
    signs = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_EXECUTION_FAILED", "cuDNN error")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def clear_frames(error: BaseException | None) -> None:
    """Let go of the tensors in the frames of an error, and of those before it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def out_of_memory(error: Exception) -> str:
    """Why memory ran out, once nothing is held by the error any more. Raises it when it is another one."""
    if not is_out_of_memory(error):
        raise error
    traceback.print_exception(error)
    clear_frames(error)
    return named(error)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)  # which keeps what lies between two things that are still in use
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
