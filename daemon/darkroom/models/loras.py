"""What the file of a LoRA says of it, and which models it fits: by headers of weights alone, without torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.models.contents import Stranger, contents
from darkroom.models.families import BY_KEY
from darkroom.models.family import Family
from darkroom.models.files import Fate, Unusable, each_read, exists
from darkroom.models.header import read_header
from darkroom.models.judge import Judgement
from darkroom.models.layers import DENOISER, Layers, Misfit, layers_of_lora, layers_of_model, misfit
from darkroom.models.layouts import Header, Odd, beneath
from darkroom.models.source import LoraSource

#: A model's parts that a LoRA changes: folder → part.
_FOLDERS = {
    "unet": DENOISER, "transformer": DENOISER, "text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2",
}  # fmt: skip

#: Of what a LoRA was trained with, the words that are shown.
MOST_TAGS = 5
LONGEST_TRIGGER = 200  #: characters

CHOOSE_A_LORA = "Choose a LoRA of which diffusers has a loader: kohya's, diffusers' or peft's."


#: Names of tensors of what is called a LoRA and is built otherwise, and what it is. None of them is loaded.
_OTHERS = (
    (re.compile(r"\.?hada_"), "a LoHa"),
    (re.compile(r"\.oft_|oft_blocks"), "an OFT"),
    (re.compile(r"\.lora_mid\."), "a LoCon with three matrices for a layer"),
    (re.compile(r"\.on_input"), "an (IA)³"),
    (re.compile(r"\.[ab][12]\.weight"), "a GLoRA"),
    (re.compile(r"img_attn\.norm\.(query|key)_norm\.scale"), "a control LoRA of FLUX.1"),
)
_LOKR = re.compile(r"\.lokr_")
#: Families whose loaders read LoKr.
_READS_LOKR = re.compile(r"z-image|flux2")
#: What diffusers leaves out of a file that it loads.
_LEFT_OUT = re.compile(r"dora_scale|\.diff(_b)?$")


@dataclass(frozen=True, slots=True)
class LoraFile:
    """What a file says of itself."""

    layers: Layers
    trigger: str = ""  #: words that it was trained with, as it says itself; "" where it does not
    is_lokr: bool = False
    left_out: int = 0  #: tensors that nothing is made of when it is loaded: DoRA's lengths, whole differences


def read_lora(source: LoraSource) -> LoraFile:
    """Read the header of a LoRA. Raises Unusable."""
    try:
        return _read(source)
    except OSError as error:
        raise Unusable(
            Fate.HELD, f"{error.filename} can't be read: {error.strerror}.", "Let Darkroom's user read it."
        ) from None


def _read(source: LoraSource) -> LoraFile:
    file = source.file
    if not exists(file):
        hint = "Mount it, or correct `source` of this LoRA in the configuration."
        raise Unusable(Fate.HELD, f"there is no file {file}.", hint)
    if file.is_dir():
        names = sorted(each.name for each in file.iterdir() if each.suffix == ".safetensors")
        hint = f"Set `weight_name` to one of them: {', '.join(names[:5])}." if names else "Name the file itself."
        raise Unusable(Fate.NEVER, f"{file} is a folder.", hint)
    header = read_header(file)
    layers = layers_of_lora(header.shapes)
    for pattern, what in _OTHERS:
        if any(map(pattern.search, header.shapes)):
            raise Unusable(Fate.NEVER, f"it is {what}, which diffusers does not load.", CHOOSE_A_LORA)
    is_lokr = any(map(_LOKR.search, header.shapes))
    if not layers and not is_lokr:
        raise _no_lora(header)
    left_out = sum(1 for key in header.shapes if _LEFT_OUT.search(key))
    return LoraFile(layers, _trigger(header.said), is_lokr, left_out)


def _no_lora(header: Header) -> Unusable:
    """With what it is, where that can be told."""
    try:
        what = f"it is a model of {BY_KEY[contents(header).family].title}"
    except (Stranger, Odd, KeyError) as error:
        what = f"it is {error.what}" if isinstance(error, Stranger) and error.is_known else ""
    return Unusable(Fate.NEVER, f"its file holds no LoRA{what and ': '}{what}.", CHOOSE_A_LORA)


def _trigger(metadata: Mapping[str, Any]) -> str:
    """As its maker has written it down, else what its pictures were most often tagged with."""
    phrase = str(metadata.get("modelspec.trigger_phrase") or "").strip()
    return (phrase or ", ".join(_tags(metadata.get("ss_tag_frequency"))))[:LONGEST_TRIGGER]


def _tags(written: object) -> list[str]:
    """The trainer of kohya counts them, folder by folder."""
    counts: Counter[str] = Counter()
    try:
        for folder in json.loads(str(written)).values():
            counts.update({str(tag).strip(): int(count) for tag, count in folder.items()})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    return [tag for tag, _ in counts.most_common(MOST_TAGS) if tag]


# Which models it fits ------------------------------------------------------------------------------------------------


def layers_in(folder: Path) -> Layers:
    """Of a model in the form of diffusers: what can be read of it."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for name, part in _FOLDERS.items():
        for file in sorted((folder / name).glob("*.safetensors")):
            try:
                header = read_header(file)
            except (OSError, Unusable):
                continue  # the judge of the model tells it
            found |= layers_of_model(part, header.shapes)
    return found


def layers_of_file(found: Judgement) -> Layers:
    """Of a model that is one file, as that calls them."""
    layers: dict[tuple[str, str], tuple[int, int]] = {}
    for name, part in found.parts.items():
        if name in _FOLDERS and part.layout is not None:
            try:
                shapes = read_header(part.place).shapes
            except (OSError, Unusable):
                continue  # likewise
            layers |= layers_of_model(_FOLDERS[name], beneath(shapes, part.layout.prefix))
    return layers


def misfits(found: Judgement, files: Mapping[str, LoraFile | Unusable]) -> dict[str, Misfit]:
    """Of these LoRAs, by alias, those that the model can't be rendered with. Nobody knows of one without its files."""
    wrong = {alias: Misfit(each.message, each.hint) for alias, each in files.items() if isinstance(each, Unusable)}
    if found.family is None or not found.family.loras:
        return wrong
    layers = layers_in(found.folder) if found.folder is not None else layers_of_file(found)
    for alias, file in files.items():
        if isinstance(file, LoraFile) and (why := _misfit(file, found.family, layers, renamed=found.folder is None)):
            wrong[alias] = why
    return wrong


def _misfit(file: LoraFile, family: Family, layers: Layers, *, renamed: bool) -> Misfit | None:
    if file.is_lokr and not _READS_LOKR.match(family.key):
        return Misfit(f"it is a LoKr, which nothing loads into {family.title}.", CHOOSE_A_LORA)
    why = misfit(file.layers, layers, renamed=renamed)
    return Misfit(f"{why}.", "`darkroom models` says which LoRAs fit which model.") if why else None


def read_all(sources: Iterable[LoraSource]) -> dict[str, LoraFile | Unusable]:
    """By alias. Raises nothing."""
    return each_read("lora", {source.alias: source for source in sources}, read_lora)
