"""Makes the starter model: ``python -m darkroom.starter.train --packages node_modules --work build``.

Stages, each skipped when its result is in the work folder already: draw the icons, fit the autoencoder, learn the
tokenizer, draw and encode the training pictures, fit the denoiser until the end time, write the model folder. To go on
from where an interrupted run stopped, give the same command again. To train a finished model further, name its folder
with ``--resume-from`` and an empty work folder: its tokenizer, autoencoder and weights are taken over.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel

from darkroom.starter import MODEL_DIR
from darkroom.starter.art import draw_all
from darkroom.starter.autoencoder import PatchAutoencoder
from darkroom.starter.captions import Captions, StyleBook
from darkroom.starter.concepts import CONCEPTS, Concept
from darkroom.starter.denoiser import Denoiser, Guess
from darkroom.starter.fit_autoencoder import Plan, Spoil, fit, fresh_autoencoder, load_autoencoder, with_noise
from darkroom.starter.fit_denoiser import Schedule, Task, averaged
from darkroom.starter.fit_denoiser import fit as fit_denoiser
from darkroom.starter.package import write_model
from darkroom.starter.samples import Studio
from darkroom.starter.shards import Shards, write_shards
from darkroom.starter.wording import learn_tokenizer, load_tokenizer

log = logging.getLogger(__name__)

Art = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Effort:
    """How much of everything."""

    autoencoder_pictures: int
    autoencoder: Plan
    shards: int
    pictures_per_shard: int
    batch: int
    batches_per_step: int
    processes: int


FULL = Effort(
    12_800,
    Plan(encoder_s=300, total_s=560),
    shards=6,
    pictures_per_shard=8_000,
    batch=16,
    batches_per_step=2,
    processes=2,
)
SMOKE = Effort(
    64, Plan(encoder_s=1, total_s=2), shards=3, pictures_per_shard=64, batch=4, batches_per_step=1, processes=1
)
_GUESSED_SHARE = 0.5
_SMOKE_HOURS = 5 / 3600


class Workshop:
    """The work folder, stage by stage."""

    def __init__(self, work: Path, packages: Path, styles: Path, effort: Effort, concepts: tuple[Concept, ...]) -> None:
        self.work, self.packages, self.effort, self.concepts = work, packages, effort, concepts
        self.captions = Captions(StyleBook.read(styles), concepts)
        work.mkdir(parents=True, exist_ok=True)

    def art(self) -> Art:
        """The icons of all sets."""
        path = self.work / "art.npz"
        if not path.exists():
            log.info("drawing %d icons of each set", len(self.concepts))
            drawn = draw_all(self.packages, [concept.icon for concept in self.concepts])
            np.savez(path, allow_pickle=False, **drawn)
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}

    def autoencoder(self) -> Path:
        """The folder of the fitted autoencoder."""
        path = self.work / "autoencoder"
        if not path.exists():
            pictures = self._pictures()
            log.info("fitting the autoencoder to %d pictures", len(pictures))
            self._fit_autoencoder(pictures).save_pretrained(str(path))
        return path

    def decoder(self, hours: float) -> None:
        """Let the autoencoder's decoder learn on, from what the denoiser makes of latents, if there is one.

        The latents, and so the denoiser, stay valid.
        """
        path = self.autoencoder()
        plan = Plan(encoder_s=0, total_s=3600 * hours)
        fit(load_autoencoder(path), self._pictures(), plan, spoil=self._guess()).save_pretrained(str(path))

    def tokenizer(self) -> Path:
        """The folder of the tokenizer."""
        path = self.work / "tokenizer"
        if not path.exists():
            learn_tokenizer(self.captions.corpus() * 20, path)
        return path

    def shards(self) -> None:
        """The training pictures."""
        effort = self.effort
        numbers = list(range(effort.shards))
        log.info("drawing %d training pictures", effort.shards * effort.pictures_per_shard)
        write_shards(
            self.work / "shards",
            numbers,
            effort.pictures_per_shard,
            self.art(),
            self.concepts,
            self.autoencoder(),
            effort.processes,
        )

    def take_over(self, model: Path) -> None:
        """Begin with the parts of a finished model instead of fresh ones; keeps what the work folder has already."""
        for part, name in (("tokenizer", "tokenizer"), ("vae", "autoencoder"), ("unet", "unet"), ("text_encoder",) * 2):
            if not (self.work / name).exists():
                shutil.copytree(model / part, self.work / name)

    def denoiser(self, hours: float) -> None:
        """Fit the denoiser until the control file's end; one that has passed is set to `hours` from now."""
        control = self.work / "control.json"
        now = time.time()
        if not control.exists() or Schedule.read(control).end <= now:
            Schedule(now, now + 3600 * hours).write(control)
        effort = self.effort
        task = Task(self.work, self.captions, effort.batch, effort.batches_per_step, effort.processes)
        fit_denoiser(task, self._warm_start())

    def model(self, folder: Path) -> None:
        """Write the model folder from what there is."""
        autoencoder = load_autoencoder(self.autoencoder())
        channels = Shards(self.work / "shards").latent_channels
        write_model(folder, averaged(self.work, channels), autoencoder, self.tokenizer(), self.concepts)
        log.info("wrote %s", folder)

    def _warm_start(self) -> dict[str, torch.Tensor] | None:
        if not (self.work / "unet").exists():
            return None
        text_encoder = CLIPTextModel.from_pretrained(str(self.work / "text_encoder"), dtype=torch.float32)
        unet = UNet2DConditionModel.from_pretrained(str(self.work / "unet"), dtype=torch.float32)
        state: dict[str, torch.Tensor] = Denoiser(text_encoder, unet).state_dict()
        return state

    def _guess(self) -> Spoil | None:
        if not (self.work / "denoiser.pt").exists():
            return None
        ids = load_tokenizer(self.tokenizer())("", padding="max_length", return_tensors="pt").input_ids
        guess = Guess(averaged(self.work, Shards(self.work / "shards").latent_channels), ids)
        return lambda latents: guess(latents) if torch.rand(()) < _GUESSED_SHARE else with_noise(latents)

    def _fit_autoencoder(self, pictures: NDArray[np.uint8]) -> PatchAutoencoder:
        return fit(fresh_autoencoder(pictures), pictures, self.effort.autoencoder)

    def _pictures(self) -> NDArray[np.uint8]:
        path = self.work / "pictures.npy"
        if not path.exists():
            np.save(path, _draw_pictures(self.art(), self.concepts, self.effort))
        stored: NDArray[np.uint8] = np.load(path)
        return stored


def _draw_pictures(art: Art, concepts: tuple[Concept, ...], effort: Effort) -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    studio = Studio(art, concepts)
    return np.stack([np.asarray(studio.draw(studio.choose(rng), rng)) for _ in range(effort.autoencoder_pictures)])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m darkroom.starter.train", description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="the node_modules folder with the icon packages")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for everything in between; makes runs resumable"
    )
    parser.add_argument("--styles", type=Path, default=Path("config/styles.toml"), help="the style book")
    parser.add_argument("--output", type=Path, default=MODEL_DIR, help="the model folder to write")
    parser.add_argument("--hours", type=float, default=3.0, help="how long to fit the denoiser (ignored by --smoke)")
    parser.add_argument(
        "--only",
        choices=["shards", "denoiser", "decoder", "model"],
        help="one stage instead of all; decoder is an extra one",
    )
    parser.add_argument("--resume-from", type=Path, metavar="MODEL", help="a model folder to train further")
    parser.add_argument("--smoke", action="store_true", help="a run of under a minute that only shows that all works")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(0)
    effort, concepts = (SMOKE, CONCEPTS[:4]) if args.smoke else (FULL, CONCEPTS)
    workshop = Workshop(args.work, args.packages, args.styles, effort, concepts)
    if args.resume_from:
        workshop.take_over(args.resume_from)
    if args.only in (None, "shards"):
        workshop.tokenizer()
        workshop.shards()
    if args.only == "decoder":
        workshop.decoder(args.hours)
    if args.only in (None, "denoiser"):
        workshop.denoiser(_SMOKE_HOURS if args.smoke else args.hours)
    if args.only in (None, "model"):
        workshop.model(args.output)


if __name__ == "__main__":
    main()
