"""The command. It talks to the daemon through the folders alone.

Every sub-command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from darkroom.cli.arguments import parser
from darkroom.cli.exits import CONFIG_UNUSABLE, DONE, INTERRUPTED, REFUSED_OR_FAILED, SERVICE_UNUSABLE, WRONG_USAGE
from darkroom.cli.wrapping import wrapped
from darkroom.errors import ConfigUnusable, DarkroomError, FolderUnusable
from darkroom.printable import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 unusable."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every locale knows every character
    grammar = parser()
    if not (sys.argv[1:] if argv is None else argv):
        grammar.print_help(sys.stderr)
        return WRONG_USAGE
    args = _parsed(grammar, argv)
    module, _, function = str(args.command).partition(":")
    try:
        status: int = getattr(import_module(f"darkroom.cli.{module}"), function)(args)
        sys.stdout.flush()
    except ConfigUnusable as error:
        _complain(str(error), *(f"  {problem}" for problem in error.problems))
        return _unusable(module, "; ".join([str(error), *map(str, error.problems)]))
    except FolderUnusable as error:
        from darkroom.cli.configured import why_defaults

        _complain(str(error), *why_defaults(args))
        return _unusable(module, str(error))
    except DarkroomError as error:
        _complain(str(error))
        return REFUSED_OR_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()  # whoever read us has seen enough
        return DONE
    except OSError as error:
        _complain(f"{_shown(error.filename)}{error.strerror or error}.")
        _forget_output()
        return REFUSED_OR_FAILED
    return status


def _parsed(grammar: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Raises SystemExit for wrong usage, and for a help that is shown here and now."""
    try:
        return grammar.parse_args(argv)
    except SystemExit:
        try:
            sys.stdout.flush()
        except OSError as error:
            _forget_output()
            if not isinstance(error, BrokenPipeError):
                _complain(f"{error.strerror}.")
                raise SystemExit(REFUSED_OR_FAILED) from None
        raise


def _open_what_is_closed() -> None:
    """Whoever started us may have closed a stream (`>&-`): a file that is opened later would get its number."""
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _forget_output() -> None:
    """Python would complain when it flushes the rest at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(name: object) -> str:
    return "" if name is None else f"{os.fsdecode(name) if isinstance(name, bytes) else name}: "


def _unusable(module: str, why: str) -> int:
    """The exit status. To systemd, 3 would mean "not implemented"; `systemctl status` shows the line."""
    if module != "run" or "NOTIFY_SOCKET" not in os.environ:
        return CONFIG_UNUSABLE
    from darkroom.systemd.notify import Notifier

    Notifier().status(f"cannot start: {why}")
    return SERVICE_UNUSABLE


def _complain(*lines: str) -> None:
    said = (f"darkroom: {lines[0]}", *lines[1:])
    sys.stderr.write("".join(f"{wrapped(printable(line), sys.stderr)}\n" for line in said))
