"""A run of the starter model's training, as short as it can be; needs what the extra `train` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from darkroom.starter.concepts import CONCEPTS

pytest.importorskip("resvg_py")

ROOT = Path(__file__).resolve().parents[2]
STYLES = ROOT / "config" / "styles.toml"

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates.
drawing = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def _icons(body: str) -> str:
    entries = {concept.icon: {"body": body.replace("R", str(9 + i))} for i, concept in enumerate(CONCEPTS[:4])}
    return json.dumps({"width": 32, "height": 32, "icons": entries})


@drawing
@pytest.mark.timeout(300)
def test_a_smoke_run_of_the_training_makes_a_folder_that_draws(tmp_path: Path) -> None:
    for package, colour in (("noto", "red"), ("fluent-emoji", "teal"), ("fluent-emoji-flat", "gold")):
        folder = tmp_path / "node_modules" / "@iconify-json" / package
        folder.mkdir(parents=True)
        (folder / "icons.json").write_text(_icons(f'<circle cx="16" cy="16" r="R" fill="{colour}"/>'), "utf-8")
    command = [sys.executable, "-m", "darkroom.starter.train", "--smoke", "--styles", str(STYLES)]
    command += ["--packages", str(tmp_path / "node_modules")]
    environment = {"PYTHONPATH": str(ROOT / "daemon"), "OMP_NUM_THREADS": "1", "PATH": ""}
    made = tmp_path / "model"
    command += ["--work", str(tmp_path / "work"), "--output", str(made)]
    subprocess.run(command, check=True, env=environment, timeout=280)
    before = load_file(str(made / "vae" / "diffusion_pytorch_model.safetensors"))
    for stage in ("decoder", "model"):
        again = [*command, "--only", stage, "--hours", "0.001"]
        subprocess.run(again, check=True, env=environment, timeout=280)
    after = load_file(str(made / "vae" / "diffusion_pytorch_model.safetensors"))
    assert {name for name in before if torch.equal(before[name], after[name])} == {"encoder.bias", "encoder.weight"}

    pipeline = StableDiffusionPipeline.from_pretrained(str(made), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a skull", num_inference_steps=2).images[0].size == (96, 96)
    assert json.loads((made / "vocabulary.json").read_text("utf-8"))["concepts"].keys() == {
        concept.name for concept in CONCEPTS[:4]
    }
