"""The one judge of a model: can it be rendered, never, or are parts of it missing? By its own files, without torch.

Read are `model_index.json`, the parts' configurations and the headers of weights; never weights, never a pickle.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from darkroom.models.source import ModelSource
from darkroom.starter import MODEL_DIR

INDEX = "model_index.json"
LOCAL = "local"  #: the revision of what is not a repository of the hub

#: Folders that are saved as one of these have the same parts, and are rendered from words alone.
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")

#: Those whose noise is that of Stable Diffusion: whichever a model was saved with, it says the same facts of it.
SCHEDULERS = re.compile(
    r"(DDIM|DDPM|DDIMParallel|DDPMParallel|PNDM|LCM|TCD|DEISMultistep|UniPCMultistep|SASolver"
    r"|DPMSolver(Multistep|Singlestep|SDE)|(LMS|Euler|EulerAncestral|Heun|KDPM2|KDPM2Ancestral)Discrete)Scheduler"
)
PREDICTIONS = ("epsilon", "v_prediction", "sample")

#: Parts whose code is at hand; "stable_diffusion" is where diffusers keeps the safety checker.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
OWN_LIBRARY = "darkroom.starter."

#: Part → how its weights are called.
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
CHECKER = "safety_checker"
CHECKER_WEIGHTS = {CHECKER: "model"}
PARTS = (*WEIGHTS, "tokenizer", "scheduler")
CLASSES = {
    "unet": re.compile("UNet2DConditionModel"),
    "text_encoder": re.compile("CLIPTextModel"),
    "tokenizer": re.compile("CLIPTokenizer(Fast)?"),
    "scheduler": SCHEDULERS,
}

#: A header of safetensors is JSON and no larger, says its own library.
MAX_HEADER_BYTES = 100_000_000
POINTER = b"version https://git-lfs"

HUB_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?(?:/[\w](?:[\w.-]{0,94}[\w])?)?", re.ASCII)
URL = re.compile(r"https?://[^/]+/([\w.-]+/[\w.-]+)")
CACHE_FOLDER = re.compile(r"(?:^|.*/)models--([\w.-]+?)--([\w.-]+?)(?:/snapshots)?/?")
SOME_COMMIT = re.compile(r"[0-9a-f]{7,39}")
COPY_AGAIN = "Copy or download the model again."


class Fate(Enum):
    """What can come of a model."""

    USABLE = auto()  #: all that can be seen from here is right
    ABSENT = auto()  #: all or parts of it are downloaded when it is first used
    HELD = auto()  #: parts are missing or torn: it works when somebody has mended that
    NEVER = auto()  #: it can't be rendered as it is, however often it is tried


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a model, with what to do, and what loading needs to know."""

    fate: Fate
    message: str = ""  #: what is wrong, a sentence or the end of one that begins with the model's name
    hint: str = ""  #: what to do
    folder: Path | None = None  #: where it is
    revision: str = LOCAL  #: commit of the hub's repository
    variant: str | None = None  #: which of its weights are to be loaded; None: those without a variant
    scheduler: Mapping[str, Any] = field(default_factory=dict)  #: the configuration of its saved scheduler


class _Unusable(Exception):
    def __init__(self, fate: Fate, message: str, hint: str) -> None:
        super().__init__(message)
        self.fate, self.message, self.hint = fate, message, hint


def judge(source: ModelSource, hub_cache: Path, *, offline: bool) -> Judgement:
    """Judge the model behind an alias. `hub_cache` is the folder with `models--owner--name` in it. Raises nothing."""
    try:
        return _judge(source, hub_cache, offline=offline)
    except _Unusable as error:
        return Judgement(error.fate, error.message, error.hint)
    except OSError as error:
        return Judgement(Fate.HELD, f"{error.filename} can't be read: {error.strerror}.", _right_to(error))


def judge_folder(source: ModelSource, folder: Path) -> Judgement:
    """Judge a folder that holds the model of an alias. Raises nothing."""
    try:
        return _judge_folder(source, folder)
    except _Unusable as error:
        return Judgement(error.fate, error.message, error.hint, folder)
    except OSError as error:
        return Judgement(Fate.HELD, f"{error.filename} can't be read: {error.strerror}.", _right_to(error), folder)


def local_folder(source: ModelSource) -> Path | None:
    """The folder of a source that is not a repository of the hub."""
    if source.is_starter:
        return MODEL_DIR
    return Path(source.source) if source.source.startswith("/") else None


def signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the model comes, goes or changes: path, bytes, time of each."""
    found = []
    for place in (folder, *(folder / part for part in (*PARTS, CHECKER))):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        found += [(entry.path, *_size_and_time(entry)) for entry in entries]
    return tuple(sorted(found))


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        return (-1, -1)  # a link that leads nowhere
    return (status.st_size, status.st_mtime_ns)


def _right_to(error: OSError) -> str:
    return f"Let Darkroom's user read {error.filename}, and look after the disk that it lies on."


# Where it is ---------------------------------------------------------------------------------------------------------


def _judge(source: ModelSource, hub_cache: Path, *, offline: bool) -> Judgement:
    if source.is_testcard:
        return Judgement(Fate.USABLE)
    folder = local_folder(source)
    if folder is not None:
        return judge_folder(source, folder)
    _check_hub_id(source.source)
    snapshot = snapshot_of(source, hub_cache)
    if snapshot is None:
        if not offline:
            return Judgement(Fate.ABSENT, f"{source.source} is downloaded when it is first used.")
        raise _Unusable(
            Fate.HELD,
            f"{_described(source)} is not in the cache, and the renderer is offline.",
            f"{_online_again()}, or copy the model into {hub_cache}.",
        )
    found = replace(judge_folder(source, snapshot), revision=snapshot.name)
    return replace(found, fate=Fate.ABSENT) if found.fate is Fate.HELD and not offline else found


def _described(source: ModelSource) -> str:
    return f"{source.source} at {source.revision}" if source.revision else source.source


def _online_again() -> str:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return "Take HF_HUB_OFFLINE out of the service's environment for the first start"
    return "Set `offline = false` for the first start"


def _check_hub_id(source: str) -> None:
    if HUB_ID.fullmatch(source) and "--" not in source and ".." not in source:
        return
    hint = "A hub id looks like `owner/name`; write a folder with its full path."
    if found := URL.match(source) or CACHE_FOLDER.fullmatch(source):
        hint = f'Write the hub id: source = "{"/".join(found.groups())}"'
    raise _Unusable(Fate.NEVER, f"{source!r} is neither a hub id nor an absolute path.", hint)


def snapshot_of(source: ModelSource, hub_cache: Path) -> Path | None:
    """The folder of a repository in the hub's cache; None when it was never downloaded.

    Without the name of a revision (`refs/main` gets lost when a cache is copied) the only commit there is meant.
    """
    repository = hub_cache / f"models--{source.source.replace('/', '--')}"
    revision = source.revision or "main"
    named = repository / "refs" / revision
    if named.is_file():
        commit = named.read_text().strip()
    elif (repository / "snapshots" / revision).is_dir():
        commit = revision
    else:
        commit = _only_commit(repository, source.revision)
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def _only_commit(repository: Path, revision: str | None) -> str:
    if not (repository / "snapshots").is_dir() or (revision and not SOME_COMMIT.fullmatch(revision)):
        return ""
    commits = sorted(path.name for path in (repository / "snapshots").iterdir() if path.name.startswith(revision or ""))
    if len(commits) > 1:
        hint = f'Say which: revision = "{commits[0]}"'
        raise _Unusable(Fate.HELD, f"the cache in {repository} has {len(commits)} commits, and none is named.", hint)
    return commits[0] if commits else ""


# What it is ----------------------------------------------------------------------------------------------------------


def _judge_folder(source: ModelSource, folder: Path) -> Judgement:
    _check_place(folder)
    index = _index(folder)
    _check_pipeline(index)
    for part in PARTS:
        _check_part(folder, part, index.get(part))
    weights = WEIGHTS | (CHECKER_WEIGHTS if source.safety_checker else {})
    if source.safety_checker and not _is_there(index.get(CHECKER)):
        message = "it has no safety checker, and the configuration asks for its own."
        raise _Unusable(Fate.NEVER, message, "Set `safety_checker = false` for this model.")
    if source.safety_checker:
        _check_there(folder, CHECKER)
    variant = _variant(source, {part: list(_weights(folder / part, stem)) for part, stem in weights.items()})
    for part, stem in weights.items():
        _check_weights(folder / part, stem, variant)
    _check_tokenizer(folder / "tokenizer")
    _check_fit(folder)
    return Judgement(Fate.USABLE, f"is in {folder}.", "", folder, variant=variant, scheduler=_scheduler(folder))


def _check_place(folder: Path) -> None:
    if not _exists(folder):
        hint = "Mount it, or correct `source` of this model in the configuration."
        raise _Unusable(Fate.HELD, f"there is no folder {folder}.", hint)
    if not folder.is_dir():
        message = f"{folder} is a single file."
        hint = "Convert it to the folder of a diffusers model, and name that folder: it is not converted here."
        raise _Unusable(Fate.NEVER, message, hint)
    if _exists(folder / INDEX):
        return
    hint = (
        "`source` is the folder of a diffusers model (with unet, vae, text_encoder, … in it); "
        "a single .safetensors or .ckpt file must be converted first."
    )
    if found := CACHE_FOLDER.fullmatch(str(folder)):
        hint = f'This is a folder of the hub\'s cache: write source = "{"/".join(found.groups())}", and `model_cache`.'
    raise _Unusable(Fate.HELD, f"{folder} has no {INDEX}.", hint)


def _index(folder: Path) -> dict[str, Any]:
    index = _json(folder / INDEX)
    if "_class_name" not in index:
        raise _Unusable(Fate.NEVER, f"{folder / INDEX} names no class.", "Choose the folder of a diffusers model.")
    return index


def _check_pipeline(index: dict[str, Any]) -> None:
    kind = index["_class_name"]
    if isinstance(kind, list):
        raise _own_code("it", kind)
    if kind not in PIPELINES:
        raise _Unusable(
            Fate.NEVER,
            f"this is a {kind}, and only a {PIPELINES[0]} can be rendered.",
            "Choose a model of the Stable Diffusion 1.x or 2.x family.",
        )


def _own_code(what: str, names: list[Any]) -> _Unusable:
    message = f"{what} brings code of its own ({'.'.join(map(str, names))}), which is never run."
    return _Unusable(Fate.NEVER, message, "Choose a model that is made of the classes of diffusers and transformers.")


def _is_there(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)


def _check_part(folder: Path, part: str, entry: Any) -> None:
    if not _is_there(entry):
        message = f"{INDEX} says that it has no {part}: it is a part of another model, or was saved without it."
        raise _Unusable(Fate.NEVER, message, "Choose a model that is whole.")
    library, kind = entry
    if library not in LIBRARIES and not library.startswith(OWN_LIBRARY):
        raise _own_code(f"its {part}", entry)
    if part in CLASSES and not CLASSES[part].fullmatch(kind):
        message = f"its {part} is a {kind}, which belongs to another family of models."
        raise _Unusable(Fate.NEVER, message, "Choose a model of the Stable Diffusion 1.x or 2.x family.")
    _check_there(folder, part)


def _check_there(folder: Path, part: str) -> None:
    if not (folder / part).is_dir():
        raise _Unusable(Fate.HELD, f"the folder {part} is missing in {folder}.", COPY_AGAIN)


# Its weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Weights:
    """One file of weights, by its name."""

    name: str
    variant: str | None
    kind: str  #: "safetensors" or "bin"


def _weights(folder: Path, stem: str) -> Iterator[_Weights]:
    """Names like `model.safetensors`, `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`."""
    pattern = re.compile(
        rf"{stem}(?:\.(?P<before>[\w]+))?(?:-\d{{5}}-of-\d{{5}})?(?:\.(?P<after>[\w]+))?\.(?P<kind>safetensors|bin)"
    )
    for name in sorted(os.listdir(folder)):
        found = pattern.fullmatch(name) or (stem == "model" and re.fullmatch(r"pytorch_model.*\.(?P<kind>bin)", name))
        if found:
            groups = found.groupdict()
            yield _Weights(name, groups.get("before") or groups.get("after"), groups["kind"])
    for name in sorted(os.listdir(folder)):
        if found := re.fullmatch(rf"{stem}\.safetensors\.index(?:\.(\w+))?\.json", name):
            yield _Weights(name, found[1], "safetensors")


def _variant(source: ModelSource, weights: Mapping[str, list[_Weights]]) -> str | None:
    """The one that was asked for; without a wish none, or the only one that there is."""
    safe = {part: [each for each in files if each.kind == "safetensors"] for part, files in weights.items()}
    for part, files in safe.items():
        if files:
            continue
        if weights[part]:
            message = f"of its {part} there is only {weights[part][0].name}, and only .safetensors files are loaded."
            raise _Unusable(Fate.NEVER, message, "Convert the model (a .bin can run code), or choose another.")
        raise _Unusable(Fate.HELD, f"the weights of its {part} are missing.", COPY_AGAIN)
    offered = sorted({each.variant for files in safe.values() for each in files if each.variant})
    if source.variant:
        if source.variant not in offered:
            raise _no_variant(f"there is no variant {source.variant!r}", offered)
        return source.variant
    lacking = [part for part, files in safe.items() if all(each.variant for each in files)]
    if not lacking:
        return None
    if len(offered) > 1:
        raise _no_variant(f"the weights of its {lacking[0]} come in variants only", offered)
    return offered[0]


def _no_variant(message: str, offered: list[str]) -> _Unusable:
    settings = " or ".join(f'`variant = "{variant}"`' for variant in offered)
    return _Unusable(Fate.HELD, f"{message}.", f"Set {settings}." if offered else "Leave `variant` out.")


def _check_weights(folder: Path, stem: str, variant: str | None) -> None:
    safe = [each for each in _weights(folder, stem) if each.kind == "safetensors"]
    chosen = [each for each in safe if each.variant == variant] or [each for each in safe if each.variant is None]
    if not chosen:
        raise _no_variant(
            f"of its {folder.name} there is no variant {variant!r}", sorted({each.variant or "" for each in safe})
        )
    _json(folder / "config.json")
    for each in chosen:
        if each.name.endswith(".json"):
            _check_shards(folder, each.name)
        else:
            _check_file(folder / each.name)


def _check_shards(folder: Path, index: str) -> None:
    shards = set(map(str, _json(folder / index).get("weight_map", {}).values()))
    missing = sorted(name for name in shards if not _exists(folder / name))
    if missing:
        message = f"{len(missing)} of the {len(shards)} files with the weights of its {folder.name} are missing: "
        raise _Unusable(Fate.HELD, f"{message}{missing[0]}.", COPY_AGAIN)


def _check_file(file: Path) -> None:
    """By its header: whether it is as long as it says."""
    size = file.stat().st_size if _exists(file) else 0
    with file.open("rb") as opened:
        begin = opened.read(len(POINTER))
        if begin == POINTER:
            hint = "In its folder: git lfs pull. Or download it in another way."
            raise _Unusable(Fate.HELD, f"{_short(file)} is a pointer of Git LFS, not the weights.", hint)
        header_bytes = int.from_bytes(begin[:8], "little")
        opened.seek(8)
        header = opened.read(header_bytes) if header_bytes <= min(size - 8, MAX_HEADER_BYTES) else b""
    data_bytes = _data_bytes(header)
    if data_bytes is None or size != 8 + header_bytes + data_bytes:
        raise _Unusable(Fate.HELD, f"{_short(file)} is torn: it is {size} bytes long, and should not be.", COPY_AGAIN)


def _data_bytes(header: bytes) -> int | None:
    """How many bytes follow a header of safetensors; None for what is none."""
    try:
        tensors = json.loads(header)
        return max((entry["data_offsets"][1] for key, entry in tensors.items() if key != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None


# The rest ------------------------------------------------------------------------------------------------------------


def _check_tokenizer(folder: Path) -> None:
    if _exists(folder / "tokenizer.json") or (_exists(folder / "vocab.json") and _exists(folder / "merges.txt")):
        return
    message = "its tokenizer knows no words: neither tokenizer.json nor vocab.json with merges.txt is there."
    raise _Unusable(Fate.HELD, message, COPY_AGAIN)


def _check_fit(folder: Path) -> None:
    """Whether the parts are of one model."""
    unet, vae, text = (_json(folder / part / "config.json") for part in ("unet", "vae", "text_encoder"))
    takes, gives = unet.get("in_channels"), vae.get("latent_channels")
    if unet.get("addition_embed_type") not in (None, "text"):
        message = "its unet takes more than the words of one text encoder, as those of SDXL do."
        raise _Unusable(Fate.NEVER, message, "Choose a model of the Stable Diffusion 1.x or 2.x family.")
    if takes is not None and gives is not None and takes != gives:
        message = f"its unet takes {takes} channels, where one that draws from words alone takes {gives}"
        message += ": it is for inpainting or for changing a given picture."
        raise _Unusable(Fate.NEVER, message, "Choose the model that it was made from.")
    reads, writes = unet.get("cross_attention_dim"), text.get("hidden_size")
    if isinstance(reads, int) and isinstance(writes, int) and reads != writes and not unet.get("encoder_hid_dim"):
        message = f"its unet reads texts of {reads} numbers a token, and its text encoder writes {writes}."
        raise _Unusable(Fate.NEVER, message, "The parts are of two models: copy one of them whole.")


def _scheduler(folder: Path) -> dict[str, Any]:
    saved = _json(folder / "scheduler" / "scheduler_config.json")
    prediction = saved.get("prediction_type", PREDICTIONS[0])
    if prediction not in PREDICTIONS or saved.get("use_flow_sigmas"):
        message = f"it predicts {prediction!r}, as no model of Stable Diffusion's family does."
        raise _Unusable(Fate.NEVER, message, "Choose a model of the Stable Diffusion 1.x or 2.x family.")
    # The pipeline makes every offset that is said 1: Stable Diffusion was trained so.
    return {**saved, "steps_offset": 1} if "steps_offset" in saved else saved


def _exists(path: Path) -> bool:
    """Whether it is there. Raises _Unusable for a link that leads nowhere."""
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            message = f"{_short(path)} is a link to {os.readlink(path)}, which is not there."
            hint = "Copy the files that the links lead to as well (cp -L, rsync -L)."
            raise _Unusable(Fate.HELD, message, hint) from None
        return False
    except NotADirectoryError:
        return False
    return True


def _json(file: Path) -> dict[str, Any]:
    if not _exists(file):
        raise _Unusable(Fate.HELD, f"{_short(file)} is missing.", COPY_AGAIN)
    if not stat.S_ISREG(file.stat().st_mode):
        raise _Unusable(Fate.HELD, f"{_short(file)} is not a file.", COPY_AGAIN)
    try:
        data = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise _Unusable(Fate.HELD, f"{_short(file)} is torn: it is not JSON.", COPY_AGAIN) from None
    if not isinstance(data, dict):
        raise _Unusable(Fate.NEVER, f"{_short(file)} is not a JSON object.", "Choose the folder of a diffusers model.")
    return data


def _short(file: Path) -> str:
    """A file of a model as people find it: with the folder that it is in."""
    return "/".join(file.parts[-2:])
