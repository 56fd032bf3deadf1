"""InvokeAI: the metadata of its pictures, and the graphs of its queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign import samplers, wording
from darkroom.foreign.graph import Graph, Node
from darkroom.foreign.rules import NAMES_FILES, count, guidance, idle, model, never, number, scale, seed, side
from darkroom.foreign.sheet import NothingToAsk, Rule, Sheet, apply

_NO_HIRES = 'ask for a second, larger pass with "hires"'
_OF_PROGRAM = idle("of the other program alone")


def _model(sheet: Sheet, where: str, value: Any) -> None:
    """A model is an object; its name is said of it."""
    named = value.get("name") or value.get("model_name") if isinstance(value, dict) else value
    model(sheet, where, named or "")


def _loras(sheet: Sheet, where: str, value: Any) -> None:
    """Each is an object with a model and a weight."""
    if not isinstance(value, list):
        sheet.lost(where, "it is no list of LoRAs")
    elif not value:
        sheet.neutral(where, "off or empty")
    for index, each in enumerate(value if isinstance(value, list) else ()):
        said = each if isinstance(each, dict) else {}
        of: Mapping[str, Any] = next((said[key] for key in ("model", "lora") if isinstance(said.get(key), dict)), {})
        name = of.get("name") or of.get("model_name")
        if isinstance(name, str):
            sheet.adds_lora(f"{where}.{index}", name, number(said.get("weight")))
        else:
            sheet.lost(f"{where}.{index}", "it has no name: name it by its alias in `loras`")


_SECOND_PROMPT = never("all text encoders read `prompt` here")
RULES: dict[str, Rule] = {
    "positive_prompt": wording.compel("prompt"),
    "negative_prompt": wording.compel("negative_prompt"),
    "positive_style_prompt": _SECOND_PROMPT,
    "negative_style_prompt": _SECOND_PROMPT,
    "width": side("width"),
    "height": side("height"),
    "seed": seed,
    "steps": count("num_inference_steps"),
    "num_steps": count("num_inference_steps"),
    "cfg_scale": scale("guidance_scale"),
    "guidance": scale("guidance_scale"),
    "clip_skip": count("clip_skip"),
    "model": _model,
    "loras": _loras,
    "generation_mode": never(NAMES_FILES, "txt2img", "sdxl_txt2img", "flux_txt2img", "sd3_txt2img", "z_image_txt2img"),
    "rand_device": never("noise is drawn by the processor here", "cpu"),
    "cfg_rescale_multiplier": never("guidance is not rescaled here", 0),
    "seamless_x": never("pictures can't be tiles here"),
    "seamless_y": never("pictures can't be tiles here"),
    "vae": never("a model is used with its own VAE"),
    "controlnets": never("there are no control pictures here yet"),
    "ipAdapters": never("there are no reference pictures here yet"),
    "t2iAdapters": never("there are no reference pictures here yet"),
    "strength": never(NAMES_FILES, 1),
    "init_image": never(NAMES_FILES),
    "denoising_start": never("all steps are done here", 0),
    "denoising_end": never("all steps are done here", 1),
    "hrf_enabled": never(_NO_HIRES),
    **dict.fromkeys(("hrf_method", "hrf_strength", "hires_fix"), never(_NO_HIRES)),
    "refiner_model": never("there are no refiners here"),
    **dict.fromkeys(("app_version", "created_by", "id", "type", "is_intermediate", "use_cache"), _OF_PROGRAM),
    **dict.fromkeys(("canvas_v2_metadata", "regions", "name", "workflow"), _OF_PROGRAM),
}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is one of them."""
    if isinstance(data.get("positive_prompt"), str) and len(data.keys() & RULES.keys()) > 2:
        return "metadata of a picture of InvokeAI"
    return "a graph of InvokeAI" if _graph_in(data) is not None else None


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each key. Raises NothingToAsk for a graph in which nothing is denoised."""
    graph = _graph_in(data)
    if graph is None:
        _say_fields(data, sheet)
        return
    for key in data:
        sheet.neutral(key, "each node is told" if key in ("nodes", "edges", "batch", "graph") else "of the queue alone")
    _follow(_read(graph), sheet)


def _say_fields(data: Mapping[str, Any], sheet: Sheet, *, inside: str = "") -> None:
    if isinstance(name := data.get("scheduler"), str) and name:
        samplers.say(sheet, samplers.sampler_of(name), f"{inside}scheduler")
    rules = guidance(RULES, "guidance", "cfg_scale") if data.get("guidance") is not None else RULES
    apply(rules, data, sheet, inside=inside)


# Graphs --------------------------------------------------------------------------------------------------------------

_PROMPTS = ("compel", "sdxl_compel_prompt", "flux_text_encoder", "sd3_text_encoder", "z_image_text_encoder")
_HELD = {"noise": ("seed", "width", "height"), "main_model_loader": ("model",)}
_HELD |= {"sdxl_model_loader": ("model",), "flux_model_loader": ("model",), "clip_skip": ("skipped_layers",)}
_RENAMED = {"skipped_layers": "clip_skip", "num_steps": "steps"}
_ANYWAY = {"l2i", "flux_vae_decode", "sd3_l2i", "string", "integer", "float", "collect", "core_metadata", "save_image"}


def _graph_in(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The graph, by itself or in the body of a call that puts it into the queue."""
    for found in (data, data.get("graph"), data["batch"].get("graph") if isinstance(data.get("batch"), dict) else None):
        if isinstance(found, dict) and isinstance(found.get("nodes"), dict) and isinstance(found.get("edges"), list):
            return found
    return None


def _read(graph: Mapping[str, Any]) -> Graph:
    links: dict[str, dict[str, str]] = {}
    for edge in graph["edges"]:
        source, destination = (edge.get(end) if isinstance(edge, dict) else None for end in ("source", "destination"))
        if isinstance(source, dict) and isinstance(destination, dict):
            inputs = links.setdefault(str(destination.get("node_id")), {})
            inputs[str(destination.get("field"))] = str(source.get("node_id"))
    return Graph({key: _node(key, node, links.get(key, {})) for key, node in graph["nodes"].items()})


def _node(key: str, node: object, links: Mapping[str, str]) -> Node:
    said = node if isinstance(node, dict) else {}
    values = {name: value for name, value in said.items() if name not in (*links, "id", "type", *_SETTINGS)}
    return Node(key, str(said.get("type")), {name: value for name, value in values.items() if value is not None}, links)


#: What every node has, and no picture shows.
_SETTINGS = ("is_intermediate", "use_cache", "workflow", "board", "metadata")


def _follow(graph: Graph, sheet: Sheet) -> None:
    """From what denoises: its own values, its prompts, its noise, its model; every other node is told."""
    denoiser = next(
        (node for node in graph.nodes.values() if node.kind.endswith(("denoise_latents", "_denoise"))), None
    )
    if denoiser is None:
        raise NothingToAsk("Nothing is denoised in this graph.", hint="Give its picture to `darkroom reproduce`.")
    _say_node(graph, denoiser, sheet)
    for key in ("positive", "negative"):
        link = next((each for each in denoiser.links if each.startswith(key)), "")
        encoder = next((node for node in graph.above(denoiser.links.get(link, "")) if node.kind in _PROMPTS), None)
        if encoder is not None and not _is_told(encoder, sheet):
            _say_prompt(graph, encoder, f"{key}_prompt", sheet)
    for node in graph.above(denoiser.key):
        if node.kind in _HELD and not _is_told(node, sheet):
            _say_node(graph, node, sheet)
    for node in graph.nodes.values():
        if not _is_told(node, sheet):
            is_idle = node.kind in _ANYWAY or (node.kind in _HELD and not node.values)
            why = "its values are told where they are used" if is_idle else "nothing here does what it does"
            (sheet.neutral if is_idle else sheet.lost)(node.name, why)


def _is_told(node: Node, sheet: Sheet) -> bool:
    return sheet.says(node.name) or any(sheet.says(f"{node.name}.{key}") for key in (*node.values, *node.links))


def _say_node(graph: Graph, node: Node, sheet: Sheet) -> None:
    """Each value, under the name that it has in metadata."""
    wanted = {
        **node.values,
        **{key: graph.value(node, key)[0] for key in node.links if _RENAMED.get(key, key) in RULES},
    }
    rules = {**RULES, **{name: RULES[known] for name, known in _RENAMED.items()}}
    if wanted.get("guidance") is not None:
        rules = guidance(rules, "guidance", "cfg_scale")
    if isinstance(name := wanted.get("scheduler"), str):
        samplers.say(sheet, samplers.sampler_of(name), f"{node.name}.scheduler")
    apply(rules, {key: value for key, value in wanted.items() if value is not None}, sheet, inside=f"{node.name}.")


def _say_prompt(graph: Graph, encoder: Node, becomes: str, sheet: Sheet) -> None:
    value, _ = graph.value(encoder, "prompt")
    if isinstance(value, str):
        RULES[becomes](sheet, f"{encoder.name}.prompt", value)
    else:
        sheet.lost(f"{encoder.name}.prompt", "its words come from a node that can't be followed")
    apply({"style": _SECOND_PROMPT}, encoder.values, sheet, inside=f"{encoder.name}.")
