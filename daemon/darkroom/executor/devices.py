"""What devices this machine has, as far as it can be told without importing torch; the renderer decides with torch."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: `nvidia-smi` answers at once or hangs with its driver.
ASK_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A place to render."""

    name: str  #: as torch calls it: "cuda:0", "cpu"
    title: str  #: as people call it
    memory_bytes: int | None  #: of the device; None where nobody tells


def likely_device(asked: str) -> DeviceInfo | None:
    """What the setting `device` will probably come to; None when it asks for a CUDA device that is not there."""
    if asked == "cpu":
        return cpu()
    found = cuda_devices()
    if asked == "auto":
        return found[0] if found else cpu()
    wanted = "cuda:0" if asked == "cuda" else asked
    return next((device for device in found if device.name == wanted), None)


def cuda_devices() -> list[DeviceInfo]:
    """What `nvidia-smi` lists; empty without it, without a driver, or when it hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        asked = subprocess.run(  # noqa: S603 - found on the PATH, fixed arguments
            [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
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
    """One line of `nvidia-smi`: "NVIDIA GeForce RTX 3060, 12288" (MiB; "[N/A]" on some)."""
    title, _, memory = line.rpartition(",")
    mebibytes = memory.strip()
    return DeviceInfo(f"cuda:{index}", title.strip(), int(mebibytes) << 20 if mebibytes.isdigit() else None)


def cpu() -> DeviceInfo:
    """The processor, and the machine's memory."""
    return DeviceInfo("cpu", _field("/proc/cpuinfo", "model name") or "CPU", _memory_bytes())


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
