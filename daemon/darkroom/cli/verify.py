"""verify: whether a result's pictures are still what its plan makes."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom import hearsay
from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration
from darkroom.cli.exits import DONE, REFUSED_OR_FAILED
from darkroom.cli.follow import explanation, watched
from darkroom.client.answers import INPUTS, pictures
from darkroom.client.requests import Client
from darkroom.config.reading import read_begin
from darkroom.errors import DarkroomError, in_words
from darkroom.explain import made
from darkroom.explain.made import Made
from darkroom.printable import printable
from darkroom.request.again import request_of

#: Two pictures this near (of 255, the largest and the mean difference) are the same to the eye.
CLOSE = (16, 1.0)
_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class _Result:
    """What was delivered."""

    answer: hearsay.Json
    folder: Path

    def pictures(self) -> Iterator[tuple[int, Path]]:
        """Number and file of each; what was withheld is not there."""
        for image in self.answer.get("images", ()):
            stem = Path(str(image["file"])).stem
            number = stem.rpartition("-")[2]
            if number.isascii() and number.isdigit():
                yield int(number), self.folder / Path(str(image["file"])).name


def verify(args: argparse.Namespace) -> int:
    """Ask the daemon for each picture again, and compare."""
    config = configuration(args)
    client = client_of(config)
    result = _result(args.of, client)
    found = [
        _one(client, result, number, file, heartbeat_s=config.heartbeat_s)
        for number, file in result.pictures()
        if args.image in (None, number)
    ]
    if not found:
        raise DarkroomError(f"{args.of} has no such pictures.", hint="Only a result that is done can be verified.")
    return DONE if all(found) else REFUSED_OR_FAILED


def _result(of: str, client: Client) -> _Result:
    """A folder that is there is meant before a name."""
    folder = Path(of)
    if (folder / "answer.json").is_file():
        answer = hearsay.read(read_begin(folder / "answer.json", _LIMIT_BYTES), hearsay.ANSWER)
        if answer is None:
            raise DarkroomError(f"{folder / 'answer.json'} is not an answer of Darkroom.")
        return _Result(answer, folder)
    answer = client.answer(of)
    if answer is None:
        raise client.unknown(of)
    return _Result(answer, client.place_of(answer, of).parent / Path(str(answer.get("result", ""))).name)


def _one(client: Client, result: _Result, number: int, file: Path, *, heartbeat_s: float) -> bool:
    """Whether one picture comes out the same, or nearly so; which, is said."""
    before = made.of_answer(result.answer, number=number, asked=None)
    name = f"{before.name.rpartition('/')[2]}.verify-{number}-{secrets.token_hex(3)}"
    files = {each: result.folder / INPUTS / each for each in before.plan.files}
    ticket = client.submit(request_of(before.plan, before.image), name=name, files=files)
    answer = watched(client, ticket, heartbeat_s=heartbeat_s)
    if answer.get("state") != "done":
        for line in explanation(answer):
            terminal.complain(line)
        return False
    again = pictures(answer, client.place_of(answer, name))
    is_near, says = compared(file, again[0])
    terminal.out().print(printable(f"{file}: {says}"))
    for line in changes(before, made.of_answer(answer, number=1, asked=None)):
        terminal.complain(line)
    return is_near


def compared(before: Path, after: Path) -> tuple[bool, str]:
    """Whether two pictures are the same or nearly so, and in words. Raises DarkroomError where one can't be read."""
    from PIL import Image, ImageChops, ImageStat

    try:
        with Image.open(before) as first, Image.open(after) as second:
            one, other = first.convert("RGB"), second.convert("RGB")
    except OSError as error:
        hint = "Was it moved away? A folder of the outbox, or of its copy, can be named too."
        raise DarkroomError(f"{before} or {after} cannot be read: {in_words(error)}.", hint=hint) from error
    if one.size != other.size:
        return False, f"different: it was {one.size[0]}×{one.size[1]}, and is {other.size[0]}×{other.size[1]} now."
    difference = ImageChops.difference(one, other)
    told = ImageStat.Stat(difference)
    largest, mean = round(max(high for _, high in told.extrema)), sum(told.mean) / 3
    if largest == 0:
        return True, "identical."
    apart = f"the largest difference is {largest} of 255, the mean {mean:.2f}."
    is_near = largest <= CLOSE[0] and mean <= CLOSE[1]
    return is_near, f"{'close' if is_near else 'different'}: {apart}"


def changes(before: Made, after: Made) -> Iterator[str]:
    """What is not as it was when the picture was made."""
    names = dict.fromkeys((*before.software, *after.software))
    pairs: list[tuple[str, Any, Any]] = [
        ("the device", before.device, after.device),
        ("the model's revision", before.revision, after.revision),
        *((name, before.software.get(name), after.software.get(name)) for name in names),
    ]
    for what, was, now in pairs:
        if was is not None and was != now:
            yield f"  {what} was {was}, and is {now} now"
