"""Everything that can be checked without rendering: each finding says how it is and what to do."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from importlib import metadata
from pathlib import Path

from darkroom.client import START_HINT, Client, Json, is_gone
from darkroom.config.load import Config
from darkroom.disk import inotify
from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.mounts import Mount, expected_mount, kind_of
from darkroom.executor.devices import likely_device
from darkroom.models.judge import Fate, judge
from darkroom.models.source import ModelSource
from darkroom.names import MARKER, OWN_FOLDER

INOTIFY = Path("/proc/sys/fs/inotify")
#: Below these, other programs of the same user easily use everything up.
ENOUGH_INOTIFY = {"max_user_watches": 8192, "max_user_instances": 128, "max_queued_events": 16_384}
#: No clock of a machine that runs this shows an earlier time.
SANE_AFTER = 1_767_225_600  # 2026-01-01
SD15_MEMORY_BYTES = 4 * 1024**3


class Verdict(Enum):
    """How a check came out."""

    OK = auto()
    WARN = auto()  #: it works, but not as well as it could
    FAIL = auto()  #: it does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    what: str
    says: str
    do: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Check everything, what people ask for most first. Yields each finding as it is made: a share may be slow."""
    for name, path in (("inbox", config.inbox), ("outbox", config.outbox), ("state", config.state_dir)):
        yield from _folder(name, path, config)
    yield from _inotify(config.inbox)
    yield from _device(config)
    for alias, source in config.renderer_settings().models.items():
        yield _model(alias, source, config)
    yield _hub_cache(config)
    yield _clock()
    yield from _daemon(config)


# Folders -------------------------------------------------------------------------------------------------------------


def _folder(name: str, path: Path, config: Config) -> Iterator[Finding]:
    waits_for = expected_mount(path)
    if waits_for is not None:
        yield Finding(Verdict.FAIL, name, f"{path}: {waits_for}.", "Mount it.")
        return
    if not path.is_dir():
        yield _absent(name, path)
        return
    mount = kind_of(path)
    yield _writable(name, path)
    yield Finding(Verdict.OK, name, _what_it_lies_on(name, mount, config))
    if name != "state":
        yield _marker(name, path)
    yield _free_space(name, path, config)


def _absent(name: str, path: Path) -> Finding:
    """The state folder is made at start; inbox and outbox are other people's, and a missing one is a mistake."""
    if path.exists():
        return Finding(Verdict.FAIL, name, f"{path} is no folder.", "Name another one.")
    if name == "state" and os.access(_nearest_folder(path), os.W_OK | os.X_OK):
        return Finding(Verdict.OK, name, f"{path} is not there yet; it is made at the first start.")
    return Finding(Verdict.FAIL, name, f"{path} is not there.", f"mkdir -p '{path}', and give it to Darkroom's user.")


def _nearest_folder(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.is_dir())


def _writable(name: str, path: Path) -> Finding:
    """Write, rename and fsync in our own folder, as the daemon does."""
    place = path / OWN_FOLDER if name != "state" else path
    made = not place.exists()
    probe = place / f".doctor-{os.getpid()}"
    disk = Disk()
    try:
        disk.make_folder(place)
        disk.write(probe, b"probe")
        disk.rename(probe, probe.with_name(probe.name + "-2"))
        disk.remove(probe.with_name(probe.name + "-2"))
        if made:
            place.rmdir()
    except OSError as error:
        return Finding(Verdict.FAIL, name, f"{path} cannot be written: {error.strerror}.", _mend(error, path))
    return Finding(Verdict.OK, name, f"{path} can be written, renamed in and synced.")


def _mend(error: OSError, path: Path) -> str:
    if error.errno == errno.EROFS:
        return "Mount it writable; under systemd, name it in ReadWritePaths (`darkroom service show`)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free space on it."
    return f"Give Darkroom's user the right to write there: chown or chmod {path}, or the share's own rights."


def _what_it_lies_on(name: str, mount: Mount, config: Config) -> str:
    where = f"{mount.kind} ({mount.source})" if mount.source else mount.kind
    if name != "inbox":
        return f"lies on {where}."
    if not mount.network:
        return f"lies on {where}: new files are noticed at once."
    seconds = f"{config.scan_interval_s:g} s"
    slow = " An NFS client hides new names for up to acdirmax (60 s): mount with acdirmax=1 for less."
    return f"lies on {where}: no file events, so it is listed every {seconds}.{slow if 'nfs' in mount.kind else ''}"


def _marker(name: str, path: Path) -> Finding:
    if (path / OWN_FOLDER / MARKER).is_file():
        return Finding(Verdict.OK, name, "carries Darkroom's marker.")
    return Finding(Verdict.OK, name, "carries no marker yet; it gets one at the first start.")


def _free_space(name: str, path: Path, config: Config) -> Finding:
    free = free_bytes(path)
    if free is None:
        return Finding(Verdict.OK, name, "its file system does not say how much is free.")
    text = f"{free / 1024**3:.1f} GiB free."
    if free < config.min_free_bytes:
        return Finding(Verdict.FAIL, name, text, "Free space: nothing is taken below min_free_bytes.")
    if name == "state" and free < config.min_free_bytes + config.max_undelivered_bytes:
        hint = "Free space, or lower max_undelivered_bytes: results wait here while the outbox is away."
        return Finding(Verdict.WARN, name, text, hint)
    return Finding(Verdict.OK, name, text)


# Machine -------------------------------------------------------------------------------------------------------------


def _inotify(inbox: Path) -> Iterator[Finding]:
    """The limits are each user's, and shared with every other program: the kernel itself is asked."""
    why = inotify.trouble(inbox) if inbox.is_dir() else ""
    if why:
        hint = "Until then new files are noticed by listing, every scan_interval_s."
        yield Finding(Verdict.WARN, "file events", f"none for {inbox}: {why}.", hint)
        return
    for key, enough in ENOUGH_INOTIFY.items():
        try:
            value = int((INOTIFY / key).read_text())
        except (OSError, ValueError):
            hint = "New files are noticed by listing, every scan_interval_s."
            yield Finding(Verdict.WARN, "file events", f"fs.inotify.{key} cannot be read.", hint)
            return
        if value < enough:
            hint = f"sysctl fs.inotify.{key}={enough} (until then, listing finds what events miss)."
            yield Finding(Verdict.WARN, "file events", f"fs.inotify.{key} is {value}.", hint)
            return
    yield Finding(Verdict.OK, "file events", "the kernel tells of them, and its limits are wide enough.")


def _device(config: Config) -> Iterator[Finding]:
    device = likely_device(config.device)
    if device is None:
        hint = "See what nvidia-smi says; or set device to auto or cpu."
        yield Finding(Verdict.FAIL, "device", f"{config.device}: no such CUDA device was found.", hint)
        return
    memory = f", {device.memory_bytes / 1024**3:.0f} GiB" if device.memory_bytes else ""
    yield Finding(Verdict.OK, "device", f"{device.name}: {device.title}{memory}.")
    yield _torch(on_cuda=device.name.startswith("cuda"))
    if config.default_model == "sd15" and device.name == "cpu":
        hint = "It takes minutes for each picture: use a CUDA device, or the starter model."
        yield Finding(Verdict.WARN, "device", "sd15 will render on the processor.", hint)
    elif device.name != "cpu" and device.memory_bytes and device.memory_bytes < SD15_MEMORY_BYTES:
        yield Finding(Verdict.WARN, "device", "less than 4 GiB of memory.", "sd15 may run out of it: ask for 512×512.")


def _torch(*, on_cuda: bool) -> Finding:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Finding(Verdict.FAIL, "PyTorch", "is not installed.", "make venv, or pip install darkroom.")
    if on_cuda and version.endswith("+cpu"):
        return Finding(
            Verdict.FAIL, "PyTorch", f"{version} cannot use CUDA.", "Install a CUDA build of the same version."
        )
    return Finding(Verdict.OK, "PyTorch", f"{version}.")


def _clock() -> Finding:
    if time.time() < SANE_AFTER:
        hint = "Set it (timedatectl): times in answers come from it, and the hub's certificates are checked by it."
        return Finding(Verdict.WARN, "clock", "stands in the past.", hint)
    return Finding(Verdict.OK, "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC.", time.gmtime()))


def _daemon(config: Config) -> Iterator[Finding]:
    health = Client(config.inbox, config.outbox, config.state_dir, Disk()).health()
    if health is None or is_gone(health):
        yield Finding(Verdict.WARN, "daemon", "none seems to run here.", START_HINT)
        return
    says = f"{health.get('state')} on {health.get('host')}, version {health.get('version')}."
    yield Finding(Verdict.OK, "daemon", says)
    device = likely_device(config.device)
    if health.get("host") == socket.gethostname() and device is not None and device.name != "cpu":
        yield from _uses(health, device.name)


def _uses(health: Json, device: str) -> Iterator[Finding]:
    """`auto` decides when the renderer starts: before the driver was ready, perhaps."""
    renderer = health.get("renderer")
    if isinstance(renderer, dict) and renderer.get("device") == "cpu":
        hint = "Restart it; if that does not help, see that this PyTorch can use CUDA."
        yield Finding(Verdict.WARN, "daemon", f"it renders on the processor, though {device} is there.", hint)


# Models --------------------------------------------------------------------------------------------------------------


def _model(alias: str, source: ModelSource, config: Config) -> Finding:
    """Whether it can be rendered, as far as its files tell. Only the default model has to be."""
    what = f"model {alias}"
    bad = Verdict.FAIL if alias == config.default_model else Verdict.WARN
    judgement = judge(source, config.model_cache / "hub", offline=config.offline)
    if judgement.fate is Fate.USABLE:
        return Finding(Verdict.OK, what, judgement.message or "needs no files.")
    if judgement.fate is Fate.ABSENT:
        says = f"{source.source} is downloaded to {config.model_cache} when it is first used."
        return Finding(Verdict.OK, what, says)
    return Finding(bad, what, judgement.message, judgement.hint)


def _hub_cache(config: Config) -> Finding:
    theirs = os.environ.get("HF_HOME")
    if theirs and Path(theirs).absolute() != config.model_cache:
        hint = f"Set model_cache to {theirs} to use what is there already."
        return Finding(Verdict.WARN, "models", f"HF_HOME is {theirs}, and Darkroom uses {config.model_cache}.", hint)
    return Finding(Verdict.OK, "models", f"are kept in {config.model_cache}.")
