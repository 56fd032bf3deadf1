"""Which renderers there are: from the devices that were asked for, or that a renderer has found. Pure.

With "auto" the first renderer decides, by the torch that renders: nobody else can tell which devices it can use, since
that depends on its build, on the driver, on CUDA_VISIBLE_DEVICES and on how a card is divided. `nvidia-smi` lists cards
that torch cannot use, and none of another maker. What it tells with `Ready` brings the renderers of the other devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A renderer that is to be."""

    name: str  #: of its seat: "cuda:1", or "cuda:1/2" where a device has several
    device: str  #: that it is told to use
    threads: int | None  #: of the processor, for one operation; None leaves it to the libraries


def places(devices: Sequence[str], per_device: int, cores: int) -> tuple[Place, ...]:
    """One after another for each device that was asked for; they share the cores among them."""
    threads = _part(cores, len(devices) * per_device)
    return tuple(
        Place(_name(device, number, per_device), device, threads)
        for device in devices
        for number in range(1, per_device + 1)
    )


def places_beside(cuda_devices: int, per_device: int, cores: int) -> tuple[Place, ...]:
    """Those of the devices behind the first one, which "auto" has taken, where torch finds so many."""
    threads = _part(cores, cuda_devices * per_device)
    return tuple(
        Place(_name(device, number, per_device), device, threads)
        for device in (f"cuda:{index}" for index in range(1, cuda_devices))
        for number in range(1, per_device + 1)
    )


def _name(device: str, number: int, per_device: int) -> str:
    return device if per_device == 1 else f"{device}/{number}"


def _part(cores: int, renderers: int) -> int | None:
    return max(1, cores // renderers) if renderers > 1 else None
