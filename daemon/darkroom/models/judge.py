"""The one judge of a model: can it be rendered, never, or are parts of it missing? By its own files, without torch.

Read are `model_index.json`, the parts' configurations and the headers of weights; never weights, never a pickle.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkroom.models.card import dressed, expected, misfits
from darkroom.models.families import VARIATIONS, is_from_words, of_pipeline
from darkroom.models.family import LIBRARIES, OWN_LIBRARY, Family, Sign
from darkroom.models.files import COPY_AGAIN, Fate, Unusable, exists, opened, read_json, short
from darkroom.models.hub_cache import CACHE_FOLDER, check_hub_id, snapshot_of
from darkroom.models.one_file import Base, Part, judge_file, judge_parts
from darkroom.models.schedulers import wrong_fact
from darkroom.models.source import ModelSource, is_file_name
from darkroom.models.weights import check_weights, choose_variant, weights_in
from darkroom.starter import MODEL_DIR

INDEX = "model_index.json"
LOCAL = "local"  #: the revision of what is not a repository of the hub

#: Parts of a folder that no picture needs, unless its pictures are to be checked.
OPTIONAL_PARTS = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")

#: Schedulers without a `steps_offset` that a pipeline could set; saved without it, one has it at 0 all the same.
_NO_OFFSET = re.compile(r"EDM|DPMSolver(SDE|Singlestep)")

TOKENIZER = "tokenizer.json"
#: What else of a tokenizer is read, if it is there.
TOKENIZERS_OWN = ("tokenizer_config.json", "special_tokens_map.json")
_AN_END_BYTES = 256

#: What a tokenizer's words lie in: one of these sets of files.
VOCABULARIES = (
    (TOKENIZER,), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",), ("vocab.txt",),
)  # fmt: skip

#: By any of these the hub's libraries stay off the network, whatever the configuration says.
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

#: It reads bytes.
WITHOUT_VOCABULARY = ("ByT5Tokenizer",)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a model, with what to do, and what loading needs to know."""

    fate: Fate
    message: str = ""  #: what is wrong, a sentence or the end of one that begins with the model's name
    hint: str = ""  #: what to do
    folder: Path | None = None  #: where it is
    revision: str = LOCAL  #: commit of the hub's repository
    family: Family | None = None  #: what it is; None as long as nothing tells
    absent: tuple[str, ...] = ()  #: parts of its pipeline that it does not have, or that are not to be loaded
    variant: str | None = None  #: which of its weights are to be loaded; None: those without a variant
    scheduler: Mapping[str, Any] = field(default_factory=dict)  #: the configuration of its saved scheduler
    file: Path | None = None  #: its single file, where it is none of a folder alone
    parts: Mapping[str, Part] = field(default_factory=dict)  #: that do not lie in its folder
    asks: bool = False  #: whether nothing tells what it predicts but one step of it

    @property
    def place(self) -> Path | None:
        """The file or the folder that `source` means."""
        return self.file or self.folder


def judge(source: ModelSource, hub_cache: Path, *, offline: bool) -> Judgement:
    """Judge the model behind an alias. `hub_cache` is the folder with `models--owner--name` in it. Raises nothing."""
    try:
        return _judge(source, hub_cache, offline=offline)
    except Unusable as error:
        return Judgement(error.fate, error.message, error.hint)
    except OSError as error:
        return Judgement(Fate.HELD, f"{error.filename} can't be read: {error.strerror}.", _right_to(error))


def judge_folder(source: ModelSource, folder: Path) -> Judgement:
    """Judge a folder that holds the model of an alias. Raises nothing."""
    family: Family | None = None
    try:
        _check_place(folder)
        index = _index(folder)
        family = _family(index, folder, source)
        return _judge_parts(source, folder, index, family)
    except Unusable as error:
        return Judgement(error.fate, error.message, error.hint, folder, family=family)
    except OSError as error:
        why = f"{error.filename} can't be read: {error.strerror}."
        return Judgement(Fate.HELD, why, _right_to(error), folder, family=family)


def local_folder(source: ModelSource) -> Path | None:
    """The folder of a source that is not a repository of the hub."""
    if source.is_starter:
        return MODEL_DIR
    return Path(source.source) if source.source.startswith("/") else None


def signature_of(found: Judgement) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the model comes, goes or changes, wherever its parts lie."""
    files = sorted({part.place for part in found.parts.values()} | ({found.file} if found.file else set()))
    alone = [(str(file), *_size_and_time(file)) for file in files]
    return (*alone, *(signature(found.folder) if found.folder is not None else ()))


def signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the model comes, goes or changes: path, bytes, time of each."""
    found = []
    for place in (folder, *_folders_in(folder)):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        found += [(entry.path, *_size_and_time(entry)) for entry in entries]
    return tuple(sorted(found))


def _folders_in(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []


def _size_and_time(entry: os.DirEntry[str] | Path) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        return (-1, -1)  # a link that leads nowhere
    return (status.st_size, status.st_mtime_ns)


def _right_to(error: OSError) -> str:
    return f"Let Darkroom's user read {error.filename}, and check the disk that it lies on."


# Where it is ---------------------------------------------------------------------------------------------------------


def _judge(source: ModelSource, hub_cache: Path, *, offline: bool) -> Judgement:
    if source.is_testcard:
        return Judgement(Fate.USABLE, family=expected(source))
    folder = local_folder(source)
    if folder is not None:
        return (
            _judge_file(source, folder, hub_cache)
            if is_file_name(source.source) and not folder.is_dir()
            else judge_folder(source, folder)
        )
    check_hub_id(source.source)
    snapshot = snapshot_of(source, hub_cache)
    if snapshot is None:
        if not offline:
            message = f"{source.source} is downloaded when it is first used."
            return Judgement(Fate.ABSENT, message, family=expected(source))
        raise Unusable(
            Fate.HELD,
            f"{_described(source)} is not in the cache, and the renderer is offline.",
            f"{_online_again()}, or copy the model into {hub_cache}.",
        )
    found = replace(judge_folder(source, snapshot), revision=snapshot.name)
    return replace(found, fate=Fate.ABSENT) if found.fate is Fate.HELD and not offline else found


def _judge_file(source: ModelSource, file: Path, hub_cache: Path) -> Judgement:
    """A single file; whatever its base lacks, nothing is downloaded for it."""
    if source.base is None and source.safety_checker:
        raise _no_checker()
    based = Judgement(Fate.USABLE)
    if source.base is not None:
        plain = replace(source.base, preset=None, safety_checker=source.safety_checker)
        based = judge(plain, hub_cache, offline=True)
    if source.base is not None and based.fate is not Fate.USABLE:
        hint = f"Ask for one picture of {source.base.alias} first, which downloads it. {based.hint}".strip()
        raise Unusable(based.fate, f"its base {source.base.alias} can't be used: {based.message}", hint)
    base = (
        Base(source.base.alias, based.folder, based.family) if source.base and based.folder and based.family else None
    )
    found = judge_file(source, file, base)
    family = dressed(found.family, source)
    for what, to_do in misfits(source, family):
        raise Unusable(Fate.NEVER, f"{what}.", to_do)
    scheduler = (found.scheduler if found.scheduler is not None else dict(based.scheduler)) | found.told
    spacing = {"timestep_spacing": family.spacing} if family.spacing is not None else {}
    return replace(
        based, message=f"is in {file}{_and_base(source)}.", hint="", revision=LOCAL, family=family,
        scheduler=scheduler | spacing, file=file, parts=found.parts, asks=found.asks,
    )  # fmt: skip


def _and_base(source: ModelSource) -> str:
    return f", and takes what is not in there from {source.base.alias}" if source.base is not None else ""


def _described(source: ModelSource) -> str:
    return f"{source.source} at {source.revision}" if source.revision else source.source


def _online_again() -> str:
    said = [name for name in OFFLINE_VARIABLES if os.environ.get(name, "").upper() in {"1", "TRUE", "YES", "ON"}]
    if said:
        return f"Take {' and '.join(said)} out of the service's environment for the first start"
    return "Set `offline = false` for the first start"


# What it is ----------------------------------------------------------------------------------------------------------


def _judge_parts(source: ModelSource, folder: Path, index: dict[str, Any], family: Family) -> Judgement:
    parts = _parts(index, family, source)
    for part, (library, kind) in parts.items():
        _check_part(folder, part, library, kind, family)
    weights = {part: stem for part, entry in parts.items() if (stem := _stem(*entry))}
    variant = choose_variant(source, {part: list(weights_in(folder / part, stem)) for part, stem in weights.items()})
    for part, stem in weights.items():
        check_weights(folder / part, stem, variant)
    for part, (_, kind) in parts.items():
        if "Tokenizer" in kind and kind not in WITHOUT_VOCABULARY:
            _check_tokenizer(folder / part)
    _check_fit(folder, family)
    saved = _scheduler(folder, family)
    for what, to_do in misfits(source, family):
        raise Unusable(Fate.NEVER, f"{what}.", to_do)
    absent = tuple(key for key, entry in index.items() if _is_part(entry) and key not in parts)
    return Judgement(
        Fate.USABLE, f"is in {folder}{_chosen(source, variant)}.", "", folder,
        family=family, absent=absent, variant=variant, scheduler=saved, parts=judge_parts(source, family),
    )  # fmt: skip


def _chosen(source: ModelSource, variant: str | None) -> str:
    """What nobody has asked for, and is the only one there."""
    return f", whose weights come as {variant} only" if variant and not source.variant else ""


def _family(index: dict[str, Any], folder: Path, source: ModelSource) -> Family:
    """Its row, as its own files say which one."""
    name = index["_class_name"]
    if isinstance(name, list):
        raise _own_code("it", name)
    if not is_from_words(str(name)):
        message = f"this is a {name}, which does not make a picture from words alone."
        raise Unusable(Fate.NEVER, message, "Choose a model that does.")
    family = of_pipeline(str(name))
    varied = (row for sign, row in VARIATIONS.get(family.key, ()) if _shows(folder, sign))
    family = dressed(next(varied, family), source)
    return _with_own_latents(_with_own_side(family, folder), folder)


def _shows(folder: Path, sign: Sign) -> bool:
    file = folder / sign.file
    return exists(file) and read_json(file).get(sign.key) in sign.values


def _with_own_side(family: Family, folder: Path) -> Family:
    if family.side_of is None:
        return family
    part, key = family.side_of
    side = read_json(folder / part / "config.json").get(key) if (folder / part).is_dir() else None
    return replace(family, side_px=8 * side) if isinstance(side, int) and 8 <= side <= 256 else family


def _with_own_latents(family: Family, folder: Path) -> Family:
    if family.mask_latents is None:
        return family
    part = "unet" if "unet" in family.needs else "transformer"
    numbers = read_json(folder / part / "config.json").get("in_channels") if (folder / part).is_dir() else None
    return family if numbers is None else family.of_latents(numbers)


def _parts(index: dict[str, Any], family: Family, source: ModelSource) -> dict[str, tuple[str, str]]:
    """The parts that are loaded: library and class of each."""
    for part in family.needs:
        if not _is_there(index.get(part)):
            message = f"this is a {family.pipeline}, and {INDEX} says that it has no {part}: "
            message += "it is a part of another model, or was saved without it."
            raise Unusable(Fate.NEVER, message, "Choose a model that is whole.")
    if source.safety_checker and not (family.checker and _is_there(index.get(family.checker))):
        raise _no_checker()
    wanted = (family.checker, "feature_extractor") if source.safety_checker else ()
    others = (part for part in index if part not in OPTIONAL_PARTS and not part.startswith("_"))
    parts = dict.fromkeys((*family.needs, *wanted, *others))
    named = {part: index[part] for part in parts if part and _is_there(index.get(part))}
    return {part: (library, kind) for part, (library, kind) in named.items()}


def _no_checker() -> Unusable:
    message = "it has no safety checker, and the configuration asks for its own."
    return Unusable(Fate.NEVER, message, "Set `safety_checker = false` for this model.")


def _stem(library: str, kind: str) -> str | None:
    """What the weights of a part are called; None for one without any."""
    if kind.endswith("Scheduler") or re.search(r"Tokenizer|Processor|Extractor|Guidance", kind):
        return None
    return "diffusion_pytorch_model" if library == "diffusers" or library.startswith(OWN_LIBRARY) else "model"


def _check_place(folder: Path) -> None:
    if not exists(folder):
        hint = "Mount it, or correct `source` of this model in the configuration."
        raise Unusable(Fate.HELD, f"there is no folder {folder}.", hint)
    if not folder.is_dir():
        message = f"{folder} is neither a folder nor a .safetensors or .gguf file."
        raise Unusable(Fate.NEVER, message, "Name the folder of a diffusers model, or a file that is whole.")
    if exists(folder / INDEX):
        return
    hint = (
        "`source` is the folder of a diffusers model (with unet, vae, text_encoder, … in it), or one .safetensors file."
    )
    if found := CACHE_FOLDER.fullmatch(str(folder)):
        hint = f'This is a folder of the hub\'s cache: write source = "{"/".join(found.groups())}", and `model_cache`.'
    elif near := _near(folder):
        hint = f'Write source = "{near[0]}"' + (f", or another one of the {len(near)} in it." if near[1:] else ".")
    raise Unusable(Fate.HELD, f"{folder} has no {INDEX}.", hint)


def _near(folder: Path) -> list[Path]:
    """What may have been meant by a folder that is no model: the one that it is a part of, those in it, or files."""
    if (folder.parent / INDEX).is_file():
        return [folder.parent]
    models = sorted(each.parent for each in folder.glob(f"*/{INDEX}"))
    return models or sorted(each for each in folder.iterdir() if is_file_name(str(each)))


def _index(folder: Path) -> dict[str, Any]:
    index = read_json(folder / INDEX)
    if "_class_name" not in index:
        raise Unusable(Fate.NEVER, f"{folder / INDEX} names no class.", "Choose the folder of a diffusers model.")
    return index


def _own_code(what: str, names: list[Any]) -> Unusable:
    message = f"{what} brings code of its own ({'.'.join(map(str, names))}), which is never run."
    return Unusable(Fate.NEVER, message, "Choose a model that is made of the classes of diffusers and transformers.")


def _is_part(entry: Any) -> bool:
    """Whether it stands for a part, there or not: the index keeps lists of numbers, too."""
    return _is_there(entry) or entry == [None, None]


def _is_there(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)


def _check_part(folder: Path, part: str, library: str, kind: str, family: Family) -> None:
    if not part.isidentifier():
        message = f"{INDEX} names a part {part[:100]!r}, which no pipeline has."
        raise Unusable(Fate.NEVER, message, "Choose the folder of a diffusers model.")
    if library not in LIBRARIES and not library.startswith(OWN_LIBRARY):
        raise _own_code(f"its {part}", [library, kind])
    if part in family.classes and not family.classes[part].fullmatch(kind):
        message = f"its {part} is a {kind}, which belongs to another family of models."
        raise Unusable(Fate.NEVER, message, family.choose)
    _check_there(folder, part)


def _check_there(folder: Path, part: str) -> None:
    if not (folder / part).is_dir():
        raise Unusable(Fate.HELD, f"the folder {part} is missing in {folder}.", COPY_AGAIN)


# The rest ------------------------------------------------------------------------------------------------------------


def _check_tokenizer(folder: Path) -> None:
    for name in TOKENIZERS_OWN:
        if exists(folder / name):
            read_json(folder / name)
    if _has_bytes(folder / TOKENIZER) and not _ends_as_it_begins(folder / TOKENIZER):
        raise Unusable(Fate.HELD, f"{short(folder / TOKENIZER)} is torn: it is not JSON.", COPY_AGAIN)
    if any(all(_has_bytes(folder / name) for name in names) for names in VOCABULARIES):
        return
    message = f"its {folder.name} knows no words: neither tokenizer.json nor vocab.json with merges.txt is there."
    raise Unusable(Fate.HELD, message, COPY_AGAIN)


def _ends_as_it_begins(file: Path) -> bool:
    """Whether it has both ends of a JSON object: it may have megabytes, and is not read for that."""
    with opened(file) as stream:
        begin = stream.read(_AN_END_BYTES).lstrip()
        stream.seek(-min(_AN_END_BYTES, file.stat().st_size), os.SEEK_END)
        return begin.startswith(b"{") and stream.read().rstrip().endswith(b"}")


def _has_bytes(file: Path) -> bool:
    return exists(file) and file.is_file() and file.stat().st_size > 0


def _check_fit(folder: Path, family: Family) -> None:
    """Whether the parts are of one model, and of one that draws from words."""
    if not {"unet", "vae"} <= {*family.needs}:
        return
    unet, vae, text = (read_json(folder / part / "config.json") for part in ("unet", "vae", "text_encoder"))
    if "text_encoder_2" not in family.needs:
        _check_words(unet, text, family)
    takes, gives = _whole(unet, "unet", "in_channels"), _whole(vae, "vae", "latent_channels")
    if takes is not None and gives is not None and takes != gives:
        message = f"its unet takes {takes} channels, where one that draws from words alone takes {gives}"
        message += ": it is for inpainting or for changing a given picture."
        raise Unusable(Fate.NEVER, message, "Choose the model that it was made from.")


def _whole(config: dict[str, Any], part: str, key: str) -> int | None:
    """A whole number of a part's configuration; None where it is not said."""
    value = config.get(key)
    if value is None or type(value) is int:
        return value
    raise Unusable(Fate.HELD, f"{part}/config.json says {key} = {json.dumps(value)[:100]}, which can't be.", COPY_AGAIN)


def _check_words(unet: dict[str, Any], text: dict[str, Any], family: Family) -> None:
    if unet.get("addition_embed_type") not in (None, "text"):
        message = "its unet takes more than the words of one text encoder, as those of SDXL do."
        raise Unusable(Fate.NEVER, message, family.choose)
    reads, writes = unet.get("cross_attention_dim"), text.get("hidden_size")
    if isinstance(reads, int) and isinstance(writes, int) and reads != writes and not unet.get("encoder_hid_dim"):
        message = f"its unet reads texts of {reads} numbers a token, and its text encoder writes {writes}."
        raise Unusable(Fate.NEVER, message, "The parts are of two models: copy one of them whole.")


def _scheduler(folder: Path, family: Family) -> dict[str, Any]:
    saved = read_json(folder / "scheduler" / "scheduler_config.json")
    if wrong := wrong_fact(saved):
        raise Unusable(Fate.HELD, f"its scheduler_config.json says {wrong}, which can't be.", COPY_AGAIN)
    prediction = saved.get("prediction_type", "epsilon")
    if family.predictions and (prediction not in family.predictions or saved.get("use_flow_sigmas")):
        message = f"it predicts {prediction!r}, as no model of {family.title} does."
        raise Unusable(Fate.NEVER, message, family.choose)
    if family.spacing is not None:
        saved |= {"timestep_spacing": family.spacing}
    has_no_offset = _NO_OFFSET.search(str(saved.get("_class_name"))) is not None
    return {**saved, "steps_offset": 1} if family.offset_is_one and not has_no_offset else saved
