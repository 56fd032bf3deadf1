"""The models that the commands in this folder can be run with, as the daemon's configuration has them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import DAEMON, ONLY_TEST_CARDS, environment

STARTER = DAEMON / "darkroom" / "starter" / "model"

#: A few tenths of a second a picture: what the daemon adds weighs more than it does with any real model.
TINY = {"width": 128, "height": 128, "num_inference_steps": 8, "guidance_scale": 5.0, "scheduler": "euler"}

#: Full-size models, and the precision that each is built and loaded in.
DTYPES = {"sd15": "float32", "sdxl": "bfloat16"}
FULL_SIZE = tuple(DTYPES)

LOADED_WITHIN_S = 1800


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, and all tables of a configuration that has it."""

    alias: str
    tables: Mapping[str, Mapping[str, Any]]
    folder: Path | None  #: where its files are; None for a test card


def add_option(parser: argparse.ArgumentParser, *, default: str) -> None:
    """`--model`."""
    parser.add_argument(
        "--model",
        default=default,
        help="starter, tiny (random weights of the true classes), the folder of a Stable Diffusion model, or "
        "testcard[:options] (default: %(default)s)",
    )


def chosen(name: str, root: Path) -> Chosen:
    """The model of this name; the tiny one is built below `root`."""
    if name.startswith("testcard"):
        return Chosen("card", {**ONLY_TEST_CARDS, "card": {"source": name, "max_px": 2048}}, None)
    if name == "starter":
        return Chosen("starter", {"sd15": {"source": "testcard"}}, STARTER)
    folder = Path(name).resolve()
    table: dict[str, Any] = {"source": str(folder)}
    if name == "tiny":
        folder = root / "tiny-model"
        build_tiny(folder)
        table = {"source": str(folder), **TINY}
    return Chosen("local", {**ONLY_TEST_CARDS, "local": table}, folder)


def build_tiny(folder: Path) -> None:
    """In a process of its own: the measuring one stays without torch."""
    code = "import pathlib, sys; from darkroom.testing.tiny_pipeline import build; build(pathlib.Path(sys.argv[1]))"
    _python("-c", code, os.fspath(folder))


def build_zoo(names: Sequence[str], root: Path) -> dict[str, Path]:
    """Tiny models of these families below `root`: the folder of each."""
    code = "import pathlib, sys; from darkroom.testing import zoo\n"
    code += "for name in sys.argv[2:]: zoo.build(name, pathlib.Path(sys.argv[1], name))"
    _python("-c", code, os.fspath(root), *names)
    return {name: root / name for name in names}


def add_work_option(parser: argparse.ArgumentParser) -> None:
    """`--work`."""
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir(), "darkroom-bench-models"),
        help="where full-size models are built once, and kept (default: %(default)s)",
    )


def full_size(name: str, work: Path) -> Path:
    """The folder of a full-size model; it is built if it isn't there."""
    folder, unfinished = work / name, work / f"{name}.part"
    if not folder.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        print(f"building {folder}", file=sys.stderr, flush=True)
        _python(os.fspath(Path(__file__).with_name("full_size.py")), name, os.fspath(unfinished))
        unfinished.rename(folder)
    return folder


def as_one_file(name: str, work: Path) -> Path:
    """The same as one .safetensors file beside its folder; it is written if it isn't there."""
    folder = full_size(name, work)
    file, unfinished = folder.with_suffix(".safetensors"), work / f"{name}.safetensors.part"
    if not file.exists():
        print(f"writing {file}", file=sys.stderr, flush=True)
        code = "import pathlib, sys, torch; from diffusers import DiffusionPipeline\n"
        code += "from darkroom.testing.zoo import checkpoints\n"
        code += "pipe = DiffusionPipeline.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3]))\n"
        code += "checkpoints.write(pipe, pathlib.Path(sys.argv[2]))"
        _python("-c", code, os.fspath(folder), os.fspath(unfinished), DTYPES[name])
        unfinished.rename(file)
    return file


def loads(way: str, dtype: str, folders: Sequence[Path]) -> list[dict[str, float]]:
    """Have these loaded one after the other in a process of its own (see loader.py): what it tells of each."""
    script = os.fspath(Path(__file__).with_name("loader.py"))
    told = _python(script, way, dtype, *map(os.fspath, folders), timeout_s=LOADED_WITHIN_S)
    return [json.loads(line) for line in told.splitlines()]


def _python(*arguments: str, timeout_s: float | None = None) -> str:
    """What a process prints that has torch."""
    environ = {**environment(), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr[-2000:]}\n{' '.join(arguments[:2])} ended with {done.returncode}")
    return done.stdout
