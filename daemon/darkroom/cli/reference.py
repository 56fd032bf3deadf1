"""styles, schema, doctor."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.configured import config_file, configuration, known_of
from darkroom.cli.exits import CONFIG_UNUSABLE, DONE
from darkroom.errors import DarkroomError
from darkroom.printable import printable
from darkroom.request.styles import NO_STYLE
from darkroom.spelling import suggestion
from darkroom.systemd.unit import program

if TYPE_CHECKING:
    pass

NO_STYLE_IS = "No style: the prompt as it is"


def styles(args: argparse.Namespace) -> int:
    """List the style book, or show one style whole."""
    config = configuration(args)
    book = config.style_book()
    if args.name is None:
        rows = [(name, style.description or textwrap.shorten(style.prompt, 80)) for name, style in book.styles.items()]
        return _print_list([*rows, (NO_STYLE, NO_STYLE_IS)], default=config.default_style)
    if args.name == NO_STYLE:
        terminal.fields({"description": NO_STYLE_IS})
        return DONE
    if args.name not in book.styles:
        raise DarkroomError(f"There is no style {args.name}.", hint=suggestion(args.name, book.names))
    style = book.styles[args.name]
    fields = ("description", "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "scheduler")
    said = {field: getattr(style, field) for field in fields} | {"families": ", ".join(style.families)}
    terminal.fields({field: value for field, value in said.items() if value not in ("", None)})
    return DONE


def schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema of a request."""
    from darkroom.request.schema import schema as request_schema

    config = configuration(args)
    print(json.dumps(request_schema(config.rules(), known_of(config)), indent=2, ensure_ascii=False))
    return DONE


def doctor(args: argparse.Namespace) -> int:
    """Check everything. A configuration that cannot be read is the first thing that it tells."""
    from darkroom.cli.doctor import Verdict, examine
    from darkroom.cli.installed import service_config, service_user
    from darkroom.config.load import find_file
    from darkroom.rights import who

    config, file = configuration(args), find_file(config_file(args))
    console = terminal.out()
    console.print(f"Configuration: {file or f'defaults only ({_looked_for()})'}")
    console.print(f"Checked as {who()}, with the rights of {who()}.")
    if (user := service_user()) not in (None, who()):
        theirs = service_config() or (file.absolute() if file is not None else None)
        words = ["sudo", "-u", str(user), str(program()), "doctor", *(["--config", str(theirs)] if theirs else [])]
        console.print(f"The service runs as {user}. To check as the service: {shlex.join(words)}")
    looks = {Verdict.OK: ("ok  ", "green"), Verdict.WARN: ("warn", "yellow"), Verdict.FAIL: ("FAIL", "bold red")}
    counts = dict.fromkeys(Verdict, 0)
    for finding in examine(config, file):
        mark, look = looks[finding.verdict]
        line = Text.assemble((mark, look), "  ", (finding.what, "bold"), ": ", printable(finding.says))
        console.print(line)
        if finding.do:
            console.print(Text(printable(f"      → {finding.do}")))
        counts[finding.verdict] += 1
    console.print(_sum(counts[Verdict.OK], counts[Verdict.WARN], counts[Verdict.FAIL]))
    return CONFIG_UNUSABLE if counts[Verdict.FAIL] else DONE


def _sum(good: int, warned: int, failed: int) -> str:
    if not warned and not failed:
        return f"All {good} checks are fine."
    parts = [f"{good} fine", f"{warned} could be better" if warned else "", f"{failed} failed" if failed else ""]
    return ", ".join(part for part in parts if part) + "."


def _looked_for() -> str:
    from darkroom.config.load import USUAL_FILES

    return f"there is neither {' nor '.join(str(path.absolute()) for path in USUAL_FILES)}"


def _print_list(rows: list[tuple[str, str]], *, default: Collection[str]) -> int:
    cells = [(Text(name, style="bold"), Text(text + ("  (default)" if name in default else ""))) for name, text in rows]
    terminal.out().print(*terminal.columns(*cells), sep="\n")
    return DONE
