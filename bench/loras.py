"""Many switches of models and LoRAs: how much memory is held at the end, and whether a picture is still the same one.

    python bench/loras.py [N]

Two tiny models take turns in one renderer, each with another LoRA each time, and every third time with none. Told are
the resident memory after a tenth of the N switches (1,000) and after all of them, and how long one takes.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from darkroom.executor.settings import RendererSettings
from darkroom.models.judge import judge_folder
from darkroom.models.source import LoraSource, ModelSource
from darkroom.render.device import TorchDevice
from darkroom.render.engine import Model
from darkroom.request.decide import Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo
from darkroom.testing.zoo import loras

MODELS = ("sd15", "sdxl")
LORAS = 6
#: Pictures with one model before the other takes its turn.
TURN = 9


class Bench:
    """The models on one device, and what is asked of them."""

    def __init__(self, folder: Path) -> None:
        self.models, self.loras = {}, {}
        for name in MODELS:
            zoo.build(name, folder / name)
            self.models[name] = ModelSource(name, str(folder / name))
            for number in range(LORAS):
                file = folder / f"{name}-{number}.safetensors"
                loras.build(folder / name, file, parts=("unet", "text_encoder"), seed=number)
                self.loras[f"{name}-{number}"] = LoraSource(f"{name}-{number}", str(file))
        self.rules = Rules(StyleBook({}, ""), self.models, MODELS[0], ("none",), 0, loras=self.loras)
        self.known = {name: Known(judge_folder(self.models[name], folder / name).family) for name in MODELS}
        self.device = TorchDevice(RendererSettings(self.models, self.loras, device="cpu", offline=True))

    def plan(self, model: str, lora: str | None) -> Plan:
        """One small picture."""
        asked: dict[str, Any] = {"prompt": "a red cat", "model": model, "width": 64, "height": 64, "seed": 7}
        asked |= {"num_inference_steps": 1, "loras": [{"name": lora}] if lora else []}
        return decide(read(json.dumps(asked).encode()), self.rules, drawn_seed=0, known=self.known.__getitem__).plan


def paint(model: Model, plan: Plan) -> bytes:
    """The picture's bytes."""
    return model.paint(plan, model.read(plan), 0, lambda _step, _steps: None).rgb


def resident_mb() -> float:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(switches: int, tell: Callable[[str], None] = print) -> tuple[float, float]:
    """Resident megabytes after a tenth and after all; raises SystemExit where a picture has changed."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        model: Model | None = None
        firsts: dict[tuple[str, str | None], bytes] = {}
        began_s, early_mb = time.monotonic(), 0.0
        gc.freeze()
        for number in range(switches):
            name = MODELS[number // TURN % len(MODELS)]
            if number % TURN == 0:
                if model is not None:
                    model.close()
                model = bench.device.load(bench.models[name], lambda: None)
            assert model is not None
            lora = f"{name}-{number // 3 * 2 % LORAS + number % 3 - 1}" if number % 3 else None
            picture = paint(model, bench.plan(name, lora))
            if firsts.setdefault((name, lora), picture) != picture or model.is_spent:
                raise SystemExit(f"{name} with {lora} is another picture at switch {number + 1}")
            if number + 1 == max(1, switches // 10):
                early_mb = resident_mb()
        late_mb, each_s = resident_mb(), (time.monotonic() - began_s) / switches
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell(f"{switches} switches, {each_s:.2f} s each, {len(firsts)} pictures that stayed the same")
    tell(f"{early_mb:.0f} MB after a tenth, {late_mb:.0f} MB at the end, {peak_mb:.0f} MB at most")
    return early_mb, late_mb


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
