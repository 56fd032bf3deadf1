"""submit, check, cancel, retry."""

from __future__ import annotations

import argparse
import sys

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.client import START_HINT, Client, Ticket, is_gone
from darkroom.config import Config
from darkroom.json_text import printable

#: The keys of a request that `submit` has an option for, in the order in which they are written.
KEYS = (
    "prompt",
    "negative_prompt",
    "default_negative",
    "style",
    "model",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "scheduler",
    "seed",
    "num_images",
    "format",
    "quality",
    "priority",
)


def submit(args: argparse.Namespace) -> int:
    """Drop a request; it is the daemon that says whether it is right."""
    config = configuration(args)
    given = vars(args)
    request = {key: given[key] for key in KEYS if key in given}
    if args.prompt == "-":
        request["prompt"] = sys.stdin.read().strip()
    client = client_of(config)
    return _dropped(args, config, client, client.submit(request, name=args.name))


def retry(args: argparse.Namespace) -> int:
    """Drop the kept request again, under a new name."""
    config = configuration(args)
    client = client_of(config)
    return _dropped(args, config, client, client.retry(args.name))


def _dropped(args: argparse.Namespace, config: Config, client: Client, ticket: Ticket) -> int:
    if args.wait:
        from darkroom.cli.follow import follow

        return follow(client, ticket, heartbeat_s=config.heartbeat_s)
    terminal.out().print(printable(str(ticket.answer)))
    health = client.health()
    if health is None or is_gone(health):
        terminal.complain(f"no daemon seems to be running here; {ticket.name} waits for one. {START_HINT}")
    return DONE


def cancel(args: argparse.Namespace) -> int:
    """Ask to cancel each of the named requests."""
    client = client_of(configuration(args))
    for name in args.name:
        path = client.cancel(name)
        terminal.out().print(printable(f"{name}: asked to cancel ({path} is obeyed and removed)"))
    return DONE


def check(args: argparse.Namespace) -> int:
    """Decide each file as the daemon would, and print every problem as a compiler does."""
    from darkroom.decide import decide
    from darkroom.errors import RequestRefused
    from darkroom.plan import Plan

    rules = configuration(args).rules()
    status = DONE
    for file in args.files:
        try:
            decision = decide(_read(file), rules, drawn_seed=0)
        except RequestRefused as error:
            status = REFUSED_OR_FAILED
            for problem in error.problems:
                print(printable(f"{file}: {problem}"))
        except OSError as error:
            status = REFUSED_OR_FAILED
            print(printable(f"{file}: cannot be read: {error.strerror}."))
        else:
            for warning in decision.warnings:
                print(printable(f"{file}: warning: {warning}"))
            plan: Plan = decision.plan
            many = f"{plan.num_images} pictures" if plan.num_images > 1 else "1 picture"
            size = f"{plan.width}×{plan.height}, {plan.num_inference_steps} steps"
            print(printable(f"{file}: fine: {many}, {size}, style {plan.style}, model {plan.model}"))
    return status


def _read(file: str) -> bytes:
    """At most one byte more than a request may have, so that a too large one is told as such."""
    from darkroom.request import MAX_BYTES

    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with open(file, "rb") as stream:
        return stream.read(MAX_BYTES + 1)
