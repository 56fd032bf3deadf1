"""What planning must know of a model: its family, and what the operator has chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from darkroom.models.families import BY_KEY, KNOWN_IDS, PRESET_FAMILIES, STARTER, with_preset
from darkroom.models.family import SCALES, Family
from darkroom.models.source import ModelSource

SMALLEST_SIDE_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model's limits and its defaults, nothing of how it is loaded."""

    alias: str
    family: Family
    width: int  #: pixels, the default
    height: int  #: pixels, the default
    min_px: int  #: the smallest side it can draw, a multiple of the family's step
    max_px: int  #: the largest side it can draw, likewise
    num_inference_steps: int
    scales: Mapping[str, float]  #: of SCALES, those that it obeys: the default
    scheduler: str  #: one of the family's
    clip_skip: int | None = None  #: how many of the last layers of its text encoder are left out; None: its own way
    default_style: tuple[str, ...] | None = None  #: overrides the configured default style, where set


def card(source: ModelSource, family: Family) -> ModelCard:
    """What a model can be asked for; what was chosen and can't be had is told by `misfits`, and its family's here."""
    side_px = family.side_px
    smallest, largest = (
        _up(max(source.min_px or 0, SMALLEST_SIDE_PX), family),
        _down(source.max_px or family.largest_px, family),
    )
    return ModelCard(
        alias=source.alias,
        family=family,
        width=min(max(_down(source.width or side_px, family), smallest), largest),
        height=min(max(_down(source.height or side_px, family), smallest), largest),
        min_px=smallest,
        max_px=largest,
        num_inference_steps=max(source.num_inference_steps or family.steps, family.fewest_steps),
        scales={key: _first(getattr(source, key), default) for key, default in family.scales.items()},
        scheduler=source.scheduler if source.scheduler in family.schedulers else family.schedulers[0],
        clip_skip=source.clip_skip if family.clip_skip else None,
        default_style=source.default_style,
    )


def expected(source: ModelSource) -> Family | None:
    """The family of a model whose files nobody has looked at; None when nothing tells it."""
    if source.is_testcard:
        return BY_KEY["testcard"]
    if source.is_starter:
        return dressed(STARTER, source)
    key = source.family or KNOWN_IDS.get(source.source)
    return dressed(BY_KEY[key], source) if key is not None else None


def dressed(family: Family, source: ModelSource) -> Family:
    """The family's row with the preset that the operator has chosen, where it has any."""
    return with_preset(family, source.preset) if source.preset and family.key in PRESET_FAMILIES else family


def misfits(source: ModelSource, family: Family) -> list[tuple[str, str]]:
    """What was chosen for a model and can't be had of its family: what is wrong, and what to do about it."""
    found = [
        (
            f"its `{key}` of {side} is not a multiple of {family.step_px}",
            f"Set `{key} = {max(_down(side, family), family.step_px)}`.",
        )
        for key in ("width", "height")
        if (side := getattr(source, key)) and side % family.step_px
    ]
    if source.scheduler and source.scheduler not in family.schedulers:
        found += [
            (f"its `scheduler` {source.scheduler} is not for {family.title}", _one_of("scheduler", family.schedulers))
        ]
    found += [
        (f"{family.title} has no `{key}`", f"Leave `{key}` out.")
        for key in SCALES
        if getattr(source, key) is not None and key not in family.scales and key not in family.idle
    ]
    if source.clip_skip is not None and not family.clip_skip:
        found += [(f"{family.title} has no `clip_skip`", "Leave `clip_skip` out.")]
    if source.preset and family.key.partition(f"-{source.preset}")[0] not in PRESET_FAMILIES:
        found += [(f"{family.title} has no `preset`", "Leave `preset` out.")]
    return found


def _one_of(key: str, names: tuple[str, ...]) -> str:
    return f"Leave `{key}` out, or set it to " + " or ".join(filter(None, (", ".join(names[:-1]), names[-1]))) + "."


def _down(side: int, family: Family) -> int:
    return side // family.step_px * family.step_px


def _up(side: int, family: Family) -> int:
    return _down(side + family.step_px - 1, family)


def _first(value: float | None, default: float) -> float:
    return default if value is None else value
