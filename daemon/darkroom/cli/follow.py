"""Following one request to its end: a progress bar on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from darkroom.cli import terminal
from darkroom.cli.exits import DONE, INTERRUPTED, REFUSED_OR_FAILED
from darkroom.client.answers import FINAL_STATES, Ticket, is_answered, pictures
from darkroom.client.heartbeat import START_HINT, Pulse, is_gone, rendering_of
from darkroom.client.requests import Client
from darkroom.errors import ErrorCode
from darkroom.hearsay import Json
from darkroom.printable import printable

LOOK_EVERY_S = 0.2


def watched(client: Client, ticket: Ticket, *, heartbeat_s: float) -> Json:
    """Show how a request gets on until nothing follows; its final answer."""
    with _Show(printable(ticket.name), terminal.err()) as show:
        return _wait(client, ticket, show, Pulse(heartbeat_s=heartbeat_s, now_s=time.monotonic()))


def follow(client: Client, ticket: Ticket, *, heartbeat_s: float) -> int:
    """Show how a request gets on until nothing follows; then say where its pictures are. Returns the exit status."""
    try:
        answer = watched(client, ticket, heartbeat_s=heartbeat_s)
    except KeyboardInterrupt:
        name = ticket.name
        word = shlex.quote(name)
        terminal.complain(
            f"{name} is not cancelled: `darkroom status {word}` follows it, `darkroom cancel {word}` stops it."
        )
        return INTERRUPTED
    return conclude(answer, ticket.answer)


def conclude(answer: Json, path: Path) -> int:
    """Say how a request ended: pictures on stdout, what a person should know on stderr."""
    for warning in answer.get("warnings", ()):
        terminal.complain(f"{answer.get('name')}: {warning}")
    for line in gaps(answer):
        terminal.complain(f"{answer.get('name')}: {line}")
    if answer.get("state") == "done":
        for picture in pictures(answer, path):
            terminal.out().print(printable(str(picture)))
        return DONE
    for line in explanation(answer):
        terminal.complain(line)
    return REFUSED_OR_FAILED


def gaps(answer: Json) -> list[str]:
    """What an answer says about pictures that are withheld, unless its error says it."""
    many = len(answer.get("withheld") or ())
    if not many or (answer.get("error") or {}).get("code") == ErrorCode.FILTERED:
        return []
    what, them = (f"{many} pictures were", "them") if many > 1 else ("1 picture was", "it")
    return [f"{what} withheld: the model's safety checker flagged {them}."]


def explanation(answer: Json) -> list[str]:
    """What an answer says about why there are no pictures."""
    error = answer.get("error") or {}
    state = answer.get("state")
    head = f"{answer.get('name')} {'has' if state == 'failed' else 'was'} {state}"
    if not error:
        return [f"{head}."]
    problems = error.get("problems") or [error]
    lines = [f"{head}:"] if len(problems) > 1 else []
    for problem in problems:
        where = f"{problem['where']}: " if problem.get("where") else ""
        text = f"{where}{problem.get('message', '')} {problem.get('hint', '')}".strip()
        lines.append(f"  {text}" if lines else f"{head}: {text}")
    return lines


def _wait(client: Client, ticket: Ticket, show: _Show, pulse: Pulse) -> Json:
    while True:
        answer, health = client.answer(ticket.name), client.health()
        if answer is not None and is_answered(ticket, answer):
            show.answer(answer, health)
            if answer.get("state") in FINAL_STATES:
                return answer
        beats = pulse.look(health, time.monotonic()) and not (health is not None and is_gone(health))
        show.heartbeat(beats=beats)
        show.trouble(_trouble(health) if beats and answer_is_missing(ticket, answer) else "")
        time.sleep(LOOK_EVERY_S)


def answer_is_missing(ticket: Ticket, answer: Json | None) -> bool:
    """Whether nothing has been answered to this request yet."""
    return answer is None or not is_answered(ticket, answer)


def _trouble(health: Json | None) -> str:
    """Why the daemon cannot answer now, where its heartbeat tells."""
    folders = (health or {}).get("folders", {})
    away = [
        f"the {role} is away: {folders[role].get('why', 'nobody knows why')}"
        for role in ("inbox", "outbox")
        if folders.get(role, {}).get("state") == "away"
    ]
    return "; ".join(away)


@dataclass
class _Show:
    """One progress bar, or one line for each change of state."""

    name: str
    console: Console
    _said: str = ""
    _beats: bool = True
    _why: str = ""
    _task: TaskID | None = None
    _bar: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("dropped", total=None, steps="")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def answer(self, answer: Json, health: Json | None) -> None:
        """Show a state and its progress."""
        self._say(state_line(answer, health))
        progress = answer.get("progress")
        if self._task is None or not progress:
            return
        steps = progress["images"] * progress["steps"]
        done = (progress["image"] - 1) * progress["steps"] + progress["step"]
        self._bar.update(self._task, total=steps, completed=done, steps=f"{done}/{steps} steps")

    def heartbeat(self, *, beats: bool) -> None:
        """Say once when no daemon is there, and once when it is back."""
        if beats is not self._beats:
            self._beats = beats
            self.console.print("The daemon is there." if beats else f"No daemon seems to be running here. {START_HINT}")

    def trouble(self, why: str) -> None:
        """Say once why nothing is answered, and once that it goes on."""
        if why != self._why:
            self._why = why
            self.console.print(printable(f"Waiting: {why}." if why else "That is over; it goes on."))

    def _say(self, text: str) -> None:
        if text == self._said:
            return
        self._said = text
        if self._task is not None:
            self._bar.update(self._task, description=text)
        if not self.console.is_terminal:
            self.console.print(f"{self.name}: {text}")


def _ahead(answer: Json, health: Json | None) -> str:
    """How many come before it now, where the heartbeat tells; else how many did when it was accepted."""
    line = list((health or {}).get("next", ()))
    if health is None or is_gone(health) or answer.get("name") not in line:
        ahead = answer.get("ahead")
        return f", {ahead} ahead when it was accepted" if ahead else ""
    ahead = line.index(answer["name"]) + len(rendering_of(health))
    return f", {ahead} ahead" if ahead else ", the next one"


def state_line(answer: Json, health: Json | None = None) -> str:
    """An answer in a few words: "queued, 3 ahead", "rendering picture 2 of 4"."""
    state = str(answer.get("state"))
    progress = answer.get("progress")
    if state == "queued":
        state += _ahead(answer, health)
    elif state == "rendering" and progress and progress["images"] > 1:
        state += f" picture {progress['image']} of {progress['images']}"
    if answer.get("waiting_for"):
        state += f" (waiting: {answer['waiting_for']})"
    return printable(state)
