"""Following many requests to their end: one progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from darkroom.cli import terminal
from darkroom.cli.exits import DONE, INTERRUPTED, REFUSED_OR_FAILED
from darkroom.cli.follow import LOOK_EVERY_S, explanation
from darkroom.client import many
from darkroom.client.answers import FINAL_STATES, Ticket, is_answered
from darkroom.client.heartbeat import START_HINT, Pulse, is_gone
from darkroom.client.requests import Client
from darkroom.hearsay import Json
from darkroom.printable import printable

SAY_EVERY_S = 10.0  #: where nobody can be shown a bar
MOST_TOLD = 20  #: of those that came to no pictures; all of them are counted
ETA_FROM_S = 3600.0  #: the last hour says how fast it goes


def follow_many(client: Client, tickets: Sequence[Ticket], *, folder: str, heartbeat_s: float) -> int:
    """Show how requests get on until nothing follows; then say how they ended. Returns the exit status."""
    bar = _Bar(len(tickets), terminal.err())
    try:
        with bar.progress:
            answers = _wait(client, tickets, bar, Pulse(heartbeat_s=heartbeat_s, now_s=time.monotonic()))
    except KeyboardInterrupt:
        word = shlex.quote(f"{folder}/")
        terminal.complain(
            f"nothing is cancelled: `darkroom status {word}` follows it, `darkroom cancel {word}` stops it."
        )
        return INTERRUPTED
    return conclude_all(answers, where=str(client.outbox / folder))


def conclude_all(answers: Sequence[Json], *, where: str) -> int:
    """Say how many came to which end, where that is, and why some came to no pictures."""
    spoilt = [answer for answer in answers if many.state_of(answer) != "done"]
    for answer in spoilt[:MOST_TOLD]:
        for line in explanation(answer):
            terminal.complain(line)
    if len(spoilt) > MOST_TOLD:
        terminal.complain(f"{len(spoilt) - MOST_TOLD} more ended without pictures")
    said = many.in_words(many.counted(map(many.state_of, answers)))
    terminal.out().print(printable(f"{said}, in {where}"))
    return REFUSED_OR_FAILED if spoilt else DONE


def _wait(client: Client, tickets: Sequence[Ticket], bar: _Bar, pulse: Pulse) -> list[Json]:
    ended: dict[str, Json] = {}
    while True:
        began_s = time.monotonic()
        live = [
            answer
            for ticket in tickets
            if ticket.name not in ended and (answer := _look(client, ticket, ended)) is not None
        ]
        bar.show(list(ended.values()), live)
        if len(ended) == len(tickets):
            return [ended[ticket.name] for ticket in tickets]
        health = client.health()
        bar.heartbeat(beats=pulse.look(health, time.monotonic()) and not (health is not None and is_gone(health)))
        time.sleep(max(LOOK_EVERY_S, time.monotonic() - began_s))  # looking must not keep the share busy


def _look(client: Client, ticket: Ticket, ended: dict[str, Json]) -> Json | None:
    """Its answer while it is live; a final one is put to the ended."""
    answer = client.answer(ticket.name)
    if answer is None or not is_answered(ticket, answer):
        return None
    if answer.get("state") in FINAL_STATES:
        ended[ticket.name] = answer
        return None
    return answer


def fraction(answer: Json) -> float:
    """How much of a request is painted."""
    progress = answer.get("progress")
    if not progress:
        return 0.0
    steps = max(1, progress["images"] * progress["steps"])
    return float(min(1.0, max(0.0, ((progress["image"] - 1) * progress["steps"] + progress["step"]) / steps)))


@dataclass
class _Bar:
    """One progress bar for all, or a line now and then."""

    total: int
    console: Console
    progress: Progress = field(init=False)
    _task: TaskID = field(init=False)
    _said: str = ""
    _said_at_s: float = float("-inf")
    _beats: bool = True

    def __post_init__(self) -> None:
        self.progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
            speed_estimate_period=ETA_FROM_S,
        )
        self._task = self.progress.add_task("", total=self.total)

    def show(self, ended: list[Json], live: list[Json]) -> None:
        """Show how many have come to an end, and how far the others are."""
        counts = many.counted(map(many.state_of, [*ended, *live]))
        if waiting := self.total - len(ended) - len(live):
            counts = {many.DROPPED: waiting} | counts
        text = printable(many.in_words(counts))
        done = len(ended) + sum(map(fraction, live))
        self.progress.update(self._task, completed=round(done, 3), description=text)
        now_s = time.monotonic()
        if not self.console.is_terminal and text != self._said and now_s - self._said_at_s >= SAY_EVERY_S:
            self._said, self._said_at_s = text, now_s
            self.console.print(f"{len(ended)} of {self.total}: {text}")

    def heartbeat(self, *, beats: bool) -> None:
        """Say once when no daemon is there, and once when it is back."""
        if beats is not self._beats:
            self._beats = beats
            self.console.print("The daemon is there." if beats else f"No daemon seems to be running here. {START_HINT}")
