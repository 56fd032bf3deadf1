"""The starter model's networks: its autoencoder, the shipped folder, and how it is made."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from darkroom.starter import MODEL_DIR
from darkroom.starter.autoencoder import PatchAutoencoder
from darkroom.starter.captions import StyleBook
from darkroom.starter.concepts import CONCEPTS
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


def test_the_autoencoder_begins_as_the_principal_components() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(16, 3, 4, 4) * 2 - 1, size=(32, 32), mode="bilinear")
    model = PatchAutoencoder(latent_channels=12, channels=(8, 8), blocks=(1, 1), sample_size=32)
    deviations = model.start_from_patches(smooth)
    with torch.no_grad():
        (latents,) = model.encode(smooth, return_dict=False)
        error = (model(smooth) - smooth).square().mean()
    assert latents.shape == (16, 12, 4, 4)
    assert torch.equal(deviations, deviations.sort(descending=True).values)
    assert float(error) < 0.02 * float(smooth.var())


def test_scaling_latents_changes_no_picture() -> None:
    torch.manual_seed(0)
    model = PatchAutoencoder(latent_channels=3, channels=(8, 8), blocks=(1, 1), sample_size=16)
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before, (latents,) = model(picture), model.encode(picture, return_dict=False)
        model.rescale_latents(torch.tensor([0.5, 2.0, 3.0]))
        after, (scaled,) = model(picture), model.encode(picture, return_dict=False)
    assert torch.allclose(before, after, atol=1e-5)
    assert torch.allclose(latents * torch.tensor([0.5, 2.0, 3.0]).view(1, 3, 1, 1), scaled, atol=1e-5)


def test_the_autoencoder_survives_saving(tmp_path: Path) -> None:
    model = PatchAutoencoder(latent_channels=4, channels=(8, 8), blocks=(1, 2), sample_size=16).eval()
    model.save_pretrained(str(tmp_path))
    again = PatchAutoencoder.from_pretrained(str(tmp_path))
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(picture), again(picture))
    assert dict(again.config)["blocks"] in ((1, 2), [1, 2])


def test_the_shipped_folder_is_small_and_says_whose_art_it_learnt_from() -> None:
    files = [path for path in MODEL_DIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20_000_000
    for text in ((MODEL_DIR / "README.md").read_text("utf-8"), (ROOT / "NOTICE").read_text("utf-8")):
        assert all(name in text for name in ("Noto Emoji", "Fluent Emoji", "Google", "Microsoft", "MIT", "Apache"))
    index = json.loads((MODEL_DIR / "model_index.json").read_text("utf-8"))
    assert index["vae"] == ["darkroom.starter.autoencoder", "PatchAutoencoder"]
    assert index["requires_safety_checker"] is False


def test_the_negative_prompts_of_the_style_book_fit_the_shipped_tokenizer() -> None:
    tokenizer = load_tokenizer(MODEL_DIR / "tokenizer")
    book = StyleBook.read(STYLES)
    assert tokenizer.model_max_length == MAX_TOKENS
    for negative in book.negatives:
        assert len(tokenizer(f"{book.default_negative}, {negative}").input_ids) <= MAX_TOKENS
    assert tokenizer.decode(tokenizer("Ünïcode 42", add_special_tokens=False).input_ids).strip() == "ünïcode 4 2"


@drawing
def test_the_shipped_folder_loads_quietly_and_draws(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline = StableDiffusionPipeline.from_pretrained(str(MODEL_DIR), dtype=torch.float32, local_files_only=True)
    assert [record for record in caplog.records if record.name.startswith("diffusers")] == []
    pipeline.set_progress_bar_config(disable=True)

    def draw(seed: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(seed)
        return np.asarray(
            pipeline("a red apple", num_inference_steps=6, generator=generator, output_type="np").images[0]
        )

    first = draw(1)
    assert first.shape == (96, 96, 3)
    assert np.array_equal(first, draw(1))
    assert np.abs(first - draw(2)).mean() > 0.01


def _icons(body: str) -> str:
    entries = {concept.icon: {"body": body.replace("R", str(9 + i))} for i, concept in enumerate(CONCEPTS[:4])}
    return json.dumps({"width": 32, "height": 32, "icons": entries})


@drawing
@pytest.mark.timeout(300)
def test_a_smoke_run_of_the_training_makes_a_folder_that_draws(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    for package, colour in (("noto", "red"), ("fluent-emoji", "teal"), ("fluent-emoji-flat", "gold")):
        folder = tmp_path / "node_modules" / "@iconify-json" / package
        folder.mkdir(parents=True)
        (folder / "icons.json").write_text(_icons(f'<circle cx="16" cy="16" r="R" fill="{colour}"/>'), "utf-8")
    command = [sys.executable, "-m", "darkroom.starter.train", "--smoke", "--styles", str(STYLES)]
    command += ["--packages", str(tmp_path / "node_modules")]
    environment = {"PYTHONPATH": str(ROOT / "daemon"), "OMP_NUM_THREADS": "1", "PATH": ""}
    made = tmp_path / "model"
    subprocess.run(
        [*command, "--work", str(tmp_path / "work"), "--output", str(made)], check=True, env=environment, timeout=280
    )

    pipeline = StableDiffusionPipeline.from_pretrained(str(made), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a skull", num_inference_steps=2).images[0].size == (96, 96)
    assert json.loads((made / "vocabulary.json").read_text("utf-8"))["concepts"].keys() == {
        concept.name for concept in CONCEPTS[:4]
    }
