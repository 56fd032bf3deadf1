"""Training of the denoiser: several processes of one thread each, which pool their gradients in shared memory.

Nobody waits for anybody: a process adds its gradient to the pool and takes the newest weights; whoever fills the pool
makes the step. So a process that shares its core with other work slows nobody down, at the price of gradients that may
be a step old and of runs that cannot be repeated bit by bit. The learning rate follows the wall clock towards an end
that ``control.json`` in the work folder sets, and that may be changed while the training runs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Lock as LockType
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn import functional

from darkroom.starter.captions import Captions
from darkroom.starter.denoiser import Denoiser, draw_timesteps, fresh_denoiser, noise_levels
from darkroom.starter.fit_autoencoder import fast_bfloat16
from darkroom.starter.muon import Muon
from darkroom.starter.samples import Sample
from darkroom.starter.shards import Shards
from darkroom.starter.wording import MAX_TOKENS, load_tokenizer

log = logging.getLogger(__name__)

_RATE = 7e-4
_LAST_RATE = 0.02
_HOLD = 0.45
_WARM_UP_STEPS = 100
_EMPTY_SHARE = 0.1
_SHORT_TOKENS = 32
_EMA = 0.998


@dataclass(frozen=True)
class Schedule:
    """When the training began and when it ends, in seconds of the Unix clock."""

    start: float
    end: float

    def progress(self, now: float) -> float:
        """0 at the start, 1 or more from the end on."""
        return (now - self.start) / max(self.end - self.start, 1e-9)

    def write(self, path: Path) -> None:
        """Replace the control file."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"start": self.start, "end": self.end}) + "\n", encoding="utf-8")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Schedule:
        """The control file as it is now."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(float(content["start"]), float(content["end"]))


@dataclass(frozen=True)
class Task:
    """What every process of the training needs to know."""

    work: Path  #: holds tokenizer/, shards/, control.json, and gets denoiser.pt
    captions: Captions
    batch: int  #: samples that a process draws at once
    batches_per_step: int
    processes: int
    checkpoint_s: float = 180.0
    seed: int = 0


class Shared:
    """The training's state, in memory that all processes share; guarded by one lock."""

    def __init__(self, layout: Layout) -> None:
        vectors, matrices = layout.vectors, layout.total - layout.vectors
        self.weights, self.average, self.pool = (torch.zeros(layout.total).share_memory_() for _ in range(3))
        self.exp_avg, self.exp_avg_sq = (torch.zeros(vectors).share_memory_() for _ in range(2))
        self.momentum = torch.zeros(matrices).share_memory_()
        self.step, self.pooled = (torch.zeros(()).share_memory_() for _ in range(2))

    def load(self, path: Path) -> None:
        """Take over a checkpoint."""
        state = torch.load(path, weights_only=True)
        for name in _STATE:
            getattr(self, name).copy_(state[name])

    def save(self, path: Path) -> None:
        """Write a checkpoint; the one before it stays until this one is complete."""
        part = path.with_suffix(".part")
        torch.save({name: getattr(self, name).clone() for name in _STATE}, part)
        os.replace(part, path)


_STATE = ("weights", "average", "exp_avg", "exp_avg_sq", "momentum", "step")


class Layout:
    """The order of a model's parameters in one vector: first those for AdamW, then the matrices for Muon."""

    def __init__(self, model: Denoiser) -> None:
        tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
        ends = {id(model.unet.conv_in.weight), id(model.unet.conv_out.weight)}
        all_parts = list(model.parameters())
        matrices = [part for part in all_parts if part.ndim > 1 and id(part) not in tables | ends]
        chosen = {id(part) for part in matrices}
        self._parts = [part for part in all_parts if id(part) not in chosen] + matrices
        self.shapes = [(part.shape[0], part.numel() // part.shape[0]) for part in matrices]
        self.total = sum(part.numel() for part in all_parts)
        self.vectors = self.total - sum(part.numel() for part in matrices)

    def flatten(self) -> tuple[Tensor, Tensor]:
        """Move all parameters, and their gradients, into one vector each, of which they become views."""
        flat = torch.cat([part.detach().flatten() for part in self._parts])
        gradient = torch.zeros_like(flat)
        start = 0
        for part in self._parts:
            end = start + part.numel()
            part.data = flat[start:end].view_as(part)
            part.grad = gradient[start:end].view_as(part)
            start = end
        return flat, gradient


class Locks(NamedTuple):
    """`state` guards the shared memory; `step` is held by the process that makes a step, and taken first."""

    step: LockType
    state: LockType


def fit(task: Task, warm_start: dict[str, Any] | None = None) -> None:
    """Train until the control file's end; resumes from ``denoiser.pt`` in the work folder, else from `warm_start`.

    `warm_start` is the state of a `Denoiser`.
    """
    torch.manual_seed(task.seed)
    model = fresh_denoiser(load_tokenizer(task.work / "tokenizer"), Shards(task.work / "shards").latent_channels)
    if warm_start:
        model.load_state_dict(warm_start)
    layout = Layout(model)
    flat, _ = layout.flatten()
    shared = Shared(layout)
    shared.weights.copy_(flat)
    shared.average.copy_(flat)
    if (checkpoint := task.work / "denoiser.pt").exists():
        shared.load(checkpoint)
    context = torch.multiprocessing.get_context("spawn")
    locks = Locks(context.Lock(), context.Lock())
    if task.processes == 1:
        _Trainer(0, task, shared, locks).run()
    else:
        torch.multiprocessing.spawn(_run, (task, shared, locks), nprocs=task.processes)


def averaged(task_work: Path, latent_channels: int) -> Denoiser:
    """The moving average of the checkpoint in a work folder."""
    model = fresh_denoiser(load_tokenizer(task_work / "tokenizer"), latent_channels)
    flat, _ = Layout(model).flatten()
    flat.copy_(torch.load(task_work / "denoiser.pt", weights_only=True)["average"])
    model.eval().requires_grad_(False)
    return model


def _run(rank: int, task: Task, shared: Shared, locks: Locks) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _Trainer(rank, task, shared, locks).run()


class _Trainer:
    """One process of the training; the first one also reports and saves."""

    def __init__(self, rank: int, task: Task, shared: Shared, locks: Locks) -> None:
        self.rank, self.task, self.shared, self.locks = rank, task, shared, locks
        self.shards = Shards(task.work / "shards")
        self.tokenizer = load_tokenizer(task.work / "tokenizer")
        self.model = fresh_denoiser(self.tokenizer, self.shards.latent_channels)
        # The fused attention's backward pass is slow on processors; the plain one trains a half faster.
        self.model.unet.set_attn_processor(AttnProcessor())
        self.model.text_encoder.set_attn_implementation("eager")
        self.layout = Layout(self.model)
        self.flat, self.gradient = self.layout.flatten()
        self.muon = Muon(self.layout.shapes)
        self.adam = self._adam()
        self.levels = noise_levels()
        self.turn = 0
        self.rng = np.random.default_rng([task.seed, rank, int(shared.step)])
        torch.manual_seed(int(self.rng.integers(2**31)))

    def run(self) -> None:
        """Train until the control file's end."""
        began, first, saved = time.time(), int(self.shared.step), time.time()
        running = None
        while (progress := self._progress()) < 1:
            loss = self._learn(progress)
            running = loss if running is None else 0.99 * running + 0.01 * loss
            self.turn += 1
            if self.turn % 300 == 0:
                self.shards.refresh()
            if self.rank == 0 and self.turn % 100 == 0:
                pace = (int(self.shared.step) - first) * self._samples_per_step / (time.time() - began)
                seen = int(self.shared.step) * self._samples_per_step
                log.info("denoiser: %d samples, %.1f/s, loss %.4f, %.0f %%", seen, pace, running, 100 * progress)
            if self.rank == 0 and time.time() - saved > self.task.checkpoint_s:
                self._save()
                saved = time.time()
        if self.rank == 0:
            self._save()

    @property
    def _samples_per_step(self) -> int:
        return self.task.batch * self.task.batches_per_step

    def _progress(self) -> float:
        return Schedule.read(self.task.work / "control.json").progress(time.time())

    def _adam(self) -> torch.optim.AdamW:
        """One that works on the shared weights' first part and keeps its own state in shared memory."""
        weights = torch.nn.Parameter(self.shared.weights[: self.layout.vectors])
        adam = torch.optim.AdamW([weights], lr=_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        state = {"step": self.shared.step, "exp_avg": self.shared.exp_avg, "exp_avg_sq": self.shared.exp_avg_sq}
        adam.state[weights] = state
        return adam

    def _learn(self, progress: float) -> float:
        noisy, timesteps, ids, velocity = self._batch()
        with self.locks.state:
            self.flat.copy_(self.shared.weights)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            seen = self.model(noisy, timesteps, ids)
        loss = functional.mse_loss(seen.float(), velocity)
        self.gradient.zero_()
        loss.backward()
        if (gradient := self._pool()) is not None:
            with self.locks.step:
                self._step(gradient, progress)
        return float(loss.item())

    def _pool(self) -> Tensor | None:
        """Add this process's gradient to the pool; the mean of the pool when that has filled it, which empties it."""
        with self.locks.state:
            self.shared.pool.add_(self.gradient, alpha=1 / self.task.batches_per_step)
            self.shared.pooled.add_(1)
            if self.shared.pooled < self.task.batches_per_step:
                return None
            gradient = self.shared.pool.clone()
            self.shared.pool.zero_()
            self.shared.pooled.zero_()
            return gradient

    def _step(self, gradient: Tensor, progress: float) -> None:
        """One step of the shared weights. Muon's arithmetic is done while the other processes may read them."""
        shared, vectors, step = self.shared, self.layout.vectors, int(self.shared.step)
        gradient.mul_(1 / gradient.norm().clamp(min=1.0))
        direction = self.muon.direction(gradient[vectors:], shared.momentum)
        rate = _rate(step, progress)
        (group,) = self.adam.param_groups
        (weights,) = group["params"]
        weights.grad, group["lr"] = gradient[:vectors], rate
        with self.locks.state:
            self.adam.step()
            self.muon.apply(shared.weights[vectors:], direction, rate)
            shared.average.lerp_(shared.weights, 1 - min(_EMA, (1 + step) / (10 + step)))

    def _save(self) -> None:
        with self.locks.step, self.locks.state:
            self.shared.save(self.task.work / "denoiser.pt")
        log.info("denoiser: saved after %d steps", int(self.shared.step))

    def _batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        latents, samples = self.shards.draw(self.task.batch, self.rng)
        texts = [self._text(sample) for sample in samples]
        clean, noise = torch.from_numpy(latents).float(), torch.randn(latents.shape)
        timesteps = draw_timesteps(len(samples))
        keep, add = (level[timesteps].view(-1, 1, 1, 1) for level in self.levels)
        return keep * clean + add * noise, timesteps, self._ids(texts), keep * noise - add * clean

    def _text(self, sample: Sample) -> str:
        """Without words, a picture should be what people want: those of the lists are not."""
        if sample.listed is None and self.rng.random() < _EMPTY_SHARE:
            return ""
        return self.task.captions.draw(sample, self.rng)

    def _ids(self, texts: list[str]) -> Tensor:
        """Padded to the full length in every fourth batch only: most captions are short, and padding costs time."""
        longest = max(len(ids) for ids in self.tokenizer(texts).input_ids)
        length = MAX_TOKENS if self.turn % 4 == 0 else min(MAX_TOKENS, max(_SHORT_TOKENS, longest))
        ids: Tensor = self.tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids


def _rate(step: int, progress: float) -> float:
    """The learning rate: a warm-up in steps, then constant, then falling in a straight line towards the end."""
    decay = 1.0 if progress < _HOLD else max(_LAST_RATE, 1 - (progress - _HOLD) / (1 - _HOLD))
    return _RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * decay
