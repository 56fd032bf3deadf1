"""pause, resume, adopt."""

from __future__ import annotations

import argparse
from pathlib import Path

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.exits import DONE


def pause(args: argparse.Namespace) -> int:
    """Hold the queue."""
    client_of(configuration(args)).pause()
    terminal.out().print("Paused: requests are taken and wait. `darkroom resume` lets them go on.")
    return DONE


def resume(args: argparse.Namespace) -> int:
    """Let the queue go on."""
    was_paused = client_of(configuration(args)).resume()
    terminal.out().print("The queue goes on." if was_paused else "It was not paused.")
    return DONE


def adopt(args: argparse.Namespace) -> int:
    """Say that a folder is the right one."""
    client_of(configuration(args)).adopt(Path(args.folder))
    terminal.out().print(f"{args.folder} will be taken for the right one.")
    return DONE
