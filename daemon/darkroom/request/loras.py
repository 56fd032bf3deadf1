"""LoRAs that a request names: which ones, how much of each, and whether its model can be rendered with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from darkroom.errors import ErrorCode, Problem
from darkroom.models.card import ModelCard, card
from darkroom.models.families import PRESET_FAMILIES, few_step
from darkroom.models.family import SCALES, Family
from darkroom.models.layers import Misfit
from darkroom.models.source import LoraSource, ModelSource
from darkroom.request.plan import Lora
from darkroom.request.shape import AskedLora, Request, shown
from darkroom.spelling import suggestion

Sources = Mapping[str, LoraSource]  #: by alias


def chosen(asked: Request, sources: Sources) -> tuple[LoraSource, ...]:
    """Those that are there, in the order in which they are asked for."""
    return tuple(sources[each.name] for each in asked.loras if each.name in sources)


def planned(asked: Request, sources: Sources) -> tuple[Lora, ...]:
    """Each with its weight."""
    return tuple(Lora(each.name, _weight(each, sources[each.name])) for each in asked.loras)


def _weight(asked: AskedLora, source: LoraSource) -> float:
    return source.weight if asked.weight is None else asked.weight


def card_with(source: ModelSource, family: Family, loras: tuple[LoraSource, ...]) -> ModelCard:
    """A model's card; what a few-step LoRA was made for comes before what was chosen for the model without it."""
    own = few_step(family, loras)
    if own is not family:
        source = replace(source, num_inference_steps=None, guidance_scale=None, scheduler=None)
    found = card(source, own)
    for lora in loras:
        scales = {key: value for key in SCALES if (value := getattr(lora, key)) is not None and key in found.scales}
        steps = max(lora.num_inference_steps or found.num_inference_steps, own.fewest_steps)
        found = replace(found, num_inference_steps=steps, scales={**found.scales, **scales})
    return found


def problems(
    asked: Request, sources: Sources, model: ModelCard | None, misfits: Mapping[str, Misfit]
) -> Iterator[Problem]:
    """What is wrong with each that is asked for; `misfits`: those that the model's own files speak against."""
    if not asked.loras:
        return
    if model is not None and not model.family.loras:
        message = f"The model {model.alias} takes no LoRAs: nothing loads them into {model.family.title}."
        yield Problem("/loras", message, "Leave them out.", ErrorCode.UNSUPPORTED_KEY)
        return
    names = [each.name for each in asked.loras]
    for index, name in enumerate(names):
        where = f"/loras/{index}/name"
        if name not in sources:
            hint = suggestion(name, sources) if sources else "The configuration has no [loras.ALIAS] table."
            yield Problem(where, f"There is no LoRA {shown(name)}.", hint, ErrorCode.UNKNOWN_LORA)
        elif name in names[:index]:
            yield Problem(where, f"The LoRA {name} is named twice.", "Name it once, with the weight that is meant.")
        elif model is not None and (problem := _misfit(where, sources[name], model, misfits)):
            yield problem
    if model is not None:
        yield from _presets(chosen(asked, sources), model)


def _misfit(where: str, lora: LoraSource, model: ModelCard, misfits: Mapping[str, Misfit]) -> Problem | None:
    if lora.models and model.alias not in lora.models:
        message = f"The LoRA {lora.alias} is for {' and '.join(lora.models)}, not for the model {model.alias}."
        return Problem(where, message, f'Ask for "model": "{lora.models[0]}".', ErrorCode.UNSUPPORTED_KEY)
    if (misfit := misfits.get(lora.alias)) is None:
        return None
    message = f"The LoRA {lora.alias} can't be used with the model {model.alias}: {misfit.message}"
    return Problem(where, message, misfit.hint, ErrorCode.UNSUPPORTED_KEY)


def _presets(loras: tuple[LoraSource, ...], model: ModelCard) -> Iterator[Problem]:
    few = [lora for lora in loras if lora.preset]
    if len({lora.preset for lora in few}) > 1:
        message = f"{few[0].alias} and {few[1].alias} make few-step models of different kinds."
        yield Problem("/loras", message, "Name one of them.", ErrorCode.UNSUPPORTED_KEY)
    if few and few_step(model.family, few) is model.family and not model.family.key.startswith(PRESET_FAMILIES):
        message = (
            f"The LoRA {few[0].alias} makes a few-step model of Stable Diffusion or SDXL, and {model.alias} is neither."
        )
        yield Problem("/loras", message, "Leave it out.", ErrorCode.UNSUPPORTED_KEY)
