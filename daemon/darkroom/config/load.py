"""The configuration: command line over `DARKROOM_…` environment over file over defaults, all problems at once."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from darkroom.config.contradictions import contradictions, did_you_mean
from darkroom.config.layers import ENV_PREFIX, Layer, Values, merge, origin, without
from darkroom.config.models import (
    OWN_WORDS,
    SHIPPED_MODELS,
    ControlSettings,
    EmbeddingSettings,
    LoraSettings,
    ModelSettings,
    UpscalerSettings,
    as_several,
)
from darkroom.config.reading import read_text
from darkroom.config.relative import relative
from darkroom.config.settings import Config, shipped
from darkroom.errors import ConfigUnusable, ErrorCode, Problem

#: Names the file; it is not a key of it.
ENV_CONFIG = "DARKROOM_CONFIG"
#: Where the file is looked for when nobody names one; relative to the working directory.
USUAL_FILES = (Path("config/darkroom.toml"), Path("/etc/darkroom/darkroom.toml"))


def find_file(explicit: Path | None = None) -> Path | None:
    """The file that would be read: the one named, else `$DARKROOM_CONFIG`, else the first usual one that exists."""
    if explicit is not None:
        return explicit
    if named := os.environ.get(ENV_CONFIG):
        return Path(named)
    return next((path for path in USUAL_FILES if path.is_file()), None)


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration in force. `file` is what `--config` names, `overrides` what the command line says.

    Raises ConfigUnusable with every problem that can be found without running anything.
    """
    path = find_file(file)
    from_file, problems = _read_file(path)
    from_environment = _read_environment(problems)
    layers = [
        Layer(dict(overrides or {}), lambda keys: "--" + keys[-1].replace("_", "-")),
        Layer(from_environment, lambda keys: ENV_PREFIX + "__".join(keys).upper()),
        Layer(from_file, lambda keys: f"{path}: {'.'.join(keys)}"),
    ]
    usual = str(_style_book_beside(path))
    values = merge(layers, default={"styles": usual, "models": deepcopy(SHIPPED_MODELS)})
    if isinstance(files := as_several(values["styles"]), list):
        values["styles"] = [usual if file == "" else file for file in files]
    config = _validate(values, layers, problems)
    if config is not None:
        problems += contradictions(config)
    if problems or config is None:
        raise ConfigUnusable(tuple(problems), source=str(path) if path else "the configuration")
    return config


def relative_values(path: Path | None) -> dict[str, str]:
    """The paths in a file that mean another place from each working directory: key → value."""
    values, _ = _read_file(path)
    return relative(values)


def _read_file(path: Path | None) -> tuple[Values, list[Problem]]:
    if path is None:
        return {}, []
    try:
        return tomllib.loads(read_text(path)), []
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read: {error.strerror}.", "Name another file with --config.")]
    except RecursionError:
        return {}, [Problem(str(path), "is nested too deeply.", "Write each value as config/darkroom.toml does.")]
    except ValueError as error:  # or a number that Python will not read
        hint = "Correct this line first; the rest is read after it."
        if twice := re.search(r"Cannot declare \((.+)\) twice", str(error)):
            table = ".".join(re.findall(r"'([^']*)'", twice[1]))
            hint = f"[{table}] is in the file already: put these lines below that one."
        return {}, [Problem(str(path), f"is not valid TOML: {error}.", hint)]


def _read_environment(problems: list[Problem]) -> Values:
    problems += [_unknown_variable(name) for name in sorted(os.environ) if not _is_known_variable(name)]
    if not any(map(_sets_a_key, os.environ)):
        return {}
    from darkroom.config.environment import read_environment  # noqa: PLC0415 - see there

    try:
        return read_environment()
    except ValueError as error:
        problems.append(Problem("environment", f"{error}.", "Write tables as JSON, or one key a variable."))
        return {}


#: What Kubernetes sets in every container for a Service called darkroom or darkroom-…, and Docker for such a link.
_FOREIGN_VARIABLE = re.compile(
    r"DARKROOM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?|NAME|ENV_\w+)"
)


#: What a command of `notify` finds in its environment, always all of them: it may call `darkroom`, too.
TOLD_TO_COMMANDS = {
    "DARKROOM_REQUEST": "the name",
    "DARKROOM_ID": "the id",
    "DARKROOM_STATE": "`done`, `refused`, `failed` or `cancelled`",
    "DARKROOM_RESULT": "the path of its folder; empty where there is none",
    "DARKROOM_ANSWER": "the path of its answer",
    "DARKROOM_PICTURES": "how many there are",
    "DARKROOM_MESSAGE": "what went wrong; empty where nothing did",
}


def foreign_variables() -> list[str]:
    """What looks like a setting of ours, and is set by the platform: it means nothing to us."""
    unknown = [name for name in sorted(os.environ) if name.upper().startswith(ENV_PREFIX) and not _is_key(name)]
    return [name for name in unknown if _FOREIGN_VARIABLE.fullmatch(name)]


def _is_known_variable(name: str) -> bool:
    if name in TOLD_TO_COMMANDS and os.environ.keys() >= TOLD_TO_COMMANDS.keys():
        return True
    return not name.upper().startswith(ENV_PREFIX) or _is_key(name) or bool(_FOREIGN_VARIABLE.fullmatch(name))


def _sets_a_key(name: str) -> bool:
    return name != ENV_CONFIG and name.upper().startswith(ENV_PREFIX) and _is_key(name)


def _is_key(name: str) -> bool:
    key, _, rest = name.upper().removeprefix(ENV_PREFIX).partition("__")
    if name == ENV_CONFIG:
        return True
    return key.lower() in Config.model_fields and (not rest or key.lower() in _TABLES)


def _unknown_variable(name: str) -> Problem:
    known = [ENV_CONFIG, *(ENV_PREFIX + key.upper() for key in Config.model_fields)]
    return Problem(name, "is not a setting of Darkroom.", did_you_mean(name, known), ErrorCode.UNKNOWN_KEY)


def _style_book_beside(path: Path | None) -> Path:
    beside = path.absolute().parent / "styles.toml" if path else None
    return beside if beside and beside.is_file() else shipped("config/styles.toml")


#: What a table that people name holds.
_TABLES: Mapping[str, type[BaseModel]] = {
    "models": ModelSettings, "loras": LoraSettings, "embeddings": EmbeddingSettings, "controls": ControlSettings,
    "upscalers": UpscalerSettings,
}  # fmt: skip
_MISSING = {
    "source": 'Say where it comes from: source = "…".',
    "family": 'Say which models it was made for: family = "stable-diffusion", or another one.',
}


def _validate(values: Values, layers: list[Layer], problems: list[Problem]) -> Config | None:
    """The configuration; with problems, what is left of it without the keys that have them, to look further."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems += [_translate(detail, layers) for detail in details]
    for detail in details:
        path = _path(detail)
        # A table without what it must have has no default: it goes whole.
        is_whole = path[0] in _TABLES and path[-1] in ("source", "family")
        values = without(values, path[:2] if is_whole else path)
    try:
        return Config.model_validate(values)
    except ValidationError:
        return None


def _path(detail: ErrorDetails) -> list[str]:
    """Without the number of what stands in a list: the key is where a person looks."""
    return [str(key) for key in detail["loc"] if isinstance(key, str)]


def _translate(detail: ErrorDetails, layers: list[Layer]) -> Problem:
    """A validation error as a person's problem, with the place where the value was written."""
    where = origin(layers, _path(detail))
    last = _path(detail)[-1]
    if detail["type"] == "extra_forbidden":
        table = _TABLES.get(str(detail["loc"][0]))
        hint = did_you_mean(last, list((table or Config).model_fields))
        if table is None and last in ModelSettings.model_fields:
            hint = "It belongs in a [models.ALIAS] table."
        if table is not None and last in Config.model_fields and last not in table.model_fields:
            hint = "It belongs further up, above the first table (a name in brackets)."
        return Problem(where, "is not a key of the configuration.", hint, ErrorCode.UNKNOWN_KEY)
    if detail["type"] == "missing":
        return Problem(where, "is missing.", _MISSING[last], ErrorCode.MISSING_KEY)
    if detail["type"] in ("model_type", "dict_type"):
        return Problem(where, f"should be a table; {detail['input']!r} was given.")
    hint = detail["ctx"]["hint"] if detail["type"] == OWN_WORDS else ""
    return Problem(where, f"{_due(detail)}, not {json.dumps(detail['input'], ensure_ascii=False, default=str)}.", hint)


#: What a value must be, by the type of the error that says that it is not.
_DUE = {
    "path_type": "a path, in quotes",
    "string_type": "a text, in quotes",
    "string_too_short": "a text that is not empty",
    "tuple_type": "a text in quotes, or a list of such",
    "too_short": "a text that is not empty, or a list of such",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "byte_size": 'a number of bytes, or a text like "2 GiB"',
    "byte_size_unit": 'a number of bytes, or a text like "2 GiB"',
    "literal_error": "{expected}",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "letters, digits, `.`, `_` and `-`, at most 64",
}


def _due(detail: ErrorDetails) -> str:
    if detail["type"] in _DUE:
        return "must be " + _DUE[detail["type"]].format(**detail.get("ctx", {}))
    return detail["msg"]
