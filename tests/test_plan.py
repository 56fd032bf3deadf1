import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.models.schedulers import SCHEDULERS
from darkroom.request import plan_json
from darkroom.request.plan import Control, Hires, ImagePlan, Lora, Plan
from darkroom.testing.plans import plan

IMAGES = st.lists(st.builds(ImagePlan, st.integers(0, 2**63 - 1), st.text(), st.text()), min_size=1, max_size=4)


@given(images=IMAGES, quality=st.none() | st.integers(1, 100))
def test_a_plan_survives_json(images: list[ImagePlan], quality: int | None) -> None:
    told = plan(images=tuple(images), quality=quality)
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(told)))) == told


def test_pictures_that_differ_by_their_seed_alone_are_not_listed() -> None:
    told = plan_json.dump(plan(seed=7, num_images=3))
    assert "images" not in told
    assert (told["seed"], told["num_images"]) == (7, 3)
    assert [image.seed for image in plan_json.load(told).images] == [7, 8, 9]


def test_pictures_whose_prompts_differ_are() -> None:
    varied = plan(images=(ImagePlan(7, "a red cat", ""), ImagePlan(8, "a blue cat", "")))
    told = plan_json.dump(varied)
    assert [image["prompt"] for image in told["images"]] == ["a red cat", "a blue cat"]
    assert told["prompt"] == "a red cat"


def test_a_field_without_a_value_is_absent_but_an_empty_text_is_not() -> None:
    told = plan_json.dump(plan())
    assert "quality" not in told
    assert told["negative_prompt"] == ""


@pytest.mark.parametrize("style", [(), ("ink",), ("ink", "Anime, soft")])
def test_styles_survive_json_and_are_told_in_words(style: tuple[str, ...]) -> None:
    told = plan(style=style)
    assert plan_json.load(json.loads(json.dumps(plan_json.dump(told)))) == told
    assert told.style_in_words == (", ".join(style) or "none")


def test_keys_that_a_plan_does_not_have_are_ignored() -> None:
    assert plan_json.load(plan_json.dump(plan()) | {"tokens": {"prompt": 9}}) == plan()


@pytest.mark.parametrize("missing", ["model", "prompt", "seed", "width"])
def test_what_is_not_a_plan_is_not_taken_for_one(missing: str) -> None:
    told = {key: value for key, value in plan_json.dump(plan()).items() if key != missing}
    with pytest.raises(KeyError):
        plan_json.load(told)


@pytest.mark.parametrize("number", [0, -1, 257, 10**30])
def test_a_plan_of_more_pictures_than_can_be_asked_for_is_not_one_and_takes_no_memory(number: int) -> None:
    with pytest.raises(ValueError, match=f"a plan of {number} pictures"):
        plan_json.load(plan_json.dump(plan()) | {"num_images": number})


def test_a_plan_has_as_many_pictures_as_it_says() -> None:
    image = {"seed": 1, "prompt": "a cat", "negative_prompt": ""}
    with pytest.raises(ValueError, match="a plan of 2 pictures has 3"):
        plan_json.load(plan_json.dump(plan()) | {"num_images": 2, "images": [image] * 3})


def test_a_plan_says_how_many_pictures_it_has() -> None:
    assert isinstance(plan(num_images=4), Plan)
    assert plan(num_images=4).num_images == 4


def test_no_two_schedulers_are_the_same() -> None:
    choices = [(choice.diffusers_class, json.dumps(dict(choice.config))) for choice in SCHEDULERS.values()]
    assert len(set(choices)) == len(choices)


def test_pictures_loras_and_a_second_pass_come_back_as_they_were() -> None:
    told = plan(
        init_image="photo.png", strength=0.5, mask_image="mask.png", fit="pad",
        reference_images=("one.png", "two.png"),
        control=(Control("edges", "photo.png", 0.8, "canny"), Control("depth", "depth.png")),
        loras=(Lora("ink", 0.7),), hires=Hires(2.0, 1024, 1024, 0.5, 20),
    )  # fmt: skip

    data = json.loads(json.dumps(plan_json.dump(told)))

    assert plan_json.load(data) == told
    assert data["control"][1] == {"name": "depth", "image": "depth.png", "scale": 1.0}
