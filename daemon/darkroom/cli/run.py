"""run: be the daemon. It stays for long, and somebody waits for its start: it imports no more than it needs."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

#: Of what could be better about the style book; `darkroom doctor` counts the rest.
MOST_TOLD = 20


def run(args: argparse.Namespace) -> int:
    """Be the daemon."""
    with importing():
        import structlog

        from darkroom.cli.configured import configuration
        from darkroom.config.load import foreign_variables
        from darkroom.log import setup as log
        from darkroom.service import supervise
    config = configuration(args)
    log.set_up(level=config.log_level, form=config.log_format)
    for name in foreign_variables():
        structlog.get_logger("darkroom").info("variable_ignored", name=name, why="the platform sets it by itself")
    for note in config.style_book().notes[:MOST_TOLD]:
        structlog.get_logger("darkroom").warning("style_book", where=note.where, why=f"{note.message} {note.hint}")
    return supervise.main(config, once=args.once)


@contextmanager
def importing() -> Iterator[None]:
    """A start in two thirds of the time, and 8 MB less for as long as it runs.

    structlog imports rich for tracebacks that the daemon does not print, unless rich is not available, which None says.
    And nothing that is being imported is garbage.
    """
    modules = cast("dict[str, object]", sys.modules)
    is_new = modules.setdefault("rich", None) is None
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if is_new:
            del modules["rich"]
