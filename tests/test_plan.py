import json

import pytest

from darkroom.models.schedulers import SCHEDULERS
from darkroom.request.plan import Plan

PLAN = Plan(
    model="sd15",
    prompt="ink drawing, a {cat}, 城",
    negative_prompt="",
    style="ink",
    width=512,
    height=768,
    num_inference_steps=30,
    guidance_scale=7.5,
    scheduler="euler",
    seed=2**63 - 1,
    num_images=1,
    format="png",
    quality=None,
)


@pytest.mark.parametrize("quality", [None, 90])
def test_a_plan_survives_json(quality: int | None) -> None:
    plan = Plan(**{name: getattr(PLAN, name) for name in Plan.__dataclass_fields__} | {"quality": quality})
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan


def test_a_field_without_a_value_is_absent_but_an_empty_text_is_not() -> None:
    assert "quality" not in PLAN.as_json()
    assert PLAN.as_json()["negative_prompt"] == ""


def test_keys_that_a_plan_does_not_have_are_ignored() -> None:
    assert Plan.from_json(PLAN.as_json() | {"tokens": {"prompt": 9}}) == PLAN


def test_no_two_schedulers_are_the_same() -> None:
    choices = [(choice.diffusers_class, json.dumps(choice.config)) for choice in SCHEDULERS.values()]
    assert len(set(choices)) == len(choices)
