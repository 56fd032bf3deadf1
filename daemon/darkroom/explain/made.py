"""What a picture was made by: read from an answer, or from the picture itself. Anybody may have written either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom.errors import DarkroomError
from darkroom.models.family import SCALES
from darkroom.request import plan_json
from darkroom.request.plan import Hires, ImagePlan, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Everything that is known of a request's pictures."""

    name: str
    stem: str  #: of the picture's file
    plan: Plan
    number: int | None = None  #: which picture, from 1; None: all of them
    asked: Mapping[str, Any] | None = None  #: the request as it was dropped; None where it isn't at hand
    tokens: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    revision: str | None = None  #: the commit on the hub, or "local"; None as long as nothing was rendered
    device: str | None = None  #: as people call it
    software: Mapping[str, Any] = field(default_factory=dict)
    loaded_as: str | None = None  #: where its weights were in fewer bits, or offloaded

    @property
    def index(self) -> int:
        """Of the picture in the plan, from 0."""
        return (self.number or 1) - 1

    @property
    def image(self) -> ImagePlan:
        """The picture's own part of the plan."""
        return self.plan.images[self.index]


def of_answer(answer: Mapping[str, Any], *, number: int | None, asked: Mapping[str, Any] | None) -> Made:
    """Raises DarkroomError for an answer without a plan, and for a picture that there is none of."""
    name, rendered_by = str(answer.get("name", "")), _mapping(answer.get("rendered_by"))
    if not answer.get("plan"):
        hint = f"`darkroom status {name}` says what is wrong with it."
        raise DarkroomError(f"Nothing was decided for {name}: it is {answer.get('state')}.", hint=hint)
    plan = _plan(answer["plan"])
    if number is not None and not 1 <= number <= plan.num_images:
        raise DarkroomError(f"{name} has no picture {number}.", hint=f"Use 1 to {plan.num_images}.")
    return Made(
        name=name,
        stem=f"{name.rpartition('/')[2]}-{number or 1}",
        plan=plan,
        number=number,
        asked=asked,
        tokens=_mapping(answer["plan"].get("tokens")),
        warnings=tuple(map(str, answer.get("warnings") or ())),
        revision=_text(rendered_by.get("model_revision")),
        device=_text(rendered_by.get("device")),
        software=_mapping(rendered_by.get("software")),
        loaded_as=_text(rendered_by.get("loaded_as")),
    )


def of_record(record: Mapping[str, Any], *, name: str) -> Made:
    """Of what a picture carries. Raises DarkroomError."""
    plan, seed = _plan(record.get("plan")), record.get("seed")
    number = next((number for number, image in enumerate(plan.images, 1) if image.seed == seed), None)
    if number is None:
        raise DarkroomError(f"What {name} says of itself does not fit together: its seed is none of its plan's.")
    return Made(
        name=name,
        stem=name,
        plan=plan,
        number=number,
        revision=_text(record.get("model_revision")),
        device=_text(record.get("device")),
        software=_mapping(record.get("software")),
    )


def _plan(data: Any) -> Plan:
    try:
        plan = plan_json.load(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        plan = None
    if plan is None or not _is_sound(plan):
        raise DarkroomError(
            "This is not one of Darkroom's plans: somebody has changed it, or it is of another version."
        )
    return plan


def _is_sound(plan: Plan) -> bool:
    """Whether its values are of the right kinds."""
    texts: list[Any] = [plan.model, *plan.style, plan.scheduler, plan.format, *(lora.name for lora in plan.loras)]
    texts += [text for each in plan.embeddings for text in (each.name, each.word)]
    numbers: list[Any] = [plan.width, plan.height, plan.num_inference_steps]
    scales: list[Any] = [scale for key in SCALES if (scale := getattr(plan, key)) is not None]
    scales += [lora.weight for lora in plan.loras]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in (*numbers, *filter(None, [plan.quality])))
        and all(type(scale) in (int, float) for scale in scales)
        and all(map(_is_image, plan.images))
        and _has_sound_pictures(plan)
        and _has_sound_hires(plan.hires)
        and _has_sound_upscale(plan)
    )


def _has_sound_pictures(plan: Plan) -> bool:
    """Names, and how much each of them counts."""
    counts: list[Any] = [each.scale for each in plan.control]
    counts += [plan.strength] if plan.init_image is not None and plan.upscale is None else []
    alone = [name for name in (plan.init_image, plan.mask_image) if name is not None]
    named: list[Any] = [*alone, *plan.reference_images]
    named += [name for each in plan.control for name in (each.name, each.image)]
    needs_fit = (plan.init_image is not None and plan.upscale is None) or plan.control
    return (
        all(isinstance(name, str) for name in named)
        and all(type(count) in (int, float) for count in counts)
        and plan.fit in (("crop", "pad", "stretch") if needs_fit else (None,))
    )


def _has_sound_hires(hires: Hires | None) -> bool:
    if hires is None:
        return True
    numbers: list[Any] = [hires.width, hires.height, hires.num_inference_steps]
    scales: list[Any] = [hires.scale, hires.strength]
    is_named = hires.upscaler is None or isinstance(hires.upscaler, str)
    return (
        is_named
        and all(type(number) is int for number in numbers)
        and all(type(scale) in (int, float) for scale in scales)
    )


def _has_sound_upscale(plan: Plan) -> bool:
    if plan.upscale is None:
        return True
    values: tuple[Any, Any] = (plan.upscale.by, plan.upscale.scale)
    return isinstance(values[0], str) and type(values[1]) in (int, float) and plan.init_image is not None


def _is_image(image: ImagePlan) -> bool:
    texts: list[Any] = [image.prompt, image.negative_prompt]
    return type(image.seed) is int and all(isinstance(text, str) for text in texts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
