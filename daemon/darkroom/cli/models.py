"""models: what there is and what it takes; models pull: have one here; models try: one small picture of it."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.configured import configuration
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError, ModelUnavailable
from darkroom.executor.devices import likely_devices
from darkroom.models import embeddings
from darkroom.models.card import ModelCard
from darkroom.models.family import Family
from darkroom.models.files import Fate, Unusable
from darkroom.models.judge import LOCAL, Judgement, judge
from darkroom.models.loras import misfits, read_all
from darkroom.models.size import Size, size_of
from darkroom.models.source import ModelSource
from darkroom.printable import printable
from darkroom.request.decide import Known
from darkroom.spelling import suggestion

PULL, TRY = "pull", "try"
#: What of a model's table says how it is loaded.
LOADING_KEYS = (
    "source", "revision", "variant", "base", "vae", "text_encoder", "prediction", "dtype", "quantize", "offload",
    "safety_checker",
)  # fmt: skip
#: How much of a commit is enough to tell it from others.
COMMIT_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Row:
    """A model, as far as it can be told from its files."""

    source: ModelSource
    card: ModelCard
    found: Judgement
    size: Size | None
    dtype: str  #: that it is loaded in

    @property
    def memory_bytes(self) -> int | None:
        """What its weights take where it is loaded."""
        if self.size is None:
            return None
        return sum(self.size.memory(self.dtype, self.source.quantize).values())

    @property
    def lacks(self) -> str:
        """What is wrong with it, and what to do; "" for what can be rendered."""
        return "" if self.found.fate is Fate.USABLE else f"{self.found.message} {self.found.hint}".strip()

    def as_json(self) -> dict[str, Any]:
        """For programs; what is not known is null."""
        family = self.card.family
        return {
            "alias": self.source.alias,
            "source": self.source.source,
            "family": family.key,
            "state": self.found.fate.name.lower(),
            "lacks": self.lacks,
            "folder": str(self.found.folder) if self.found.folder is not None else None,
            "files": self.size.files if self.size else None,
            "disk_bytes": self.size.disk_bytes if self.size else None,
            "memory_bytes": self.memory_bytes,
            "dtype": self.dtype,
            "quantize": self.source.quantize,
            "offload": self.source.offload,
            "revision": self.found.revision,
            "width": self.card.width,
            "height": self.card.height,
            "max_px": self.card.max_px,
            "num_inference_steps": self.card.num_inference_steps,
            "scales": dict(self.card.scales),
            "schedulers": list(family.schedulers),
            "negative_prompt": family.negative,
        }


def models(args: argparse.Namespace) -> int:
    """List the models, show one whole, or do something with one."""
    config = configuration(args)
    verb, alias = (args.alias, args.of) if args.alias in (PULL, TRY) and args.of else (None, args.alias)
    if verb is None and args.of is not None:
        raise DarkroomError(f"There is no `models {args.alias}`.", hint=f"Say {PULL} or {TRY}, and which model.")
    if alias is not None and alias not in config.models:
        if alias in (PULL, TRY):
            raise DarkroomError(f"`models {alias}` needs a model.", hint=f"darkroom models {alias} ALIAS")
        raise DarkroomError(f"There is no model {alias}.", hint=suggestion(alias, config.models))
    if verb == PULL:
        return _pull(config, alias)
    if verb == TRY:
        from darkroom.cli.trying import try_model

        return try_model(config, alias)
    sources = [source for name, source in config.sources().items() if alias in (None, name)]
    devices = likely_devices(config.device).values()
    is_processor = all(device is None or device.name == "cpu" for device in devices)
    rows = [_row(config, source, is_processor=is_processor) for source in sources]
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1, ensure_ascii=True))
        return DONE
    return _list(config, rows) if alias is None else _show(config, rows[0])


def _row(config: Config, source: ModelSource, *, is_processor: bool) -> Row:
    found = judge(source, config.model_cache / "hub", offline=config.offline)
    card = config.rules().card(source.alias, Known(found.family))
    size = size_of(found) if found.fate is Fate.USABLE else None
    dtype = card.family.half if source.dtype == "auto" else source.dtype
    return Row(source, card, found, size, "float32" if is_processor and source.dtype != "bfloat16" else dtype)


def _list(config: Config, rows: list[Row]) -> int:
    cells = [_cells(row, is_default=row.source.alias == config.default_model) for row in rows]
    terminal.out().print(*terminal.columns(*cells), sep="\n")
    for row in rows:
        if row.found.fate in (Fate.HELD, Fate.NEVER):
            terminal.out().print(f"\n{row.source.alias} can't be rendered: {row.lacks}")
    _list_more("LoRAs, the words that they were trained with, and the models that they fit", Loras(config), rows)
    _list_more(
        "Embeddings, the words that prompts have them by, and the models that read them", Embeddings(config), rows
    )
    return DONE


def _list_more(title: str, those: Loras | Embeddings, rows: list[Row]) -> None:
    if those.files:
        terminal.out().print(f"\n{title}:\n")
        fits = {row.source.alias: those.that_fit(row.source.alias, row.found) for row in rows}
        lines = [(Text(alias, style="bold"), Text(those.in_words(alias, fits))) for alias in those.files]
        terminal.out().print(*terminal.columns(*lines), sep="\n")


class Embeddings:
    """Those of the configuration, as far as it can be told from their files."""

    def __init__(self, config: Config) -> None:
        self._sources = config.embedding_sources()
        self.files = embeddings.read_all(self._sources.values())

    def that_fit(self, alias: str, found: Judgement) -> list[str]:
        """Those that a model reads, as far as its files and theirs tell."""
        if found.family is None or not found.family.embeddings:
            return []
        wrong = embeddings.misfits(found, self.files)
        meant = {name: each.models for name, each in self._sources.items() if name not in wrong}
        return [name for name, models in meant.items() if not models or alias in models]

    def in_words(self, alias: str, fits: Mapping[str, Collection[str]]) -> str:
        """In one line; `fits` says which there are for each model."""
        file = self.files[alias]
        if isinstance(file, Unusable):
            return f"can't be used: {file.message} {file.hint}"
        models = ", ".join(model for model, names in fits.items() if alias in names) or "none of the models here"
        return f"{self._sources[alias].word}, {file.in_words} — for {models}"


class Loras:
    """Those of the configuration, as far as it can be told from their files."""

    def __init__(self, config: Config) -> None:
        self._sources = config.lora_sources()
        self.files = read_all(self._sources.values())

    def that_fit(self, alias: str, found: Judgement) -> list[str]:
        """Those that a model can be rendered with, as far as its files and theirs tell."""
        if found.family is None or not found.family.loras:
            return []
        wrong = misfits(found, self.files)
        meant = {name: lora.models for name, lora in self._sources.items() if name not in wrong}
        return [name for name, models in meant.items() if not models or alias in models]

    def in_words(self, alias: str, fits: Mapping[str, Collection[str]]) -> str:
        """In one line; `fits` says which there are for each model."""
        file = self.files[alias]
        if isinstance(file, Unusable):
            return f"can't be used: {file.message} {file.hint}"
        words = ", ".join(self._sources[alias].trigger) or file.trigger or "no words"
        models = ", ".join(model for model, names in fits.items() if alias in names) or "none of the models here"
        return f"{printable(words)} — for {models}"


def _cells(row: Row, *, is_default: bool) -> tuple[Text, ...]:
    card, name = row.card, Text(row.source.alias, style="bold")
    what = f"{card.width}×{card.height}, {card.family.title}, {row.source.source}"
    held = {Fate.ABSENT: "not downloaded", Fate.HELD: "held", Fate.NEVER: "can't be rendered"}
    takes = held.get(row.found.fate, "")
    if row.size is not None:
        disk, memory = terminal.size(row.size.disk_bytes), terminal.size(row.memory_bytes or 0)
        takes = f"{disk} on disk, {memory} as {row.source.quantize or row.dtype}"
    revision = "" if row.found.revision == LOCAL else row.found.revision[:COMMIT_DIGITS]
    return name, Text(what), Text(takes), Text(revision + ("  (default)" if is_default else ""))


def _show(config: Config, row: Row) -> int:
    told = config.models[row.source.alias]
    chosen = {key: _in_words(getattr(told, key)) for key in LOADING_KEYS}
    size = {}
    if row.size is not None:
        files = f"{row.size.files} file{'s' * (row.size.files != 1)}"
        said = f"{terminal.size(row.size.disk_bytes)} in {files}"
        parts = sorted(row.size.memory(row.dtype, row.source.quantize).items(), key=lambda each: -each[1])
        of_parts = ", ".join(f"{part} {terminal.size(count)}" for part, count in parts)
        size = {
            "on disk": said,
            "in memory": f"{terminal.size(row.memory_bytes or 0)} as {row.source.quantize or row.dtype}: {of_parts}",
        }
    loras = Loras(config)
    its_loras = {"loras": ", ".join(loras.that_fit(row.source.alias, row.found))}
    its_loras["embeddings"] = ", ".join(Embeddings(config).that_fit(row.source.alias, row.found))
    its_files = {"its files": f"{row.found.message} {row.found.hint}".strip()}
    terminal.fields(chosen | _can_do(row.card) | its_loras | size | its_files)
    if row.source.is_starter:
        from darkroom.starter.vocabulary import concepts

        print("\nIt draws these things, in the styles and colours that the prompt names:\n")
        print(textwrap.fill(", ".join(concepts()) + ".", 100))
    return DONE


def _in_words(value: object) -> object:
    return ", ".join(value) if isinstance(value, tuple) else value


def _can_do(card: ModelCard) -> dict[str, object]:
    """What requests can ask of a model, in the words of their keys; the defaults first."""
    family = card.family
    sides = f"{card.min_px} to {card.max_px}, multiples of {family.step_px}"
    others = [name for name in family.schedulers if name != card.scheduler]
    negative = "none"
    if family.negative:
        negative = f"where {family.cfg} is above {family.cfg_above:g}" if family.cfg else "yes"
    return {
        "family": family.title,
        "width": f"{card.width} ({sides})",
        "height": f"{card.height} ({sides})",
        "num_inference_steps": f"{card.num_inference_steps}"
        + (f" (made for few: {family.made_for} at most)" if family.made_for else ""),
        **{key: f"{value:g}" for key, value in card.scales.items()},
        "scheduler": card.scheduler + (f" (or {', '.join(others)})" if others else ""),
        "negative_prompt": negative,
        "pictures": _pictures(family),
        "default_style": ", ".join(card.default_style or ()),
    }


def _pull(config: Config, alias: str) -> int:
    """Download a model, and check what came."""
    from darkroom.executor.pull import pull
    from darkroom.models.judge import local_folder

    source = config.sources()[alias]
    folder = local_folder(source)
    if source.is_testcard or folder is not None:
        where = f"it is in {folder}" if folder is not None else "it has no files"
        terminal.out().print(f"{alias} is not from the hub, so there is nothing to download: {where}.")
        return DONE
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=terminal.err()
    )
    terminal.err().print(f"{source.source} → {config.model_cache}")
    try:
        with bar:
            task = bar.add_task(alias, total=None)
            done = pull(
                config.renderer_settings(),
                alias,
                lambda come, total: bar.update(task, completed=come, total=total),
            )
    except ModelUnavailable as error:
        terminal.complain(str(error))
        return REFUSED_OR_FAILED
    size = terminal.size(done.size_bytes)
    terminal.out().print(f"{alias} is here, whole: {size} at {done.revision}, in {done.folder}.")
    return DONE


def _pictures(family: Family) -> str:
    """The keys of a request that bring pictures."""
    keys = {"init": "init_image", "mask": "mask_image", "control": "control"}
    can = [key for way, key in keys.items() if way in family.siblings]
    if family.references:
        must = ", required" if family.fewest_references else ""
        can.append(f"reference_images ({family.references} at most{must})")
    return ", ".join(can) or "none"
