"""One request, or the daemon: dropped, sent again, taken back, asked after, paused."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from darkroom import hearsay
from darkroom.client.answers import FINAL_STATES, INPUTS, Ticket, last_part, stem
from darkroom.client.heartbeat import is_gone
from darkroom.client.naming import is_misleading, refuse_misleading, unique_name, without_ending
from darkroom.client.share import Share
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError, FolderUnusable
from darkroom.hearsay import Json
from darkroom.names import (
    ADOPT,
    FILES,
    HEALTH,
    MAX_PRIORITY,
    MIN_PRIORITY,
    OWN_FOLDER,
    PAUSE,
    WISHES,
    arriving_name,
    file_of,
    folder_of,
    joined,
    retried,
    safe_name,
)
from darkroom.rights import how_to_get_in
from darkroom.spelling import nearest

_REQUEST_LIMIT_BYTES = 1 << 20
_FILE_LIMIT_BYTES = 64 << 20
NO_FILES: Mapping[str, Path] = MappingProxyType({})
NO_HANDLES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Client:
    """The two folders, and the state folder where it happens to be on this machine."""

    inbox: Path
    outbox: Path
    state_dir: Path
    disk: Disk

    @property
    def _in(self) -> Share:
        return Share("inbox", self.inbox, self.disk)

    @property
    def _out(self) -> Share:
        return Share("outbox", self.outbox, self.disk)

    def require_outbox(self) -> None:
        """Raises FolderUnusable: without it nobody can tell what was answered."""
        self._out.require()

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
        kept = f"{joined(folder_of(name), last_part(answer['result']))}/request.json"
        try:
            raw = self._out.read(kept, limit=_REQUEST_LIMIT_BYTES)
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
        self._in.write(wish)
        return self.inbox / wish

    def prioritise(self, name: str, priority: int) -> Path:
        """Ask for another priority of a request that waits. Returns the file that says so; the daemon removes it.

        An older wish for the same request is taken back.
        """
        name = without_ending(name)
        answer = self.answer(name)
        live = self._live(name, answer)
        if (answer or {}).get("state") == "rendering":
            raise DarkroomError(f"{name} is rendering already.", hint="Only what waits has a turn.")
        for level in range(MIN_PRIORITY, MAX_PRIORITY + 1):
            self._in.remove(f"{live}.{level}.priority")
        wish = f"{live}.{priority}.priority"
        self._in.write(wish)
        return self.inbox / wish

    def _live(self, name: str, answer: Json | None) -> str:
        """What a wish for this request is called, without its ending. Raises DarkroomError for one that is not live."""
        refuse_misleading(name)
        dropped_as = str((answer or {}).get("dropped_as", f"{name}.json"))
        refuse_misleading(dropped_as)  # anybody may write to the outbox
        self._refuse_unfinished(answer or {})
        if answer is not None and answer.get("state") in FINAL_STATES and not self._in.has(dropped_as):
            raise DarkroomError(f"{name} {'has' if answer['state'] == 'failed' else 'is'} {answer['state']} already.")
        if answer is None and not self._in.has(dropped_as):
            raise self.unknown(name)
        live = dropped_as[: -len(".json")]
        return live if "%" not in live else name

    def answer(self, name: str) -> Json | None:
        """The answer to the newest request of that name, or that was dropped as it; None while there is none."""
        name = without_ending(name)
        found = self._out.heard(f"{safe_name(name)}.json", hearsay.ANSWER)
        if found is not None and name in (found.get("name"), stem(found)):
            return found
        return self._answer_told_apart(name) or found

    def place_of(self, answer: Json, name: str) -> Path:
        """Where the answer to a request of this name lies."""
        said = str(answer.get("name", ""))
        is_name = said == safe_name(said) and not is_misleading(said)
        return self.outbox / f"{said if is_name else safe_name(without_ending(name))}.json"

    def _answer_told_apart(self, name: str) -> Json | None:
        """Of names that differ by case only, all but the first one bear `~` and 8 hex digits."""
        folder, first = folder_of(name), file_of(safe_name(name))
        told_apart = re.compile(re.escape(first) + r"~[0-9a-f]{8}\.json")
        try:
            near = sorted(entry for entry in os.listdir(self.outbox / folder) if told_apart.fullmatch(entry))
        except (OSError, ValueError):
            return None
        answers = (self._out.heard(joined(folder, entry), hearsay.ANSWER) for entry in near)
        return next((answer for answer in answers if answer is not None and stem(answer) == name), None)

    def _refuse_unfinished(self, answer: Json) -> None:
        """An incomplete file is answered, and left where it is: there is nothing to cancel, and nothing was kept."""
        dropped_as = str(answer.get("dropped_as"))
        if answer.get("state") == "refused" and answer.get("in_inbox") and self._in.has(dropped_as):
            raise DarkroomError(f"{dropped_as} still lies in the inbox, unfinished.", hint="Complete it, or delete it.")

    def drop(self, name: str, raw: bytes, *, is_new: bool = False, files: Mapping[str, int] = NO_HANDLES) -> Ticket:
        """Let a file of this name appear, whole. Raises DarkroomError when one waits already.

        `is_new`: its name is known to be unanswered. `files`: open ones that it names; copies of them come first.
        """
        self._in.require()
        path = self.inbox / f"{name}.json"
        older = None if is_new else self.answer(name)
        if files and not self._in.has(f"{name}.json"):
            self._bring(f"{name}{FILES}", files)
        with self._in.written(f"{name}.json") as place:
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
            with self._in.written(f"{folder}/{name}") as place:
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
            return self._in.read(path, limit=_REQUEST_LIMIT_BYTES)
        except OSError:
            return None

    def _free_retry(self, name: str) -> str:
        number = 1
        while self._is_taken(f"{name}.retry-{number}"):
            number += 1
        return f"{name}.retry-{number}"

    def _is_taken(self, name: str) -> bool:
        return self._in.has(f"{name}.json") or self._out.has(f"{name}.json")

    def unknown(self, name: str) -> DarkroomError:
        """What to raise for a name that nothing is known of."""
        name = without_ending(name)
        if self._in.has(f"{name}.json"):
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
        self._in.write(self._in.wish(PAUSE))

    def resume(self) -> bool:
        """Let it go on. Returns whether it was paused."""
        self._in.require()
        places = [f"{folder}/{PAUSE}" for folder in (OWN_FOLDER, f"{OWN_FOLDER}/{WISHES}")]
        paused = [place for place in places if self._in.remove(place)]
        return bool(paused)

    def adopt(self, folder: Path) -> bool:
        """Say that this is the right folder, whatever was there before. Returns False where a daemon uses it already.

        Raises FolderUnusable for another folder.
        """
        wanted = Path(os.path.abspath(folder.expanduser()))
        if wanted not in (self.inbox, self.outbox):
            hint = f"They are {self.inbox} and {self.outbox}."
            raise FolderUnusable(f"{folder} is neither the inbox nor the outbox.", hint=hint)
        share = self._in if wanted == self.inbox else self._out
        health = self.health()
        if health is not None and not is_gone(health):
            told = health.get("folders", {}).get(share.role, {})
            if (told.get("state"), told.get("path")) == ("present", str(wanted)):
                return False
        share.write(share.wish(ADOPT))
        return True

    def health(self) -> Json | None:
        """The heartbeat that can be seen from here; None when there is none.

        Anybody may write to the outbox: the one in the state folder counts, unless it is that of a daemon which is gone
        while another one serves the outbox.
        """
        own = Share("state", self.state_dir, self.disk).heard(HEALTH, hearsay.HEARTBEAT)
        if own is not None and not is_gone(own):
            return own
        shared = self._out.heard(f"{OWN_FOLDER}/{HEALTH}", hearsay.HEARTBEAT)
        if own is None or shared is None:
            return own or shared
        return own if is_gone(shared) or shared.get("instance") == own.get("instance") else shared

    def is_served(self) -> bool:
        """Whether a daemon seems to be there, as far as one look can tell."""
        health = self.health()
        return health is not None and not is_gone(health)


def bytes_of(request: Mapping[str, Any]) -> bytes:
    """What is dropped for a request: of the same one the same bytes."""
    return json.dumps(request, ensure_ascii=False, indent=1).encode()


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
