"""Many requests at once: all that the two folders hold below a sub-folder. No link is followed there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darkroom import hearsay
from darkroom.client.answers import ANSWER_LIMIT_BYTES, FINAL_STATES
from darkroom.client.heartbeat import seats_of
from darkroom.client.naming import refuse_misleading
from darkroom.client.requests import Client
from darkroom.errors import DarkroomError
from darkroom.hearsay import Json
from darkroom.names import MAX_DEPTH, is_request, is_watched, joined, natural_key, retried, safe_name, stem_of

#: States in the order in which a person reads them.
STATES = ("queued", "rendering", "done", "refused", "failed", "cancelled")
#: What is told of a file that is not answered yet.
DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Many:
    """What there is below a sub-folder of inbox and outbox ("" is all of them)."""

    folder: str
    answers: tuple[Json, ...]  #: of the newest request of each name
    unanswered: tuple[str, ...]  #: names of files in the inbox that nothing is said of yet

    @property
    def live(self) -> list[str]:
        """The names of those that are not settled."""
        return [each["name"] for each in self.answers if each.get("state") not in FINAL_STATES] + [*self.unanswered]

    def counts(self) -> dict[str, int]:
        """How many of each state, those that there are."""
        return counted([*map(state_of, self.answers), *(DROPPED for _ in self.unanswered)])


def folder_named(text: str) -> str:
    """The sub-folder that a person means: `alice/`, `alice`. Raises DarkroomError for one that no request lies in."""
    folder = text.rstrip("/") if text.strip("/") else text
    refuse_misleading(folder)
    if not is_watched(folder):
        raise DarkroomError(f"Nothing is taken from a folder called {folder!r}.", hint="Name another one.")
    return folder


def is_folder(client: Client, text: str) -> bool:
    """Whether a person means a sub-folder: they say so by a slash, or there is one of this name."""
    if text.endswith("/"):
        return True
    places = (client.inbox / text, client.outbox / safe_name(text))
    return any(os.path.isdir(place) and not os.path.islink(place) for place in places)


def many_of(client: Client, folder: str) -> Many:
    """Look at both folders: the inbox first, since what leaves it meanwhile has an answer.

    People make any folder in the inbox; commands make those that every client can read.
    """
    safe = safe_name(folder) if folder else ""
    waiting = [path for each in dict.fromkeys((folder, safe)) for path in waiting_below(client, each)]
    answers = tuple(answers_below(client, safe))
    answered = {str(each.get("dropped_as")) for each in answers}
    return Many(folder, answers, tuple(stem_of(path) for path in waiting if path not in answered))


def known_below(client: Client, text: str) -> Many:
    """The same for a folder that a person has named. Raises DarkroomError where there is nothing below it."""
    found = many_of(client, folder_named(text))
    if not found.counts():
        hint = "`darkroom status` shows what waits."
        raise DarkroomError(f"Nothing is known of requests below {found.folder}/.", hint=hint)
    return found


def answers_below(client: Client, folder: str) -> Iterator[Json]:
    """Every answer below a folder of the outbox that lies where it says; what else lies there is passed over."""
    for where, names, folders in levels_of(client, client.outbox, folder):
        results = set()
        with suppress(OSError), client.disk.anchored(client.outbox, where) as place:
            for name in names:
                answer = _answer(client, place / name)
                if answer is not None and answer.get("name") == stem_of(joined(where, name)):
                    results.add(answer.get("result"))
                    yield answer
        folders[:] = [each for each in folders if each not in results]


def waiting_below(client: Client, folder: str) -> Iterator[str]:
    """The path of every request file below a folder of the inbox."""
    for where, names, folders in levels_of(client, client.inbox, folder):
        yield from (joined(where, name) for name in names)
        folders[:] = [each for each in folders if is_watched(joined(where, each))]


def waiting(found: Many) -> list[str]:
    """Those that have not begun to render."""
    return [each["name"] for each in found.answers if each.get("state") == "queued"] + [*found.unanswered]


def failed_names(found: Many) -> list[str]:
    """Those whose newest request failed and was not asked for again: whatever came of that has a name of its own."""
    again = {each.get("retry_of") for each in found.answers}
    waits = {retried(name) for name in found.unanswered}
    failed = [each for each in found.answers if each.get("state") == "failed" and each.get("id") not in again]
    return sorted(
        (each["name"] for each in failed if (retried(each["name"]) or each["name"]) not in waits), key=natural_key
    )


def left_s(found: Many, health: Json | None) -> float | None:
    """Seconds until all of these are done, were nobody else served; None where nothing renders, or nothing is known."""
    rendering = [each for each in found.answers if each.get("state") == "rendering"]
    took = [
        float(each["timing"]["render_s"])
        for each in found.answers
        if each.get("state") == "done" and "render_s" in each.get("timing", {})
    ]
    waits = len(found.live) - len(rendering)
    if not rendering or (waits and not took):
        return None
    each_s = sum(took) / len(took) if took else 0.0
    seats = max(1, sum(seat.get("state") in ("ready", "rendering") for seat in seats_of(health)))
    in_hand_s = max(float(each.get("eta_s", each_s)) for each in rendering)
    return in_hand_s + waits * each_s / seats


def counted(states: Iterable[str]) -> dict[str, int]:
    """How many of each, in the order in which a person reads them."""
    found = Counter(states)
    return {state: found[state] for state in (DROPPED, *STATES) if found[state]}


def in_words(counts: Mapping[str, int]) -> str:
    """As a person reads them: "3 done, 1 failed"."""
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing"


def state_of(answer: Json) -> str:
    """One of STATES; what somebody else has written there counts as none."""
    return str(answer.get("state"))


def levels_of(client: Client, root: Path, folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder with its request-like files and its sub-folders, of which the caller takes out some.

    A folder that is not there, or is a link, has none.
    """
    todo = [folder]
    while todo:
        where = todo.pop()
        names: list[str] = []
        folders: list[str] = []
        with suppress(OSError), client.disk.anchored(root, where) as place, os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif is_request(entry.name) and entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
        yield where, sorted(names), folders
        if where.count("/") + bool(where) < MAX_DEPTH:
            todo += [joined(where, each) for each in folders if not each.startswith(".")]


def _answer(client: Client, file: Path) -> Json | None:
    try:
        return hearsay.read(client.disk.read(file, limit=ANSWER_LIMIT_BYTES)[0], hearsay.ANSWER)
    except (OSError, ValueError):
        return None
