"""The systemd unit with the paths of a configuration filled in."""

from __future__ import annotations

import sys
from pathlib import Path

from darkroom.config import Config, shipped

STATE_DIR = Path("/var/lib/darkroom")
MODEL_CACHE = Path("/var/cache/darkroom")


def service_unit(config: Config, *, file: Path | None, user: str) -> str:
    """The text of `systemd/darkroom.service` with user, command and folders replaced.

    State and models go to systemd's own places unless the configuration names others than the default ones.
    """
    state_dir = _kept(config.state_dir, "state_dir", STATE_DIR)
    model_cache = _kept(config.model_cache, "model_cache", MODEL_CACHE)
    command = [str(_program()), "run"]
    command += ["--config", str(file.absolute())] if file is not None else []
    command += ["--inbox", str(config.inbox), "--outbox", str(config.outbox)]
    written = [config.inbox, config.outbox]
    written += [path for path, usual in ((state_dir, STATE_DIR), (model_cache, MODEL_CACHE)) if path != usual]
    values = {
        "ExecStart": " ".join(_word(word).replace("$", "$$") for word in command),
        "User": user,
        "Environment": " ".join(
            [_word(f"DARKROOM_STATE_DIR={state_dir}"), _word(f"DARKROOM_MODEL_CACHE={model_cache}")]
        ),
        "ReadWritePaths": " ".join(_word(f"-{path}") for path in written),
    }
    template = shipped("systemd/darkroom.service").read_text(encoding="utf-8")
    return "".join(_filled(line, values) for line in template.splitlines(keepends=True))


def _kept(configured: Path, key: str, usual: Path) -> Path:
    """A default lies in the working directory, and a service has none of its own."""
    default = Path(Config.model_fields[key].default).absolute()
    return usual if configured == default else configured


def _program() -> Path:
    """The installed command: beside the interpreter that runs now."""
    return Path(sys.executable).absolute().with_name("darkroom")


def _filled(line: str, values: dict[str, str]) -> str:
    key, equals, _ = line.partition("=")
    return f"{key}={values[key]}\n" if equals and key in values else line


def _word(text: str) -> str:
    """One word of a unit file: `%` begins a specifier, and blanks end the word unless it is quoted."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" \t'\\;") else escaped
