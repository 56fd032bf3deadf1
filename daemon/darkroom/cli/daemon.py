"""pause, resume, adopt."""

from __future__ import annotations

import argparse
from pathlib import Path

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.exits import DONE


def pause(args: argparse.Namespace) -> int:
    """Hold the queue."""
    client = client_of(configuration(args))
    client.pause()
    terminal.out().print("Paused: requests are accepted, and wait. `darkroom resume` lets them go on.")
    terminal.tell_if_alone(client, "this counts as soon as one starts.")
    return DONE


def resume(args: argparse.Namespace) -> int:
    """Let the queue go on."""
    client = client_of(configuration(args))
    was_paused = client.resume()
    terminal.out().print("The queue goes on." if was_paused else "It was not paused.")
    terminal.tell_if_alone(client, "the queue goes on as soon as one starts.")
    return DONE


def adopt(args: argparse.Namespace) -> int:
    """Say that a folder is the right one."""
    client = client_of(configuration(args))
    if client.adopt(Path(args.folder)):
        terminal.out().print(f"{args.folder} will be used from now on, whatever was there before.")
        terminal.tell_if_alone(client, "this counts as soon as one starts.")
    else:
        terminal.out().print(f"{args.folder} is in use already: there is nothing to adopt.")
    return DONE
