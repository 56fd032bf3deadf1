"""The configuration: command line over `DARKROOM_…` environment over file over defaults, all problems at once."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from darkroom import window
from darkroom.config.book import read_book
from darkroom.config.layers import Layer, Values, merge, origin, without
from darkroom.config.models import (
    OWN_WORDS,
    SEVERAL,
    SHIPPED_MODELS,
    ControlSettings,
    EmbeddingSettings,
    LoraSettings,
    ModelSettings,
    Names,
    UpscalerSettings,
    absolute,
    as_several,
    has_letter,
)
from darkroom.config.reading import read_text
from darkroom.disk.mounts import kind_of
from darkroom.errors import ConfigUnusable, ErrorCode, Problem, in_words
from darkroom.executor.settings import ClusterSettings, PictureMetadata, RendererSettings
from darkroom.http.address import Address
from darkroom.models.source import (
    ControlSource,
    EmbeddingSource,
    LoraSource,
    ModelSource,
    UpscalerSource,
    is_file_name,
)
from darkroom.request.decide import Rules
from darkroom.request.dynamic import lines_of
from darkroom.request.styles import StyleBook
from darkroom.spelling import nearest

ENV_PREFIX = "DARKROOM_"
#: Names the file; it is not a key of it.
ENV_CONFIG = "DARKROOM_CONFIG"
#: Where the file is looked for when nobody names one; relative to the working directory.
USUAL_FILES = (Path("config/darkroom.toml"), Path("/etc/darkroom/darkroom.toml"))


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise PydanticCustomError(OWN_WORDS, "must be auto, cpu, cuda or cuda:N", {"hint": ""})
    return "cuda:0" if name == "cuda" else name


def _devices(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > 1 and "auto" in names:
        hint = '"auto" is every CUDA device; name none beside it.'
        raise PydanticCustomError(OWN_WORDS, "must be auto, or the devices by name", {"hint": hint})
    if len(set(names)) < len(names):
        hint = "For several renderers on one device: renderers_per_device."
        raise PydanticCustomError(OWN_WORDS, "must name each device once", {"hint": hint})
    return names


def _split(value: object) -> object:
    """No device has a comma in its name: this is how several are written on the command line."""
    return value.replace(" ", "").split(",") if isinstance(value, str) and "[" not in value else value


def _hours(text: str) -> str:
    try:
        window.parse(text)
    except ValueError:
        hint = 'Write it like "22:00-06:00"; "" is always.'
        raise PydanticCustomError(OWN_WORDS, "must be two times of day", {"hint": hint}) from None
    return text


def _http(text: str) -> str:
    try:
        return str(Address.parse(text)) if text else ""
    except ValueError:
        hint = '"127.0.0.1:8001" can be asked from this machine alone.'
        raise PydanticCustomError(OWN_WORDS, "must be a host and a port", {"hint": hint}) from None


def _textfile(text: str) -> str:
    if text and not text.endswith(".prom"):
        hint = "The node exporter reads no others."
        raise PydanticCustomError(OWN_WORDS, "must be the name of a file that ends in .prom", {"hint": hint})
    return str(absolute(Path(text))) if text else ""


def _ray_address(text: str) -> str:
    if text and not re.fullmatch(r"[^\s:/\[\]]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", text):
        hint = 'As `ray start --head` tells it: "10.0.0.1:6379", without "ray://".'
        raise PydanticCustomError(OWN_WORDS, "must be a host and a port", {"hint": hint})
    return text


def _ray_resources(amounts: dict[str, float]) -> dict[str, float]:
    if not amounts or not all(0 < amount <= 1024 and name.strip() for name, amount in amounts.items()):
        hint = 'Name what one renderer takes of a machine: {GPU = 1}, or {"painter" = 1}.'
        raise PydanticCustomError(OWN_WORDS, "must be names with amounts above 0", {"hint": hint})
    return amounts


def _not_empty(value: object) -> object:
    """The empty path would be the folder that one happens to be in."""
    if value == "":
        raise PydanticCustomError(OWN_WORDS, "must be a path", {"hint": "Leave it out for the default."})
    return value


def _file(text: str) -> str:
    return str(absolute(Path(text))) if text else ""


Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Folder = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(absolute)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 7)]


def _shipped_models() -> dict[str, ModelSettings]:
    return {alias: ModelSettings(**table) for alias, table in SHIPPED_MODELS.items()}


def shipped(name: str) -> Path:
    """A file that comes with Darkroom ("config/styles.toml"): of the checkout, or the installed package's own copy."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / name
    return checkout if (package.parents[1] / "pyproject.toml").is_file() else package / "data" / name


class Config(BaseModel):
    """All that can be configured; `config/darkroom.toml` explains each key. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    inbox: Folder = Field(Path("inbox"), validate_default=True)
    outbox: Folder = Field(Path("outbox"), validate_default=True)
    state_dir: Folder = Field(Path("state"), validate_default=True)
    model_cache: Folder = Field(Path("models"), validate_default=True)

    default_model: str = "starter"
    default_style: Annotated[Names, Field(min_length=1)] = ("fantasy",)
    styles: Annotated[tuple[Folder, ...], *SEVERAL, Field(min_length=1)] = Field(
        default_factory=lambda: (shipped("config/styles.toml"),)
    )
    picture_metadata: PictureMetadata = "full"
    device: Annotated[
        tuple[Annotated[str, AfterValidator(_device)], ...],
        *SEVERAL,
        BeforeValidator(_split),
        Field(min_length=1),
        AfterValidator(_devices),
    ] = ("auto",)
    renderers_per_device: Annotated[int, Field(ge=1, le=64)] = 1
    offline: bool = False
    preload: bool = True
    resident_models: Annotated[int, Field(ge=1, le=64)] = 4
    idle_unload_s: Annotated[float, Field(ge=0, le=86_400 * 7)] = 0.0

    wildcards: dict[Alias, Folder] = Field(default_factory=dict)

    executor: Literal["local", "ray"] = "local"
    ray_address: Annotated[str, AfterValidator(_ray_address)] = ""
    ray_resources: Annotated[dict[str, float], AfterValidator(_ray_resources)] = Field(
        default_factory=lambda: {"GPU": 1.0}
    )
    ray_token_file: Annotated[str, AfterValidator(_file)] = ""

    render_between: Annotated[str, AfterValidator(_hours)] = ""
    settle_s: Seconds = 10.0
    network_settle_s: Seconds = 60.0
    scan_interval_s: Seconds = 1.0
    max_priority: Annotated[int, Field(ge=-10, le=10)] = 0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    warm_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 16
    warm_s: Annotated[float, Field(ge=0, le=86_400 * 7)] = 300.0
    stall_s: Seconds = 300.0
    stop_within_s: Annotated[float, Field(ge=0, le=3600)] = 20.0
    max_undelivered_bytes: ByteSize = ByteSize(2 * 1024**3)
    min_free_bytes: ByteSize = ByteSize(256 * 1024**2)
    history_days: Annotated[float, Field(gt=0, le=36_500)] = 90.0
    heartbeat_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    gallery: bool = True

    http: Annotated[str, AfterValidator(_http)] = ""
    textfile: Annotated[str, AfterValidator(_textfile)] = ""
    notify: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], *SEVERAL] = ()

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    models: dict[Alias, ModelSettings] = Field(default_factory=_shipped_models)
    loras: dict[Alias, LoraSettings] = Field(default_factory=dict)
    embeddings: dict[Alias, EmbeddingSettings] = Field(default_factory=dict)
    controls: dict[Alias, ControlSettings] = Field(default_factory=dict)
    upscalers: dict[Alias, UpscalerSettings] = Field(default_factory=dict)

    def style_book(self) -> StyleBook:
        """Read the style book, of all its files. Raises ConfigUnusable with every problem in it."""
        return read_book(self.styles)

    def wildcard_lists(self) -> dict[str, tuple[str, ...]]:
        """The lists that prompts can name. Raises ConfigUnusable for files that cannot be read, or say nothing."""
        found, problems = {}, []
        for name, file in self.wildcards.items():
            try:
                found[name] = tuple(lines_of(read_text(file)))
            except OSError as error:
                message = f"{file} cannot be read: {in_words(error)}."
                problems.append(Problem(f"wildcards.{name}", message, "Name a text file in UTF-8, one choice a line."))
            else:
                if not found[name]:
                    problems.append(Problem(f"wildcards.{name}", f"{file} has no lines.", "Write one choice a line."))
        if problems:
            raise ConfigUnusable(tuple(problems))
        return found

    def rules(self) -> Rules:
        """What requests are decided by. Raises ConfigUnusable for a broken style book or names that lead nowhere."""
        return Rules(
            self.style_book(), self.sources(), self.default_model, self.default_style, self.max_priority,
            self.wildcard_lists(), self.lora_sources(), self.control_sources(), self.upscaler_sources(),
            self.embedding_sources(),
        )  # fmt: skip

    def sources(self) -> dict[str, ModelSource]:
        """Every configured model, by alias."""
        plain = {alias: model.of(alias) for alias, model in self.models.items()}
        return {alias: model.of(alias, plain.get(model.base)) for alias, model in self.models.items()}

    def lora_sources(self) -> dict[str, LoraSource]:
        """Every configured LoRA, by alias."""
        return {alias: lora.of(alias) for alias, lora in self.loras.items()}

    def embedding_sources(self) -> dict[str, EmbeddingSource]:
        """Every configured embedding, by alias."""
        return {alias: embedding.of(alias) for alias, embedding in self.embeddings.items()}

    def control_sources(self) -> dict[str, ControlSource]:
        """Every configured ControlNet, by alias."""
        return {alias: control.of(alias) for alias, control in self.controls.items()}

    def upscaler_sources(self) -> dict[str, UpscalerSource]:
        """Every configured upscaler, by alias."""
        return {alias: upscaler.of(alias) for alias, upscaler in self.upscalers.items()}

    def renderer_settings(self) -> RendererSettings:
        """What every renderer process is started with; its device stands in its `Place`."""
        return RendererSettings(
            self.sources(),
            self.lora_sources(),
            model_cache=str(self.model_cache),
            offline=self.offline,
            picture_metadata=self.picture_metadata,
            resident_models=self.resident_models,
            controls=self.control_sources(),
            embeddings=self.embedding_sources(),
            upscalers=self.upscaler_sources(),
        )

    def cluster_settings(self) -> ClusterSettings:
        """Where the Ray cluster is, and what a renderer takes of it."""
        return ClusterSettings(self.ray_address, dict(self.ray_resources), self.ray_token_file)


class _Environment(Config, BaseSettings):
    """The same keys, read from `DARKROOM_…`; a model's are `DARKROOM_MODELS__ALIAS__KEY`."""

    # Only its fields are read, never a value validated: what that takes need not be built.
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, defer_build=True
    )


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
        problems += _contradictions(config)
    if problems or config is None:
        raise ConfigUnusable(tuple(problems), source=str(path) if path else "the configuration")
    return config


def relative_values(path: Path | None) -> dict[str, str]:
    """The paths in a file that mean another place from each working directory: key → value."""
    values, _ = _read_file(path)
    found = {key: values[key] for key in ("inbox", "outbox", "state_dir", "model_cache") if values.get(key)}
    files = as_several(values.get("styles", ""))
    found["styles"] = ", ".join(filter(_is_relative, files if isinstance(files, list) else ()))
    for kind in _TABLES:
        tables = values.get(kind, {})
        for alias, table in tables.items() if isinstance(tables, dict) else ():
            if isinstance(table, dict) and str(table.get("source", "")).startswith(("./", "../")):
                found[f"{kind}.{alias}.source"] = table["source"]
    return {key: value for key, value in found.items() if _is_relative(value)}


def _is_relative(path: object) -> bool:
    return isinstance(path, str) and path != "" and not path.startswith(("/", "~"))


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
    try:
        return EnvSettingsSource(_Environment)()
    except (SettingsError, RecursionError) as error:
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


def _is_key(name: str) -> bool:
    key, _, rest = name.upper().removeprefix(ENV_PREFIX).partition("__")
    if name == ENV_CONFIG:
        return True
    return key.lower() in Config.model_fields and (not rest or key.lower() in _TABLES)


def _unknown_variable(name: str) -> Problem:
    known = [ENV_CONFIG, *(ENV_PREFIX + key.upper() for key in Config.model_fields)]
    return Problem(name, "is not a setting of Darkroom.", _nearest(name, known), ErrorCode.UNKNOWN_KEY)


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
        hint = _nearest(last, list((table or Config).model_fields))
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


def _nearest(name: str, known: list[str]) -> str:
    near = nearest(name, known, count=1)
    return f"Did you mean {near[0]}?" if near else ""


def _contradictions(config: Config) -> list[Problem]:
    """What is wrong between keys that are each right."""
    problems = _tangled_folders(config)
    try:
        config.rules()
    except ConfigUnusable as error:
        problems += error.problems
    for alias, model in config.models.items():
        problems += [Problem(f"models.{alias}.{key}", message) for key, message in model.contradictions()]
    for alias, embedding in config.embeddings.items():
        if not has_letter(embedding.word or alias):
            hint = "A number alone would be found in the weights of prompts: choose a word with a letter."
            problems.append(Problem(f"embeddings.{alias}.word", "is missing, and the alias has no letter.", hint))
    problems += [*_bases(config), *_alike(config)]
    if config.executor == "ray":
        problems += _without_ray(config)
    if kind_of(config.state_dir).network:
        message = f"{config.state_dir} lies on a network file system ({kind_of(config.state_dir).kind})."
        problems.append(Problem("state_dir", message, "What must survive a power cut needs a local disk: name one."))
    return problems


def _without_ray(config: Config) -> list[Problem]:
    """What the cluster needs and is not there."""
    problems = []
    if not config.ray_address:
        hint = "Name the head of the cluster: host and port, as `ray start --head` tells them."
        problems.append(Problem("ray_address", "is missing, and executor is ray.", hint))
    if not _is_installed("ray"):
        problems.append(Problem("executor", "is ray, which is not installed.", "pip install 'darkroom[ray]'"))
    return problems


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _bases(config: Config) -> list[Problem]:
    """A base has to be a model whose parts are all its own."""
    problems = []
    for alias, model in config.models.items():
        if model.base and model.base not in config.models:
            message = f"names {model.base}, and no model is called so."
            problems.append(Problem(f"models.{alias}.base", message, _nearest(model.base, list(config.models))))
        elif model.base and (config.models[model.base].base or is_file_name(config.models[model.base].source)):
            message = f"names {model.base}, which is one file itself."
            hint = "Name a model that is a folder, or on the hub."
            problems.append(Problem(f"models.{alias}.base", message, hint))
    return problems


def _alike(config: Config) -> list[Problem]:
    """Text encoders don't tell capitals from small letters."""
    aliases = {alias.lower(): alias for alias in config.embeddings}
    return [
        Problem(
            f"embeddings.{alias}", f"is called like {aliases[alias.lower()]}.", "Give it another alias; `word` stays."
        )
        for alias in config.embeddings
        if aliases[alias.lower()] != alias
    ]


def _tangled_folders(config: Config) -> list[Problem]:
    """Compared as they are written: to follow links would wait for a share that hangs."""
    names = ("inbox", "outbox", "state_dir")
    folders: dict[str, Path] = {name: getattr(config, name) for name in names}
    return [
        Problem(name, f"is the same as {other}, or one lies inside the other.", "Give each a folder of its own.")
        for index, name in enumerate(names)
        for other in names[:index]
        if folders[name].is_relative_to(folders[other]) or folders[other].is_relative_to(folders[name])
    ]
