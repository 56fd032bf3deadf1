"""The starter model's networks: its autoencoder and the shipped folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from darkroom.starter import MODEL_DIR
from darkroom.starter.autoencoder import PatchAutoencoder

ROOT = Path(__file__).resolve().parent.parent

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
    assert not any("_name_or_path" in path.read_text("utf-8") for path in MODEL_DIR.glob("*/config.json"))


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
