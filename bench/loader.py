"""Loads models one after the other, and tells what each took. Run by loading.py and switching.py.

    python bench/loader.py hand|darkroom DTYPE FOLDER [FOLDER …]

Darkroom may be given single files, too.

By hand: `from_pretrained`, `.to("cpu")`, one step of a picture of 64 x 64 pixels, as the renderer takes one to warm up.
Darkroom: what its renderer loads with. Of a line of JSON on standard output each; the model before is let go.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from rig import peak_mb, resident_mb

WARM_UP_PX = 64


class ByHand:
    """The stock pipeline."""

    def __init__(self, dtype: str) -> None:
        diffusers.utils.logging.disable_progress_bar()
        self._dtype = getattr(torch, dtype)

    def load(self, folder: Path) -> Any:
        """As anybody would."""
        kind = getattr(diffusers, class_of(folder))
        pipe = kind.from_pretrained(folder, dtype=self._dtype, use_safetensors=True).to("cpu")
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def warm_up(self, pipe: Any) -> None:
        """The first step."""
        pipe("", width=WARM_UP_PX, height=WARM_UP_PX, num_inference_steps=1, output_type="np")


class Darkroom:
    """The renderer's device; its warm-up is put off, so that it is timed alone."""

    def __init__(self, dtype: str) -> None:
        from darkroom.executor.settings import RendererSettings  # noqa: PLC0415 - the other one goes without all this
        from darkroom.render.adapter import DiffusionModel  # noqa: PLC0415
        from darkroom.render.device import TorchDevice  # noqa: PLC0415

        self._dtype = dtype
        self._device = TorchDevice(RendererSettings(device="cpu", offline=True))
        self._warm_up: Callable[[Any, Any], None] = DiffusionModel.warm_up
        DiffusionModel.warm_up = lambda _model, source: setattr(self, "_source", source)

    def load(self, folder: Path) -> Any:
        """As the renderer does."""
        from darkroom.models.source import ModelSource  # noqa: PLC0415

        source = ModelSource("model", str(folder), dtype=self._dtype)
        self._device.look(source)
        return self._device.load(source, lambda: None)

    def warm_up(self, model: Any) -> None:
        """As the renderer does."""
        self._warm_up(model, self._source)


def class_of(folder: Path) -> str:
    """The pipeline's class; a file lies beside the folder that it was made from."""
    folder = folder.with_suffix("") if folder.is_file() else folder
    return str(json.loads((folder / "model_index.json").read_text())["_class_name"])


class Now(NamedTuple):
    """The clocks of this process."""

    wall_s: float
    cpu_s: float


def now() -> Now:
    """What they say."""
    return Now(time.monotonic(), time.process_time())


def main() -> None:
    """Load each."""
    way, dtype, *folders = sys.argv[1:]
    loader = ByHand(dtype) if way == "hand" else Darkroom(dtype)
    for folder in map(Path, folders):
        getattr(diffusers, class_of(folder))  # imported when it is asked for: of no model's load
    let_go_s = 0.0
    for folder in map(Path, folders):
        began = now()
        model = loader.load(folder)
        loaded = now()
        loader.warm_up(model)
        warm = now()
        told = {
            "let_go_s": let_go_s,  # of the one before
            "load_s": loaded.wall_s - began.wall_s,
            "load_cpu_s": loaded.cpu_s - began.cpu_s,
            "warm_up_s": warm.wall_s - loaded.wall_s,
            "warm_up_cpu_s": warm.cpu_s - loaded.cpu_s,
            "resident_mb": resident_mb(os.getpid()),
            "peak_mb": peak_mb(os.getpid()),
        }
        print(json.dumps(told), flush=True)
        begins_to_let_go = now()
        if way == "darkroom":
            model.close()
        del model
        gc.collect()  # its parts refer to each other in circles
        let_go_s = now().wall_s - begins_to_let_go.wall_s


if __name__ == "__main__":
    main()
