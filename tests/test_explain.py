"""explain: what was decided for a picture, in plain words, or as the Python that makes it again."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from darkroom.cli import main
from darkroom.errors import DarkroomError
from darkroom.explain import calls, solvers
from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made, of_answer, of_record
from darkroom.explain.script import script
from darkroom.explain.words import words
from darkroom.foreign.carried import record_in, texts_of
from darkroom.models.families import BY_KEY, ROWS
from darkroom.models.family import WITHOUT
from darkroom.models.schedulers import SCHEDULERS
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.parameters import Provenance
from darkroom.request import plan_json
from darkroom.request.plan import Plan
from darkroom.starter import MODEL_DIR
from darkroom.testing import tiny_pipeline
from darkroom.testing.plans import plan
from darkroom.testing.process import DaemonProcess

SAVED = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 0,
    "trained_betas": None,
    "set_alpha_to_one": True,
}
PARTS = {"unet": ["diffusers", "UNet2DConditionModel"], "_class_name": "x"}


def files(pipeline: str, **values: Any) -> ModelFiles:
    given: dict[str, Any] = {"place": "/models/it", "index": PARTS, "scheduler": SAVED}
    return ModelFiles(pipeline=pipeline, **given | values)


def written(made: Plan, of: ModelFiles) -> str:
    text = script(Made(name="alice/cat", stem="cat-1", plan=made), of)
    ast.parse(text)
    return text


# The lines -----------------------------------------------------------------------------------------------------------


def test_stable_diffusion_is_written_out() -> None:
    index = PARTS | {
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    made = plan(scheduler="dpmsolver_multistep_karras", negative_prompt="it's ugly")
    assert (
        written(made, files("StableDiffusionPipeline", index=index, variant="fp16"))
        == """\
# alice/cat, picture 1 of 1
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained(
    '/models/it',
    variant='fp16',
    dtype=torch.float32,
    use_safetensors=True,
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
)
pipe.scheduler = DPMSolverMultistepScheduler(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule='scaled_linear',
    steps_offset=1,
    algorithm_type='dpmsolver++',
    solver_order=2,
    use_karras_sigmas=True,
)
pipe.to('cpu')
image = pipe(
    prompt='a castle',
    negative_prompt="it's ugly",
    width=64,
    height=64,
    num_inference_steps=3,
    guidance_scale=7.5,
    generator=torch.Generator("cpu").manual_seed(7),
).images[0]
image.save('cat-1-again.png')
"""
    )


def test_a_model_of_the_hub_is_named_with_its_commit_and_a_gpu_takes_halves() -> None:
    of = files("StableDiffusionXLPipeline", place="owner/name", revision="abc", cache="/cache", device="cuda:0")
    text = written(plan(format="jpeg", quality=80), of)
    assert "'owner/name'" in text
    assert "revision='abc'" in text
    assert "cache_dir='/cache'" in text
    assert "dtype=torch.float16" in text
    assert "pipe.unet.to(memory_format=torch.channels_last)" in text
    assert "negative_prompt" not in text
    assert "steps_offset=0" in text
    assert """image.save('cat-1-again.jpg', quality=80, subsampling='4:2:0')""" in text


def test_flux_is_guided_only_with_a_negative_prompt_even_an_empty_one() -> None:
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": True}
    of = files("FluxPipeline", scheduler=flow)
    guided = plan(scheduler="flow_match_euler", guidance_scale=3.5, true_cfg_scale=2.0)
    assert "negative_prompt=''" in written(guided, of)
    assert "true_cfg_scale=2.0" in written(guided, of)
    plain = written(plan(scheduler="flow_match_euler", guidance_scale=3.5, true_cfg_scale=1.0), of)
    assert "negative_prompt" not in plain
    assert "FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)" in plain


def test_qwen_is_given_a_blank_and_no_guidance_that_it_has_not() -> None:
    made = plan(scheduler="flow_match_euler", guidance_scale=None, true_cfg_scale=4.0)
    text = written(made, files("QwenImagePipeline", scheduler={}))
    assert "negative_prompt=' '" in text
    assert "guidance_scale" not in text


def test_the_starter_needs_the_class_of_its_autoencoder() -> None:
    index = json.loads((MODEL_DIR / "model_index.json").read_text())
    text = written(plan(), files("StableDiffusionPipeline", place=str(MODEL_DIR), index=index, is_starter=True))
    assert "import darkroom.starter.autoencoder  # " in text


def test_a_few_step_model_keeps_the_spacing_of_its_preset() -> None:
    of = files("StableDiffusionXLPipeline", preset="lightning")
    assert "timestep_spacing='trailing'" in written(plan(scheduler="euler"), of)


def test_what_a_saved_scheduler_left_to_its_class_is_left_to_the_class() -> None:
    saved = SAVED | {"timestep_spacing": "leading", "_use_default_values": ["timestep_spacing"]}
    assert "timestep_spacing" not in solvers.arguments("euler", saved, preset=None, offset=None)


def test_a_model_with_a_scheduler_of_its_own_is_left_it() -> None:
    text = written(plan(scheduler="own"), files("IFPipeline"))
    assert "pipe.scheduler" not in text
    assert "PNDMScheduler" in text


def test_long_and_weighed_texts_are_encoded_in_the_open() -> None:
    index = PARTS | {"force_zeros_for_empty_prompt": True}
    of = files("StableDiffusionXLPipeline", index=index)
    text = written(plan(prompt="a (red:1.3) cat", weights=WITHOUT, clip_skip=1), of)
    assert "prompt = [[('a ', 1.0), ('red', 1.3), (' cat', 1.0)]]" in text
    assert "said.hidden_states[-3]" in text
    assert "negative_pooled_prompt_embeds = torch.zeros_like(pooled_prompt_embeds)" in text
    assert "prompt_embeds=prompt_embeds" in text
    assert "embed(" in written(plan(prompt="cat " * 80), files("StableDiffusionPipeline"))
    assert "prompt='a (cat)'" in written(plan(prompt=r"a \(cat\)", weights=WITHOUT), files("StableDiffusionPipeline"))
    assert "clip_skip=2" in written(plan(scheduler="flow_match_euler", clip_skip=2), files("StableDiffusion3Pipeline"))


def test_every_scheduler_and_every_class_that_is_described_has_its_lines() -> None:
    assert solvers.SOLVERS.keys() | {solvers.OWN} == SCHEDULERS.keys()
    assert {solver.name for solver in solvers.SOLVERS.values()} == {
        choice.diffusers_class for choice in SCHEDULERS.values() if choice.diffusers_class
    }
    assert {row.pipeline for row in ROWS} <= calls.WAYS.keys()


def test_nothing_that_stands_in_an_answer_can_become_code() -> None:
    made = plan(prompt='"""); evil()\n#', model="x\nevil()")
    text = written(made, files("StableDiffusionPipeline", scheduler={**SAVED, "_class_name": "x\nevil()"}))
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id == "evil"]
    name = "cat\nevil()"
    text = script(
        Made(name=name, stem=name, plan=plan(scheduler="own")), files("IFPipeline", scheduler={"_class_name": name})
    )
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id == "evil"]


# The words -----------------------------------------------------------------------------------------------------------


def said(made: Made, family: str = "stable-diffusion") -> dict[str, str]:
    return dict(words(made, BY_KEY[family], where="its files are in /models/it", files=None))


def test_the_words_say_where_each_value_is_from() -> None:
    answer = {
        "name": "cat",
        "plan": plan_json.dump(plan(num_images=2)) | {"tokens": {"prompt": 80, "negative_prompt": 0, "limit": 75}},
        "rendered_by": {"device": "a GPU", "model_revision": "local", "software": {"torch": "2.13"}},
    }
    lines = said(of_answer(answer, number=2, asked={"prompt": "castle", "width": 64, "seed": 7}))
    assert lines["picture"] == "cat: picture 2 of 2, png"
    assert lines["size"] == "64×64 pixels (the width as asked)"
    assert lines["steps"] == "3 (not asked for: the style's, else the model's)"
    assert lines["scheduler"].startswith("euler, EulerDiscreteScheduler of diffusers")
    assert lines["seed"] == "8: that of the first one, 7, + 1"
    assert lines["tokens"] == "all 0 of the negative prompt are read; up to 75 can be"
    assert lines["rendered"] == "on a GPU by torch 2.13"
    answer["rendered_by"] |= {"loaded_as": "int8"}  # type: ignore[operator]
    assert said(of_answer(answer, number=2, asked=None))["rendered"] == "on a GPU by torch 2.13, loaded as int8"


@pytest.mark.parametrize(
    ("family", "scales", "why"),
    [
        ("stable-diffusion", {"guidance_scale": 1.0}, "only where guidance_scale is above 1, and that is 1"),
        ("flux", {"guidance_scale": 3.5, "true_cfg_scale": 1.0}, "only where true_cfg_scale is above 1"),
        ("flux2", {"guidance_scale": 4.0}, "FLUX.2 takes none"),
        ("qwenimage", {"guidance_scale": None, "true_cfg_scale": 4.0}, "the model is given ' '"),
        ("stable-diffusion", {}, "neither request nor style brings one"),
    ],
)
def test_why_there_is_no_negative_prompt(family: str, scales: dict[str, Any], why: str) -> None:
    assert why in said(Made(name="cat", stem="cat-1", plan=plan(**scales)), family)["negative"]


def test_an_answer_without_a_plan_and_a_picture_that_is_not_there_are_told() -> None:
    with pytest.raises(DarkroomError, match="Nothing was decided for cat: it is refused"):
        of_answer({"name": "cat", "state": "refused"}, number=None, asked=None)
    with pytest.raises(DarkroomError, match="no picture 3"):
        of_answer({"name": "cat", "plan": plan_json.dump(plan())}, number=3, asked=None)


# Pictures ------------------------------------------------------------------------------------------------------------


def record_of(picture: bytes) -> dict[str, Any] | None:
    """None also for what is no picture any more."""
    try:
        return record_in(texts_of(picture))
    except DarkroomError:
        return None


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("prompt", ["a castle", "ein Schloß im Grünen"])
def test_a_picture_says_how_it_was_made(kind: str, prompt: str) -> None:
    made = plan(prompt=prompt, num_images=3, format=kind, quality=None if kind == "png" else 90)
    raw = encode(Pixels(8, 8, bytes(192)), made, made.images[1], Provenance("local", "a GPU", {"torch": "2.13"}))
    record = record_of(raw)
    assert record is not None
    found = of_record(record, name="cat-2")
    assert (found.plan, found.number, found.device) == (made, 2, "a GPU")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_of_others_and_torn_ones_say_nothing(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    assert record_of(buffer.getvalue()) is None
    made = plan()
    raw = encode(Pixels(8, 8, bytes(192)), made, made.images[0], Provenance("local", "", {}))
    assert all(record_of(raw[:cut]) in (None, record_of(raw)) for cut in range(0, len(raw), 7))


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An outbox with one result in it, of a test card."""
    result = tmp_path / "outbox" / "cat"
    result.mkdir(parents=True)
    answer = {"name": "cat", "state": "done", "plan": plan_json.dump(plan()), "result": "cat"}
    for place in (result / "answer.json", tmp_path / "outbox" / "cat.json"):
        place.write_text(json.dumps(answer))
    (result / "request.json").write_text('{"prompt": "a castle"}')
    folders = "".join(f'{key} = "{tmp_path / key}"\n' for key in ("inbox", "outbox", "state_dir"))
    (tmp_path / "darkroom.toml").write_text(f'{folders}default_model = "testcard"\n')
    return tmp_path


def run(home: Path, *arguments: str) -> int:
    return main(["explain", *arguments, "--config", str(home / "darkroom.toml")])


@pytest.mark.parametrize("of", ["cat", "outbox/cat"])
def test_a_request_is_explained_by_its_name_and_by_its_folder(
    of: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, of if of == "cat" else str(home / of)) == 0
    out = capsys.readouterr().out
    assert "a castle" in out
    assert "Test card; it is painted without a model's files" in out


def test_a_test_card_has_no_python(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "cat", "--as-python") == 1
    assert "no Python of diffusers makes it" in capsys.readouterr().err


def test_a_name_that_is_unknown_is_told_with_a_near_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "cst") == 1
    assert "Did you mean cat?" in capsys.readouterr().err


def test_what_is_no_picture_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "notes.txt").write_text("no picture")
    assert run(home, str(home / "notes.txt")) == 1
    assert "notes.txt: It is no picture." in capsys.readouterr().err


def test_a_picture_without_a_record_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(home / "other.png")
    assert run(home, str(home / "other.png")) == 1
    assert "says nothing of how it was made" in capsys.readouterr().err


# Through a real daemon -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # torch calls numpy so
def test_what_the_daemon_delivers_is_what_its_python_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_pipeline.build(tmp_path / "model")
    model = {"source": str(tmp_path / "model"), "scheduler": "euler_ancestral", "num_inference_steps": 3}
    with DaemonProcess(tmp_path / "home", models={"tiny": model}, settings={"device": "cpu"}) as daemon:
        daemon.drop("cat.json", {"prompt": "a red cat", "model": "tiny", "num_images": 2, "negative_prompt": "blurry"})
        daemon.wait_for_state("cat", "done", deadline_s=100)
        by_name = daemon.command("explain", "cat", "--image", "2", "--as-python").stdout
        second = daemon.outbox / "cat" / "cat-2.png"
        by_picture = daemon.command("explain", str(second), "--as-python").stdout
        in_words = daemon.command("explain", "cat").stdout
    assert by_name.partition("import")[2] == by_picture.partition("import")[2]
    assert f"its files are in {tmp_path / 'model'}" in in_words
    assert "all 3 of the prompt are read" in in_words
    monkeypatch.chdir(tmp_path)
    exec(compile(by_name, "script", "exec"), {})  # in a process of its own: tests/zoo/test_oracle.py
    with Image.open(second) as ours, Image.open(tmp_path / "cat-2-again.png") as theirs:
        assert ImageChops.difference(ours.convert("RGB"), theirs.convert("RGB")).getbbox() is None
