"""Training pictures on disk: drawn once, encoded, and read back as latents with what they show."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from darkroom.starter.concepts import Concept
from darkroom.starter.fit_autoencoder import encode_all, load_autoencoder
from darkroom.starter.looks import Rng
from darkroom.starter.samples import Sample, Studio

_AT_ONCE = 500
#: Every such shard holds pictures for lists of terms. They have one of their own because lists are long, and a batch is
#: as long as its longest caption.
_LISTS_EVERY = 3


class Shards:
    """All shards of a folder."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError when there is none."""
        self._folder = folder
        self._loaded: dict[str, tuple[NDArray[np.float16], list[Sample]]] = {}
        self.refresh()
        if not self._loaded:
            raise FileNotFoundError(f"no shards of training pictures in {folder}")

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(next(iter(self._loaded.values()))[0].shape[1])

    def refresh(self) -> None:
        """Load shards that have appeared."""
        for path in sorted(self._folder.glob("*.npy")):
            if path.name not in self._loaded:
                samples = [_sample(entry) for entry in json.loads(path.with_suffix(".json").read_text("utf-8"))]
                self._loaded[path.name] = np.load(path), samples

    def draw(self, count: int, rng: Rng) -> tuple[NDArray[np.float16], list[Sample]]:
        """`count` random pictures' latents (count, C, 12, 12), and what they show."""
        latents, samples = self._loaded[str(rng.choice(sorted(self._loaded)))]
        chosen = rng.integers(0, len(samples), count)
        return latents[chosen], [samples[i] for i in chosen]


def _sample(entry: dict[str, Any]) -> Sample:
    return Sample(**{**entry, "faults": tuple(entry.get("faults", ()))})


def write_shard(
    folder: Path,
    number: int,
    count: int,
    art: dict[str, NDArray[np.uint8]],
    concepts: tuple[Concept, ...],
    encoder: Path,
) -> None:
    """Draw and encode `count` pictures; the same `number` gives the same shard."""
    rng = np.random.default_rng([11, number])
    studio = Studio(art, concepts)
    choose = studio.choose_listed if number % _LISTS_EVERY == _LISTS_EVERY - 1 else studio.choose
    model = load_autoencoder(encoder)
    latents, samples = [], []
    for start in range(0, count, _AT_ONCE):
        block = [choose(rng) for _ in range(min(_AT_ONCE, count - start))]
        latents.append(encode_all(model, np.stack([np.asarray(studio.draw(sample, rng)) for sample in block])))
        samples += block
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"shard-{number:03d}.npy"
    entries = [{key: value for key, value in asdict(sample).items() if value is not None} for sample in samples]
    path.with_suffix(".json").write_text(json.dumps(entries), encoding="utf-8")
    with (part := path.with_suffix(".part")).open("wb") as file:
        np.save(file, np.concatenate(latents))
    part.replace(path)


def write_shards(
    folder: Path,
    numbers: list[int],
    count: int,
    art: dict[str, NDArray[np.uint8]],
    concepts: tuple[Concept, ...],
    encoder: Path,
    processes: int,
) -> None:
    """`write_shard` for each of `numbers` that is not there yet, several at a time."""
    missing = [number for number in numbers if not (folder / f"shard-{number:03d}.npy").exists()]
    if processes == 1:
        for number in missing:
            write_shard(folder, number, count, art, concepts, encoder)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(write_shard, folder, number, count, art, concepts, encoder) for number in missing]
        for job in jobs:
            job.result()
