"""demo: start the daemon with the starter model, drop three requests, show what comes of them."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from darkroom.cli.configured import client_of, config_file, configuration
from darkroom.cli.follow import explanation, state_line
from darkroom.cli.terminal import Console
from darkroom.client.answers import FINAL_STATES, Ticket, is_answered, pictures
from darkroom.client.heartbeat import is_gone, seats_of
from darkroom.client.requests import Client
from darkroom.config.settings import Config
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError
from darkroom.gallery.ground import NotOurs
from darkroom.gallery.rebuild import rebuild
from darkroom.hearsay import Json
from darkroom.names import PAGE
from darkroom.systemd.unit import program

#: File name → request. The last one is wrong in two places, to show what an answer says then.
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "castle": {"prompt": "a castle"},
    "parrot": {
        "prompt": "a parrot",
        "style": "watercolor",
        "negative_prompt": "dark background",
        "num_images": 2,
        "seed": 7,
    },
    "wrong": {"prompt": "a fox", "style": "watercolour", "width": 100},
}
EXPECTED = {"castle": "done", "parrot": "done", "wrong": "refused"}
PATIENCE_S = 300.0
LOOK_EVERY_S = 0.1

console = Console(highlight=False, soft_wrap=True)


class DaemonEnded(DarkroomError):
    """The daemon that the demo started is not there any more; the message holds the end of its log."""


def demo(args: argparse.Namespace) -> int:
    """Returns 0 when the three requests were answered as they should be."""
    args.default_model, args.device = "starter", "cpu"
    config = configuration(args)
    client = client_of(config)
    for folder in (config.inbox, config.outbox):
        if (
            folder.parent == Path.cwd() and not folder.exists()
        ):  # elsewhere, a person has named it: what is not there may have to be mounted
            client.disk.make_folder(folder, shared=True)
    with _daemon(client, config, config_file(args)) as process:
        tickets = [_drop(client, name) for name in REQUESTS]
        answers = _wait(client, tickets, process)
    console.print("\n[bold]3.[/] What was answered:\n")
    for ticket, answer in zip(tickets, answers, strict=True):
        _tell(ticket, answer)
    _say_goodbye(config)
    as_expected = all(answer.get("state") == EXPECTED[name] for name, answer in zip(REQUESTS, answers, strict=True))
    return 0 if as_expected else 1


@contextmanager
def _daemon(client: Client, config: Config, file: Path | None) -> Iterator[subprocess.Popen[bytes] | None]:
    """A daemon of our own, or None for one that serves this inbox already."""
    health = client.health()
    if health is not None and health.get("host") == os.uname().nodename and not is_gone(health):
        console.print(f"[bold]1.[/] A daemon serves {_short(config.inbox)} already: let it answer.")
        yield None
        return
    console.print(f"[bold]1.[/] Starting the daemon on {_short(config.inbox)} and {_short(config.outbox)}:\n")
    command = [sys.executable, "-m", "darkroom", "run", "--default-model", "starter", "--device", "cpu"]
    command += ["--inbox", str(config.inbox), "--outbox", str(config.outbox), "--state-dir", str(config.state_dir)]
    command += ["--config", str(file)] if file is not None else []
    console.print("   darkroom run --default-model starter --device cpu\n", style="cyan")
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,  # noqa: S603 - our own command
    ):
        try:
            yield process
        except DaemonEnded as error:
            log.seek(0)
            tail = log.read().decode(errors="replace").splitlines()[-15:]
            raise DaemonEnded("\n".join([error.message, *tail])) from error
        finally:
            process.terminate()


def _drop(client: Client, name: str) -> Ticket:
    """Drop one of the requests, and show what was dropped."""
    if name == next(iter(REQUESTS)):
        console.print("[bold]2.[/] Dropping three requests. A request is a small JSON file:\n")
    ticket = client.submit(REQUESTS[name], name=name)
    console.print(f"   {_short(ticket.dropped)}", style="cyan")
    console.print(f"   {json.dumps(REQUESTS[name])}\n", markup=False)
    return ticket


def _wait(client: Client, tickets: list[Ticket], process: subprocess.Popen[bytes] | None) -> list[Json]:
    """Show a bar for each request until all are answered for good."""
    answers: dict[str, Json] = {}
    deadline_s = time.monotonic() + PATIENCE_S
    with Progress(
        TextColumn("   {task.fields[name]:<8}"),
        SpinnerColumn(finished_text=" "),
        BarColumn(bar_width=30),
        TextColumn("{task.description}"),
        console=console,
    ) as bars:
        tasks = {ticket.name: bars.add_task("dropped", total=None, name=ticket.name) for ticket in tickets}
        while any(answers.get(ticket.name, {}).get("state") not in FINAL_STATES for ticket in tickets):
            if process is not None and process.poll() is not None:
                raise DaemonEnded(f"The daemon has ended with status {process.returncode}:")
            if time.monotonic() > deadline_s:
                raise DaemonEnded(f"Nothing was answered for {PATIENCE_S:.0f} s:")
            for ticket in tickets:
                answer = client.answer(ticket.name)
                if answer is not None and is_answered(ticket, answer):
                    answers[ticket.name] = answer
                    _move(bars, tasks[ticket.name], answer, client.health())
            time.sleep(LOOK_EVERY_S)
    return [answers[ticket.name] for ticket in tickets]


def _move(bars: Progress, task: TaskID, answer: Json, health: Json | None) -> None:
    text = state_line(answer)
    doing = next((seat.get("state") for seat in seats_of(health)), None)
    if answer.get("state") == "queued" and doing in ("starting", "loading"):
        text = f"queued, while the renderer is {doing}"
    if answer.get("state") in FINAL_STATES:
        bars.update(task, description=text, total=1, completed=1)
    elif progress := answer.get("progress"):
        done = (progress["image"] - 1) * progress["steps"] + progress["step"]
        bars.update(task, description=text, total=progress["images"] * progress["steps"], completed=done)
    else:
        bars.update(task, description=text)


def _tell(ticket: Ticket, answer: Json) -> None:
    console.print(f"   [cyan]{_short(ticket.answer)}[/]  {answer['state']}")
    for picture in pictures(answer, ticket.answer):
        console.print(f"      {_short(picture)}", markup=False)
    if answer["state"] != "done":
        lines = explanation(answer)
        for line in lines[1:] or lines:
            console.print(f"      {line.strip()}", markup=False)


def _say_goodbye(config: Config) -> None:
    if config.gallery and _is_shown(config):
        console.print("\nOpen this page in a browser to look at all of it, and at what comes later:\n")
        console.print(f"   {_short(config.outbox / PAGE)}", style="cyan")
    console.print(
        "\nNow you: this keeps the daemon running, and in a second terminal the other one asks it for a picture:\n"
    )
    me = "darkroom" if shutil.which("darkroom") == str(program()) else _short(program())
    console.print(f'   {me} run\n   {me} submit "a red fox" --style none --wait\n', style="cyan")


def _is_shown(config: Config) -> bool:
    """The daemon may have ended before the page had all of it; where somebody else's page stands, there is none."""
    try:
        rebuild(config.outbox, made=secrets.token_hex(4), disk=Disk(), tell=lambda *_: None)
    except (NotOurs, OSError):
        return False
    return True


def _short(path: Path) -> str:
    """Relative to here, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
