"""find: which request it was, by what its answer says."""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.days import beginning, moment, whole_day
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.client import many
from darkroom.client.answers import result_of
from darkroom.client.requests import Client
from darkroom.clock import MachineZone
from darkroom.errors import DarkroomError
from darkroom.hearsay import Json
from darkroom.printable import printable
from darkroom.spelling import suggestion

LONGEST_PROMPT = 200  #: characters that are shown; --json has all


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody remembers of a request."""

    words: tuple[str, ...] = ()
    style: str | None = None
    seed: int | None = None
    state: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    def fits(self, answer: Json) -> bool:
        """Whether an answer is about such a request."""
        plan: Json = answer.get("plan") or {}
        return (
            self.state in (None, answer.get("state"))
            and (self.style is None or self.style in map(_plain, _styles(plan)))
            and (self.seed is None or _has_seed(plan, self.seed))
            and self._is_of_its_time(answer)
            and self._has_words(f"{answer.get('name')} {plan.get('prompt', '')}")
        )

    def _is_of_its_time(self, answer: Json) -> bool:
        if self.since is None:
            return True
        at = moment(answer.get("accepted_at"))
        return at is not None and self.since <= at and (self.before is None or at < self.before)

    def _has_words(self, text: str) -> bool:
        plain = _plain(text) if self.words else ""
        return all(word in plain for word in self.words)


def find(args: argparse.Namespace) -> int:
    """Tell each request that fits, the newest first; 1 where none does."""
    if args.state is not None and args.state not in many.STATES:
        args.grammar.error(f"there is no state {args.state}. {suggestion(args.state, many.STATES)}")
    client = client_of(configuration(args))
    client.require_outbox()
    since, before = _between(args)
    words = tuple(_plain(part) for word in args.words for part in word.split())
    style = _plain(args.style) if args.style is not None else None
    found = fitting(client, Wanted(words, style, args.seed, args.state, since, before))
    for answer in found:
        if args.json:
            print(json.dumps(_told(client, answer), ensure_ascii=True))
        else:
            _show(client, answer)
    if not found:
        terminal.complain(f"no answer in {client.outbox} is about such a request")
    return DONE if found else REFUSED_OR_FAILED


def _between(args: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    """Midnight here is what the clock on the wall says, also where the clocks were changed since."""
    now = datetime.now(MachineZone())
    if args.day is not None:
        begin, end = whole_day(args.day, now)
        return begin.astimezone(UTC), end.astimezone(UTC)
    return (beginning(args.since, now).astimezone(UTC) if args.since is not None else None), None


def fitting(client: Client, wanted: Wanted) -> list[Json]:
    """The answers, newest first."""
    found = filter(wanted.fits, many.answers_below(client, ""))
    return sorted(found, key=lambda each: (str(each.get("accepted_at")), str(each.get("id"))), reverse=True)


def _show(client: Client, answer: Json) -> None:
    told = _told(client, answer)
    at = moment(told.get("accepted_at"))
    day = at.astimezone().strftime("%Y-%m-%d") if at is not None else "no day"
    print(printable("  ".join([told["name"], told["state"], day, *filter(None, [told.get("result")])])))
    prompt = told.get("prompt", "")
    print(printable(f"    {prompt if len(prompt) <= LONGEST_PROMPT else prompt[: LONGEST_PROMPT - 1] + '…'}"))


def _told(client: Client, answer: Json) -> Json:
    plan: Json = answer.get("plan") or {}
    told = {
        "name": answer["name"],
        "state": many.state_of(answer),
        "accepted_at": answer.get("accepted_at"),
        "prompt": str(plan.get("prompt", "")),
        "style": plan.get("style"),
        "seed": plan.get("seed"),
        "result": _result(client, answer),
    }
    return {key: value for key, value in told.items() if value is not None}


def _result(client: Client, answer: Json) -> str | None:
    try:
        folder = result_of(answer, client.outbox / f"{answer['name']}.json")
    except DarkroomError:  # somebody has changed it
        return None
    return str(folder) if folder is not None else None


def _styles(plan: Json) -> Iterator[str]:
    style: Any = plan.get("style")
    yield from map(str, style if isinstance(style, list) else [style])


def _has_seed(plan: Json, seed: int) -> bool:
    first, pictures = plan.get("seed"), plan.get("num_images", 1)
    return isinstance(first, int) and isinstance(pictures, int) and first <= seed < first + max(1, pictures)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
