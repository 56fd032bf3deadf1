"""submit, check, cancel, priority, retry."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.cli import terminal
from darkroom.cli.asking import FILE_KEYS, asked, files_of, problems_of
from darkroom.cli.configured import client_of, config_file, configuration, known_of
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.cli.styles import check_styles, holds_styles
from darkroom.client import many
from darkroom.client.answers import Ticket
from darkroom.client.many import known_below
from darkroom.client.naming import why_never_taken
from darkroom.client.requests import Client
from darkroom.config.load import find_file
from darkroom.config.reading import read_begin
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError, FolderUnusable, RequestRefused
from darkroom.names import MAX_PRIORITY, MIN_PRIORITY
from darkroom.printable import printable

if TYPE_CHECKING:
    from darkroom.request.plan import Plan

MOST_TOLD = 20  #: of the wishes that one command drops; all of them are counted


def submit(args: argparse.Namespace) -> int:
    """Drop a request, unless it is plainly wrong; the daemon has the last word."""
    if args.rows is not None:
        if any(key in args for key in FILE_KEYS):
            args.grammar.error("pictures are brought with one request; rows of a file name those in the inbox.")
        from darkroom.cli.many import submit_all

        return submit_all(args)
    if args.folder is not None or args.skip_wrong:
        args.grammar.error("--folder and --skip-wrong go with --from; a sub-folder is part of --name.")
    if "scale" in args and "upscale" not in args:
        args.grammar.error("--scale goes with --upscale.")
    config, request = configuration(args), asked(args)
    if args.prompt == "-":
        request["prompt"] = sys.stdin.read().strip()
    files = files_of(request)
    problems = problems_of(request, config, here=find_file(config_file(args)) is not None)
    if problems:
        terminal.complain("nothing was dropped, since this would be refused:")
        for problem in problems:
            terminal.complain(f"  {problem}")
        return REFUSED_OR_FAILED
    client = client_of(config)
    return _dropped(args, config, client, client.submit(request, name=args.name, files=files))


def retry(args: argparse.Namespace) -> int:
    """Drop the kept request again, under a new name."""
    if args.failed:
        from darkroom.cli.many import retry_failed

        return retry_failed(args)
    if args.name is None:
        args.grammar.error("name a request, or say --failed.")
    config = configuration(args)
    client = client_of(config)
    ticket = client.retry(args.name)
    answer = client.answer(args.name)
    if answer is not None and answer.get("state") == "refused":
        hint = f"Otherwise correct {ticket.answer.parent / str(answer.get('result'))}/request.json, and drop it again."
        terminal.complain(f"{args.name} was refused, and will be again unless the configuration has changed. {hint}")
    return _dropped(args, config, client, ticket)


def _dropped(args: argparse.Namespace, config: Config, client: Client, ticket: Ticket) -> int:
    if args.wait:
        from darkroom.cli.follow import follow

        return follow(client, ticket, heartbeat_s=config.heartbeat_s)
    terminal.err().print("Your request is in the inbox; the answer will be in")
    terminal.out().print(printable(str(ticket.answer)))
    terminal.tell_if_alone(client, f"{printable(ticket.name)} waits for one.")
    return DONE


def cancel(args: argparse.Namespace) -> int:
    """Ask to cancel each of the named requests."""
    client = client_of(configuration(args))
    names = [*_each(client, args.name)]  # all are looked up before the first wish is dropped
    return _wish(client, names, client.cancel, "will be cancelled", "it is cancelled as soon as one starts.")


def priority(args: argparse.Namespace) -> int:
    """Ask for another priority of each of the named requests."""
    client = client_of(configuration(args))
    if not MIN_PRIORITY <= args.priority <= MAX_PRIORITY:
        args.grammar.error(f"N is a whole number from {MIN_PRIORITY} to {MAX_PRIORITY}, not {args.priority}.")
    names = many.waiting(known_below(client, args.name)) if args.name.endswith("/") else [args.name]
    if not names:
        terminal.complain(f"nothing below {args.name} waits")
    prioritise = partial(client.prioritise, priority=args.priority)
    words = f"will have the priority {args.priority}, or the highest that is allowed"
    return _wish(client, names, prioritise, words, "it has its new turn as soon as one starts.")


def _wish(client: Client, names: list[str], drop: Callable[[str], Path], will: str, alone: str) -> int:
    """Drop a wish for each of these; one that cannot be is told, and costs no other."""
    status, dropped = DONE, 0
    for name in names:
        try:
            path = drop(name)
        except FolderUnusable:
            raise
        except DarkroomError as error:
            terminal.complain(str(error))
            status = REFUSED_OR_FAILED
        else:
            dropped += 1
            if dropped <= MOST_TOLD:
                terminal.out().print(printable(f"{name}: {will} (the daemon obeys {path}, and removes it)"))
    if dropped > MOST_TOLD:
        terminal.out().print(f"{dropped - MOST_TOLD} more {will}")
    if dropped:
        terminal.tell_if_alone(client, alone)
    return status


def _each(client: Client, names: list[str]) -> Iterator[str]:
    """A folder, named with a slash at its end, stands for all that is live below it. Raises DarkroomError."""
    for name in names:
        live = known_below(client, name).live if name.endswith("/") else [name]
        if not live:
            terminal.complain(f"all below {name} is settled already")
        yield from live


def check(args: argparse.Namespace) -> int:
    """Decide each request as the daemon would, and print every problem as a compiler does; of style books, too."""
    from darkroom.request.decide import decide
    from darkroom.request.shape import read

    config, say = configuration(args), terminal.out().print
    rules, known = config.rules(), known_of(config)
    status = DONE
    for file in args.files:
        if holds_styles(file):
            status = max(status, check_styles(file))
            continue
        if file != "-" and (why := why_never_taken(os.path.basename(file))):
            say(printable(f"{file}: warning: in the inbox, a file of this name is never taken: {why}."))
        try:
            decision = decide(read(_read(file)), rules, drawn_seed=0, known=known)
        except RequestRefused as error:
            status = REFUSED_OR_FAILED
            for problem in error.problems:
                say(printable(f"{file}: {problem}"))
        except OSError as error:
            status = REFUSED_OR_FAILED
            say(printable(f"{file}: cannot be read: {error.strerror}."))
        else:
            for warning in decision.warnings:
                say(printable(f"{file}: warning: {warning}"))
            say(printable(f"{file}: fine: {_in_short(decision.plan)}"))
    return status


def _in_short(plan: Plan) -> str:
    if plan.upscale is not None:
        return f"{plan.init_image}, {plan.upscale.scale:g} times larger by {plan.upscale.by}; nothing is painted"
    many = f"{plan.num_images} pictures" if plan.num_images > 1 else "1 picture"
    width, height = plan.size or (plan.width, plan.height)
    size = f"{width}×{height}, {plan.num_inference_steps} steps"
    return f"{many}, {size}, style {plan.style_in_words}, model {plan.model}"


def _read(file: str) -> bytes:
    """At most one byte more than a request may have, so that a too large one is told as such."""
    from darkroom.request.shape import MAX_BYTES

    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    return read_begin(Path(file), MAX_BYTES)
