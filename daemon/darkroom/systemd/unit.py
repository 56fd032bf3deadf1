"""The systemd unit with the paths of a configuration filled in."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from darkroom.config.settings import Config, shipped
from darkroom.disk.mounts import share_point

STATE_DIR = Path("/var/lib/darkroom")
MODEL_CACHE = Path("/var/cache/darkroom")
RAY_DIR = Path("/var/lib/darkroom-ray")  #: Ray's sockets and logs, on a machine of the cluster
TIMEOUT_STOP_S = 45  #: of the unit as it is shipped
STOP_SPARE_S = 25  #: beyond `stop_within_s`: for answers that are still to be written, and for slow shares
#: What `ProtectHome=yes` hides.
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def service_unit(config: Config, *, file: Path | None, user: str, group: str, start: Path = Path("/")) -> str:
    """The text of `systemd/darkroom.service` with user, group, command and folders replaced.

    `start` is where relative paths of the configuration start. State and models go to systemd's own places unless the
    configuration names others than the default ones.
    """
    state_dir, model_cache = state_folder(config), model_folder(config)
    command = [str(program()), "run"]
    command += ["--config", str(file.absolute())] if file is not None else []
    command += ["--inbox", str(config.inbox), "--outbox", str(config.outbox)]
    written = [_writable_place(config.inbox), _writable_place(config.outbox)]
    written += [path for path, usual in ((state_dir, STATE_DIR), (model_cache, MODEL_CACHE)) if path != usual]
    written += [_writable_place(Path(config.textfile).parent)] if config.textfile else []
    written += [RAY_DIR] if config.executor == "ray" else []
    told = [Path(word) for word in config.notify]
    values = {
        "ExecStart": " ".join(unit_word(word).replace("$", "$$") for word in command),
        "User": user,
        "Group": group,
        "Environment": " ".join(
            [unit_word(f"DARKROOM_STATE_DIR={state_dir}"), unit_word(f"DARKROOM_MODEL_CACHE={model_cache}")]
        ),
        "TimeoutStopSec": str(max(TIMEOUT_STOP_S, math.ceil(config.stop_within_s) + STOP_SPARE_S)),
        "ReadWritePaths": " ".join(unit_word(f"-{path}") for path in dict.fromkeys(written)),
        "ProtectHome": "read-only" if _needs_a_home([*needed(config, file), *written, *told, start]) else "yes",
        "WorkingDirectory": str(start).replace("%", "%%"),
    }
    template = shipped("systemd/darkroom.service").read_text(encoding="utf-8")
    return "".join(filled(line, values) for line in template.splitlines(keepends=True))


def state_folder(config: Config) -> Path:
    """Where the service keeps its state."""
    return _kept(config.state_dir, "state_dir", STATE_DIR)


def model_folder(config: Config) -> Path:
    """Where the service keeps models from the hub."""
    return _kept(config.model_cache, "model_cache", MODEL_CACHE)


def program() -> Path:
    """The installed command: beside the interpreter that runs now."""
    return Path(sys.executable).absolute().with_name("darkroom")


def python() -> Path:
    """The interpreter behind the virtual environment's."""
    return Path(sys.executable).resolve()


def resolved(config: Config) -> Config:
    """The same, with each folder as what it is, whatever links lead to it."""
    keys = ("inbox", "outbox", "state_dir", "model_cache")
    return config.model_copy(update={key: Path(os.path.realpath(getattr(config, key))) for key in keys})


def needed(config: Config, file: Path | None) -> list[Path]:
    """What the service's user has to be able to read before anything can start."""
    folders = [Path(model.source) for model in config.models.values() if model.source.startswith("/")]
    code = [program(), python(), Path(__file__).parent]
    return [*code, *config.styles, *folders, *([file.absolute()] if file is not None else [])]


def _kept(configured: Path, key: str, usual: Path) -> Path:
    """A default lies in the working directory, and a service has none of its own."""
    default = Path(os.path.realpath(Config.model_fields[key].default))
    return usual if Path(os.path.realpath(configured)) == default else configured


def _writable_place(folder: Path) -> Path:
    """The folder, or the whole share that it lies on.

    systemd mounts each writable folder over itself, out of the sight of others, unless it is a mount of its own. Such a
    mount would hold a share: unmounted for everybody else, it would go on living in the service alone.
    """
    return Path(share_point(folder) or folder)


def _needs_a_home(paths: Iterable[Path]) -> bool:
    return any(path.is_relative_to(home) for path in paths for home in HOMES)


def filled(line: str, values: dict[str, str]) -> str:
    """A line of a unit, with the value of its key, if there is one for it."""
    key, equals, _ = line.partition("=")
    return f"{key}={values[key]}\n" if equals and key in values else line


def unit_word(text: str) -> str:
    """One word of a unit file: `%` begins a specifier, and blanks end the word unless it is quoted."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" \t'\\;") else escaped
