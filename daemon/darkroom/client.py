"""What a person's commands do to a daemon that may run on another machine: files in the two folders, nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from darkroom import hearsay
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.hearsay import Json
from darkroom.names import (
    ADOPT,
    FILES,
    HEALTH,
    MAX_DEPTH,
    MAX_PRIORITY,
    MIN_PRIORITY,
    OWN_FOLDER,
    PAUSE,
    WISHES,
    arriving_name,
    file_of,
    folder_of,
    is_files_folder,
    is_request,
    joined,
    retried,
    safe_name,
    why_ignored,
    words_of,
)
from darkroom.rights import how_to_get_in
from darkroom.spelling import nearest

#: States that nothing follows; the daemon's own table is in `answer`.
FINAL_STATES = frozenset({"done", "refused", "failed", "cancelled"})
#: A heartbeat that does not move for so many intervals has stopped.
SILENT_BEATS = 3
START_HINT = "Start one: `darkroom run`, or `systemctl start darkroom`."
ANSWER_LIMIT_BYTES = 4 << 20
_REQUEST_LIMIT_BYTES = 1 << 20
_FILE_LIMIT_BYTES = 64 << 20
INPUTS = "inputs"  #: in a result: the files that its request names
NO_FILES: Mapping[str, Path] = MappingProxyType({})
NO_HANDLES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that was dropped: where its answer will be, and which older answer there is not it."""

    name: str
    dropped: Path
    answer: Path
    older_id: str | None


@dataclass(frozen=True, slots=True)
class Client:
    """The two folders, and the state folder where it happens to be on this machine."""

    inbox: Path
    outbox: Path
    state_dir: Path
    disk: Disk

    # Requests -----------------------------------------------------------------------------------------------------

    def submit(
        self, request: Mapping[str, Any], *, name: str | None = None, files: Mapping[str, Path] = NO_FILES
    ) -> Ticket:
        """Drop a request; without a name, by its prompt or its picture. Raises DarkroomError when that cannot be.

        `files`: those that it names, and where each is now.
        """
        words = request.get("prompt") or Path(str(request.get("init_image", ""))).stem
        wanted = unique_name(str(words)) if name is None else without_ending(name)
        refuse_misleading(wanted)
        with ExitStack() as stack:
            opened = {each: stack.enter_context(_opened(path)) for each, path in files.items()}
            return self.drop(safe_name(wanted), bytes_of(request), files=opened)

    def retry(self, name: str) -> Ticket:
        """Drop the kept request of a settled one again, as `NAME.retry-N`."""
        name = without_ending(name)
        answer = self.answer(name)
        if answer is None:
            raise self.unknown(name)
        self._refuse_unfinished(answer)
        if answer.get("state") not in FINAL_STATES or "result" not in answer:
            raise DarkroomError(f"{name} is {answer.get('state')}: there is nothing to ask again yet.")
        kept = f"{joined(folder_of(name), _last(answer['result']))}/request.json"
        try:
            raw = self._read(self.outbox, kept, limit=_REQUEST_LIMIT_BYTES)
        except OSError as error:
            hint = "The result was moved away: drop the request again yourself."
            raise DarkroomError(f"{self.outbox / kept} cannot be read: {error.strerror}.", hint=hint) from error
        with self._kept_files(f"{folder_of(kept)}/{INPUTS}") as files:
            return self.drop(self._free_retry(retried(name) or name), raw, files=files)

    @contextmanager
    def _kept_files(self, folder: str) -> Iterator[dict[str, int]]:
        """The open files that a kept request names."""
        with ExitStack() as stack:
            try:
                place = stack.enter_context(self.disk.anchored(self.outbox, folder))
                names = sorted(name for name in os.listdir(place) if not name.startswith("."))
                files = {name: stack.enter_context(self.disk.handle_on(place / name))[0] for name in names}
            except FileNotFoundError:
                files = {}
            except OSError as error:
                hint = "Drop the request again yourself, with the files that it names."
                raise DarkroomError(f"{self.outbox / folder} cannot be read: {error.strerror}.", hint=hint) from error
            yield files

    def cancel(self, name: str) -> Path:
        """Ask to cancel a live request. Returns the file that says so; the daemon removes it."""
        name = without_ending(name)
        wish = f"{self._live(name, self.answer(name))}.cancel"
        self._write(self.inbox, wish, b"")
        return self.inbox / wish

    def prioritise(self, name: str, priority: int) -> Path:
        """Ask for another priority of a request that waits. Returns the file that says so; the daemon removes it.

        An older wish for the same request is taken back.
        """
        name = without_ending(name)
        answer = self.answer(name)
        stem = self._live(name, answer)
        if (answer or {}).get("state") == "rendering":
            raise DarkroomError(f"{name} is rendering already.", hint="Only what waits has a turn.")
        for level in range(MIN_PRIORITY, MAX_PRIORITY + 1):
            self._removed(f"{stem}.{level}.priority")
        wish = f"{stem}.{priority}.priority"
        self._write(self.inbox, wish, b"")
        return self.inbox / wish

    def _live(self, name: str, answer: Json | None) -> str:
        """What a wish for this request is called, without its ending. Raises DarkroomError for one that is not live."""
        refuse_misleading(name)
        dropped_as = str((answer or {}).get("dropped_as", f"{name}.json"))
        refuse_misleading(dropped_as)  # anybody may write to the outbox
        self._refuse_unfinished(answer or {})
        if answer is not None and answer.get("state") in FINAL_STATES and not self._waits(dropped_as):
            raise DarkroomError(f"{name} {'has' if answer['state'] == 'failed' else 'is'} {answer['state']} already.")
        if answer is None and not self._waits(dropped_as):
            raise self.unknown(name)
        stem = dropped_as[: -len(".json")]
        return stem if "%" not in stem else name

    def answer(self, name: str) -> Json | None:
        """The answer to the newest request of that name, or that was dropped as it; None while there is none."""
        name = without_ending(name)
        found = self._heard(self.outbox, f"{safe_name(name)}.json", hearsay.ANSWER)
        if found is not None and name in (found.get("name"), _stem(found)):
            return found
        return self._answer_told_apart(name) or found

    def place_of(self, answer: Json, name: str) -> Path:
        """Where the answer to a request of this name lies."""
        said = str(answer.get("name", ""))
        is_name = said == safe_name(said) and not _is_misleading(said)
        return self.outbox / f"{said if is_name else safe_name(without_ending(name))}.json"

    def _answer_told_apart(self, name: str) -> Json | None:
        """Of names that differ by case only, all but the first one bear `~` and 8 hex digits."""
        folder, stem = folder_of(name), file_of(safe_name(name))
        told_apart = re.compile(re.escape(stem) + r"~[0-9a-f]{8}\.json")
        try:
            near = sorted(entry for entry in os.listdir(self.outbox / folder) if told_apart.fullmatch(entry))
        except (OSError, ValueError):
            return None
        answers = (self._heard(self.outbox, joined(folder, entry), hearsay.ANSWER) for entry in near)
        return next((answer for answer in answers if answer is not None and _stem(answer) == name), None)

    def _refuse_unfinished(self, answer: Json) -> None:
        """An incomplete file is answered, and left where it is: there is nothing to cancel, and nothing was kept."""
        dropped_as = str(answer.get("dropped_as"))
        if answer.get("state") == "refused" and answer.get("in_inbox") and self._waits(dropped_as):
            raise DarkroomError(f"{dropped_as} still lies in the inbox, unfinished.", hint="Complete it, or delete it.")

    def drop(self, name: str, raw: bytes, *, is_new: bool = False, files: Mapping[str, int] = NO_HANDLES) -> Ticket:
        """Let a file of this name appear, whole. Raises DarkroomError when one waits already.

        `is_new`: its name is known to be unanswered. `files`: open ones that it names; copies of them come first.
        """
        self._require_inbox()
        path = self.inbox / f"{name}.json"
        older = None if is_new else self.answer(name)
        if files and not self._waits(f"{name}.json"):
            self._bring(f"{name}{FILES}", files)
        with self._written(self.inbox, f"{name}.json") as place:
            try:
                self.disk.create_exclusive(place, raw)
            except FileExistsError:
                hint = f"Wait for it, say `darkroom cancel {shlex.quote(name)}`, or use another name."
                raise DarkroomError(f"{path} is still waiting.", hint=hint) from None
        return Ticket(name, path, self.outbox / f"{name}.json", (older or {}).get("id"))

    def _bring(self, folder: str, files: Mapping[str, int]) -> None:
        """Copy files into the folder of a request. One that lies there is not written over."""
        for name, handle in files.items():
            if os.fstat(handle).st_size > _FILE_LIMIT_BYTES:
                why = f"{name} is larger than {_FILE_LIMIT_BYTES >> 20} MiB."
                raise DarkroomError(why, hint="Make it smaller.")
            with self._written(self.inbox, f"{folder}/{name}") as place:
                hidden = place.with_name(arriving_name(name))
                self.disk.copy_from(handle, hidden, limit=_FILE_LIMIT_BYTES, mode=0o666)
                try:
                    self.disk.rename_new(hidden, place)
                except FileExistsError:
                    self.disk.remove(hidden)
                    hint = "Remove it, or use another name for the request."
                    raise DarkroomError(f"{self.inbox / folder / name} lies there already.", hint=hint) from None

    def waiting(self, path: str) -> bytes | None:
        """What lies in the inbox under this path, never read through a link; None where nothing can be read."""
        try:
            return self._read(self.inbox, path, limit=_REQUEST_LIMIT_BYTES)
        except OSError:
            return None

    def _free_retry(self, name: str) -> str:
        number = 1
        while self._is_taken(f"{name}.retry-{number}"):
            number += 1
        return f"{name}.retry-{number}"

    def _is_taken(self, name: str) -> bool:
        return self._waits(f"{name}.json") or os.path.lexists(self.outbox / f"{name}.json")

    def _waits(self, path: str) -> bool:
        return os.path.lexists(self.inbox / path)

    def unknown(self, name: str) -> DarkroomError:
        """What to raise for a name that nothing is known of."""
        name = without_ending(name)
        if self._waits(f"{name}.json"):
            hint = "`darkroom status` says whether a daemon runs, and why a file is not taken."
            return DarkroomError(f"{name}.json lies in the inbox, and is not answered yet.", hint=hint)
        try:
            known = [entry[: -len(".json")] for entry in os.listdir(self.outbox) if entry.endswith(".json")]
        except OSError as error:
            hint = how_to_get_in(self.outbox) or "Mount it, or name it with --outbox."
            return FolderUnusable(f"{self.outbox} cannot be read: {error.strerror}.", hint=hint)
        if safe_name(name) in known:
            hint = "Somebody has changed it, or put it there: move it away."
            return DarkroomError(f"{self.outbox / safe_name(name)}.json is not an answer of Darkroom.", hint=hint)
        near = nearest(name, known)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`darkroom status` shows what waits."
        return DarkroomError(f"Nothing is known of a request {name}.", hint=hint)

    # The daemon ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Hold the queue."""
        self._require_inbox()
        self._write(self.inbox, f"{self._wishes(self.inbox)}/{PAUSE}", b"")

    def resume(self) -> bool:
        """Let it go on. Returns whether it was paused."""
        self._require_inbox()
        places = [f"{folder}/{PAUSE}" for folder in (OWN_FOLDER, f"{OWN_FOLDER}/{WISHES}")]
        paused = [place for place in places if self._removed(place)]
        return bool(paused)

    def adopt(self, folder: Path) -> bool:
        """Say that this is the right folder, whatever was there before. Returns False where a daemon uses it already.

        Raises FolderUnusable for another folder.
        """
        wanted = Path(os.path.abspath(folder.expanduser()))
        if wanted not in (self.inbox, self.outbox):
            hint = f"They are {self.inbox} and {self.outbox}."
            raise FolderUnusable(f"{folder} is neither the inbox nor the outbox.", hint=hint)
        role = "inbox" if wanted == self.inbox else "outbox"
        health = self.health()
        if health is not None and not is_gone(health):
            told = health.get("folders", {}).get(role, {})
            if (told.get("state"), told.get("path")) == ("present", str(wanted)):
                return False
        self._write(wanted, f"{self._wishes(wanted)}/{ADOPT}", b"")
        return True

    def health(self) -> Json | None:
        """The heartbeat that can be seen from here; None when there is none.

        Anybody may write to the outbox: the one in the state folder counts, unless it is that of a daemon which is gone
        while another one serves the outbox.
        """
        own = self._heard(self.state_dir, HEALTH, hearsay.HEARTBEAT)
        if own is not None and not is_gone(own):
            return own
        shared = self._heard(self.outbox, f"{OWN_FOLDER}/{HEALTH}", hearsay.HEARTBEAT)
        if own is None or shared is None:
            return own or shared
        return own if is_gone(shared) or shared.get("instance") == own.get("instance") else shared

    def is_served(self) -> bool:
        """Whether a daemon seems to be there, as far as one look can tell."""
        health = self.health()
        return health is not None and not is_gone(health)

    def _wishes(self, root: Path) -> str:
        """The part of a folder that people may write their wishes to."""
        own = f"{OWN_FOLDER}/{WISHES}"
        return own if os.path.isdir(root / own) else OWN_FOLDER

    # Files: no link is followed below the two folders, since others may write there and a command may be root's ------

    def _require_inbox(self) -> None:
        _require(self.inbox, f"There is no inbox at {self.inbox}.", "Mount it, or name it with --inbox.")

    def require_outbox(self) -> None:
        """Raises FolderUnusable: without it nobody can tell what was answered."""
        _require(self.outbox, f"There is no outbox at {self.outbox}.", "Mount it, or name it with --outbox.")

    def _read(self, root: Path, path: str, *, limit: int) -> bytes:
        with self.disk.anchored(root, folder_of(path)) as folder:
            return self.disk.read(folder / file_of(path), limit=limit)[0]

    def _heard(self, root: Path, path: str, shape: Mapping[str, Any]) -> Json | None:
        """An object that somebody replaces whole; None when it is not there, or not readable now."""
        try:
            return hearsay.read(self._read(root, path, limit=ANSWER_LIMIT_BYTES), shape)
        except (OSError, ValueError):
            return None

    def _write(self, root: Path, path: str, data: bytes) -> None:
        _require(root, f"There is no folder {root}.", "Mount it, or name another one.")
        with self._written(root, path) as place:
            self.disk.write(place, data)

    @contextmanager
    def _written(self, root: Path, path: str) -> Iterator[Path]:
        """Where to write a file; the folders on the way are made. Raises FolderUnusable."""
        try:
            self._make_folders(root, folder_of(path))
            with self.disk.anchored(root, folder_of(path)) as folder:
                yield folder / file_of(path)
        except OSError as error:
            if (planted := _first_link(root, folder_of(path))) is not None:
                hint = "Nothing is written through links: remove it, or use another name."
                raise FolderUnusable(f"{planted} is a link.", hint=hint) from error
            hint = how_to_get_in((root / path).parent if (root / path).parent.exists() else root)
            raise FolderUnusable(f"{root / path} cannot be written: {error.strerror}.", hint=hint) from error

    def _make_folders(self, root: Path, folder: str) -> None:
        above = ""
        for part in folder.split("/") if folder else ():
            with self.disk.anchored(root, above) as place:
                self.disk.make_folder(place / part, shared=True)
            above = joined(above, part)

    def _removed(self, path: str) -> bool:
        """Remove a file of the inbox. Returns whether it was there."""
        with suppress(FileNotFoundError, NotADirectoryError), self.disk.anchored(self.inbox, folder_of(path)) as folder:
            if not os.path.lexists(folder / file_of(path)):
                return False
            try:
                self.disk.remove(folder / file_of(path))
            except OSError as error:
                hint = how_to_get_in(self.inbox / folder_of(path))
                raise FolderUnusable(f"{self.inbox / path} cannot be removed: {error.strerror}.", hint=hint) from error
            return True
        return False


class Pulse:
    """Whether a heartbeat moves, told by our own clock: the daemon's may be wrong."""

    def __init__(self, *, heartbeat_s: float, now_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._beat: tuple[object, object] | None = None
        self._moved_s = now_s

    def look(self, health: Json | None, now_s: float) -> bool:
        """Note what the heartbeat says now. False once it has stood still for three intervals, or is not there."""
        beat = (health.get("instance"), health.get("counter")) if health is not None else None
        if beat != self._beat:
            self._beat, self._moved_s = beat, now_s
        return now_s - self._moved_s < SILENT_BEATS * self._heartbeat_s


def seats_of(health: Json | None) -> list[Json]:
    """What a heartbeat tells of each renderer."""
    return list((health or {}).get("seats", ()))


def rendering_of(health: Json | None) -> list[Json]:
    """The requests that are on a device, or being encoded."""
    return [each for seat in seats_of(health) for each in seat.get("rendering", ())]


def is_gone(health: Json) -> bool:
    """Whether there is no need to wait for silence: it said that it stopped, or its process was here and has gone."""
    if health.get("state") == "stopped":
        return True
    pid = health.get("pid")
    if health.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    return not Path(f"/proc/{pid}").exists()


def is_answered(ticket: Ticket, answer: Json | None) -> bool:
    """Whether an answer is to this request, and not to an older one of the same name."""
    return answer is not None and answer.get("id") != ticket.older_id


def pictures(answer: Json, answer_path: Path) -> list[Path]:
    """Where the pictures of a `done` answer are. Raises DarkroomError for an answer that somebody has changed."""
    images = answer.get("images", [])
    folder = answer_path.parent / _last(answer.get("result", "")) if images else answer_path.parent
    return [folder / _last(image["file"]) for image in images]


def result_of(answer: Json, answer_path: Path) -> Path | None:
    """The folder of a settled request; None while there is none. Raises DarkroomError where somebody has changed it."""
    return answer_path.parent / _last(answer["result"]) if "result" in answer else None


def without_ending(name: str) -> str:
    """What a person means by the file's whole name."""
    return re.sub(r"(?<=[^/])\.json$", "", name, flags=re.IGNORECASE)


def why_never_taken(file_name: str) -> str | None:
    """Why a file of this name would stay in the inbox for ever; None for a request."""
    return None if is_request(file_name) else why_ignored(file_name) or "it does not end in .json"


def bytes_of(request: Mapping[str, Any]) -> bytes:
    """What is dropped for a request: of the same one the same bytes."""
    return json.dumps(request, ensure_ascii=False, indent=1).encode()


def unique_name(prompt: str) -> str:
    """A name that people recognise and nobody else has: the first words, and six hex digits."""
    return f"{words_of(prompt) or 'request'}-{secrets.token_hex(3)}"


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Raises DarkroomError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DarkroomError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DarkroomError(f"{path} is not a file.", hint="Name a picture.")
        yield handle
    finally:
        os.close(handle)


def _last(name: str) -> str:
    """What an answer names in a folder. Anybody may write to the outbox: it never leads out of it."""
    last = os.path.basename(name)
    if last in ("", ".", ".."):
        raise DarkroomError(f"The answer names {name!r}, which is not a result.", hint="Somebody has changed it.")
    return last


def _require(folder: Path, absent: str, hint: str) -> None:
    try:
        is_there = folder.is_dir()
    except OSError as error:
        why = f"{folder} cannot be looked at: {error.strerror}."
        raise FolderUnusable(why, hint=how_to_get_in(folder)) from error
    if not is_there:
        raise FolderUnusable(absent, hint=hint)


def _first_link(root: Path, folder: str) -> Path | None:
    parts = folder.split("/") if folder else []
    places = [root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return next((place for place in places if place.is_symlink()), None)


def refuse_misleading(name: str) -> None:
    """A name is made safe, but never led elsewhere than it says. Raises DarkroomError."""
    parts = name.split("/")
    if _is_misleading(name):
        hint = "Write it like cat, or like alice/cat for a sub-folder of the inbox."
        raise DarkroomError(f"{name!r} is not a name for a request.", hint=hint)
    if any(is_files_folder(part) for part in parts[:-1]):
        raise DarkroomError(f"{name!r} lies in a folder of files.", hint="Those are for what a request names.")
    if len(parts) > MAX_DEPTH + 1:
        raise DarkroomError(f"{name!r} lies too deep.", hint=f"Sub-folders of the inbox are watched {MAX_DEPTH} deep.")


def _stem(answer: Json) -> str:
    """What a request was dropped as, without `.json` in any case of its letters."""
    return re.sub(r"\.json$", "", str(answer.get("dropped_as")), flags=re.IGNORECASE)


def _is_misleading(name: str) -> bool:
    return any(part.strip() in ("", ".", "..") for part in name.split("/"))
