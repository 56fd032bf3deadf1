"""completion: what a shell has to know to complete this command, from the same grammar that reads it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from darkroom.cli import arguments
from darkroom.cli.exits import DONE
from darkroom.client import many
from darkroom.models.schedulers import SCHEDULERS
from darkroom.request.shape import CHOICES

#: What stands for a path, by the word that the help has for it.
_PATHS = {
    "FILE": shtab.FILE,
    "PICTURE": shtab.FILE,
    "FOLDER": shtab.DIRECTORY,
    "NAME|FOLDER|PICTURE": shtab.FILE,
}
#: Options that take one of a few words; what is wrong there is told by whoever reads it, in better words.
_WORDS = {**CHOICES, "scheduler": tuple(SCHEDULERS), "state": many.STATES}


def completion(args: argparse.Namespace) -> int:
    """Print the script for one shell."""
    print(script(args.shell))
    return DONE


def script(shell: str) -> str:
    """What is to be put where the shell looks for it."""
    grammar = arguments.parser()
    for action in _actions(grammar):
        if isinstance(action.metavar, str) and action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined] # so shtab wants to be told
        if action.dest in _WORDS and action.choices is None and action.option_strings:
            action.choices = _WORDS[action.dest]
    return shtab.complete(grammar, shell)


def _actions(grammar: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in grammar._actions:  # noqa: SLF001 - argparse has no other way to walk its tree
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from _actions(each)
