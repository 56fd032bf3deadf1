"""How the command line is read: one command's grammar, and what is said of a wrong word. Imports nothing slow."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import Any, NoReturn

from darkroom.printable import printable

_COMMON = {
    "--config": ("FILE", "configuration file (default: $DARKROOM_CONFIG, config/darkroom.toml, /etc/darkroom/…)"),
    "--inbox": ("FOLDER", "where requests are dropped"),
    "--outbox": ("FOLDER", "where answers and pictures appear"),
    "--state-dir": ("FOLDER", "where the daemon keeps what it must not forget"),
}


class Parser(argparse.ArgumentParser):
    """Tells the nearest word that it knows, and the usage of the command that was meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Like argparse, but what is left over is told by its command."""
        given, rest = self.parse_known_args(args, namespace)
        if rest:
            grammar: Parser = getattr(given, "grammar", self)
            grammar.error(f"{rest[0]} is not known here.{grammar.suggestion(rest[0])}")
        return given

    def error(self, message: str) -> NoReturn:
        """Usage and message on stderr; exit status 2."""
        wrong = re.search(r"invalid choice: '([^']*)'", message)
        if wrong is not None:
            message = f"there is no command {wrong[1]}.{_near(wrong[1], self._choices())}"
        super().error(printable(message))

    def suggestion(self, word: str) -> str:
        """The nearest option."""
        if not word.startswith("-"):
            return " Put several words in quotes." if self.takes_text else ""
        return _near(word.partition("=")[0], list(self._option_string_actions))

    @property
    def takes_text(self) -> bool:
        """Whether a person may have forgotten quotes."""
        return any(action.dest == "prompt" for action in self._actions)

    def _choices(self) -> list[str]:
        positional = (action.choices for action in self._actions if not action.option_strings and action.choices)
        return [str(choice) for choices in positional for choice in choices]


def _near(word: str, known: Collection[str]) -> str:
    from darkroom.spelling import nearest

    begin = sorted((name for name in known if len(word) > 2 and name.startswith(word)), key=len)
    near = begin or nearest(word, known, count=1)
    return f" Did you mean {near[0]}?" if near else ""


def common() -> argparse.ArgumentParser:
    """Options that every command has; they may stand before or after it."""
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("configuration")
    for flag, (metavar, text) in _COMMON.items():
        group.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    return options


def add(commands: Any, usage: str, command: str, text: str, *examples: str) -> argparse.ArgumentParser:
    """One more command: `usage` begins with its name, `command` is who carries it out, `text` says what it does."""
    made: argparse.ArgumentParser = commands.add_parser(
        usage.partition(" ")[0],
        prog=f"darkroom {usage.partition(' ')[0]}",
        usage=f"darkroom {usage}",
        allow_abbrev=False,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog="examples:\n" + "\n".join(f"  darkroom {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
    )
    made.set_defaults(command=command, grammar=made)
    return made
