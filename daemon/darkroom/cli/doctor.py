"""Everything that can be checked without rendering: each finding says how it is and what to do."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from darkroom.cli.finding import Finding, Verdict
from darkroom.cli.outward import cluster, shown, told
from darkroom.client import START_HINT, Client, is_gone, seats_of
from darkroom.config.load import foreign_variables, relative_values
from darkroom.config.settings import Config
from darkroom.disk import inotify
from darkroom.disk.files import Disk, free_bytes
from darkroom.disk.mounts import Mount, expected_mount, kind_of
from darkroom.disk.nesting import TO_DO, nested
from darkroom.executor.devices import DeviceInfo, cores, likely_devices
from darkroom.hearsay import Json
from darkroom.models import embeddings
from darkroom.models.files import Fate, Unusable
from darkroom.models.header import read_header
from darkroom.models.judge import judge
from darkroom.models.loras import read_all
from darkroom.models.source import ModelSource
from darkroom.names import MARKER, OWN_FOLDER
from darkroom.rights import how_to_get_in, who
from darkroom.systemd.host import installed_unit
from darkroom.systemd.install import configuration_of, setting_of

__all__ = ["Finding", "Verdict", "examine"]

INOTIFY = Path("/proc/sys/fs/inotify")
#: Below these, other programs of the same user easily use everything up.
ENOUGH_INOTIFY = {"max_user_watches": 8192, "max_user_instances": 128, "max_queued_events": 16_384}
#: No clock of a machine that runs this shows an earlier time.
SANE_AFTER = 1_767_225_600  # 2026-01-01
MOST_NOTES = 10  #: about the style book
SD15_MEMORY_BYTES = 4 * 1024**3


def examine(config: Config, file: Path | None = None) -> Iterator[Finding]:
    """Check everything, what people ask for most first. Yields each finding as it is made: a share may be slow.

    A check that errs is one finding. `file` is what the configuration was read from.
    """
    for what, check in _checks(config, file):
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are what a person asked for
            says = f"this check itself failed: {type(error).__name__}: {error}."
            yield Finding(Verdict.FAIL, what, says, "Report it, with this line.")


def _checks(config: Config, file: Path | None) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    yield "configuration", partial(_configured, file)
    yield "styles", partial(_styles, config)
    for name, path in (("inbox", config.inbox), ("outbox", config.outbox), ("state", config.state_dir)):
        yield name, partial(_folder, name, path, config)
    yield "folders", partial(_entangled, config)
    yield "file events", partial(_inotify, config.inbox)
    yield "device", partial(_device, config)
    for alias, source in config.renderer_settings().models.items():
        yield f"model {alias}", lambda alias=alias, source=source: [_model(alias, source, config)]  # type: ignore[misc]
    yield "models", lambda: [_hub_cache(config)]
    yield "loras", partial(_loras, config)
    yield "embeddings", partial(_embeddings, config)
    yield "upscalers", partial(_upscalers, config)
    yield "clock", lambda: [_clock()]
    yield "http", partial(shown, config)
    yield "notify", partial(told, config)
    yield "service", partial(_service, file)
    yield "daemon", partial(_daemon, config)


# Configuration and service -------------------------------------------------------------------------------------------


def service_config() -> Path | None:
    """The configuration of the installed service, if it has one."""
    return configuration_of(installed_unit() or "")


def service_user() -> str | None:
    """Whom the installed service runs as, if there is one."""
    return setting_of(installed_unit() or "", "User") or None


def _as_another() -> str | None:
    """The service's user, where somebody else looks."""
    user = service_user()
    return user if user not in (None, who()) else None


def _configured(file: Path | None) -> Iterator[Finding]:
    for name in foreign_variables():
        yield Finding(Verdict.OK, "configuration", f"{name} is set by the platform, and means nothing to Darkroom.")
    relative = relative_values(file)
    if not relative:
        return
    keys = ", ".join(f'{key} = "{value}"' for key, value in relative.items())
    unit = installed_unit() or ""
    start = setting_of(unit, "WorkingDirectory") or "/"
    if file is not None and configuration_of(unit) == file.absolute() and Path(start) != Path.cwd():
        hint = f"Run this in {start}; or better, write absolute paths."
        says = f"relative paths start here at {Path.cwd()}, for the service at {start}: {keys}."
        yield Finding(Verdict.WARN, "configuration", says, hint)
        return
    yield Finding(Verdict.OK, "configuration", f"relative paths start at {Path.cwd()}: {keys}.")


def _styles(config: Config) -> Iterator[Finding]:
    """A book that cannot be read is no configuration, and has been told."""
    book = config.style_book()
    for note in book.notes[:MOST_NOTES]:
        yield Finding(Verdict.WARN, "styles", f"{note.where}: {note.message}", note.hint)
    if len(book.notes) > MOST_NOTES:
        hint = f"darkroom check {shlex.join(map(str, config.styles))}"
        yield Finding(Verdict.WARN, "styles", f"{len(book.notes) - MOST_NOTES} more of such.", hint)
    files = ", ".join(map(str, config.styles))
    yield Finding(Verdict.OK, "styles", f"{len(book.styles)}, from {files}.")


def _service(file: Path | None) -> Iterator[Finding]:
    """Whether what the unit starts can still start: an upgrade of the system's Python leaves the environment behind."""
    unit = installed_unit()
    if unit is None:
        return
    program = Path((shlex.split(setting_of(unit, "ExecStart")) or [""])[0])
    if not program.exists():
        hint = "Say `darkroom service install` again, from where Darkroom lies now."
        yield Finding(Verdict.FAIL, "service", f"its command {program} is not there.", hint)
        return
    made, now = _versions(program.parent)
    if made and now != made:
        says = f"its virtual environment was made with Python {made}, and finds {now or 'none'} now."
        yield Finding(Verdict.FAIL, "service", says, f"cd {program.parents[2]} && make venv, then restart it.")
    other = configuration_of(unit)
    if other is not None and file is not None and other != file.absolute():
        hint = f"To check that one: darkroom doctor --config {shlex.quote(str(other))}"
        yield Finding(Verdict.WARN, "service", f"it uses {other}, and not the configuration above.", hint)


def _versions(folder: Path) -> tuple[str, str]:
    """The Python that a virtual environment was made with, and the one that it runs on now: "3.12", or ""."""
    try:
        told = re.search(r"^version\w* = (\d+\.\d+)", (folder.parent / "pyvenv.cfg").read_text(), re.MULTILINE)
    except OSError:
        return "", ""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        asked = [str(folder / "python"), "-I", "-c", code]
        now = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - its own
    except OSError:
        now = ""
    return told[1] if told else "", now


# Folders -------------------------------------------------------------------------------------------------------------


def _folder(name: str, path: Path, config: Config) -> Iterator[Finding]:
    waits_for = expected_mount(path)
    if waits_for is not None:
        yield Finding(Verdict.FAIL, name, f"{path}: {waits_for}.", "Mount it.")
        return
    try:
        is_folder = path.is_dir()
    except PermissionError:
        yield _closed(name, path, f"{path} cannot be looked at by {who()}.")
        return
    if not is_folder:
        yield _absent(name, path)
        return
    mount = kind_of(path)
    yield _writable(name, path)
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        return
    yield Finding(Verdict.OK, name, _what_it_lies_on(name, mount, config))
    if name != "state":
        yield _marker(name, path)
    yield _free_space(name, path, config)


def _entangled(config: Config) -> Iterator[Finding]:
    for says in nested({"inbox": config.inbox, "outbox": config.outbox, "state": config.state_dir}):
        yield Finding(Verdict.FAIL, "folders", says, TO_DO)


def _closed(name: str, path: Path, says: str) -> Finding:
    """Somebody looks who is not the service: its own folders are none of theirs."""
    user = _as_another()
    if user is not None and name == "state":
        return Finding(Verdict.OK, name, f"{path} is closed to {who()}; the service uses it as {user}.")
    return Finding(Verdict.FAIL, name, says, how_to_get_in(path) or f"Give {user or who()} the right to use it.")


def _absent(name: str, path: Path) -> Finding:
    """The state folder is made at start; inbox and outbox are other people's, and a missing one is a mistake."""
    if path.exists():
        return Finding(Verdict.FAIL, name, f"{path} is not a folder.", "Name another one.")
    if name == "state" and os.access(_nearest_folder(path), os.W_OK | os.X_OK, effective_ids=True):
        return Finding(Verdict.OK, name, f"{path} is not there yet; it will be made at the first start.")
    hint = f"mkdir -p {shlex.quote(str(path))}, and let Darkroom's user write there."
    return Finding(Verdict.FAIL, name, f"{path} is not there.", hint)


def _nearest_folder(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.is_dir())


def _writable(name: str, path: Path) -> Finding:
    """Write, rename and fsync in our own folder, as the daemon does."""
    disk = Disk()
    own = OWN_FOLDER if name != "state" else ""
    made = not os.path.lexists(path / own)
    try:
        if made:
            disk.make_folder(path / own)
        with disk.anchored(path, own) as place:
            _probe(disk, place / f".doctor-{os.getpid()}")
        if made:
            (path / own).rmdir()
    except OSError as error:
        if os.path.islink(path / own):
            hint = "Nothing is written through links: remove it."
            return Finding(Verdict.FAIL, name, f"{path / own} is a link.", hint)
        if error.errno in (errno.EACCES, errno.EPERM):
            return _closed(name, path, f"{who()} cannot write to {path}.")
        return Finding(Verdict.FAIL, name, f"{path} cannot be written: {error.strerror}.", _mend(error, path))
    return Finding(Verdict.OK, name, f"{path} can be written, renamed in and synced.")


def _probe(disk: Disk, probe: Path) -> None:
    disk.write(probe, b"probe")
    disk.rename(probe, probe.with_name(probe.name + "-2"))
    disk.remove(probe.with_name(probe.name + "-2"))


def _mend(error: OSError, path: Path) -> str:
    if error.errno == errno.EROFS:
        return "Mount it writable; under systemd, name it in ReadWritePaths (`darkroom service show`)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free space on it."
    return f"See that {path} is a folder that can be written: `ls -ld`, and the share's own rights."


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
    if config.executor == "ray":
        yield from cluster(config)
        return
    devices = likely_devices(config.device)
    for name, device in devices.items():
        yield _one_device(name, device)
    there = [device for device in devices.values() if device is not None]
    if not there:
        return
    if len(there) * config.renderers_per_device > 1:
        yield _renderers(config, len(there))
    yield _torch(on_cuda=any(device.name.startswith("cuda") for device in there))
    memories = [device.memory_bytes for device in there if device.name != "cpu" and device.memory_bytes]
    if config.default_model == "sd15" and any(device.name == "cpu" for device in there):
        hint = "It takes minutes for each picture: use a CUDA device, or the starter model."
        yield Finding(Verdict.WARN, "device", "sd15 will render on the processor.", hint)
    elif memories and min(memories) < SD15_MEMORY_BYTES * config.renderers_per_device:
        says = f"less than {4 * config.renderers_per_device} GiB of memory."
        yield Finding(Verdict.WARN, "device", says, "sd15 may run out of it: ask for 512×512.")


def _one_device(name: str, device: DeviceInfo | None) -> Finding:
    if device is None:
        hint = "See what nvidia-smi says; or set device to auto or cpu."
        return Finding(Verdict.FAIL, "device", f"{name}: no such CUDA device was found.", hint)
    memory = f", {device.memory_bytes / 1024**3:.0f} GiB" if device.memory_bytes else ""
    return Finding(Verdict.OK, "device", f"{device.name}: {device.title}{memory}.")


def _renderers(config: Config, devices: int) -> Finding:
    """Each has its own copy of the model."""
    each, count, most = config.renderers_per_device, devices * config.renderers_per_device, cores()
    says = f"{count} at once, {each} on each device."
    if "cpu" in likely_devices(config.device) and count > most:
        return Finding(Verdict.WARN, "renderers", says, f"The processor has {most} cores: more of them gain nothing.")
    return Finding(Verdict.OK, "renderers", says)


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
        return Finding(Verdict.WARN, "clock", "is set to a time in the past.", hint)
    return Finding(Verdict.OK, "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC.", time.gmtime()))


def _daemon(config: Config) -> Iterator[Finding]:
    health = Client(config.inbox, config.outbox, config.state_dir, Disk()).health()
    if health is None or is_gone(health):
        yield Finding(Verdict.WARN, "daemon", "none seems to run here.", START_HINT)
        return
    says = f"{health.get('state')} on {health.get('host')}, version {health.get('version')}."
    yield Finding(Verdict.OK, "daemon", says)
    yield from _troubles(health)
    there = [each.name for each in likely_devices(config.device).values() if each is not None and each.name != "cpu"]
    if health.get("host") == socket.gethostname() and there and "cpu" not in config.device:
        yield from _uses(health, there[0])


def _troubles(health: Json) -> Iterator[Finding]:
    """What it cannot use just now: it has tried, and a look at the files cannot tell."""
    for role, folder in health.get("folders", {}).items():
        if folder.get("state") == "away":
            yield Finding(Verdict.WARN, "daemon", f"the {role} is away for it: {folder.get('why')}")
    for held in health.get("held", ()):
        says = f"it holds the model {held.get('model')}: {held.get('why')}"
        yield Finding(Verdict.WARN, "daemon", says, held.get("hint", ""))
    for seat in seats_of(health):
        if seat.get("state") == "held":
            yield Finding(Verdict.WARN, "daemon", f"it holds the device {seat.get('name')}: {seat.get('why')}")


def _uses(health: Json, device: str) -> Iterator[Finding]:
    """`auto` decides when the renderer starts: before the driver was ready, perhaps."""
    if any(seat.get("device") == "cpu" for seat in seats_of(health)):
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


def _loras(config: Config) -> Iterator[Finding]:
    """Each by its own file; which model it fits is shown by `darkroom models`."""
    for alias, found in read_all(config.lora_sources().values()).items():
        if isinstance(found, Unusable):
            yield Finding(Verdict.WARN, f"lora {alias}", f"it can't be used: {found.message}", found.hint)
        else:
            yield Finding(Verdict.OK, f"lora {alias}", f"it changes {len(found.layers)} layers.")


def _embeddings(config: Config) -> Iterator[Finding]:
    """Likewise."""
    for alias, found in embeddings.read_all(config.embedding_sources().values()).items():
        if isinstance(found, Unusable):
            yield Finding(Verdict.WARN, f"embedding {alias}", f"it can't be used: {found.message}", found.hint)
        else:
            word = config.embeddings[alias].of(alias).word
            yield Finding(Verdict.OK, f"embedding {alias}", f"the word {word} {found.in_words}.")


def _upscalers(config: Config) -> Iterator[Finding]:
    """Each by its own file; which kind of network it is, only the renderer can tell."""
    for alias, source in config.upscaler_sources().items():
        wrong = _wrong_of_upscaler(Path(source.source))
        if wrong is None:
            yield Finding(Verdict.OK, f"upscaler {alias}", f"{source.source} is there, whole.")
        else:
            yield Finding(Verdict.WARN, f"upscaler {alias}", f"it can't be used: {wrong[0]}", wrong[1])


def _wrong_of_upscaler(file: Path) -> tuple[str, str] | None:
    """And what to do about it."""
    if find_spec("spandrel") is None:
        return "the package spandrel is not installed.", "pip install 'darkroom[upscale]', where Darkroom is."
    try:
        read_header(file)
    except Unusable as error:
        return error.message, error.hint
    except OSError as error:
        return f"{file} can't be read ({error.strerror}).", "Look at its `source` in the configuration."
    return None


def _hub_cache(config: Config) -> Finding:
    theirs = os.environ.get("HF_HOME")
    if theirs and Path(theirs).absolute() != config.model_cache:
        hint = f"Set model_cache to {theirs} to use what is there already."
        return Finding(Verdict.WARN, "models", f"HF_HOME is {theirs}, and Darkroom uses {config.model_cache}.", hint)
    return Finding(Verdict.OK, "models", f"are kept in {config.model_cache}.")
