"""What devices this machine has, as far as it can be told without importing torch; the renderer decides with torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

#: `nvidia-smi` answers at once or hangs with its driver.
ASK_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A place to render."""

    name: str  #: as torch calls it: "cuda:0", "cpu"
    title: str  #: as people call it
    memory_bytes: int | None  #: of the device; None where nobody tells
    uuid: str = ""  #: by which NVIDIA's driver knows it


def likely_devices(asked: Sequence[str]) -> dict[str, DeviceInfo | None]:
    """What each device of the setting will probably come to, by name; None for a CUDA device that is not there.

    What "auto" finds comes under the names of the devices.
    """
    if tuple(asked) == ("cpu",):
        return {"cpu": cpu()}
    found = visible(cuda_devices(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    by_name: dict[str, DeviceInfo | None] = {device.name: device for device in found}
    if "auto" in asked:
        return by_name or {"cpu": cpu()}
    return {name: cpu() if name == "cpu" else by_name.get(name) for name in asked}


def visible(devices: Sequence[DeviceInfo], setting: str | None) -> list[DeviceInfo]:
    """Those that CUDA shows to programs, named as it numbers them; `setting` is `CUDA_VISIBLE_DEVICES`, or None.

    As with CUDA, what follows a word that means no device is not read.
    """
    if setting is None:
        return list(devices)
    by_word = {str(index): device for index, device in enumerate(devices)}
    found: list[DeviceInfo] = []
    for word in map(str.strip, setting.split(",")):
        by_uuid = (device for device in devices if word.startswith("GPU-") and device.uuid.startswith(word))
        device = by_word.get(word) or next(by_uuid, None)
        if device is None:
            break
        found.append(replace(device, name=f"cuda:{len(found)}"))
    return found


def cuda_devices() -> list[DeviceInfo]:
    """What `nvidia-smi` lists; empty without it, without a driver, or when it hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        asked = subprocess.run(  # noqa: S603 - found on the PATH, fixed arguments
            [program, "--query-gpu=name,memory.total,uuid", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=ASK_WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line for line in asked.stdout.splitlines() if line.strip()]
    return [_cuda_device(index, line) for index, line in enumerate(lines)]


def _cuda_device(index: int, line: str) -> DeviceInfo:
    """One line of `nvidia-smi`: "NVIDIA GeForce RTX 3060, 12288, GPU-8a…" (MiB; "[N/A]" on some)."""
    title, memory, uuid = (part.strip() for part in line.rsplit(",", 2))
    return DeviceInfo(f"cuda:{index}", title, int(memory) << 20 if memory.isdigit() else None, uuid)


def cpu() -> DeviceInfo:
    """The processor, and the machine's memory."""
    return DeviceInfo("cpu", _field("/proc/cpuinfo", "model name") or "CPU", _memory_bytes())


def cores() -> int:
    """Of the processor, that this process may use."""
    return len(os.sched_getaffinity(0))


def _memory_bytes() -> int | None:
    kibibytes = (_field("/proc/meminfo", "MemTotal") or "").removesuffix(" kB")
    return int(kibibytes) << 10 if kibibytes.isdigit() else None


def _field(file: str, key: str) -> str | None:
    """The first value of `key` in a file of "key : value" lines."""
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), None)
