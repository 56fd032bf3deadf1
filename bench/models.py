"""The models that the commands in this folder can be run with, as the daemon's configuration has them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import DAEMON, ONLY_TEST_CARDS, environment

STARTER = DAEMON / "darkroom" / "starter" / "model"

#: A few tenths of a second a picture: what the daemon adds weighs more than it does with any real model.
TINY = {"width": 128, "height": 128, "num_inference_steps": 8, "guidance_scale": 5.0, "scheduler": "euler"}


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
    environ = {**environment(), "TQDM_DISABLE": "1"}
    subprocess.run([sys.executable, "-c", code, os.fspath(folder)], env=environ, check=True, stderr=subprocess.DEVNULL)
