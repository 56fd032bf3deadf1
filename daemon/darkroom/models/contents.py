"""What a file of weights is: a whole model, a part of one, or something else; by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from darkroom.models import layouts
from darkroom.models.layouts import (
    CLIP_G,
    CLIP_L,
    CLIP_OF_SD1,
    CLIP_OF_XL,
    DENOISER,
    HEADS_OF_SD1,
    OPEN_CLIP_OF_SD2,
    OPEN_CLIP_OF_XL,
    T5,
    VAES,
    Header,
    Layout,
    Shapes,
    beneath,
)


@dataclass(frozen=True, slots=True)
class Contents:
    """A model, or its denoiser at least, as it lies in a file."""

    family: str  #: its key; "" for a network that only a base can tell
    denoiser: str  #: "unet" or "transformer"
    parts: Mapping[str, Layout]
    prediction: str | None = None  #: what its author has written into the file that it predicts
    zero_snr: bool = False  #: whether it was trained to begin in pure noise


@dataclass(frozen=True, slots=True)
class Stranger(Exception):
    """A file that is no model."""

    what: str  #: "a LoRA"
    to_do: str = "Name a file with a whole model, or with its transformer."

    @property
    def is_known(self) -> bool:
        """Whether anybody can tell what it is."""
        return self.what != NOTHING_KNOWN


NOTHING_KNOWN = "nothing that is known here"
_MODEL_THERE = "Name the model that it was made for as `source`"

#: Names of tensors that tell what a file is, where it is no model; the first that fits counts.
_STRANGERS: tuple[tuple[re.Pattern[str], Stranger], ...] = (
    (re.compile(r"control_model\.|controlnet_|lora_controlnet|input_hint_block|zero_convs|control_(all_x|layers)"),
     Stranger("a ControlNet, which leads a model and is none", f"{_MODEL_THERE}.")),
    (re.compile(r"lora_|\.lora\.|hada_w1|lokr_w|\.diff_b$|oft_blocks"),
     Stranger("a LoRA, which changes a model and is none", f"{_MODEL_THERE}; the LoRA belongs to requests.")),
    (re.compile(r"emb_params$|string_to_param|(clip_l|clip_g|t5xxl)$"),
     Stranger("an embedding (textual inversion), a word for a model and none", f"{_MODEL_THERE}.")),
    (re.compile(r"(ip_adapter|image_proj)\.|^adapter\.body\."),
     Stranger("an adapter, which changes a model and is none", f"{_MODEL_THERE}.")),
    (re.compile(r"(body\.0\.rdb1|model\.1\.sub|conv_first|upsampler\.|layers\.0\.residual_group)"),
     Stranger("an upscaler, which makes pictures larger and paints none")),
)  # fmt: skip
_AVERAGED = re.compile(r"model_ema\.")  #: whole models of old have these beside the others
_AS_FOLDER = "Use it as a folder, or by its id on the hub."
#: Names of tensors of models that are read from no single file; the first that fits counts.
_NOT_FROM_A_FILE: tuple[tuple[re.Pattern[str], Stranger], ...] = (
    (re.compile(r"double_stream_modulation_img\."), Stranger("of FLUX.2, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"encoder_hid_proj\."), Stranger("of Kolors, which is not rendered here", "Use another model.")),
    (re.compile(r"edm_mean$"), Stranger("of Playground 2.5, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"layers\.0\.adaLN_modulation\.1\."),
     Stranger("of Lumina 2, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"double_layers\.\d+\.attn\.w1q"),
     Stranger("of AuraFlow, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"attn1\.Wqkv"), Stranger("of Hunyuan-DiT, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"y_embedder\.y_proj\."), Stranger("of PixArt, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"llm_adapter\.|x_embedder\.proj\.1\."),
     Stranger("of Cosmos, which is not read from one file", _AS_FOLDER)),
    (re.compile(r"clip_txt_mapper|effnet_mapper"),
     Stranger("of Stable Cascade, which is not rendered here", "Use another model.")),
    (re.compile(r"head\.modulation$|patchify_proj\.|individual_token_refiner\.|t5_yproj|time_stack\.|motion_modules?\."),
     Stranger("a model that makes video", "Name one that makes pictures.")),
    (re.compile(r"redux_(up|down)\."), Stranger("FLUX.1 Redux, an adapter, and no model", f"{_MODEL_THERE}.")),
    (_AVERAGED,
     Stranger("the averaged weights (EMA) of a model alone", "Choose its file that is for painting.")),
)  # fmt: skip
#: How many numbers a place has that FLUX.1 reads besides latents.
_FLUX_BY_PICTURE = {384: "Fill, which paints into pictures", 128: "Depth or Canny, which are led by pictures"}
_FEW_BITS = {"I8", "U8", "F4"}
_PACKED = re.compile(r"(scaled_fp8|\.scale_weight|\.weight_scale|\.quant_state\.|\.absmax|\.qweight)")
_VAE = re.compile(r"((first_stage_model|vae)\.)?(decoder\.conv_in\.weight)")
_TEXT = re.compile(
    r"(text_model\.|embeddings\.token_embedding|encoder\.block\.\d+\.layer|transformer\.resblocks|.*q_proj)"
)
_OF_DIFFUSERS = re.compile(
    r"(transformer_blocks|single_transformer_blocks|down_blocks|mid_block|up_blocks|noise_refiner)\."
)

_UNET, _SD3, _FLUX, _CHROMA = (
    "input_blocks.0.0.weight",
    "joint_blocks.0.context_block.adaLN_modulation.1.bias",
    "double_blocks.0.img_attn.norm.key_norm.scale",
    "distilled_guidance_layer.in_proj.bias",
)
_Z_IMAGE = ("layers.0.adaLN_modulation.0.weight", "cap_embedder.0.weight", "x_embedder.weight")
_SIDES = {"stable-diffusion": 512, "stable-diffusion-xl": 1024, "stable-diffusion-3": 1024, "flux": 1024}


def contents(header: Header) -> Contents:
    """Raises Stranger for what is no model, and Odd for one that is not as others are."""
    shapes = header.shapes
    if any(_PACKED.search(name) for name in shapes) or header.types & _FEW_BITS:
        raise Stranger(
            "a model with its weights packed in a way that is not read", "Use one in fp16, bf16, fp8 or GGUF."
        )
    prefix = DENOISER if any(name.startswith(DENOISER) for name in shapes) else ""
    inner = beneath(shapes, prefix)
    is_control = any(name.startswith(("control_model.", "lora_controlnet")) for name in shapes)
    if not is_control:
        _check_kind(shapes, inner)
    for key, find in _TRANSFORMERS.items():
        if (layout := find(inner, prefix)) is not None:
            return Contents(key, "transformer", {"transformer": layout, **_beside(shapes, key)})
    if _UNET in inner and not is_control:
        return _stable_diffusion(header, inner, prefix)
    for pattern, stranger in _STRANGERS:
        if any(pattern.search(name) for name in shapes):
            raise stranger
    if any(map(_OF_DIFFUSERS.match, inner)) and not any(map(_VAE.match, shapes)):
        denoiser = "unet" if any(name.startswith("up_blocks.") for name in inner) else "transformer"
        return Contents("", denoiser, {denoiser: Layout("", "own", prefix, {}, frozenset())})
    raise _part_alone(shapes)


def _check_kind(shapes: Shapes, inner: Shapes) -> None:
    """Raises Stranger for models that are known, and not read from a file."""
    for pattern, stranger in _NOT_FROM_A_FILE:
        if any(map(pattern.search, shapes)) and not (pattern is _AVERAGED and _UNET in inner):
            raise stranger
    channels = inner["img_in.weight"][1:] if _FLUX in inner and "img_in.weight" in inner else ()
    if channels and channels[0] in _FLUX_BY_PICTURE:
        raise Stranger(f"FLUX.1 {_FLUX_BY_PICTURE[channels[0]]}", "Name FLUX.1 dev, schnell or Kontext.")


def _part_alone(shapes: Shapes) -> Stranger:
    if any(map(_VAE.match, shapes)):
        return Stranger("an autoencoder (VAE) alone", "Name the model as `source`, and this file as its `vae`.")
    if "shared.weight" in shapes or any(map(_TEXT.match, shapes)):
        return Stranger("a text encoder alone", "Name the model as `source`, and this file as its `text_encoder`.")
    return Stranger(NOTHING_KNOWN)


def _by(make: Callable[[Shapes, str], Layout], *signs: str) -> Callable[[Shapes, str], Layout | None]:
    return lambda inner, prefix: make(inner, prefix) if all(sign in inner for sign in signs) else None


#: Families that are told by their transformers; Chroma has FLUX.1's blocks as well.
_TRANSFORMERS: Mapping[str, Callable[[Shapes, str], Layout | None]] = {
    "stable-diffusion-3": _by(layouts.sd3, _SD3),
    "chroma": _by(layouts.chroma, _CHROMA, _FLUX),
    "flux": _by(layouts.flux, _FLUX),
    "z-image": _by(layouts.z_image, *_Z_IMAGE),
}


# What lies beside the denoiser ---------------------------------------------------------------------------------------


def _beside(shapes: Shapes, family: str) -> dict[str, Layout]:
    """The other parts of a family with a transformer, as far as the file has them."""
    found = _vae(shapes, family)
    first, second, t5 = (beneath(shapes, prefix) for prefix in (CLIP_L, CLIP_G, T5))
    if family == "stable-diffusion-3":
        found |= {"text_encoder": layouts.clip_l_of_sd3(first, CLIP_L)} if first else {}
        found |= {"text_encoder_2": layouts.clip(second, CLIP_G, projected=True, act="gelu")} if second else {}
    elif family == "flux" and first:
        found["text_encoder"] = layouts.clip(first, CLIP_L, projected=False)
    if t5 and family in T5_OF:
        found[T5_OF[family]] = layouts.t5(t5, T5)
    return found


#: Which part of a family's pipeline T5 is.
T5_OF = {"stable-diffusion-3": "text_encoder_3", "flux": "text_encoder_2", "chroma": "text_encoder"}


def _vae(shapes: Shapes, family: str) -> dict[str, Layout]:
    for prefix in VAES:
        if inner := beneath(shapes, prefix):
            return {"vae": vae_of(inner, prefix, family)}
    return {}


def vae_of(inner: Shapes, prefix: str, family: str) -> Layout:
    """An autoencoder for a model of this family. Raises Odd."""
    like = family if family in layouts.SCALES else "flux"
    return layouts.vae(inner, prefix, layouts.SCALES[like], _SIDES[like])


def _stable_diffusion(header: Header, inner: Shapes, prefix: str) -> Contents:
    shapes = header.shapes
    is_xl = "label_emb.0.0.weight" in inner
    if beneath(shapes, "conditioner.embedders.0.model."):
        raise Stranger("the refiner of Stable Diffusion XL, which only changes pictures", "Name the base model.")
    key = "stable-diffusion-xl" if is_xl else "stable-diffusion"
    first, second = beneath(shapes, CLIP_OF_XL), beneath(shapes, OPEN_CLIP_OF_XL)
    clip, open_clip = beneath(shapes, CLIP_OF_SD1), beneath(shapes, OPEN_CLIP_OF_SD2)
    parts: dict[str, Layout] = {}
    if is_xl and first:
        parts["text_encoder"] = layouts.clip(first, CLIP_OF_XL, projected=False)
    if is_xl and second:
        parts["text_encoder_2"] = layouts.open_clip(second, OPEN_CLIP_OF_XL, projected=True)
    if not is_xl and clip:
        parts["text_encoder"] = layouts.clip(clip, CLIP_OF_SD1, projected=False)
    if not is_xl and open_clip:
        parts["text_encoder"] = layouts.open_clip(open_clip, OPEN_CLIP_OF_SD2, projected=False)
    heads = None if is_xl or open_clip else HEADS_OF_SD1
    unet = layouts.unet(inner, prefix, heads=heads, sample_size=_SIDES[key] // 8)
    if is_xl:
        _add_sizes(unet, inner, parts.get("text_encoder_2"))
    prediction = "v_prediction" if "v_pred" in shapes else _said_prediction(header)
    return Contents(key, "unet", {"unet": unet, **parts, **_vae(shapes, key)}, prediction, "ztsnr" in shapes)


def _add_sizes(unet: Layout, inner: Shapes, encoder: Layout | None) -> None:
    """Stable Diffusion XL is told six numbers: of the size that is asked for, and what of it is shown."""
    takes = inner["label_emb.0.0.weight"][1]
    pooled = encoder.config["projection_dim"] if encoder is not None else takes - 6 * 256
    unet.config.update(
        addition_embed_type="text_time",
        addition_time_embed_dim=(takes - pooled) // 6,
        projection_class_embeddings_input_dim=takes,
    )


def _said_prediction(header: Header) -> str | None:
    """By the standard for what is said in model files (modelspec)."""
    said = str(header.said.get("modelspec.prediction_type", "")).lower()
    return {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}.get(said)


# Parts that are named for themselves ---------------------------------------------------------------------------------


def text_encoder_of(shapes: Shapes, family: str) -> tuple[str, Layout]:
    """Which part of a family's pipeline a text encoder is, and how it lies in its file. Raises Stranger or Odd."""
    for prefix in ("", T5):
        if f"{prefix}shared.weight" in shapes and family in T5_OF:
            return T5_OF[family], layouts.t5(beneath(shapes, prefix), prefix)
    for prefix in ("", CLIP_L, CLIP_G, CLIP_OF_SD1, CLIP_OF_XL):
        inner = beneath(shapes, prefix)
        if any(name.startswith(("text_model.embeddings", "embeddings.token")) for name in inner):
            return _clip_slot(inner, prefix, family)
    raise Stranger("no text encoder of this family", "Leave `text_encoder` out, or name CLIP's or T5's.")


def _clip_slot(inner: Shapes, prefix: str, family: str) -> tuple[str, Layout]:
    """CLIP-L is 768 wide; what is wider is OpenCLIP's, the second one where there are two."""
    is_third = family == "stable-diffusion-3"
    plain = layouts.clip_l_of_sd3(inner, prefix) if is_third else layouts.clip(inner, prefix, projected=False)
    if plain.config["hidden_size"] > 768 and family in ("stable-diffusion-xl", "stable-diffusion-3"):
        return "text_encoder_2", layouts.clip(inner, prefix, projected=True, act="gelu")
    return "text_encoder", plain
