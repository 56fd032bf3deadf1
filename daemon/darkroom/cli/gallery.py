"""gallery."""

from __future__ import annotations

import argparse
import secrets
import time

from darkroom.cli import terminal
from darkroom.cli.configured import configuration
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.config.settings import Config
from darkroom.disk.files import Disk
from darkroom.errors import FolderUnusable
from darkroom.gallery.rebuild import rebuild
from darkroom.names import PAGE
from darkroom.printable import printable

TELL_EVERY_S = 2.0


def gallery(args: argparse.Namespace) -> int:
    """Say where it is; with --rebuild, make it anew first."""
    config = configuration(args)
    if args.rebuild:
        _rebuild(config)
    page = config.outbox / PAGE
    if not page.is_file():
        how = "`darkroom gallery --rebuild` makes it"
        why = f"a running daemon makes it, or {how}" if config.gallery else f"gallery = false; {how} all the same"
        terminal.complain(f"there is no {printable(str(page))}: {why}.")
        return REFUSED_OR_FAILED
    terminal.out().print(printable(str(page)))
    return DONE


def _rebuild(config: Config) -> None:
    if not config.outbox.is_dir():
        raise FolderUnusable(f"The outbox {config.outbox} is not a folder.", hint="Name another one with --outbox.")
    next_s = time.monotonic() + TELL_EVERY_S

    def tell(what: str, number: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + TELL_EVERY_S
            terminal.err().print(f"{number} {what}")

    rebuilt = rebuild(config.outbox, made=secrets.token_hex(4), disk=Disk(), tell=tell)
    shown = "1 result is" if rebuilt.results == 1 else f"{rebuilt.results} results are"
    terminal.err().print(f"{shown} shown; {rebuilt.small} small pictures were made.")
