"""status FOLDER/: how many requests below it are in which state, once or again and again."""

from __future__ import annotations

import argparse
import json
import time

from darkroom.cli import terminal
from darkroom.cli.exits import DONE, INTERRUPTED, REFUSED_OR_FAILED
from darkroom.cli.follow_many import follow_many
from darkroom.client import many
from darkroom.client.answers import FINAL_STATES, Ticket
from darkroom.client.many import Many
from darkroom.client.requests import Client
from darkroom.config.settings import Config
from darkroom.hearsay import Json
from darkroom.printable import printable

WATCH_EVERY_S = 1.0


def folder_status(args: argparse.Namespace, config: Config, client: Client) -> int:
    """1 where something below it came to no pictures. Raises DarkroomError where there is nothing."""
    folder = many.folder_named(args.name)
    if not args.name.endswith("/") and not many.many_of(client, folder).counts():
        raise client.unknown(args.name)
    found = many.known_below(client, folder)
    if args.watch and args.json:
        return _print_changes(client, folder)
    if args.watch:
        return follow_many(client, _tickets(client, found), folder=folder, heartbeat_s=config.heartbeat_s)
    if args.json:
        print(json.dumps(_told(found, client), ensure_ascii=True, indent=1))
    else:
        terminal.out().print(printable(in_words(found, many.left_s(found, client.health()))))
    return status_of(found)


def in_words(found: Many, left_s: float | None) -> str:
    """One line."""
    left = f"; about {terminal.duration(left_s)} left, if nobody else is served" if left_s is not None else ""
    return f"{found.folder}/: {many.in_words(found.counts())}{left}"


def status_of(found: Many) -> int:
    """The exit status."""
    spoilt = found.counts().keys() & FINAL_STATES - {"done"}
    return REFUSED_OR_FAILED if spoilt else DONE


def _told(found: Many, client: Client) -> Json:
    left_s = many.left_s(found, client.health())
    told: Json = {"folder": found.folder, "states": found.counts()}
    return told if left_s is None else told | {"eta_s": round(left_s, 1)}


def _tickets(client: Client, found: Many) -> list[Ticket]:
    names = [*(str(each["name"]) for each in found.answers), *found.unanswered]
    return [Ticket(name, client.inbox / f"{name}.json", client.outbox / f"{name}.json", None) for name in names]


def _print_changes(client: Client, folder: str) -> int:
    """A line of JSON for each change, until nothing follows."""
    told: Json = {}
    try:
        while True:
            found = many.many_of(client, folder)
            if (news := _told(found, client))["states"] != told.get("states"):
                told = news
                print(json.dumps(news, ensure_ascii=True), flush=True)
            if not found.live:
                return status_of(found)
            time.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:
        return INTERRUPTED
