"""The forms in which ComfyUI keeps a graph: for its API, as the body of a call of that, and for its editor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkroom.foreign.graph import Graph, Node

MUTED, BYPASSED = 2, 4
#: What the editor itself does with a number afterwards; no picture shows it.
_CONTROL = "control_after_generate"

#: What the editor keeps without names, for classes of nodes whose files do not name it.
_WIDGETS = {
    "KSampler": ("seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "CLIPTextEncode": ("text",),
    **dict.fromkeys(("TextEncodeQwenImageEdit", "TextEncodeQwenImageEditPlus"), ("prompt",)),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "EmptyFlux2LatentImage": ("width", "height", "batch_size"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "SDTurboScheduler": ("steps", "denoise"),
    "SamplerCustom": ("add_noise", "noise_seed", "control_after_generate", "cfg"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "FluxGuidance": ("guidance",),
    "RandomNoise": ("noise_seed", "control_after_generate"),
    "KSamplerSelect": ("sampler_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "SaveImage": ("filename_prefix",),
    "PrimitiveNode": ("value", "control_after_generate"),
}  # fmt: skip


def is_editors(data: Mapping[str, Any]) -> bool:
    """Whether it is what the editor saves."""
    return isinstance(data.get("nodes"), list) and isinstance(data.get("links"), list)


def is_call(data: Mapping[str, Any]) -> bool:
    """Whether it is the body of a call of the API."""
    return isinstance(data.get("prompt"), dict) and _has_nodes(data["prompt"])


def is_graph(data: Mapping[str, Any]) -> bool:
    """Whether it is a graph in the form of the API."""
    return _has_nodes(data)


def _has_nodes(graph: Mapping[str, Any]) -> bool:
    return any(isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in graph.values())


def of_api(data: Mapping[str, Any]) -> Graph:
    """A graph in the form of the API; what is no node in it is left out."""
    return Graph(
        {
            str(key): _node(str(key), node["class_type"], node.get("inputs"))
            for key, node in data.items()
            if isinstance(node, dict) and isinstance(node.get("class_type"), str)
        }
    )


def _node(key: str, kind: str, inputs: object) -> Node:
    named = inputs if isinstance(inputs, dict) else {}
    links = {name: str(value[0]) for name, value in named.items() if _is_link(value)}
    return Node(key, kind, {name: value for name, value in named.items() if name not in links}, links)


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int)


# The editor's form ---------------------------------------------------------------------------------------------------


def of_editor(data: Mapping[str, Any]) -> Graph:
    """What the editor saves; nodes that are muted are left out, those that are bypassed hand on what they get."""
    saved = {str(node["id"]): node for node in data["nodes"] if isinstance(node, dict) and "id" in node}
    sources = dict(filter(None, map(_source, data["links"])))
    nodes = {
        key: Node(key, str(node.get("type")), *_inputs(node, saved, sources))
        for key, node in saved.items()
        if not is_off(node)
    }
    return Graph(nodes)


def is_off(node: Mapping[str, Any]) -> bool:
    """Whether the editor's own switch keeps a node from doing anything."""
    return node.get("mode") in (MUTED, BYPASSED)


def _source(link: object) -> tuple[Any, str] | None:
    """A link's id, and the node that it comes from."""
    if isinstance(link, list) and len(link) >= 2 and isinstance(link[0], int):
        return link[0], str(link[1])
    if isinstance(link, dict) and isinstance(link.get("id"), int):
        return link["id"], str(link.get("origin_id"))
    return None


def _inputs(
    node: Mapping[str, Any], saved: Mapping[str, Any], sources: Mapping[Any, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    slots = _slots(node)
    found = {str(slot.get("name")): _taken_from(slot, saved, sources) for slot in slots}
    links = {name: source for name, source in found.items() if source is not None}
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items() if name not in (*links, _CONTROL)}, links
    names = _WIDGETS.get(str(node.get("type"))) or tuple(str(slot.get("name")) for slot in slots if "widget" in slot)
    of_widgets = zip(names, values if isinstance(values, list) else (), strict=False)
    return {name: value for name, value in of_widgets if name not in (*links, _CONTROL)}, links


def _slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    inputs = node.get("inputs")
    return [slot for slot in inputs if isinstance(slot, dict)] if isinstance(inputs, list) else []


def _taken_from(slot: Mapping[str, Any], saved: Mapping[str, Any], sources: Mapping[Any, str]) -> str | None:
    """The node that an input comes from, past those that are bypassed."""
    source = _behind(slot, sources)
    for _ in saved:
        node = saved.get(source or "", {})
        if node.get("mode") != BYPASSED:
            break
        alike = [each for each in _slots(node) if each.get("type") == slot.get("type")]
        source = _behind(alike[0], sources) if alike else None
    return source


def _behind(slot: Mapping[str, Any], sources: Mapping[Any, str]) -> str | None:
    link = slot.get("link")
    return sources.get(link) if isinstance(link, int) else None
