"""explain: what was decided for a picture, in words or as Python."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from darkroom import hearsay
from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.exits import DONE
from darkroom.config.reading import read_begin
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError
from darkroom.executor.devices import likely_devices
from darkroom.explain import made
from darkroom.explain.files import Alone, ControlFiles, ModelFiles, VectorsFile
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.explain.words import words
from darkroom.foreign import carried
from darkroom.models.embeddings import EmbeddingFile, placed, read_all, widths_of
from darkroom.models.family import Family
from darkroom.models.files import Fate, Unusable
from darkroom.models.header import read_header
from darkroom.models.judge import INDEX, LOCAL, Judgement, judge
from darkroom.models.lora_names import Pairs, by_authors, is_read
from darkroom.models.one_file import Part
from darkroom.models.source import ControlSource, LoraSource, ModelSource
from darkroom.printable import printable

_LIMIT_BYTES = 4 << 20
#: Keys of a scheduler that a single file may know better than its base.
TRAINING = ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing")


def explain(args: argparse.Namespace) -> int:
    """Say it, or print it."""
    config = configuration(args)
    of = _made(args, config)
    if of.plan.upscale is not None:
        return _explain_enlarging(args, of, config)
    model = _Model(of, config)
    if args.as_python:
        sys.stdout.write(script(of, model.files(), remarks=model.remarks))
        return DONE
    files = model.files() if model.is_whole else None
    return _say(words(of, model.found.family if model.found else None, where=model.where, files=files))


def _explain_enlarging(args: argparse.Namespace, of: Made, config: Config) -> int:
    """What no model has painted."""
    if not args.as_python:
        return _say(words(of, None, where="", files=None))
    upscalers = {alias: each.source for alias, each in config.upscaler_sources().items()}
    files = ModelFiles(pipeline="", place="", index={}, upscalers=upscalers, device=_device(config))
    sys.stdout.write(script(of, files))
    return DONE


def _device(config: Config) -> str:
    name, device = next(iter(likely_devices(config.device).items()))
    return device.name if device is not None else name


def _say(lines: list[tuple[str, str]]) -> int:
    cells = [(Text(title, style="bold"), Text(printable(text))) for title, text in lines]
    terminal.out().print(*terminal.columns(*cells), sep="\n")
    return DONE


# What is meant -------------------------------------------------------------------------------------------------------


def _made(args: argparse.Namespace, config: Config) -> Made:
    """A path that is there is meant before a name."""
    path = Path(args.of)
    if (path / "answer.json").is_file():
        return _of_folder(path, args.image)
    if path.is_file() and path.suffix != ".json":
        return _of_picture(path, args.image)
    client = client_of(config)
    answer = client.answer(args.of)
    if answer is None:
        raise client.unknown(args.of)
    result = client.place_of(answer, args.of).parent / Path(str(answer.get("result", ""))).name
    return made.of_answer(answer, number=args.image, asked=_asked(result))


def _of_folder(folder: Path, number: int | None) -> Made:
    answer = hearsay.read(_read(folder / "answer.json"), hearsay.ANSWER)
    if answer is None:
        raise DarkroomError(f"{folder / 'answer.json'} is not an answer of Darkroom.")
    return made.of_answer(answer, number=number, asked=_asked(folder))


def _of_picture(path: Path, number: int | None) -> Made:
    try:
        texts = carried.texts_of(read_begin(path, carried.MAX_BYTES))
    except DarkroomError as error:
        raise DarkroomError(f"{path}: {error.message}", hint=error.hint) from None
    record = carried.record_in(texts)
    if number is not None:
        raise DarkroomError(f"{path} is one picture already.", hint="Leave `--image` out.")
    if record is None:
        hint = "Name the folder that it came in, or the request: what Darkroom delivers has an answer.json beside it."
        raise DarkroomError(f"{path} says nothing of how it was made.", hint=hint)
    of = made.of_record(record, name=path.stem)
    return replace(of, tokens=_tokens_beside(path, of))


def _tokens_beside(path: Path, of: Made) -> Mapping[str, Any]:
    """A picture does not say how much of its texts was read; the answer that it came with does."""
    try:
        beside = _of_folder(path.parent, None)
    except (OSError, DarkroomError):
        return {}
    return beside.tokens if beside.plan == of.plan else {}


def _asked(folder: Path) -> Mapping[str, Any] | None:
    try:
        request = json.loads(_read(folder / "request.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def _read(file: Path) -> bytes:
    return read_begin(file, _LIMIT_BYTES)


# The model -----------------------------------------------------------------------------------------------------------


class _Model:
    """The model of a plan, as far as it can be seen from here."""

    def __init__(self, of: Made, config: Config) -> None:
        self._alias = of.plan.model
        self._config = config
        self._plan = of.plan
        loras = config.lora_sources()
        self._loras = [loras[each.name] for each in of.plan.loras if each.name in loras]
        self._source = config.sources().get(self._alias)
        self.remarks: tuple[str, ...] = ()
        self.found = self._judged(of) if self._source is not None else None

    def _judged(self, of: Made) -> Judgement:
        """At the commit that rendered it, if that is here."""
        assert self._source is not None  # noqa: S101 - nobody asks before
        found = self._judgement(self._source)
        if of.revision in (None, LOCAL, found.revision):
            return found
        as_it_was = self._judgement(replace(self._source, revision=of.revision))
        if as_it_was.fate is Fate.USABLE:
            return as_it_was
        self.remarks = (f"It was rendered by the model at {of.revision}, which is not here.",)
        return found

    def _judgement(self, source: ModelSource) -> Judgement:
        return judge(source, self._config.model_cache / "hub", offline=True)

    @property
    def is_whole(self) -> bool:
        """Whether its files are here."""
        return self.found is not None and self.found.fate is Fate.USABLE and self.found.place is not None

    @property
    def where(self) -> str:
        """Where its files are, or why they are not."""
        if self._source is None or self.found is None:
            return f"the configuration has no model {self._alias} any more"
        if self._source.is_testcard:
            return "it is painted without a model's files"
        if not self.is_whole:
            return f"its files can't be seen from here: {self.found.message}"
        return f"its files are in {self.found.place}"

    def files(self) -> ModelFiles:
        """Raises DarkroomError where they can't be written down."""
        if self._source is not None and self._source.is_testcard:
            raise DarkroomError("A test card is painted by Darkroom itself: no Python of diffusers makes it.")
        source, found = self._source, self.found
        if source is None or found is None or found.place is None or found.family is None or not self.is_whole:
            raise DarkroomError(f"{self.where.capitalize()}.", hint="Ask where the model's files are.")
        is_local = found.revision == LOCAL
        here = str(found.folder or found.file)
        return ModelFiles(
            pipeline=found.family.pipeline,
            place=here if is_local else source.source,
            revision=None if is_local else found.revision,
            cache=None if is_local else str(self._config.model_cache / "hub"),
            index=json.loads(_read(found.folder / INDEX)) if found.folder is not None else _index_of(found),
            scheduler=_saved(found),
            variant=found.variant,
            preset=next((lora.preset for lora in self._loras if lora.preset), source.preset),
            loras={lora.alias: str(lora.file) for lora in self._loras},
            respelled=_respelled(self._loras, found.family),
            embeddings=self._embeddings(found),
            is_starter=source.is_starter,
            is_one_file=found.folder is None,
            alone=_alone(found),
            latents=_latents(found),
            safety_checker=source.safety_checker,
            dtype=source.dtype,
            controls={alias: _control(each) for alias, each in self._config.control_sources().items()},
            upscalers={alias: each.source for alias, each in self._config.upscaler_sources().items()},
            device=_device(self._config),
        )

    def _embeddings(self, found: Judgement) -> dict[str, tuple[VectorsFile, ...]]:
        """Those of the plan that fit, by alias."""
        sources, widths = self._config.embedding_sources(), widths_of(found)
        files = read_all(sources[each.name] for each in self._plan.embeddings if each.name in sources)
        return {
            alias: tuple(VectorsFile(str(each.file), each.key, suffix) for suffix, each in where.items())
            for alias, file in files.items()
            if isinstance(file, EmbeddingFile) and (where := placed(file, widths))
        }


def _respelled(loras: Iterable[LoraSource], family: Family) -> dict[str, Pairs]:
    """Of those whose layers diffusers does not know, what makes their names. The lines say where a lost file was."""
    found = {}
    for lora in loras:
        with suppress(OSError, Unusable):
            if not is_read(read_header(lora.file).shapes, family):
                found[lora.alias] = by_authors(family)
    return found


# Of models that are one file -----------------------------------------------------------------------------------------


def _saved(found: Judgement) -> Mapping[str, Any]:
    """The configuration of its scheduler, as it was saved. Raises DarkroomError where only the renderer knows it."""
    if found.asks:
        message = "What this model predicts is told by one step of it, which is not made here."
        raise DarkroomError(message, hint='Set `prediction` of this model to "epsilon" or "v_prediction".')
    if found.folder is None or (found.file is not None and "Flow" in found.scheduler.get("_class_name", "")):
        return found.scheduler
    saved = json.loads(_read(found.folder / "scheduler" / "scheduler_config.json"))
    told = {key: each for key, each in found.scheduler.items() if found.file is not None and key in TRAINING}
    return saved | told if isinstance(saved, dict) else {}


def _index_of(found: Judgement) -> Mapping[str, Any]:
    """What `model_index.json` would say of a whole model in one file."""
    named = {part: ["", each.layout.kind] for part, each in found.parts.items() if each.layout is not None}
    if "text_encoder_2" in named and "unet" in named:
        return named | {"force_zeros_for_empty_prompt": True}
    return named | ({"safety_checker": None} if "unet" in named else {"text_encoder_3": None, "tokenizer_3": None})


def _latents(found: Judgement) -> int | None:
    """How many numbers a latent has, where a folder says it."""
    assert found.family is not None  # noqa: S101 - what is usable has one
    part = "unet" if "unet" in found.family.needs else "transformer"
    file = found.folder / part / "config.json" if found.folder is not None else None
    numbers = json.loads(_read(file)).get("in_channels") if file is not None and file.is_file() else None
    return numbers if isinstance(numbers, int) else None


def _alone(found: Judgement) -> dict[str, Alone]:
    """The parts that do not lie where the others do."""
    elsewhere = {part: each for part, each in found.parts.items() if found.folder or each.place != found.file}
    return {part: Alone(_kind(each), str(each.place), each.layout is None) for part, each in elsewhere.items()}


def _kind(part: Part) -> str:
    if part.layout is not None:
        return part.layout.kind
    config = json.loads(_read(part.place / "config.json"))
    return str(config.get("_class_name") or next(iter(config.get("architectures") or ()), ""))


def _control(source: ControlSource) -> ControlFiles:
    return ControlFiles(source.source, source.revision, source.variant, source.mode)
