"""The starter model's training; needs what the extra `train` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from darkroom.starter import MODEL_DIR
from darkroom.starter.concepts import CONCEPTS

pytest.importorskip("scipy")
pytest.importorskip("resvg_py")

from darkroom.starter.captions import StyleBook
from darkroom.starter.fit_denoiser import averaged
from darkroom.starter.train import SMOKE, Workshop
from darkroom.starter.wording import MAX_TOKENS, load_tokenizer

ROOT = Path(__file__).resolve().parent.parent
STYLES = ROOT / "config" / "styles.toml"

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates.
drawing = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other crawl on a busy machine, and these networks are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_negative_prompts_of_the_style_book_fit_the_shipped_tokenizer() -> None:
    tokenizer = load_tokenizer(MODEL_DIR / "tokenizer")
    book = StyleBook.read(STYLES)
    assert tokenizer.model_max_length == MAX_TOKENS
    for negative in book.negatives:
        assert len(tokenizer(f"{book.default_negative}, {negative}").input_ids) <= MAX_TOKENS
    assert tokenizer.decode(tokenizer("Ünïcode 42", add_special_tokens=False).input_ids).strip() == "ünïcode 4 2"


def test_training_further_begins_with_the_weights_of_the_finished_model(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    np.save(tmp_path / "shards" / "shard-000.npy", np.zeros((1, 12, 12, 12), np.float16))
    (tmp_path / "shards" / "shard-000.json").write_text(
        '[{"concept": 0, "art": "noto"}, {"concept": 1, "art": "flat"}]'
    )
    workshop = Workshop(tmp_path, tmp_path, STYLES, SMOKE, CONCEPTS[:4])
    workshop.take_over(MODEL_DIR)
    workshop.denoiser(hours=0)
    stored = load_file(str(MODEL_DIR / "unet" / "diffusion_pytorch_model.safetensors"))
    begun = averaged(tmp_path, latent_channels=12).unet.state_dict()
    assert begun.keys() == stored.keys()
    assert all(torch.equal(begun[name], stored[name].float()) for name in stored)


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
