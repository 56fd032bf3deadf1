"""A model that comes as one file, and parts that come from elsewhere: whether they make a whole, by their headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from darkroom.models.contents import Contents, Stranger, contents, text_encoder_of, vae_of
from darkroom.models.families import BY_KEY
from darkroom.models.family import Family
from darkroom.models.files import CONVERT, COPY_AGAIN, Fate, Unusable, exists, read_json, short
from darkroom.models.header import GGUF_TYPES, read_header
from darkroom.models.layouts import VAES, Config, Layout, Odd, beneath
from darkroom.models.source import PICKLES, QUANTISED, SAFETENSORS, ModelSource
from darkroom.models.weights import check_weights

#: What a whole model of a family has in its file; other families take parts from a base.
_WHOLE = {
    "stable-diffusion": ("unet", "vae", "text_encoder"),
    "stable-diffusion-xl": ("unet", "vae", "text_encoder", "text_encoder_2"),
    "stable-diffusion-3": ("transformer", "vae", "text_encoder", "text_encoder_2"),
}
_NOISE: Mapping[str, Any] = {
    "num_train_timesteps": 1_000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
}  # fmt: skip
#: How the authors of each family have saved its scheduler.
_SCHEDULERS: Mapping[str, Config] = {
    "stable-diffusion": {
        "_class_name": "PNDMScheduler", **_NOISE, "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1,
        "clip_sample": False,
    },
    "stable-diffusion-xl": {
        "_class_name": "EulerDiscreteScheduler", **_NOISE, "timestep_spacing": "leading", "steps_offset": 1,
    },
    "stable-diffusion-3": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1_000, "shift": 3.0,
    },
    "flux": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1_000, "shift": 3.0,
        "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
        "max_image_seq_len": 4_096,
    },
    "flux-schnell": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1_000, "shift": 1.0},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a pipeline that does not lie in the model's folder."""

    place: Path  #: a file, or the folder of this part
    layout: Layout | None = None  #: how it lies in its file; None: it is a folder

    @property
    def is_quantised(self) -> bool:
        """Whether its weights are in GGUF's blocks."""
        return self.place.suffix == QUANTISED


@dataclass(frozen=True, slots=True)
class Base:
    """The model that other parts come from."""

    alias: str
    folder: Path
    family: Family


@dataclass(frozen=True, slots=True)
class OneFile:
    """A model whose denoiser lies in a file of its own."""

    family: Family
    parts: Mapping[str, Part]
    scheduler: Config | None  #: its configuration; None: the base's
    told: Config  #: what the operator or its author says of it, whoever's it is
    asks: bool = False  #: whether nothing tells what it predicts but one step of it


def judge_file(source: ModelSource, file: Path, base: Base | None) -> OneFile:
    """By its header, and the base's configurations. Raises Unusable, or OSError."""
    found = _contents(file)
    family = _family(found, file, base)
    parts = {name: Part(file, _based(layout, name, base)) for name, layout in found.parts.items()}
    parts |= judge_parts(source, family)
    _check_whole(found, file, parts, base)
    _check_channels(parts)
    told = _told(source, found)
    if base is not None:
        return OneFile(family, parts, None if family.key == base.family.key else _SCHEDULERS[family.key], told)
    encoder = found.parts.get("text_encoder")
    is_second = found.denoiser == "unet" and encoder is not None and encoder.form == "open_clip"
    asks = is_second and "prediction_type" not in told
    side_px = 768 if is_second and told.get("prediction_type") == "v_prediction" else family.side_px
    predicts = {"prediction_type": "epsilon"} if found.denoiser == "unet" else {}
    scheduler = _SCHEDULERS[found.family] | predicts
    return OneFile(replace(family, side_px=side_px), parts, scheduler, told, asks)


def _contents(file: Path) -> Contents:
    if file.suffix in PICKLES:
        raise Unusable(Fate.NEVER, f"{short(file)} is a pickle, which can run code, and is not loaded.", CONVERT)
    _check_there(file)
    header = read_header(file)
    if header.is_gguf != (file.suffix == QUANTISED):
        is_one, ending = ("a GGUF", QUANTISED) if header.is_gguf else ("a .safetensors", SAFETENSORS)
        raise Unusable(Fate.NEVER, f"{short(file)} is {is_one} under another name.", f"Call it …{ending}.")
    if file.suffix == QUANTISED:
        _check_gguf(file, header.types)
    try:
        found = contents(header)
    except Stranger as stranger:
        raise Unusable(Fate.NEVER, f"{short(file)} is {stranger.what}.", stranger.to_do) from None
    except Odd as odd:
        raise _odd(file, odd) from None
    if found.denoiser == "unet" and file.suffix == QUANTISED:
        message = f"{short(file)} is a U-Net in GGUF, and only transformers are read from there."
        raise Unusable(Fate.NEVER, message, "Use a .safetensors of this model.")
    return found


def _check_there(file: Path) -> None:
    if not exists(file):
        hint = "Mount the disk that it lies on, or correct its path in the configuration."
        raise Unusable(Fate.HELD, f"there is no file {file}.", hint)


def _check_gguf(file: Path, types: frozenset[str]) -> None:
    if unread := sorted(types - {name for name, _, _ in GGUF_TYPES.values()}):
        message = f"{short(file)} has weights of GGUF's {unread[0]}, which can't be read."
        raise Unusable(Fate.NEVER, message, "Use one in Q8_0, Q6_K, Q5_K, Q4_K or another of the older types.")
    if find_spec("gguf") is None:
        raise Unusable(Fate.HELD, f"{short(file)} needs the Python package gguf.", "pip install 'darkroom[gguf]'")


def _odd(file: Path, odd: Odd) -> Unusable:
    return Unusable(Fate.NEVER, f"{short(file)} is not as other models of its kind are: {odd}.", COPY_AGAIN)


# What it is ----------------------------------------------------------------------------------------------------------


def _family(found: Contents, file: Path, base: Base | None) -> Family:
    """The base's own row, where the base is of the kind; else the one that its tensors tell."""
    if base is None:
        if not found.family:
            message = f"{short(file)} is a part of a model in the form of diffusers."
            raise Unusable(Fate.NEVER, message, "Set `base` to a model of the same kind, whose other parts it takes.")
        return BY_KEY[found.family]
    layout = found.parts[found.denoiser]
    index = read_json(base.folder / "model_index.json")
    _, kind = index.get(found.denoiser) or (None, None)
    if kind is None or layout.kind not in ("", kind):
        title = f"of {BY_KEY[found.family].title}" if found.family else f"a {found.denoiser}"
        message = f"{short(file)} is {title}, and its base {base.alias} is {base.family.title}."
        raise Unusable(Fate.NEVER, message, "Set `base` to a model of the same family.")
    return _varied(base.family, layout)


def _varied(family: Family, layout: Layout) -> Family:
    """FLUX.1 schnell, where only the file's own tensors tell."""
    if family.key in ("flux", "flux-schnell") and "guidance_embeds" in layout.config:
        return BY_KEY["flux" if layout.config["guidance_embeds"] else "flux-schnell"]
    return family


def _based(layout: Layout, part: str, base: Base | None) -> Layout:
    """With what the base's own configuration says, where the tensors do not tell. Raises Unusable where they differ."""
    if base is None or not (base.folder / part / "config.json").is_file():
        return layout
    theirs = read_json(base.folder / part / "config.json")
    kind = theirs.get("_class_name") or next(iter(theirs.get("architectures") or ()), "")
    if layout.kind not in ("", kind):
        return layout
    told = {key: value for key, value in layout.config.items() if key not in layout.guessed}
    for key in ("joint_attention_dim", "cross_attention_dim", "cap_feat_dim", "pooled_projection_dim"):
        if key in told and told[key] != theirs.get(key, told[key]):
            message = f"its {part} reads texts of {told[key]} numbers, and its base {base.alias} writes {theirs[key]}"
            raise Unusable(Fate.NEVER, f"{message}.", "Set `base` to a model of the same family and version.")
    config = {key: value for key, value in (theirs | told).items() if not key.startswith("_")}
    return replace(layout, kind=str(kind), config=config)


def _told(source: ModelSource, found: Contents) -> Config:
    """What is said of how it was trained; of flows there is nothing to say."""
    if found.denoiser != "unet":
        return {}
    prediction = source.prediction or found.prediction
    zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if found.zero_snr else {}
    return zero_snr | ({"prediction_type": prediction} if prediction else {})


# Whether it is whole -------------------------------------------------------------------------------------------------


def _check_whole(found: Contents, file: Path, parts: Mapping[str, Part], base: Base | None) -> None:
    if base is not None:
        return
    if found.family not in _WHOLE:
        message = f"{short(file)} is of {BY_KEY[found.family].title}, which reads texts with a tokenizer of its own."
        raise Unusable(Fate.NEVER, message, _take_from_base(found))
    if missing := [part for part in _WHOLE[found.family] if part not in parts]:
        message = f"{short(file)} is of {BY_KEY[found.family].title}, and has no {missing[0]} in it."
        raise Unusable(Fate.NEVER, message, _take_from_base(found))


def _take_from_base(found: Contents) -> str:
    title = BY_KEY[found.family].title
    return f"Set `base` to a model of {title} that is a folder or on the hub: its other parts are taken from there."


def _check_channels(parts: Mapping[str, Part]) -> None:
    """Whether the network takes what the autoencoder gives."""
    configs = {name: part.layout.config for name, part in parts.items() if part.layout is not None}
    takes, gives = configs.get("unet", {}).get("in_channels"), configs.get("vae", {}).get("latent_channels")
    if takes is None or gives is None or takes == gives:
        return
    message = f"its unet takes {takes} channels, where one that draws from words alone takes {gives}"
    message += ": it is for inpainting or for changing a given picture."
    raise Unusable(Fate.NEVER, message, "Choose the model that it was made from.")


# Parts that are named for themselves ---------------------------------------------------------------------------------


def judge_parts(source: ModelSource, family: Family) -> dict[str, Part]:
    """Those that `vae` and `text_encoder` name. Raises Unusable."""
    like = next((kind for key, kind in _LIKE.items() if f"{family.key}-".startswith(f"{key}-")), "")
    found = {"vae": _vae_at(Path(source.vae), like)} if source.vae else {}
    for named in source.text_encoder or ():
        slot, part = _text_encoder_at(Path(named), like)
        found[slot] = part
    for slot in found:
        if slot not in family.needs and not slot.startswith("text_encoder"):
            raise Unusable(Fate.NEVER, f"{family.title} has no {slot}.", f"Leave `{slot}` out.")
    return found


#: What a family's key begins with → whose parts its own are like. The first that fits counts; others are in no files.
_LIKE = {
    "stable-diffusion-xl": "stable-diffusion-xl", "stable-diffusion-3": "stable-diffusion-3",
    "stable-diffusion": "stable-diffusion", "lcm": "stable-diffusion", "flux": "flux", "chroma": "chroma",
    "z-image": "z-image", "lumina2": "z-image",
}  # fmt: skip


def _vae_at(place: Path, like: str) -> Part:
    if place.is_dir():
        check_weights(place, "diffusion_pytorch_model", None)
        return Part(place)
    if not like:
        message = f"{short(place)} is a file, and autoencoders of this family are read from folders alone."
        raise Unusable(Fate.NEVER, message, "Set `vae` to the folder of an autoencoder.")
    shapes = _shapes_at(place)
    prefix = next((each for each in VAES if beneath(shapes, each)), "")
    inner = beneath(shapes, prefix)
    if "decoder.conv_in.weight" not in inner:
        raise Unusable(Fate.NEVER, f"{short(place)} is not an autoencoder (VAE).", "Correct `vae`, or leave it out.")
    if any(name.startswith("decoder.up_blocks.") for name in inner):
        raise Unusable(
            Fate.NEVER, f"{short(place)} is in the form of diffusers.", "Set `vae` to the folder that it lies in."
        )
    try:
        return Part(place, vae_of(inner, prefix, like))
    except Odd as odd:
        raise _odd(place, odd) from None


def _text_encoder_at(place: Path, like: str) -> tuple[str, Part]:
    """A folder is that of the first text encoder, or of the one that its name says."""
    if place.is_dir():
        check_weights(place, "model", None)
        return (place.name if place.name in ("text_encoder_2", "text_encoder_3") else "text_encoder"), Part(place)
    try:
        slot, layout = text_encoder_of(_shapes_at(place), like)
    except Stranger as stranger:
        raise Unusable(Fate.NEVER, f"{short(place)} is {stranger.what}.", stranger.to_do) from None
    except Odd as odd:
        raise _odd(place, odd) from None
    return slot, Part(place, layout)


def _shapes_at(place: Path) -> Mapping[str, tuple[int, ...]]:
    _check_there(place)
    if place.suffix != SAFETENSORS:
        message = f"{short(place)} is neither a folder nor a .safetensors file."
        raise Unusable(Fate.NEVER, message, "Only these are loaded; a .bin can run code.")
    return read_header(place).shapes
