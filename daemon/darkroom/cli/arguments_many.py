"""What can be said on the command line about all that lies in the outbox. Imports nothing slow."""

from __future__ import annotations

from typing import Any

from darkroom.cli.parsing import add


def find_command(commands: Any) -> None:
    """`darkroom find`."""
    find = add(
        commands,
        "find [WORD…] [options]",
        "find:find",
        "look through the answers in the outbox, newest first",
        "find red fox",
        "find castle --style watercolor --since 2026-11-01",
        "find --state failed --since 7d",
        "find --day yesterday",
        "find --seed 1234 --json | jq -r .result",
    )
    find.add_argument("words", metavar="WORD", nargs="*", help="each has to be in the prompt or in the name")
    find.add_argument("--style", metavar="NAME", help="a style that was applied")
    find.add_argument("--seed", type=int, metavar="N", help="the seed of one of its pictures")
    find.add_argument("--state", metavar="STATE", help="queued, rendering, done, refused, failed or cancelled")
    when = find.add_mutually_exclusive_group()
    when.add_argument("--since", metavar="DAY", help="2026-11-30, today, yesterday, or 7d: so many days ago")
    when.add_argument("--day", metavar="DAY", help="only what was accepted on this one: 2026-11-30, today, yesterday")
    find.add_argument("--json", action="store_true", help="a line of JSON for each")


def clean_command(commands: Any) -> None:
    """`darkroom clean`."""
    clean = add(
        commands,
        "clean --older-than AGE [SUBFOLDER] [options]",
        "clean:clean",
        "remove old results that are as they were made, and their answers",
        "clean --older-than 30d --dry-run",
        "clean --older-than 30d prompts/",
        "clean --older-than 12w --keep-pictures",
    )
    clean.add_argument("folder", metavar="SUBFOLDER", nargs="?", help="only what is below this one of the outbox")
    clean.add_argument("--older-than", metavar="AGE", required=True, help="30d, 12h, 8w, 6m or 1y")
    clean.add_argument(
        "--keep-pictures", action="store_true", help="remove answers and requests alone; the pictures stay in place"
    )
    clean.add_argument("--dry-run", action="store_true", help="only say what would be removed")
