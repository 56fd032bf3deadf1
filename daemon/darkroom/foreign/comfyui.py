"""ComfyUI: which request its graph means. It is followed from the sampler, and every other node is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.foreign import comfyui_forms as forms
from darkroom.foreign import samplers, wording
from darkroom.foreign.graph import Graph, Node
from darkroom.foreign.rules import (
    NAMES_FILES,
    count,
    guidance,
    idle,
    layer,
    model,
    never,
    number,
    pictures,
    scale,
    seed,
    side,
    text,
    whole,
)
from darkroom.foreign.sheet import NothingToAsk, Rule, Sheet, apply

_FILES = idle("the model has its own")
_SOME_STEPS = "all steps are done here"
_WHOLE = never(NAMES_FILES, 1)
_CONTROL = idle("of the editor alone")


def _last_layer(sheet: Sheet, where: str, value: Any) -> None:
    found = whole(value)
    layer(sheet, where, None if found is None or found >= 0 else -found)


_LATENT = {"width": side("width"), "height": side("height"), "batch_size": pictures}
_SAMPLER: dict[str, Rule] = {
    "seed": seed,
    "noise_seed": seed,
    "steps": count("num_inference_steps"),
    "cfg": scale("guidance_scale"),
    "denoise": _WHOLE,
    "add_noise": never(_SOME_STEPS, "enable"),
    "start_at_step": never(_SOME_STEPS, 0),
    "end_at_step": never(_SOME_STEPS, 10_000),
    "return_with_leftover_noise": never(_SOME_STEPS, "disable"),
}

#: Class → what is said of its values. Of those that are followed; others are told as a whole.
RULES: dict[str, Mapping[str, Rule]] = {
    "KSampler": _SAMPLER,
    "KSamplerAdvanced": _SAMPLER,
    "SamplerCustom": _SAMPLER,
    "SamplerCustomAdvanced": {},
    "RandomNoise": _SAMPLER,
    "KSamplerSelect": {},
    "BasicScheduler": _SAMPLER,
    "SDTurboScheduler": _SAMPLER,
    "CFGGuider": _SAMPLER,
    "BasicGuider": {},
    "FluxGuidance": {"guidance": scale("guidance_scale")},
    "Flux2Scheduler": {**_SAMPLER, **dict.fromkeys(("width", "height"), idle("the size is told elsewhere"))},
    "CheckpointLoaderSimple": {"ckpt_name": model},
    "CheckpointLoader": {"ckpt_name": model, "config_name": _FILES},
    "UNETLoader": {
        "unet_name": model,
        "weight_dtype": never("the configuration says how a model is loaded", "default"),
    },
    "CLIPSetLastLayer": {"stop_at_clip_layer": _last_layer},
}
_LORAS = ("LoraLoader", "LoraLoaderModelOnly")
_OF_LORA = ("lora_name", "strength_model", "strength_clip")
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
#: What a text may be called; where there are several encoders, the first one that says something counts.
_TEXTS = ("text", "text_g", "t5xxl", "prompt", "clip_g", "clip_l", "text_l")
#: Classes that do here what is done anyway.
_ANYWAY = {
    "VAEDecode": "every picture is decoded",
    "VAEDecodeTiled": "every picture is decoded",
    "SaveImage": "every picture is saved",
    "PreviewImage": "every picture is saved",
    "Reroute": "it hands on what it gets",
    "Note": "a note",
    "MarkdownNote": "a note",
    "PrimitiveNode": "its value is told where it is used",
    "ConditioningZeroOut": "no words",
}
_WHY = {
    "VAELoader": "a model is used with its own VAE",
    "CLIPLoader": "a model is used with its own text encoders",
    "DualCLIPLoader": "a model is used with its own text encoders",
    "TripleCLIPLoader": "a model is used with its own text encoders",
    "LoadImage": NAMES_FILES,
    "VAEEncode": NAMES_FILES,
    "ControlNetApply": "there are no control pictures here yet",
    "ControlNetApplyAdvanced": "there are no control pictures here yet",
}


def recognise(data: Mapping[str, Any]) -> str | None:
    """What it is, in words, if it is a graph."""
    return "a workflow of ComfyUI" if forms.is_editors(data) or forms.is_call(data) or forms.is_graph(data) else None


def translate(data: Mapping[str, Any], sheet: Sheet) -> None:
    """Say what becomes of each node, and of each key beside them. Raises NothingToAsk without a sampler."""
    if forms.is_editors(data):
        _say_editors(data, sheet)
        follow(forms.of_editor(data), sheet)
    elif forms.is_call(data):
        apply(_CALL, data, sheet)
        follow(forms.of_api(data["prompt"]), sheet)
        _say_what_is_no_node(data["prompt"], sheet, inside="prompt.")
    else:
        follow(forms.of_api(data), sheet)
        _say_what_is_no_node(data, sheet)


_CALL: dict[str, Rule] = {
    "prompt": idle("the graph: each of its nodes is told"),
    "client_id": idle("of the other program alone"),
    "prompt_id": idle("of the other program alone"),
    "extra_data": idle("of the other program alone"),
    "number": never('whose turn it is: see "priority"'),
    "front": never('whose turn it is: see "priority"'),
    "partial_execution_targets": never("all of it is done here"),
}


def _say_what_is_no_node(data: Mapping[str, Any], sheet: Sheet, *, inside: str = "") -> None:
    is_node = forms.of_api(data).nodes
    apply({}, {key: value for key, value in data.items() if key not in is_node}, sheet, inside=inside)


def _say_editors(data: Mapping[str, Any], sheet: Sheet) -> None:
    sheet.neutral("nodes", "each of them is told")
    sheet.neutral("links", "they were followed")
    for node in data["nodes"]:
        if isinstance(node, dict) and forms.is_off(node):
            sheet.neutral(f"{node.get('id')} {node.get('type')}", "it is switched off")
    if definitions := data.get("definitions"):
        never("nodes that are made of others can't be followed: unpack them first")(sheet, "definitions", definitions)
    apply(dict.fromkeys(data, _CONTROL), data, sheet)


# Following the graph -------------------------------------------------------------------------------------------------


def follow(graph: Graph, sheet: Sheet) -> None:
    """Say of each node what becomes of it. Raises NothingToAsk without a sampler."""
    sampler = _sampler(graph)
    used = list(graph.above(sampler.key))
    is_flux = graph.first(used, "guidance") is not None
    _say_texts(graph, sampler, used, sheet)
    _say_sampler(graph, used, sheet)
    for node in reversed(used):
        if node.kind in _LORAS:
            _say_lora(graph, node, sheet)
    for node in used:
        if _rules_of(node) is not None or node is sampler:
            _say_values(graph, node, sheet, is_flux=is_flux)
    used_keys = {node.key for node in used}
    for node in graph.nodes.values():
        if not _is_told(node, sheet):
            _say_whole(node, sheet, is_used=node.key in used_keys)


def _sampler(graph: Graph) -> Node:
    """The one that begins: no other sampler stands before it."""
    found = [node for node in graph.nodes.values() if _samples(node)]
    first = [node for node in found if not any(_samples(each) and each is not node for each in graph.above(node.key))]
    if not found:
        hint = "Darkroom follows KSampler, KSamplerAdvanced, SamplerCustom and SamplerCustomAdvanced."
        raise NothingToAsk("There is no sampler in this graph.", hint=hint)
    return (first or found)[0]


def _samples(node: Node) -> bool:
    """Other people's nodes that take what a sampler takes are samplers, too."""
    return node.kind in _SAMPLERS or ("positive" in node.links and {"steps", "seed"} <= {*node.values, *node.links})


def _is_zero(node: Node) -> bool:
    return node.kind == "ConditioningZeroOut"


def _rules_of(node: Node) -> Mapping[str, Rule] | None:
    """None for a node that is told as a whole. Each kind of model has an empty picture of its own."""
    is_empty_picture = node.kind.startswith("Empty") and "Latent" in node.kind
    return RULES.get(node.kind, _LATENT if is_empty_picture else None)


def _is_told(node: Node, sheet: Sheet) -> bool:
    return sheet.says(node.name) or any(sheet.says(f"{node.name}.{key}") for key in (*node.values, *node.links))


def _say_whole(node: Node, sheet: Sheet, *, is_used: bool) -> None:
    if node.kind in _ANYWAY:
        sheet.neutral(node.name, _ANYWAY[node.kind])
    elif _rules_of(node) is not None and is_used and not node.values:
        sheet.neutral(node.name, "it says nothing by itself")
    elif _samples(node):
        sheet.lost(node.name, "there is one pass here, that of the first sampler")
    elif not is_used and (_rules_of(node) is not None or node.kind in _LORAS or "TextEncode" in node.kind):
        sheet.lost(node.name, "the first sampler takes nothing from it")
    else:
        sheet.lost(node.name, _WHY.get(node.kind, "nothing here does what it does"))


def _say_values(graph: Graph, node: Node, sheet: Sheet, *, is_flux: bool) -> None:
    """Of each value of a node that is followed, also of those that come from another node."""
    rules = {**(_rules_of(node) or _SAMPLER)}
    if is_flux and "cfg" in rules:
        rules = guidance(rules, "guidance", "cfg")
    linked = {key: graph.value(node, key) for key in rules if key in node.links}
    _tell_sources([source for _, source in linked.values()], sheet)
    values = {**node.values, **{key: value for key, (value, _) in linked.items() if value is not None}}
    for key, (value, source) in linked.items():
        if value is None:
            sheet.lost(f"{node.name}.{key}", f"it comes from {source.name if source else 'a node that is not there'}")
    apply(rules, values, sheet, inside=f"{node.name}.")


def _say_lora(graph: Graph, node: Node, sheet: Sheet) -> None:
    """How much of it applies to the text encoders is one number with how much does to the network."""
    said = {key: graph.value(node, key)[0] for key in _OF_LORA if key in node.values or key in node.links}
    name, strength, of_text = map(said.get, _OF_LORA)
    if not isinstance(name, str) or (strength is None and "strength_model" in said):
        sheet.lost(node.name, "its name or its strength comes from a node that can't be followed: name it in `loras`")
        return
    sheet.adds_lora(f"{node.name}.lora_name", name, number(strength))
    if "strength_model" in said:
        sheet.neutral(f"{node.name}.strength_model", "the weight of the LoRA")
    if "strength_clip" in said and number(of_text) == number(strength):
        sheet.neutral(f"{node.name}.strength_clip", "the weight of the LoRA")
    elif "strength_clip" in said:
        sheet.lost(f"{node.name}.strength_clip", "text encoders are changed as much as the network here")
    apply({}, node.values, sheet, inside=f"{node.name}.")


def _tell_sources(sources: list[Node | None], sheet: Sheet) -> None:
    for source in sources:
        if source is not None and _rules_of(source) is None and not _is_told(source, sheet):
            sheet.neutral(source.name, "its value is told where it is used")


def _say_sampler(graph: Graph, used: list[Node], sheet: Sheet) -> None:
    """The sampler and its schedule may stand in two nodes."""
    sampler, schedule = graph.first(used, "sampler_name"), graph.first(used, "scheduler")
    name, _ = graph.value(*sampler) if sampler else (None, None)
    named, _ = graph.value(*schedule) if schedule else (None, None)
    if sampler and isinstance(name, str):
        of_schedule = f"{schedule[0].name}.{schedule[1]}" if schedule and isinstance(named, str) else ""
        known = samplers.sampler_of(name, str(named) if of_schedule else "")
        samplers.say(sheet, known, f"{sampler[0].name}.{sampler[1]}", of_schedule)
        _tell_sources([graph.value(*each)[1] for each in (sampler, schedule) if each], sheet)


# The two prompts -----------------------------------------------------------------------------------------------------


def _say_texts(graph: Graph, sampler: Node, used: list[Node], sheet: Sheet) -> None:
    start = next((node for node in used if {"positive", "conditioning"} & node.links.keys()), sampler)
    told: set[str] = set()
    for role, becomes in (("positive", "prompt"), ("negative", "negative_prompt")):
        encoder = next((node for node in _encoders(graph, start, role) if node.key not in told), None)
        if encoder is not None:
            told.add(encoder.key)
            _say_text(graph, encoder, becomes, sheet)


def _encoders(graph: Graph, start: Node, role: str) -> Iterator[Node]:
    """Nodes that turn words into what the sampler takes, the nearest first. Many nodes hand both prompts on."""

    def taken(node: Node) -> list[str]:
        if role in node.links:
            return [node.links[role]]
        other = "negative" if role == "positive" else "positive"
        ways = [source for key, source in node.links.items() if key != other]
        return [] if _is_zero(node) or (node is start and role == "negative") else ways

    for node in graph.above(start.key, taken):
        is_encoder = any(key in node.values or key in node.links for key in _TEXTS)
        if is_encoder and not _samples(node) and not any(key.startswith("conditioning") for key in node.links):
            yield node


def _say_text(graph: Graph, node: Node, becomes: str, sheet: Sheet) -> None:
    words: dict[str, Any] = {}
    for key in _TEXTS:
        if key in node.values or key in node.links:
            words[key], source = graph.value(node, key)
            _tell_sources([source], sheet)
    chosen = next((key for key, said in words.items() if isinstance(said, str) and said.strip()), next(iter(words)))
    for key, said in words.items():
        where = f"{node.name}.{key}"
        if said is None:
            sheet.lost(where, "its words come from a node that can't be followed: write them into `prompt`")
        elif key == chosen:
            (wording.prompt(becomes) if isinstance(said, str) else text(becomes))(sheet, where, said)
        elif said in ("", words[chosen]):
            sheet.neutral(where, f"`{chosen}` says it")
        else:
            sheet.lost(where, f"all text encoders read the same words here: those of `{chosen}`")
    apply({"guidance": scale("guidance_scale")}, node.values, sheet, inside=f"{node.name}.")
