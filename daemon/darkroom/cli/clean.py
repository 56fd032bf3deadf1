"""clean: old results are removed, of those that are still as Darkroom made them."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.days import age
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.client.cleaning import Old, clear, old_below
from darkroom.client.many import folder_named
from darkroom.client.requests import Client
from darkroom.errors import DarkroomError
from darkroom.names import joined, safe_name
from darkroom.printable import printable


def clean(args: argparse.Namespace) -> int:
    """Print what is removed; with --dry-run, what would be. 1 where something could not be."""
    client = client_of(configuration(args))
    client.require_outbox()
    before = _before(args.older_than)
    folder = safe_name(folder_named(args.folder)) if args.folder is not None else ""
    if not os.path.isdir(client.outbox / folder):
        raise DarkroomError(f"There is no folder {folder} in {client.outbox}.")
    status, count, freed_bytes = DONE, 0, 0
    for found in old_below(client, folder, lambda moment: moment < before):
        if found.changed:
            terminal.complain(f"{client.outbox / joined(found.where, found.result)} stays: {found.changed}")
            continue
        old = found.pictures_kept() if args.keep_pictures else found
        if not args.dry_run and not _is_cleared(client, old):
            status = REFUSED_OR_FAILED
            continue
        _tell(client, old)
        count, freed_bytes = count + 1, freed_bytes + old.bytes
    did = "would be removed" if args.dry_run else "removed"
    terminal.err().print(f"{count} {did}" + (f", {terminal.size(freed_bytes)}" if freed_bytes else ""))
    return status


def _before(older_than: str) -> datetime:
    try:
        return datetime.now(UTC) - age(older_than)
    except OverflowError:
        raise DarkroomError(f"Nothing is older than {older_than}.") from None


def _is_cleared(client: Client, old: Old) -> bool:
    try:
        clear(client, old)
    except OSError as error:
        terminal.complain(f"{client.outbox / joined(old.where, old.result or old.answer)}: {error.strerror}")
        return False
    return True


def _tell(client: Client, old: Old) -> None:
    """The folder, or what is removed of it, and the answer."""
    place = client.outbox / old.where
    if old.bytes:
        terminal.out().print(printable(f"{place / old.result}/"))
    else:
        for name in old.files:
            terminal.out().print(printable(str(place / old.result / name)))
    if old.answer:
        terminal.out().print(printable(str(place / old.answer)))
