"""Every key of the configuration: what it may be, and what it is when nobody says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field
from pydantic_core import PydanticCustomError

from darkroom import window
from darkroom.config.book import read_book
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
)
from darkroom.config.reading import read_text
from darkroom.errors import ConfigUnusable, Problem, in_words
from darkroom.executor.settings import ClusterSettings, PictureMetadata, RendererSettings
from darkroom.http.address import Address
from darkroom.models.source import (
    ControlSource,
    EmbeddingSource,
    LoraSource,
    ModelSource,
    UpscalerSource,
)
from darkroom.request.dynamic import lines_of
from darkroom.request.styles import StyleBook

if TYPE_CHECKING:
    from darkroom.request.decide import Rules


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
        from darkroom.request.decide import Rules  # noqa: PLC0415 - a tenth of a second, and most commands decide nothing

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
