"""`darkroom convert`: a file of another program in, the request that it means out."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import main
from tests.payloads import EVERYTHING, FLUX, IMAGES, TXT2IMG, WORKFLOW


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration of Stable Diffusion, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    models = (
        '[models.flux]\nsource = "black-forest-labs/FLUX.1-dev"\n[models.dreamshaper]\nsource = "Lykon/dreamshaper"\n'
    )
    (tmp_path / "config" / "darkroom.toml").write_text(f'default_model = "sd15"\n{models}family = "stable-diffusion"\n')
    return tmp_path


def write(folder: Path, data: object, name: str = "foreign.json") -> str:
    (folder / name).write_text(json.dumps(data))
    return name


def converted(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    assert main(["convert", *words]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


@pytest.mark.parametrize("data", [data for _, data in EVERYTHING])
def test_what_is_printed_passes_check(data: dict[str, Any], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", write(home, data), "--output", "ours.json"]) == 0
    assert main(["check", "ours.json"]) == 0
    assert "ours.json: fine" in capsys.readouterr().out


def test_a_model_is_chosen_and_its_limits_apply(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request, said = converted(capsys, write(home, FLUX), "--model", "flux")
    assert (request["model"], request["width"], request["scheduler"]) == ("flux", 1024, "flow_match_euler")
    request, said = converted(capsys, "foreign.json", "--model", "sd15")
    assert (request["model"], request["scheduler"], request["width"]) == ("sd15", "euler", 1024)
    request, said = converted(capsys, write(home, {**FLUX, "27": WORKFLOW["5"]}), "--model", "starter")
    assert "width" not in request
    assert "5 EmptyLatentImage" not in said
    assert "27 EmptyLatentImage.width has no counterpart: it is left out: `width` must be 96 pixels" in said


def test_each_key_is_told_with_what_it_becomes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = converted(capsys, write(home, {**TXT2IMG, "tiling": True}))
    assert said.startswith("This is a call of txt2img in AUTOMATIC1111's API.")
    assert '\n  steps becomes "num_inference_steps": 25\n' in said
    assert "\n  seed means nothing here: -1 asks for any seed" in said
    assert "\n  tiling has no counterpart: pictures can't be tiles here\n" in said
    assert '\n  override_settings.sd_model_checkpoint becomes "model": "dreamshaper"\n' in said
    assert '"style": "none", "default_negative": false' in said
    assert "\n1 of " in said


def test_a_model_that_nobody_has_is_left_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request, said = converted(capsys, write(home, {**IMAGES, "size": "512x512"}))
    assert "model" not in request
    assert "no model here is called gpt-image-1: `darkroom models` lists them" in said


def test_nothing_is_written_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(home, IMAGES)
    before = (home / name).read_bytes()
    assert main(["convert", name, "--output", name]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (home / name).read_bytes() == before
    assert [path.name for path in home.iterdir() if path.is_file()] == [name]


def test_stdin_is_read(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(TXT2IMG).encode())))
    assert converted(capsys, "-")[0]["num_images"] == 4


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"prompt": "a cat"}, "Is it a request already?"),
        ({"x": 1}, "is not a file of another program"),
        ({**TXT2IMG, "prompt": ""}, "no prompt that a request could say"),
        ({**TXT2IMG, "prompt": "x" * 5000}, "would be refused"),
        ({"9": WORKFLOW["9"]}, "There is no sampler in this graph"),
    ],
)
def test_what_asks_for_nothing_is_said(
    data: dict[str, Any], why: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", write(home, data)]) == 1
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


def test_a_few_keys_are_read_when_the_program_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request, _ = converted(capsys, write(home, {"prompt": "a cat", "steps": 5}), "--from", "a1111")
    assert request["num_inference_steps"] == 5


def test_what_is_no_json_is_told_with_its_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bad.json").write_text('{"prompt": "x",}')
    assert main(["convert", "bad.json"]) == 1
    assert re.search(r"bad.json: .*line 1, column 15", capsys.readouterr().err)


def test_without_a_configuration_only_the_shape_is_checked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config" / "darkroom.toml").unlink()
    request, said = converted(capsys, write(home, {**IMAGES, "size": "2048x1024"}))
    assert request["width"] == 2048
    assert "there is no configuration here" in said


def test_what_is_printed_is_json_and_harmless(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "a 👩‍🎨 \x9b31m\u202e cat"
    with pytest.raises(AssertionError):
        converted(capsys, write(home, {**TXT2IMG, "prompt": odd}))
    assert "control character" in capsys.readouterr().err
    request, _ = converted(capsys, write(home, {**TXT2IMG, "prompt": odd.replace("\x9b", "")}))
    assert request["prompt"] == odd.replace("\x9b", "")
    assert main(["convert", "foreign.json"]) == 0
    said = capsys.readouterr().out
    assert "\\u202e" in said
    assert "👩‍🎨" in said


def test_the_page_shows_what_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "from-other-programs.md").read_text(encoding="utf-8")
    payload, request = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (said,) = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (home / "payload.json").write_text(payload)
    assert main(["convert", "payload.json"]) == 0
    assert capsys.readouterr() == (request, said)


def test_layers_are_counted_from_the_one_that_a_model_is_used_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(home / "config" / "darkroom.toml", "a") as file:
        file.write('[models.xl]\nsource = "stabilityai/stable-diffusion-xl-base-1.0"\n')
    request, said = converted(capsys, write(home, TXT2IMG), "--model", "xl")
    assert "clip_skip" not in request
    assert "CLIP_stop_at_last_layers means nothing here" in said
    third = {**TXT2IMG, "override_settings": {"CLIP_stop_at_last_layers": 3}}
    assert converted(capsys, write(home, third), "--model", "xl")[0]["clip_skip"] == 1


def test_a_guidance_of_its_own_stands_beside_the_plain_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge = {**TXT2IMG, "negative_prompt": "", "cfg_scale": 1, "distilled_cfg_scale": 3.5, "sampler_name": "Euler"}
    request, _ = converted(capsys, write(home, {**forge, "scheduler": "Simple"}), "--model", "flux")
    assert (request["guidance_scale"], request["scheduler"]) == (3.5, "flow_match_euler")
    assert not {"true_cfg_scale", "prompt_syntax", "clip_skip"} & request.keys()
