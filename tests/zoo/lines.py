"""The lines that are explained, run: what a few lines of diffusers paint of a plan, with a pipeline of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkroom.explain.files import ModelFiles
from darkroom.explain.made import Made
from darkroom.explain.script import script
from darkroom.request.plan import Plan

Picture = NDArray[np.uint8]


def files_of(folder: Path, pipeline: str, **more: Any) -> ModelFiles:
    """Of a model in a folder."""
    index, scheduler = (
        json.loads((folder / name).read_text()) for name in ("model_index.json", "scheduler/scheduler_config.json")
    )
    return ModelFiles(pipeline=pipeline, place=str(folder), index=index, scheduler=scheduler, **more)


def lines_for(plan: Plan, files: ModelFiles) -> str:
    """They leave the picture where they are run."""
    return script(Made(name="cat", stem="cat-1", plan=plan), files)


def painted_by(lines: str, folder: Path) -> Picture:
    """Run in this process, and the picture left in `folder`."""
    exec(compile(lines.replace("image.save(", "image.save(HERE / "), "script", "exec"), {"HERE": folder})
    return picture_in(folder)


def picture_in(folder: Path) -> Picture:
    with Image.open(folder / "cat-1-again.png") as picture:
        return np.asarray(picture.convert("RGB"))
