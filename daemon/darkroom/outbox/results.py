"""Results: a folder is built under a hidden name, made durable, and appears by one rename."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import structlog

from darkroom.disk.files import Disk
from darkroom.disk.reading import LeadsOut, SourceUnreadable, within
from darkroom.names import file_of, folder_of, is_gallerys, is_result_name, joined, result_names
from darkroom.outbox.answers import ANSWER_LIMIT_BYTES, json_in
from darkroom.outbox.backlog import Delivery
from darkroom.outbox.mirrors import Mirrors
from darkroom.outbox.trouble import NOT_OURS_ERRNOS, WHOLE_SHARE_ERRNOS
from darkroom.spool.answer import FOLDER_ENDINGS, Answer, Timing
from darkroom.spool.answer_json import to_bytes

PATIENCE_TRIES = 4  #: for a request's bytes that the state folder cannot give
HIDDEN_NAMES = 9  #: so many are tried for the folder that a result is built in
_REQUEST_LIMIT_BYTES = 1 << 20

_log = structlog.get_logger("darkroom.outbox")


class Results:
    """Lets them appear; several threads may, beside each other. `clock` is monotonic."""

    def __init__(self, mirrors: Mirrors, *, disk: Disk, clock: Callable[[], float]) -> None:
        self.abandoned = False  #: another life has begun, which builds under the same hidden names
        self.unreadable: Counter[str] = Counter()  #: id → how often the state folder could not give its files
        self._mirrors = mirrors
        self._disk = disk
        self._clock = clock

    def deliver(self, delivery: Delivery, parent: Path) -> Answer | None:
        """Build the folder under a hidden name, make it durable, let it appear by one rename. None: it is spoilt."""
        answer = delivery.answer
        if delivery.again and (there := self._find_delivered(delivery, parent)) is not None:
            self._disk.sync_folder(parent)
            return _delivered(answer, there, 0.0)
        given_up = self.unreadable[answer.id] >= PATIENCE_TRIES
        try:
            return self._build(delivery, parent, with_request=not given_up) if _is_whole(delivery) else None
        except SourceUnreadable:
            if given_up:
                return None
            raise

    def _build(self, delivery: Delivery, parent: Path, *, with_request: bool) -> Answer:
        started_s = self._clock()
        hidden = self._make_hidden(parent, delivery.answer.id)
        with self._disk.anchored(parent, hidden.name) as inside:
            for source, _ in _pictures(delivery):
                self._disk.copy_new(source, within(inside, source.name))
            if delivery.kept is not None and with_request:
                self._copy_kept(delivery.kept, inside)
            return self._let_appear(delivery.answer, hidden, inside, parent, started_s)

    def _copy_kept(self, kept: Path, inside: Path) -> None:
        """What was taken travels whole: the request, and whatever came with it."""
        for source in sorted(_listed(kept)):
            if _is_folder(source):
                self._disk.make_folder(inside / source.name)
                with self._disk.anchored(inside, source.name) as below:
                    self._copy_kept(source, below)
            elif not source.name.startswith("."):  # half-written by a process that died
                self._disk.copy_new(source, within(inside, source.name))

    def _make_hidden(self, parent: Path, request_id: str) -> Path:
        """An empty folder that nobody sees. Anybody may have put something under its name: then it has another one."""
        for number in count(1):
            hidden = within(parent, f".{request_id}.part" if number == 1 else f".{request_id}-{number}.part")
            if self._disk.make_hidden(hidden) or self._clear(hidden, is_last=number >= HIDDEN_NAMES):
                return hidden
        raise AssertionError("names never end")

    def _clear(self, hidden: Path, *, is_last: bool) -> bool:
        """Make it anew. False: what has its name cannot be removed."""
        try:
            self._disk.remove_tree(hidden)
        except OSError as error:
            if error.errno in WHOLE_SHARE_ERRNOS or is_last:
                raise
            _log.warning("hidden_folder_in_the_way", folder=hidden.name, why=error.strerror)
            return False
        return self._disk.make_hidden(hidden)

    def _let_appear(self, answer: Answer, hidden: Path, inside: Path, parent: Path, started_s: float) -> Answer:
        """By one rename, to the first free name; `inside` is the folder `hidden`, whatever becomes of its name."""
        for name in result_names(file_of(answer.name), FOLDER_ENDINGS[answer.state]):
            if os.path.lexists(within(parent, name)) or self._is_kept(folder_of(answer.name), name):
                continue
            final = _delivered(answer, name, round(self._clock() - started_s, 3))
            self._disk.create(inside / "answer.json", to_bytes(final))
            self._disk.sync_folder(inside)
            if self.abandoned:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            try:
                with self._mirrors.naming:
                    self._disk.rename_new(hidden, within(parent, name))
            except FileExistsError:
                continue
            return final
        raise AssertionError("result names never end")

    def _is_kept(self, folder: str, name: str) -> bool:
        """Whether a name is free and stays so: a mirror's that somebody has deleted, or the gallery's."""
        return self._mirrors.is_one(folder, name) or is_gallerys(joined(folder, name))

    def _find_delivered(self, delivery: Delivery, parent: Path) -> str | None:
        """The folder that was delivered before we died and could not record it.

        Anybody may write to the outbox, so what it holds is believed only as far as our own record bears it out: it is
        ours if it says so and the pictures lie in it, byte for byte.
        """
        its_stem, ending = file_of(delivery.answer.name), FOLDER_ENDINGS[delivery.answer.state]
        names = sorted(name for name in os.listdir(parent) if is_result_name(name, its_stem, ending))
        return next((name for name in names if self._is_ours(delivery, parent, name)), None)

    def _is_ours(self, delivery: Delivery, parent: Path, name: str) -> bool:
        """Raises OSError when the share cannot say."""
        try:
            with self._disk.anchored(parent, name) as inside:
                told = json_in(self._disk.read(inside / "answer.json", limit=ANSWER_LIMIT_BYTES)[0])
                if told.get("id") != delivery.answer.id or told.get("result") != name:
                    return False
                return all(self._has(within(inside, file), size, sha256) for file, size, sha256 in _contents(delivery))
        except OSError as error:
            if isinstance(error, LeadsOut) or error.errno in NOT_OURS_ERRNOS:
                return False
            raise

    def _has(self, path: Path, size_bytes: int | None, sha256: str | None) -> bool:
        """Whether a file has this size and content; None is not asked."""
        content, status = self._disk.read(path, limit=_REQUEST_LIMIT_BYTES if size_bytes is None else size_bytes)
        if size_bytes is not None and status.st_size != size_bytes:
            return False
        return sha256 is None or hashlib.sha256(content).hexdigest() == sha256


def _delivered(answer: Answer, result: str, deliver_s: float) -> Answer:
    timing = replace(answer.timing or Timing(), deliver_s=deliver_s)
    return replace(answer, result=result, timing=timing)


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        raise SourceUnreadable(error.errno, str(error)) from error


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError as error:
        raise SourceUnreadable(error.errno, str(error)) from error


def _pictures(delivery: Delivery) -> list[tuple[Path, int]]:
    """Where its pictures are in the state folder, and how many bytes each has."""
    if delivery.work is None:
        return []
    return [(within(delivery.work, image.file), image.bytes) for image in delivery.answer.images]


def _contents(delivery: Delivery) -> list[tuple[str, int | None, str | None]]:
    """What its folder holds, as we have recorded it: file, bytes, SHA-256; None where we have not."""
    contents: list[tuple[str, int | None, str | None]] = [
        (image.file, image.bytes, image.sha256) for image in delivery.answer.images
    ]
    if not contents and delivery.kept is not None:
        contents.append(("request.json", None, delivery.answer.request_sha256))
    return contents


def _is_whole(delivery: Delivery) -> bool:
    """Whether the state folder has all of its pictures."""
    try:
        return all(path.stat().st_size == size_bytes for path, size_bytes in _pictures(delivery))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SourceUnreadable(error.errno, str(error)) from error
