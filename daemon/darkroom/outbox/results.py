"""Answers and results, delivered in order, kept and tried again while the share is away.

Used by one thread, the one that may hang on the outbox.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from darkroom.disk.files import Disk, SourceUnreadable
from darkroom.disk.folders import Folder, FolderState
from darkroom.names import folded, folder_of, is_result_name, joined, result_names
from darkroom.outbox.backlog import Backlog, Delivery, Item
from darkroom.spool.answer import FOLDER_ENDINGS, Answer

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 60.0
PATIENCE_TRIES = 4  #: for what fails again and again by itself
_ANSWER_LIMIT_BYTES = 4 << 20
#: Trouble with the whole share: all wait, and order is kept. Anything else is trouble with one folder or name, such as
#: EBUSY for an answer that a Windows program holds open.
_WHOLE_SHARE_ERRNOS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ESTALE,
    errno.ENODEV,
    errno.ENXIO,
    errno.EREMOTEIO,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOMEM,
    errno.ENFILE,
    errno.EMFILE,
)

_log = structlog.get_logger("darkroom.outbox")


@dataclass(frozen=True, slots=True)
class Delivered:
    """A folder is in the outbox, complete and durable."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A folder that cannot be delivered: the state folder does not have all of its pictures any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Told:
    """A final answer is in the outbox."""

    id: str


@dataclass(frozen=True, slots=True)
class Mirrored:
    """An outbox folder was chosen for an inbox sub-folder."""

    folder: str
    outbox: str


Event = Delivered | Spoilt | Told | Mirrored | FolderState


class Outbox:
    """The outbox folder.

    `now` gives the time of an answer (RFC 3339), `clock` is monotonic, `emit` tells the service what happened.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        disk: Disk,
        mirrors: dict[str, str],
        emit: Callable[[Event], None],
        now: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.abandoned = False  #: another life has begun, which builds under the same hidden names
        self._disk = disk
        self._mirrors = dict(mirrors)
        self._emit = emit
        self._now = now
        self._clock = clock
        self._backlog = Backlog()
        self._foreign: set[str] = set()  # names whose answer would overwrite a file that is not ours
        self._troubles: set[tuple[str, str]] = set()  # (folder, why) that the log has told
        self._retry_at_s = 0.0
        self._failures = 0
        self._stuck: tuple[Item | None, int] = (None, 0)  # what has failed last, and how often in a row
        self._unreadable: Counter[str] = Counter()  # id → how often the state folder could not give its files
        self._told: FolderState | None = None

    # What the service hands over ----------------------------------------------------------------------------------

    def publish(self, answer: Answer) -> None:
        """Write this answer soon; it overtakes every older one of its name."""
        self._backlog.publish(answer)

    def deliver(self, delivery: Delivery) -> None:
        """Let this folder appear, in order."""
        self._backlog.deliver(delivery)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._backlog

    @property
    def wait_s(self) -> float:
        """How long to wait before `work` can do anything."""
        return max(0.0, max(self._retry_at_s, self._backlog.ready_at_s) - self._clock())

    def retry_now(self) -> None:
        """Forget the backoff."""
        self._retry_at_s = 0.0
        self._backlog.retry_now()

    # Working ------------------------------------------------------------------------------------------------------

    def work(self) -> bool:
        """Do the next thing. Returns False when there is nothing to do, or when it did not work and has to wait."""
        if self.is_idle or self.wait_s > 0:
            return False
        if not self.check():
            return self._back_off(self.folder.away)
        item, failures = self._backlog.next()
        try:
            self._write(item)
        except OSError as error:
            why = str(error.strerror or error)
            if self._is_its_own_trouble(item, error):
                self._set_aside(item, failures, why)  # one folder without rights does not keep the others waiting
                return True
            self._backlog.doubt()  # the error may have come after the rename
            return self._back_off(why)
        self._backlog.drop(item)
        if isinstance(item, Delivery):
            self._unreadable.pop(item.answer.id, None)  # delivered, or made again: then its files are others
        self._failures = 0
        return True

    def _is_its_own_trouble(self, item: Item, error: OSError) -> bool:
        """Whether others may go on without it: also an answer that fails again and again, on a share that is there."""
        if isinstance(error, SourceUnreadable) and isinstance(item, Delivery):
            self._unreadable[item.answer.id] += 1
            return True
        self._stuck = (item, self._stuck[1] + 1 if item is self._stuck[0] else 1)
        is_stuck = isinstance(item, Answer) and self._stuck[1] >= PATIENCE_TRIES
        return is_stuck or error.errno not in _WHOLE_SHARE_ERRNOS

    def check(self) -> bool:
        """Look whether the outbox is there, and tell the service when that has changed."""
        present = self.folder.check()
        free_bytes = 0
        if present:
            try:
                usage = os.statvfs(self.folder.path)
                free_bytes = usage.f_bavail * usage.f_frsize
            except OSError as error:
                self.folder.away = f"{self.folder.path} cannot be used: {error.strerror}."
                present = False
        state = self.folder.state("outbox", free_bytes=free_bytes)
        if state.news or self._told is None or _differs(state, self._told):
            self._told = state
            self._emit(state)
        return present

    def _write(self, item: Item) -> None:
        if isinstance(item, Delivery):
            final = self._deliver(item)
            self._emit(Delivered(final) if final is not None else Spoilt(item.answer.id))
        elif not self._backlog.is_overtaken(item):
            self._write_answer(item)
            if item.state.is_final:
                self._emit(Told(item.id))

    def _set_aside(self, item: Item, failures: int, why: str) -> None:
        """Try it again later and go on with the others."""
        delay_s = _backoff_s(failures)
        self._backlog.set_aside(item, until_s=self._clock() + delay_s, failures=failures + 1)
        name = item.answer.name if isinstance(item, Delivery) else item.name
        if (folder_of(name), why) not in self._troubles:
            self._troubles.add((folder_of(name), why))
            _log.warning("written_later", name=name, why=why, again_in_s=delay_s)

    def _back_off(self, why: str) -> bool:
        delay_s = _backoff_s(self._failures)
        self._failures += 1
        self._retry_at_s = self._clock() + delay_s
        _log.warning("outbox_waits", why=why, again_in_s=delay_s, results=self._backlog.deliveries)
        return False

    # Answers ------------------------------------------------------------------------------------------------------

    def _write_answer(self, answer: Answer) -> None:
        with self._disk.anchored(self.folder.path, self._folder_for(folder_of(answer.name))) as place:
            target = place / f"{_stem(answer.name)}.json"
            there, content = _content_of(target), answer.to_bytes()
            if there is not None and _json(there).get("darkroom") is None:
                self._withhold(answer.name)
            elif there != content:
                # What is not final is published again after each start, so it need not outlive a power cut: ten
                # thousand answers are written in seconds instead of minutes.
                write = self._disk.write if answer.state.is_final else self._disk.refresh
                write(target, content)

    def _withhold(self, name: str) -> None:
        """A file of somebody else has the answer's name: never overwritten, told once."""
        if name not in self._foreign:
            self._foreign.add(name)
            _log.warning("answer_withheld", name=name, why=f"{name}.json in the outbox is somebody else's file")

    # Results ------------------------------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery) -> Answer | None:
        """Build the folder under a hidden name, make it durable, let it appear by one rename. None: it is spoilt."""
        answer = delivery.answer
        with self._disk.anchored(self.folder.path, self._folder_for(folder_of(answer.name))) as parent:
            stem, ending = _stem(answer.name), FOLDER_ENDINGS[answer.state]
            if delivery.again and (there := _find_delivered(parent, stem, ending, answer.id)) is not None:
                self._disk.sync_folder(parent)
                return there
            given_up = self._unreadable[answer.id] >= PATIENCE_TRIES
            try:
                return self._build(delivery, parent, with_request=not given_up) if _is_whole(delivery) else None
            except SourceUnreadable:
                if given_up:
                    return None
                raise

    def _build(self, delivery: Delivery, parent: Path, *, with_request: bool) -> Answer:
        started_s = self._clock()
        answer = delivery.answer
        hidden = parent / f".{answer.id}.part"
        self._disk.remove_tree(hidden)
        self._disk.make_folder(hidden)
        with self._disk.anchored(parent, hidden.name) as inside:
            for source, _ in _pictures(delivery):
                self._disk.copy_new(source, inside / source.name)
            if delivery.request is not None and with_request:
                self._disk.copy_new(delivery.request, inside / "request.json")
            for name in result_names(_stem(answer.name), FOLDER_ENDINGS[answer.state]):
                if os.path.lexists(parent / name) or self._is_mirror(folder_of(answer.name), name):
                    continue
                timing = (answer.timing or {}) | {"deliver_s": round(self._clock() - started_s, 3)}
                final = replace(answer, result=name, finished_at=self._now(), timing=timing)
                self._disk.create(inside / "answer.json", final.to_bytes())
                self._disk.sync_folder(inside)
                if self.abandoned:
                    raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
                try:
                    self._disk.rename_new(hidden, parent / name)
                except FileExistsError:
                    continue
                return final
        raise AssertionError("result names never end")

    # Folders ------------------------------------------------------------------------------------------------------

    def _folder_for(self, folder: str) -> str:
        """The outbox folder that mirrors an inbox sub-folder; chosen once, made where it is missing.

        To be used anchored only: somebody may put a link in its place at any moment.
        """
        done = path = ""
        for part in folder.split("/") if folder else ():
            done = joined(done, part)
            with self._disk.anchored(self.folder.path, path) as parent:
                path = joined(path, self._mirror(done, part, parent))
        return path

    def _is_mirror(self, parent: str, name: str) -> bool:
        """Whether answers go there, also when somebody has deleted the folder."""
        return any(chosen == name and folder_of(folder) == parent for folder, chosen in self._mirrors.items())

    def _mirror(self, folder: str, part: str, parent: Path) -> str:
        chosen = self._mirrors.get(folder)
        if chosen is None:
            others = {folded(name) for each, name in self._mirrors.items() if folder_of(each) == folder_of(folder)}
            chosen = next(
                name for name in result_names(part) if folded(name) not in others and _may_mirror(parent / name)
            )
            self._disk.make_folder(parent / chosen)
            self._mirrors[folder] = chosen
            self._emit(Mirrored(folder, chosen))
        if (parent / chosen).is_symlink():
            raise OSError(errno.ELOOP, f"{chosen} is a link; results are never written through one")
        self._disk.make_folder(parent / chosen)
        return chosen


def _backoff_s(failures: int) -> float:
    return min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures, 10))


def _differs(one: FolderState, other: FolderState) -> bool:
    """Whether the service should know: the free space counts by eighths."""
    if replace(one, free_bytes=0) != replace(other, free_bytes=0):
        return True
    return abs(one.free_bytes - other.free_bytes) > other.free_bytes / 8


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _json(content: bytes) -> dict[str, object]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _content_of(path: Path) -> bytes | None:
    """What is at an answer's place: None for nothing that anybody would miss, b"" for a link, a folder or the like."""
    try:
        content, _ = Disk().read(path, limit=_ANSWER_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
            raise
        return b""
    return content if content.strip(b"\0") else None  # emptied by a power cut


def _answer_in(folder: Path) -> dict[str, object]:
    try:
        content, _ = Disk().read(folder / "answer.json", limit=_ANSWER_LIMIT_BYTES)
    except OSError:
        return {}
    return _json(content)


def _pictures(delivery: Delivery) -> list[tuple[Path, int]]:
    """Where its pictures are in the state folder, and how many bytes each has."""
    if delivery.work is None:
        return []
    return [(delivery.work / image["file"], image["bytes"]) for image in delivery.answer.images or ()]


def _is_whole(delivery: Delivery) -> bool:
    """Whether the state folder has all of its pictures."""
    try:
        return all(path.stat().st_size == size_bytes for path, size_bytes in _pictures(delivery))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SourceUnreadable(error.errno, str(error)) from error


def _may_mirror(path: Path) -> bool:
    """Whether a folder may mirror an inbox sub-folder: a free name, or a folder that is not a result of ours."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink() or not path.is_dir():
        return False
    # A mirror may hold the answer of a request called `answer`; only in a result does it name the folder that it is in.
    return _answer_in(path).get("result") != path.name


def _find_delivered(parent: Path, stem: str, ending: str, request_id: str) -> Answer | None:
    """The answer in a folder that was delivered before we died and could not be recorded."""
    for name in sorted(os.listdir(parent)):
        if is_result_name(name, stem, ending):
            data = _answer_in(parent / name)
            if data.get("id") == request_id and data.get("result") == name:
                with suppress(KeyError, TypeError, ValueError):  # somebody's, made to look like ours
                    return Answer.from_json(data)
    return None
