"""What nobody needs any more in the outbox: old results that are still as Darkroom made them, and their answers.

Whatever a person has changed, added, renamed or moved is theirs, and stays. No link is followed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from darkroom import hearsay
from darkroom.client.answers import ANSWER_LIMIT_BYTES, FINAL_STATES, INPUTS
from darkroom.client.many import levels_of
from darkroom.client.requests import Client
from darkroom.hearsay import Json
from darkroom.names import folder_of, joined, stem_of

ANSWER, REQUEST = "answer.json", "request.json"
LARGEST_PICTURE_BYTES = 1 << 30  #: what is larger is not read to see whether it is unchanged


@dataclass(frozen=True, slots=True)
class Old:
    """What there is of one request, exactly as Darkroom made it."""

    where: str  #: sub-folder of the outbox, "" for the outbox itself
    result: str = ""  #: the folder's name; "": it has none, or none any more
    files: tuple[str, ...] = ()  #: in that folder; the answer last, so that what is half cleared away says what it was
    inputs: tuple[str, ...] = ()  #: in its folder of that name
    answer: str = ""  #: the answer's file; "": that is about a newer request
    bytes: int = 0
    changed: str = ""  #: why it is not as it was made, and stays

    def pictures_kept(self) -> Old:
        """Without the pictures and their folder; without pictures, all of it."""
        texts = tuple(name for name in self.files if name in (REQUEST, ANSWER))
        return self if len(texts) == len(self.files) else replace(self, files=texts, inputs=(), bytes=0)


def old_below(client: Client, folder: str, is_old: Callable[[datetime], bool]) -> Iterator[Old]:
    """Whatever is old below a folder of the outbox: when its outcome was decided, and when it was written there."""
    for where, names, folders in levels_of(client, client.outbox, folder):
        try:
            with client.disk.anchored(client.outbox, where) as place:
                level = _Level(client, place, where, is_old)
                results = level.results(folders)
                folders[:] = [name for name in folders if name not in results]
                yield from level.old(results, level.answers(names))
        except OSError:
            continue


def clear(client: Client, old: Old) -> None:
    """Remove it: each file by its name, and the folder if nothing else is in it. Raises OSError."""
    if old.files:
        with client.disk.anchored(client.outbox, joined(old.where, old.result)) as inside:
            if old.inputs:
                with client.disk.anchored(inside, INPUTS) as below:
                    client.disk.remove_files([below / name for name in old.inputs])
                client.disk.remove_empty(inside / INPUTS)
            client.disk.remove_files([inside / name for name in old.files])
            is_empty = not os.listdir(inside)
        if is_empty:
            with client.disk.anchored(client.outbox, old.where) as place:
                client.disk.remove_empty(place / old.result)
    if old.answer:
        with client.disk.anchored(client.outbox, old.where) as place:
            client.disk.remove(place / old.answer)


@dataclass(frozen=True, slots=True)
class _Level:
    """One folder of the outbox, held open."""

    client: Client
    place: Path
    where: str
    is_old: Callable[[datetime], bool]

    def answers(self, names: list[str]) -> dict[str, str]:
        """The id of each answer → its file, of those that are settled and lie where they say."""
        found = {}
        for name in names:
            answer = self._settled(self.place / name)
            if answer is not None and answer.get("name") == stem_of(joined(self.where, name)):
                found[str(answer.get("id"))] = name
        return found

    def results(self, folders: list[str]) -> dict[str, Json]:
        """The folders that lie where they were delivered, under the name that they were given → the answer in each."""
        found = {}
        for name in sorted(folders):
            answer = self._settled(self.place / name / ANSWER) if not name.startswith(".") else None
            if answer is not None and answer.get("result") == name and folder_of(str(answer.get("name"))) == self.where:
                found[name] = answer
        return found

    def old(self, results: Mapping[str, Json], ids: Mapping[str, str]) -> Iterator[Old]:
        """Results with their answers, then answers whose results are not there."""
        left = dict(ids)
        for name, answer in results.items():
            its_answer = left.pop(str(answer.get("id")), "")
            with suppress(OSError), self.client.disk.anchored(self.place, name) as inside:
                if self._is_past(answer, inside / ANSWER):
                    yield self._judged(answer, name, inside, its_answer)
        for name in left.values():
            rest = self._settled(self.place / name)
            if rest is not None and self._has_no_result(rest) and self._is_past(rest, self.place / name):
                yield Old(self.where, answer=name)

    def _judged(self, answer: Json, name: str, inside: Path, its_answer: str) -> Old:
        files = (*(str(image["file"]) for image in answer.get("images", ())), REQUEST, ANSWER)
        there = set(os.listdir(inside))
        changed = _why_changed(self.client, answer, inside, there)
        if changed:
            return Old(self.where, name, changed=changed)
        files = tuple(dict.fromkeys(each for each in files if each in there))
        inputs = tuple(str(each["file"]) for each in answer.get("inputs", ()) if INPUTS in there)
        size = sum((inside / each).lstat().st_size for each in (*files, *(f"{INPUTS}/{each}" for each in inputs)))
        return Old(self.where, name, files, inputs, its_answer, size)

    def _settled(self, file: Path) -> Json | None:
        try:
            answer = hearsay.read(self.client.disk.read(file, limit=ANSWER_LIMIT_BYTES)[0], hearsay.ANSWER)
        except (OSError, ValueError):
            return None
        is_ours = answer is not None and isinstance(answer.get("darkroom"), int)
        return answer if answer is not None and is_ours and answer.get("state") in FINAL_STATES else None

    def _has_no_result(self, answer: Json) -> bool:
        """Whether nothing of it is left: what still lies in the inbox, unfinished, is a person's matter."""
        result = os.path.basename(str(answer.get("result", "")))
        return not answer.get("in_inbox") and (not result or not os.path.lexists(self.place / result))

    def _is_past(self, answer: Json, file: Path) -> bool:
        """By both: a result may have waited long for its outbox, and a clock may have been wrong."""
        try:
            decided = datetime.fromisoformat(str(answer.get("finished_at")))
            written = datetime.fromtimestamp(file.lstat().st_mtime, UTC)
        except (OSError, ValueError, OverflowError):
            return False
        return decided.tzinfo is not None and self.is_old(decided) and self.is_old(written)


def _why_changed(client: Client, answer: Json, inside: Path, there: set[str]) -> str:
    """Why a folder is not exactly what its answer names; "" where it is."""
    images = {str(image["file"]): image for image in answer.get("images", ())}
    if strange := sorted(there - images.keys() - {REQUEST, ANSWER, INPUTS}):
        return f"{strange[0]} was put there"
    if missing := sorted(images.keys() - there):
        return f"{missing[0]} is not there"
    for name, image in images.items():
        if not _has(client, inside / name, image.get("bytes"), image.get("sha256")):
            return f"{name} has changed"
    if REQUEST in there and not _has(client, inside / REQUEST, None, answer.get("request_sha256")):
        return f"{REQUEST} has changed"
    return _why_inputs_changed(client, answer, inside) if INPUTS in there else ""


def _why_inputs_changed(client: Client, answer: Json, inside: Path) -> str:
    known = {str(each["file"]): each for each in answer.get("inputs", ())}
    try:
        with client.disk.anchored(inside, INPUTS) as below:
            if set(os.listdir(below)) != known.keys():
                return f"{INPUTS} holds other files"
            for name, each in known.items():
                if not _has(client, below / name, each.get("bytes"), each.get("sha256")):
                    return f"{name} has changed"
    except OSError as error:
        return f"{INPUTS} cannot be read: {error.strerror}"
    return ""


def _has(client: Client, file: Path, size_bytes: object, sha256: object) -> bool:
    """Whether it is a plain file of that content; size None is not asked."""
    try:
        size = file.lstat().st_size
        if size > LARGEST_PICTURE_BYTES or size_bytes not in (None, size):
            return False
        content, _ = client.disk.read(file, limit=size)
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == sha256
