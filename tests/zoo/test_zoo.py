"""Tiny pipelines of the true classes: each is written, loaded and rendered by diffusers alone."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING
from PIL import Image
from safetensors.torch import load_file, save_file

from darkroom.render import parts
from darkroom.testing import zoo
from tests.family_checks import takes_words_alone

pytestmark = [
    # torch calls numpy's array protocol in a way that numpy deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Within diffusers: Chroma's network, and Kandinsky 2.2's first stage calling its second.
    pytest.mark.filterwarnings("ignore:.*`FluxPosEmbed` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`callback_steps` is deprecated:FutureWarning"),
]

PROMPT, OTHER_PROMPT = "a red cat", "a blue fox"
NEGATIVE, OTHER_NEGATIVE = "blurry", "ugly"

#: What a class has to be told besides, to paint what it is asked for.
TOLD: dict[str, dict[str, Any]] = {
    "flux_kontext": {"max_area": 64 * 64, "_auto_resize": False},
    "ideogram4": {"guidance_schedule": None},
    "longcat_image": {"enable_prompt_rewrite": False},
    "qwen_image_edit": {"image": Image.new("RGB", (64, 64), "teal")},
    "qwen_image_edit_plus": {"image": Image.new("RGB", (64, 64), "teal")},
    "sana_sprint": {"intermediate_timesteps": None},
}

#: Their pictures do not depend on a negative prompt, as they are called here.
WITHOUT_NEGATIVE = {
    "dreamlite_mobile",
    "flux2",
    "flux_dev",
    "flux_kontext",
    "flux_schnell",
    "flux2_klein",
    "flux2_klein_kv",
    "glm_image",
    "ideogram4",
    "lcm",
    "omnigen",
    "sana_sprint",
}

#: Nor do these depend on guidance.
WITHOUT_GUIDANCE = {"dreamlite_mobile", "flux_schnell", "flux2_klein_kv", "hunyuan_image"}

#: These are guided by true_cfg_scale, if there is a negative prompt.
WITH_TRUE_GUIDANCE = {"qwen_image", "qwen_image21", "qwen_image_edit", "qwen_image_edit_plus"}

#: These paint about a million pixels, whatever they are asked for.
LARGE = {"hidream", "kandinsky5"}

#: These paint what is transparent, too.
WITH_ALPHA = {"qwen_image21"}


def load(folder: Path) -> diffusers.DiffusionPipeline:
    """What the index holds as null has to be passed."""
    index = json.loads((folder / "model_index.json").read_text())
    absent = {name: None for name, part in index.items() if part == [None, None]}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, **absent
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def guidance_of(name: str) -> str:
    return "true_cfg_scale" if name in WITH_TRUE_GUIDANCE else "guidance_scale"


def render(pipeline: diffusers.DiffusionPipeline, name: str, **asked: Any) -> np.ndarray[Any, Any]:
    """An 8-bit picture, of a call with those arguments that the class has."""
    seed = asked.pop("seed", 7)
    known = inspect.signature(type(pipeline).__call__).parameters
    given: dict[str, Any] = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        guidance_of(name): 5.0,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "use_resolution_binning": False,
        "output_type": "np",
    }
    given |= TOLD.get(name, {}) | asked
    arguments = {key: value for key, value in given.items() if key in known}
    made = pipeline(**arguments, generator=torch.Generator().manual_seed(seed))
    picture = (made.image if name == "kandinsky5" else made.images)[0]
    assert np.isfinite(picture).all()
    rounded: np.ndarray[Any, Any] = np.asarray(picture * 255).round().astype(np.uint8)
    return rounded


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_a_pipeline_is_written_the_same_each_time_and_paints_what_it_is_asked_for(name: str, tmp_path: Path) -> None:
    zoo.build(name, tmp_path / "model")
    zoo.build(name, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "model")

    pipeline = load(tmp_path / "model")
    picture = render(pipeline, name)
    side_px = 1024 if name in LARGE else 64
    assert picture.shape == (side_px, side_px, 4 if name in WITH_ALPHA else 3)
    assert picture.std() > 5, "it is not all grey"

    def changes(**asked: Any) -> bool:
        return not np.array_equal(render(pipeline, name, **asked), picture)

    assert not changes()
    assert changes(prompt=OTHER_PROMPT)
    assert changes(seed=8)
    assert changes(negative_prompt=OTHER_NEGATIVE) == (name not in WITHOUT_NEGATIVE)
    assert changes(**{guidance_of(name): 2.0}) == (name not in WITHOUT_GUIDANCE)


def parts_with_weights(folder: Path) -> dict[str, type[Any]]:
    """By their names in the pipeline."""
    index = json.loads((folder / "model_index.json").read_text())
    named = {name: entry for name, entry in index.items() if isinstance(entry, list) and isinstance(entry[0], str)}
    kinds = {name: parts.class_of(*entry) for name, entry in named.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_no_part_of_it_is_loaded_without_any_one_of_its_tensors(name: str, tmp_path: Path) -> None:
    zoo.build(name, tmp_path / "model")
    for part, kind in parts_with_weights(tmp_path / "model").items():
        assert parts.read(kind, tmp_path / "model" / part, torch.float32).dtype == torch.float32
        (file,) = (tmp_path / "model" / part).glob("*.safetensors")
        whole = load_file(file)
        numbers = sorted(each for each, tensor in whole.items() if tensor.is_floating_point())
        for lost in {numbers[0], numbers[len(numbers) // 2], numbers[-1]}:
            save_file({each: tensor for each, tensor in whole.items() if each != lost}, file, {"format": "pt"})
            with pytest.raises(parts.Unfit, match="can't be found"):
                parts.read(kind, file.parent, torch.float32)
        save_file(whole, file, {"format": "pt"})


def test_every_class_that_takes_a_text_alone_is_built_or_said_why_not() -> None:
    classes = {each.__name__ for each in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values() if takes_words_alone(each)}
    built = {zoo.class_of(builder) for builder in zoo.BUILDERS.values()}
    assert len(classes) == 40
    assert len(classes & built) >= 34
    assert classes - built <= zoo.UNBUILT.keys()
    assert built.isdisjoint(zoo.UNBUILT)


@pytest.mark.parametrize("name", zoo.UNBUILT)
def test_what_is_not_built_is_a_class_of_diffusers(name: str) -> None:
    assert hasattr(diffusers, name)
