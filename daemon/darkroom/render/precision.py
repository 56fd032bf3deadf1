"""What half precision cannot hold is tried again in float32: the decoder first, then all of the model."""

from __future__ import annotations

from typing import Any

import torch

from darkroom.render.torch_errors import is_out_of_memory

#: What turns latents into pixels is called so.
DECODERS = ("vae", "movq", "vqvae")


class Broken(Exception):
    """The picture is no numbers."""

    def __init__(self, *, by_decoder: bool) -> None:
        super().__init__("NaN or infinite")
        self.by_decoder = by_decoder  #: whether the latents may still have been numbers


class Precision:
    """The precision of a pipeline's parts. What was raised once stays so: the next picture would break likewise."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def raised(self, broken: Broken, pipeline: Any) -> str | None:
        """Raise it by one step, in the pipeline that painted.

        Returns what to tell; None where there is nothing left to raise, or no room for it.
        """
        decoder = next((part for name in DECODERS if (part := getattr(self._pipeline, name, None)) is not None), None)
        if broken.by_decoder and _is_half(decoder):
            _decode_in_float32(decoder)
            return "Half precision overflowed: the picture was decoded in float32."
        halves = [part for part in pipeline.components.values() if _is_half(part)]
        if not halves or any(map(_is_packed, halves)) or not _in_float32(halves):
            return None
        return "Half precision overflowed: the picture was rendered in float32, with twice the memory."

    def way_out(self) -> str:
        """What to do where nothing could be raised."""
        if any(map(_is_half, self._pipeline.components.values())):
            return (
                'Set `dtype = "float32"` for this model, on a device with room for it: half precision overflows here.'
            )
        return "It is in float32 already, so its files may be damaged: download or copy the model again."


def _is_half(part: Any) -> bool:
    return isinstance(part, torch.nn.Module) and getattr(part, "dtype", torch.float32) != torch.float32


def _is_packed(part: Any) -> bool:
    """Whether its weights lie in blocks, which are of no other precision."""
    return bool(getattr(part, "is_quantized", False))


def _in_float32(parts: list[Any]) -> bool:
    try:
        for part in parts:
            part.to(torch.float32)
    except Exception as error:
        if is_out_of_memory(error):
            return False
        raise
    return True


def _decode_in_float32(decoder: Any) -> None:
    """Latents come in half precision still; those of codes are whole numbers, and stay so."""
    decoder.to(torch.float32)
    decode = decoder.decode

    def decode_in_float32(latents: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if _is_half(decoder):  # a pipeline that encodes pictures has cast it back
            decoder.to(torch.float32)
        return decode(latents.float() if latents.is_floating_point() else latents, *arguments, **options)

    decoder.decode = decode_in_float32
