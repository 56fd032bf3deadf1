"""What a person's commands do to a daemon that may run on another machine: files in the two folders, nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.disk.files import Disk, LeadsOut, within
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.names import ADOPT, HEALTH, MAX_DEPTH, OWN_FOLDER, PAUSE, cut, is_request, retried, safe_name, why_ignored
from darkroom.spelling import nearest

#: States that nothing follows; the daemon's own table is in `answer`.
FINAL_STATES = frozenset({"done", "refused", "failed", "cancelled"})
#: A heartbeat that does not move for so many intervals has stopped.
SILENT_BEATS = 3
START_HINT = "Start one: `darkroom run`, or `systemctl start darkroom`."
_ANSWER_LIMIT_BYTES = 4 << 20
_REQUEST_LIMIT_BYTES = 1 << 20
_NAME_WORDS = 5

Json = dict[str, Any]


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

    def submit(self, request: Mapping[str, Any], *, name: str | None = None) -> Ticket:
        """Drop a request; without a name it gets one from its prompt. Raises DarkroomError when that cannot be."""
        wanted = unique_name(str(request.get("prompt", ""))) if name is None else name
        _refuse_misleading(wanted)
        return self._drop(safe_name(wanted), json.dumps(request, ensure_ascii=False, indent=1).encode())

    def retry(self, name: str) -> Ticket:
        """Drop the kept request of a settled one again, as `NAME.retry-N`."""
        answer = self.answer(name)
        if answer is None:
            raise self.unknown(name)
        self._refuse_unfinished(answer)
        if answer.get("state") not in FINAL_STATES or "result" not in answer:
            raise DarkroomError(f"{name} is {answer.get('state')}: there is nothing to ask again yet.")
        kept = _inside(self.outbox / _parent(safe_name(name)), answer["result"]) / "request.json"
        try:
            raw, _ = self.disk.read(kept, limit=_REQUEST_LIMIT_BYTES)
        except OSError as error:
            hint = "The result was moved away: drop the request again yourself."
            raise DarkroomError(f"{kept} cannot be read: {error.strerror}.", hint=hint) from error
        return self._drop(self._free_retry(retried(name) or name), raw)

    def cancel(self, name: str) -> Path:
        """Ask to cancel a live request. Returns the file that says so; the daemon removes it."""
        answer = self.answer(name)
        _refuse_misleading(name)
        dropped_as = str((answer or {}).get("dropped_as", f"{name}.json"))
        _refuse_misleading(dropped_as)  # anybody may write to the outbox
        self._refuse_unfinished(answer or {})
        if answer is not None and answer.get("state") in FINAL_STATES and not self._waits(dropped_as):
            raise DarkroomError(f"{name} is {answer['state']} already.")
        if answer is None and not self._waits(dropped_as):
            raise self.unknown(name)
        stem = dropped_as[: -len(".json")]
        path = inside(self.inbox, f"{stem if '%' not in stem else name}.cancel")
        self._write(path, b"")
        return path

    def answer(self, name: str) -> Json | None:
        """The answer to the newest request of that name, or that was dropped as it; None while there is none."""
        found = read_json(self.outbox / f"{safe_name(name)}.json", self.disk)
        if found is not None and name in (found.get("name"), _stem(found)):
            return found
        return self._answer_told_apart(name) or found

    def _answer_told_apart(self, name: str) -> Json | None:
        """Of names that differ by case only, all but the first one bear `~` and 8 hex digits."""
        folder, stem = self.outbox / _parent(safe_name(name)), safe_name(name).rpartition("/")[2]
        told_apart = re.compile(re.escape(stem) + r"~[0-9a-f]{8}\.json")
        try:
            near = sorted(entry for entry in os.listdir(folder) if told_apart.fullmatch(entry))
        except OSError:
            return None
        answers = (read_json(folder / entry, self.disk) for entry in near)
        return next((answer for answer in answers if answer is not None and _stem(answer) == name), None)

    def _refuse_unfinished(self, answer: Json) -> None:
        """An incomplete file is answered, and left where it is: there is nothing to cancel, and nothing was kept."""
        dropped_as = str(answer.get("dropped_as"))
        if answer.get("state") == "refused" and answer.get("in_inbox") and self._waits(dropped_as):
            raise DarkroomError(f"{dropped_as} still lies in the inbox, unfinished.", hint="Complete it, or delete it.")

    def _drop(self, name: str, raw: bytes) -> Ticket:
        self._require_inbox()
        path = inside(self.inbox, f"{name}.json")
        older = self.answer(name)
        try:
            self.disk.make_folder(path.parent, shared=True)
            self.disk.create_exclusive(path, raw)
        except FileExistsError:
            hint = f"Wait for it, say `darkroom cancel {name}`, or use another name."
            raise DarkroomError(f"{path} is still waiting.", hint=hint) from None
        except OSError as error:
            raise FolderUnusable(f"{path} cannot be written: {error.strerror}.") from error
        return Ticket(name, path, self.outbox / f"{name}.json", (older or {}).get("id"))

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
        if self._waits(f"{name}.json"):
            hint = "`darkroom status` says whether a daemon runs, and why a file is not taken."
            return DarkroomError(f"{name}.json lies in the inbox, and is not answered yet.", hint=hint)
        try:
            known = [entry[: -len(".json")] for entry in os.listdir(self.outbox) if entry.endswith(".json")]
        except OSError as error:
            return FolderUnusable(f"{self.outbox} cannot be read: {error.strerror}.", hint="Mount it, or use --outbox.")
        near = nearest(name, known)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`darkroom status` shows what waits."
        return DarkroomError(f"Nothing is known of a request {name}.", hint=hint)

    # The daemon ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Hold the queue."""
        self._require_inbox()
        self._write(self.inbox / OWN_FOLDER / PAUSE, b"")

    def resume(self) -> bool:
        """Let it go on. Returns whether it was paused."""
        self._require_inbox()
        path = self.inbox / OWN_FOLDER / PAUSE
        if not path.exists():
            return False
        self.disk.remove(path)
        return True

    def adopt(self, folder: Path) -> None:
        """Say that this is the right folder, whatever was there before. Raises FolderUnusable for another one."""
        if folder.absolute() not in (self.inbox, self.outbox):
            hint = f"They are {self.inbox} and {self.outbox}."
            raise FolderUnusable(f"{folder} is neither the inbox nor the outbox.", hint=hint)
        self._write(folder.absolute() / OWN_FOLDER / ADOPT, b"")

    def health(self) -> Json | None:
        """The newest heartbeat that can be seen from here; None when there is none."""
        places = (self.state_dir / HEALTH, self.outbox / OWN_FOLDER / HEALTH)
        found = [health for place in places if (health := read_json(place, self.disk)) is not None]
        return max(found, key=lambda health: str(health.get("written_at", "")), default=None)

    def is_served(self) -> bool:
        """Whether a daemon seems to be there, as far as one look can tell."""
        health = self.health()
        return health is not None and not is_gone(health)

    def _require_inbox(self) -> None:
        if not self.inbox.is_dir():
            raise FolderUnusable(f"There is no inbox at {self.inbox}.", hint="Mount it, or name it with --inbox.")

    def _write(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir() and not path.parent.parent.is_dir():
            raise FolderUnusable(f"There is no folder {path.parent.parent}.", hint="Mount it, or name another one.")
        try:
            self.disk.make_folder(path.parent, shared=True)
            self.disk.write(path, data)
        except OSError as error:
            raise FolderUnusable(f"{path} cannot be written: {error.strerror}.") from error


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


def is_gone(health: Json) -> bool:
    """Whether there is no need to wait for silence: it said that it stopped, or its process was here and is no more."""
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
    """Where the pictures of a `done` answer are."""
    images = answer.get("images", [])
    folder = _inside(answer_path.parent, answer["result"]) if images else answer_path.parent
    return [_inside(folder, image["file"]) for image in images]


def why_never_taken(file_name: str) -> str | None:
    """Why a file of this name would stay in the inbox for ever; None for a request."""
    return None if is_request(file_name) else why_ignored(file_name) or "it does not end in .json"


def unique_name(prompt: str) -> str:
    """A name that people recognise and nobody else has: the first words, and six hex digits."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())[:_NAME_WORDS]
    return "-".join([*([cut("-".join(words), 48).strip("-")] if words else ["request"]), secrets.token_hex(3)])


def read_json(path: Path, disk: Disk) -> Json | None:
    """A JSON object that somebody replaces whole; None when it is not there, or not readable now."""
    try:
        raw, _ = disk.read(path, limit=_ANSWER_LIMIT_BYTES)
        data = json.loads(raw)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _inside(folder: Path, name: object) -> Path:
    """The folder or the file that an answer names, which lies right there."""
    return inside(folder, os.path.basename(str(name)))


def inside(folder: Path, name: object) -> Path:
    """What an answer names in a folder. Anybody may write to the outbox: it never leads out. Raises DarkroomError."""
    try:
        return within(folder, str(name))
    except LeadsOut:
        hint = "Somebody has changed it."
        raise DarkroomError(f"The answer names {str(name)!r}, which is not in {folder}.", hint=hint) from None


def _refuse_misleading(name: str) -> None:
    """A name is made safe, but never led elsewhere than it says. Raises DarkroomError."""
    parts = name.split("/")
    if any(part.strip() in ("", ".", "..") for part in parts):
        hint = "Write it like cat, or like alice/cat for a sub-folder of the inbox."
        raise DarkroomError(f"{name!r} is no name of a request.", hint=hint)
    if len(parts) > MAX_DEPTH + 1:
        raise DarkroomError(f"{name!r} lies too deep.", hint=f"Sub-folders of the inbox are watched {MAX_DEPTH} deep.")


def _stem(answer: Json) -> str:
    """What a request was dropped as, without `.json` in any case of its letters."""
    return re.sub(r"\.json$", "", str(answer.get("dropped_as")), flags=re.IGNORECASE)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]
