"""The starter model's training, without a run of it; needs what the extra `train` installs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
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
