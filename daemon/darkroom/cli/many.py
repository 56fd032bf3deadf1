"""submit --from and retry --failed: many requests at once. What is there already is not dropped again."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import track

from darkroom.cli import terminal
from darkroom.cli.asking import asked, judge_of
from darkroom.cli.configured import client_of, config_file, configuration
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.client import many
from darkroom.client.answers import Ticket
from darkroom.client.naming import refuse_misleading, why_never_taken, without_ending
from darkroom.client.requests import Client, bytes_of
from darkroom.config.load import find_file
from darkroom.config.reading import read_begin
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.hearsay import Json
from darkroom.names import folded, joined, safe_name
from darkroom.printable import printable
from darkroom.request import pattern
from darkroom.request.rows import Row, rows_of

MAX_BYTES = 64 << 20
MOST_TOLD = 50  #: wrong rows; how many more there are is told, too

Judge = Callable[[Mapping[str, Any]], Iterable[object]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that should be in the inbox, or answered."""

    line: int
    name: str
    raw: bytes


@dataclass(slots=True)
class Batch:
    """The rows of a file, told apart."""

    missing: list[Wanted] = field(default_factory=list)  #: to be dropped
    there: list[Ticket] = field(default_factory=list)  #: dropped before, with the same bytes
    wrong: list[tuple[int, str]] = field(default_factory=list)  #: line, and what is wrong there


@dataclass(frozen=True, slots=True)
class Naming:
    """Where the requests of a file belong."""

    folder: str
    pattern: str

    def name(self, request: Mapping[str, Any], number: int) -> str:
        """Raises DarkroomError for a name that no request may have."""
        name = joined(self.folder, without_ending(pattern.fill(self.pattern, request, number=number)))
        refuse_misleading(name)
        if why := why_never_taken(f"{os.path.basename(name)}.json"):
            raise DarkroomError(f"{name}.json would never be taken: {why}.", hint="Choose another --name.")
        return safe_name(name)


def submit_all(args: argparse.Namespace) -> int:
    """Drop what is missing of a file's requests; nothing, where one of them is wrong."""
    config = configuration(args)
    naming = _naming(args)
    client = client_of(config)
    client.require_outbox()
    rows = rows_of(_read(args.rows), os.path.splitext(args.rows)[1])
    if not rows:
        raise DarkroomError(f"{args.rows} holds no request.")
    judge = judge_of(config, here=find_file(config_file(args)) is not None)
    batch = sorted_out(rows, asked(args), naming, judge, client)
    _tell_wrong(args.rows, batch.wrong)
    if batch.wrong and not args.skip_wrong:
        terminal.complain("nothing was dropped. --skip-wrong drops the others.")
        return REFUSED_OR_FAILED
    tickets = batch.there + _drop(client, batch.missing)
    return _conclude(args, client, naming, batch, tickets, heartbeat_s=config.heartbeat_s)


def sorted_out(rows: list[Row], defaults: Mapping[str, Any], naming: Naming, judge: Judge, client: Client) -> Batch:
    """What each row asks for, and which of it is there already."""
    batch = Batch()
    known = _Known(client)
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        try:
            wanted = _wanted(row, defaults, naming, judge, number)
            _refuse_twin(lines.setdefault(folded(wanted.name), row.line), wanted)
            ticket = known.ticket(wanted)
        except DarkroomError as error:
            batch.wrong.append((row.line, str(error)))
        else:
            batch.missing.append(wanted) if ticket is None else batch.there.append(ticket)
    return batch


def _wanted(row: Row, defaults: Mapping[str, Any], naming: Naming, judge: Judge, number: int) -> Wanted:
    if row.problem is not None:
        raise DarkroomError(str(row.problem))
    request = {**defaults, **row.request}
    if problems := list(judge(request)):
        raise DarkroomError(" ".join(map(str, problems)))
    return Wanted(row.line, naming.name(request, number), bytes_of(request))


def _refuse_twin(line: int, wanted: Wanted) -> None:
    if line != wanted.line:
        raise DarkroomError(f"It would be called {wanted.name}, like line {line}.", hint="Put {n} into --name.")


class _Known:
    """What lies in the folders that the names lead to, each looked at once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._answers: dict[str, dict[str, Json]] = {}

    def ticket(self, wanted: Wanted) -> Ticket | None:
        """None where nothing of this name is known. Raises DarkroomError where another request has it."""
        file = f"{wanted.name}.json"
        waiting = self._client.waiting(file)  # first: what leaves the inbox meanwhile has an answer
        answer = self._answered(wanted.name)
        ticket = Ticket(wanted.name, self._client.inbox / file, self._client.outbox / file, None)
        if waiting is not None:
            if waiting == wanted.raw:
                return ticket
            raise DarkroomError(f"Another request called {wanted.name} waits in the inbox; it is not overwritten.")
        if answer is None:
            return None
        if answer.get("request_sha256") == hashlib.sha256(wanted.raw).hexdigest():
            return ticket
        hint = "Choose another --folder or --name; or clear the old answer away, if nobody needs it."
        raise DarkroomError(f"{wanted.name} was another request.", hint=hint)

    def _answered(self, name: str) -> Json | None:
        folder = name.rpartition("/")[0]
        if folder not in self._answers:
            found = many.answers_below(self._client, folder)
            self._answers[folder] = {str(each.get("dropped_as")): each for each in found}
        return self._answers[folder].get(f"{name}.json")


def _naming(args: argparse.Namespace) -> Naming:
    wanted = args.name or pattern.DEFAULT
    pattern.check(wanted)
    folder = args.folder if args.folder is not None else os.path.splitext(os.path.basename(args.rows))[0]
    return Naming(safe_name(many.folder_named(folder)), wanted)


def _read(file: str) -> bytes:
    raw = read_begin(Path(file), MAX_BYTES)
    if len(raw) > MAX_BYTES:
        raise DarkroomError(f"{file} is larger than {MAX_BYTES >> 20} MiB.", hint="Split it.")
    return raw


def _tell_wrong(file: str, wrong: list[tuple[int, str]]) -> None:
    for line, why in wrong[:MOST_TOLD]:
        terminal.complain(f"{file}, line {line}: {why}")
    if len(wrong) > MOST_TOLD:
        terminal.complain(f"{file}: {len(wrong) - MOST_TOLD} more lines are wrong")


def _drop(client: Client, missing: list[Wanted]) -> list[Ticket]:
    """Raises DarkroomError when somebody else takes one of the names meanwhile."""
    return list(_dropped(client, missing))


def _dropped(client: Client, missing: list[Wanted]) -> Iterator[Ticket]:
    console = terminal.err()
    for wanted in track(missing, "dropping", console=console, transient=True, disable=not console.is_terminal):
        yield client.drop(wanted.name, wanted.raw, is_new=True)


def _conclude(
    args: argparse.Namespace,
    client: Client,
    naming: Naming,
    batch: Batch,
    tickets: list[Ticket],
    *,
    heartbeat_s: float,
) -> int:
    said = f"{len(batch.missing)} dropped, {len(batch.there)} there already, {len(batch.wrong)} wrong"
    terminal.err().print(f"{said}; their answers and results are below" if tickets else said)
    if tickets:
        terminal.out().print(printable(str(client.outbox / naming.folder)))
    if args.wait and tickets:
        from darkroom.cli.follow_many import follow_many

        status = follow_many(client, tickets, folder=naming.folder, heartbeat_s=heartbeat_s)
        return max(status, REFUSED_OR_FAILED if batch.wrong else DONE)
    if batch.missing:
        terminal.tell_if_alone(client, "the requests wait for one.")
    return REFUSED_OR_FAILED if batch.wrong else DONE


def retry_failed(args: argparse.Namespace) -> int:
    """Ask again for each request that failed, unless that was done already."""
    config = configuration(args)
    client = client_of(config)
    client.require_outbox()
    found = many.known_below(client, args.name) if args.name is not None else many.many_of(client, "")
    names = many.failed_names(found)
    tickets, status = [], DONE
    for name in names:
        try:
            tickets.append(client.retry(name))
        except FolderUnusable:
            raise
        except DarkroomError as error:
            terminal.complain(str(error))
            status = REFUSED_OR_FAILED
    for ticket in tickets:
        terminal.out().print(printable(str(ticket.answer)))
    if not names:
        terminal.err().print("Nothing has failed that was not asked for again.")
    if args.wait and tickets:
        from darkroom.cli.follow_many import follow_many

        return max(status, follow_many(client, tickets, folder=found.folder, heartbeat_s=config.heartbeat_s))
    if tickets:
        terminal.tell_if_alone(client, "the requests wait for one.")
    return status
