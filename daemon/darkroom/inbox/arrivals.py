"""The inbox: list, look closer, decide what is complete, take. Used by one thread, the one that may hang on it.

The listing is the truth; events are hints that make it look sooner.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.disk.reading import within
from darkroom.guard import Guard, Kind
from darkroom.inbox.completeness import (
    SENT_BEFORE,
    Content,
    Patience,
    Verdict,
    arriving,
    content_of,
    judge,
    judge_files,
    names_in,
)
from darkroom.inbox.drops import (
    BATCH_FILES,
    Drop,
    Found,
    Listing,
    Lying,
    Outcome,
    Phase,
    Returned,
    Seen,
    Signature,
    Stuck,
    Taking,
)
from darkroom.inbox.inputs import InputFiles, KeepInput, notes_of, problems_of, words_for
from darkroom.inbox.judge import Judge
from darkroom.inbox.listing import SHOWN, Tree
from darkroom.inbox.taking import Debts, Keep, Taker
from darkroom.names import (
    PAUSE,
    file_of,
    folder_of,
    is_files_folder,
    is_request,
    is_watched,
    natural_key,
    recovered_name,
    why_ignored,
    wish_of,
)
from darkroom.request.inputs import InputFile
from darkroom.request.shape import MAX_BYTES, Reading

AHEAD_S = 0.2  #: of each look, for those that are next in line: their bytes are read when they are taken, in any case
STILL_S = 0.1  #: rsync, sftp and others set a file's time by its name, a moment after its last byte
NEVER_STILL_S = 1.0  #: somebody rewrites it again and again

_log = structlog.get_logger("darkroom.inbox")


class Inbox:
    """The inbox folder. `keep` and `keep_input` make a request durable in state; `clock` is monotonic."""

    def __init__(
        self,
        folder: Folder,
        *,
        disk: Disk,
        settle_s: float,
        network_settle_s: float,
        keep: Keep,
        keep_input: KeepInput,
        judge: Judge,
        clock: Callable[[], float],
        guard: Guard | None = None,
    ) -> None:
        self.folder = folder
        self._disk = disk
        self.guard = guard or Guard(clock)
        self._settle_s, self._network_settle_s = settle_s, network_settle_s
        self._clock = clock
        self._tree = Tree(folder, disk=disk, clock=clock, guard=self.guard)
        self._debts = Debts(folder, self.guard)
        self._inputs = InputFiles(folder, self._tree, judge, disk=disk, keep_input=keep_input, clock=clock)
        self._taker = Taker(folder, self._debts, self._inputs, disk=disk, keep=keep)
        self._hints: dict[str, None] = {}  # an ordered set
        self._expected: tuple[str, ...] = ()
        self._waiting_in: frozenset[str] = frozenset()  # folders with requests that wait for files
        self._not_taken: tuple[tuple[str, str], ...] = ()
        self._not_taken_more = 0
        self._paused = False
        self._returned: list[Returned] = []

    def stay_out_of(self, outbox: Folder) -> None:
        """It may lie in the inbox by a link or a mount: what is in it is not a request."""
        self._tree.ours.append(outbox)

    @property
    def patience(self) -> Patience:
        """How still a file has to be."""
        return Patience.on(
            network=self.folder.network, settle_s=self._settle_s, network_settle_s=self._network_settle_s
        )

    @property
    def owes(self) -> bool:
        """Whether something is left to do that the folder has not let us do."""
        return bool(self._debts)

    # What the service tells us ------------------------------------------------------------------------------------

    def know(self, path: str, sha256: str, names: tuple[str, ...] = ()) -> None:
        """The service knows this file, and the files that it names, from before this start."""
        self._tree.know(path, Seen(Phase.KNOWN, None, self._clock(), digest=sha256, names=names))

    def doubt(self, path: str) -> None:
        """These bytes were sent before, with another mtime: tell them again when it can be believed.

        `rsync --inplace`, tar and others write the bytes first and set the time then; in between, a file that is sent
        again looks like a new request.
        """
        seen = self._tree.seen(path)
        if seen is not None:
            seen.phase, seen.doubted, seen.since_s, seen.why = Phase.ARRIVING, True, self._clock(), SENT_BEFORE
            self._tree.unsettled.add(path)

    def again(self, path: str) -> None:
        """Tell this file again, whatever it is now: what was told last has come to nothing."""
        self._tree.reconsider(path)
        self._hints[path] = None

    def expect(self, paths: Iterable[str]) -> None:
        """These are next in line: look closer at them at each look."""
        self._expected = tuple(paths)

    def hint(self, path: str) -> None:
        """Something happened to this file. Called by another thread: storing a key is one step."""
        folder = folder_of(path)
        if is_files_folder(file_of(folder)):
            path, folder = folder, folder_of(folder)
        name = file_of(path)
        is_ours = (
            is_request(name) or wish_of(name) is not None or (folder in self._waiting_in and why_ignored(name) is None)
        )
        if is_ours and is_watched(folder):
            self._hints[path] = None

    # Looking ------------------------------------------------------------------------------------------------------

    def look(self) -> Listing:
        """List what has to be listed, look closer at what has to be looked at, and tell what is new."""
        if not self.folder.check():
            return Listing(away=self.folder.away)
        found = Found(self.patience.settle_s)
        self._debts.pay()
        try:
            self._tree.list_all(found)
            self._examine_all(found)
            self._not_taken, self._not_taken_more = self._tree.not_taken()
        except OSError as error:
            return Listing(away=f"{self.folder.path} cannot be listed: {error.strerror}.")
        return self._listing(found)

    def glance(self) -> Listing:
        """Look closer at what events point at, without listing the folders."""
        if self.folder.away:
            return Listing(away=self.folder.away)
        found = Found(self.patience.settle_s)
        for path in self._take_hints():
            self._examine(path, found)
        return self._listing(found)

    @property
    def has_hints(self) -> bool:
        """Whether `glance` has anything to do."""
        return bool(self._hints)

    def _take_hints(self) -> list[str]:
        """The oldest ones. Copying the keys is one step: another thread adds to them."""
        chosen = list(self._hints)[:BATCH_FILES]
        for path in chosen:
            del self._hints[path]
        return chosen

    def _listing(self, found: Found) -> Listing:
        self._waiting_in = self._tree.waiting_in()
        return Listing(
            drops=tuple(found.drops),
            stuck=tuple(found.stuck),
            vanished=tuple(found.vanished),
            wishes=tuple(found.wishes),
            hidden=tuple(found.hidden),
            returned=self._tell_returned(),
            not_taken=(*self._unforeseen(), *self._not_taken),
            not_taken_more=self._not_taken_more,
            arriving=self._tree.arriving() + len(self._hints) + len(self._debts) + len(self.guard.open),
            more=bool(self._tree.fresh or self._hints),
            paused=self._is_paused(),
        )

    def _unforeseen(self) -> tuple[tuple[str, str], ...]:
        """Files over which an error came that nobody foresaw."""
        of_files = (Kind.FILE, Kind.TAKING)
        return tuple((path, why) for (kind, path), why in self.guard.open.items() if kind in of_files)[:SHOWN]

    def _is_paused(self) -> bool:
        """As before where the share cannot say: an error here may not swallow what the look has found."""
        try:
            self._paused = self.folder.is_asked(PAUSE)
        except OSError as error:
            _log.warning("pause_unknown", why=error.strerror)
        return self._paused

    # Looking closer -----------------------------------------------------------------------------------------------

    def _examine_all(self, found: Found) -> None:
        closer = self._tree.unsettled | set(self._take_hints())
        for path in sorted(closer, key=natural_key):
            self._examine(path, found)
        while self._tree.fresh and found.has_room:
            self._examine(self._tree.fresh.pop(), found)
        self._look_ahead(closer, found)

    def _look_ahead(self, seen: Collection[str], found: Found) -> None:
        """At those that are next in line; on a slow share at the first of them, so that taking does not wait for it."""
        until_s = self._clock() + AHEAD_S
        for path in self._expected:
            if self._clock() > until_s:
                return
            if path not in seen:
                self._examine(path, found)

    def _examine(self, path: str, found: Found) -> None:
        """Look closer at one file, and say what has come of it."""
        if self.guard.waits(Kind.FILE, path):
            self._tree.unsettled.add(path)
            return
        with self.guard.alone(Kind.FILE, path):
            self._examine_alone(path, found)
            self.guard.works(Kind.FILE, path)
            return
        self._tree.reconsider(path)  # whatever we had thought of it: it is read anew when it is due

    def _examine_alone(self, path: str, found: Found) -> None:
        name = file_of(path)
        if not is_request(name):
            if wish_of(name) is not None:
                self._examine_wish(path, found)
            else:
                for waiting in self._tree.waiting_for_files(folder_of(path)):
                    self._examine(waiting, found)
            return
        if path in self._tree.fresh:
            return  # its turn comes, in the order of arrival
        try:
            with self._disk.anchored(self.folder.path, folder_of(path)) as place:
                self._read(path, within(place, name), found)
        except FileNotFoundError:
            self._tree.lose_sight_of(path)
        except OSError as error:
            phase, why = _why_aside(error)
            self._tree.remember(path, Seen(phase, None, self._clock(), why=why))

    def _examine_wish(self, path: str, found: Found) -> None:
        try:
            with self._disk.anchored(self.folder.path, folder_of(path)) as place:
                os.lstat(within(place, file_of(path)))
        except OSError:
            return  # the listing tells, if there is anything to tell
        since_s = self._tree.view(folder_of(path)).wishes.setdefault(file_of(path), self._clock())
        found.add_wish(path, self._clock() - since_s)

    def _read(self, path: str, place: Path, found: Found) -> None:
        """Read a file that looks new, or that has been still for long enough to be judged again."""
        seen = self._tree.seen(path)
        status = os.lstat(place)
        if seen is not None and seen.signature == _signature(status) and not self._is_due(seen, path):
            if seen.phase is Phase.ARRIVING:
                seen.why = arriving(status.st_size, self._clock() - seen.since_s)
            return
        raw, status = self._disk.read(place, limit=MAX_BYTES)
        if status.st_nlink > 1 and not status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise OSError(errno.EMLINK, "a file of this user's alone, which somebody has given a name here")
        sha256 = hashlib.sha256(raw).hexdigest()
        if seen is not None and seen.phase is Phase.KNOWN and seen.digest == sha256:
            seen.signature = _signature(status)  # touched, or first seen since the start
            return
        seen, first_time = self._recognise(seen, path, sha256, _signature(status))
        if seen.phase is not Phase.STUCK or seen.names:
            drop = Drop(path, content_of(raw), len(raw), sha256, status.st_mtime_ns, status.st_uid)
            self._decide(drop, seen, first_time=first_time, found=found)

    def _is_due(self, seen: Seen, path: str) -> bool:
        """Whether a file that looks unchanged has to be read once more: it is still, or its files have changed."""
        match seen.phase:
            case Phase.ARRIVING:
                still_s = self._clock() - seen.since_s
                return bool(seen.names) or self.patience.is_over(still_s, doubted=seen.doubted)
            case Phase.STUCK:
                return bool(seen.names) and self._lying(path, seen.names or ()) != seen.lying
        return False

    def _lying(self, path: str, names: tuple[str, ...]) -> tuple[Lying, ...]:
        return self._inputs.look(path, names, twice=self.patience.reads_twice)

    def _recognise(self, seen: Seen | None, path: str, sha256: str, signature: Signature) -> tuple[Seen, bool]:
        """What we know of a file with these bytes, and whether this is the first time that it has them."""
        if seen is None or seen.digest != sha256 or seen.signature is None or seen.phase is Phase.KNOWN:
            complete_s = seen.complete_s if seen is not None else None
            seen = Seen(Phase.ARRIVING, signature, self._clock(), digest=sha256, complete_s=complete_s)
            self._tree.remember(path, seen)
            return seen, True
        if seen.signature[1:3] != signature[1:3]:
            seen.since_s = self._clock()
        seen.signature = signature
        return seen, False

    def _decide(self, drop: Drop, seen: Seen, *, first_time: bool, found: Found) -> None:
        still_s = self._clock() - seen.since_s
        verdict, seen.why = judge(
            drop.asked, drop.bytes, self.patience, still_s=still_s, first_time=first_time, doubted=seen.doubted
        )
        seen.names = names_in(drop.asked)
        lying: tuple[Lying, ...] = ()
        if seen.names:
            lying = self._look_at_files(drop.path, seen, seen.names)
            inputs = tuple(each.whole for each in lying if each.whole is not None)
            drop = replace(drop, inputs=inputs, notes=notes_of(lying))
            if verdict is Verdict.DROP:
                verdict = self._judge_files(drop.asked, seen)
        match verdict:
            case Verdict.DROP:
                seen.phase, seen.complete_s = Phase.KNOWN, seen.complete_s or self._clock()
                self._tree.unsettled.discard(drop.path)
                seen.lying = ()
                found.add(replace(drop, still=seen.doubted))
            case Verdict.LEAVE:
                if seen.phase is not Phase.STUCK:
                    seen.phase = Phase.STUCK
                    found.stuck.append(_stuck(drop, lying))
            case Verdict.WAIT:
                return

    def _look_at_files(self, path: str, seen: Seen, names: tuple[str, ...]) -> tuple[Lying, ...]:
        """They count as still from when they were last seen to change."""
        lying = self._lying(path, names)
        if lying != seen.lying:
            seen.phase, seen.lying, seen.since_s = Phase.ARRIVING, lying, self._clock()
        return lying

    def _judge_files(self, asked: Content, seen: Seen) -> Verdict:
        """A request that is wrong in any case does not wait for files to come."""
        lacking = [each for each in seen.lying if each.whole is None]
        if not lacking or (
            isinstance(asked, Reading) and asked.problems and not any(each.is_pending for each in lacking)
        ):
            return Verdict.DROP
        still_s = self._clock() - seen.since_s
        seen.why = words_for(lacking, still_s)
        if any(each.is_pending for each in lacking):
            return Verdict.WAIT
        verdict = judge_files(self.patience, still_s=still_s, is_open=any(each.open for each in lacking))
        if verdict is Verdict.LEAVE:
            seen.why = f"refused as it stands: {words_for(lacking, still_s)}. It is looked at again when that changes."
        return verdict

    # Taking -------------------------------------------------------------------------------------------------------

    def take_in_s(self, path: str) -> float:
        """When a file should be taken: when it has been still for a moment, or is never still."""
        seen = self._tree.seen(path)
        if seen is None or seen.complete_s is None:
            return 0.0
        return max(0.0, min(seen.since_s + STILL_S, seen.complete_s + NEVER_STILL_S) - self._clock())

    def take(
        self, path: str, request_id: str, sha256: str, inputs: tuple[InputFile, ...] = (), *, some: bool = False
    ) -> Taking:
        """Bytes durable in state, hidden name, read again. `remove_hidden` removes the files once that is recorded.

        `some`: of the inputs only those that are as they were.
        """
        if not self.guard.waits(Kind.TAKING, path):
            with self.guard.alone(Kind.TAKING, path):
                taking = self._note(self._taker.take(path, request_id, sha256, inputs, some=some))
                self.guard.works(Kind.TAKING, path)
                return taking
            self._taker.put_back(path, request_id)  # it may have its hidden name already
        return Taking(request_id, path, Outcome.TROUBLE, why=self.guard.why(Kind.TAKING, path))

    def discard(
        self, path: str, request_id: str, sha256: str, mtime_ns: int, inputs: tuple[InputFile, ...] = ()
    ) -> None:
        """Take a file out of the inbox that is a request that we have, or had; touched meanwhile, it is a new one."""
        work = partial(self._discard, sha256=sha256, mtime_ns=mtime_ns, inputs=inputs)
        self._debts.do(work, path, request_id)

    def _discard(
        self, path: str, request_id: str, *, sha256: str, mtime_ns: int, inputs: tuple[InputFile, ...]
    ) -> None:
        taking = self._note(self._taker.discard(path, request_id, sha256, mtime_ns, inputs))
        if taking.outcome is Outcome.TROUBLE:
            raise OSError(errno.EBUSY, taking.why)

    def _note(self, taking: Taking) -> Taking:
        match taking.outcome:
            case Outcome.TAKEN:
                self._tree.forget(taking.path)
            case Outcome.CHANGED | Outcome.LACKING | Outcome.GONE:
                self.again(taking.path)
            case Outcome.TROUBLE:
                pass  # the service asks again
        return taking

    def remove_hidden(self, path: str, request_id: str, name: str = "", inputs: tuple[InputFile, ...] = ()) -> None:
        """Remove the files of a taken request, its hidden name last; tried again at each look until that is gone."""
        self._taker.remove_hidden(path, request_id, name, inputs)

    def put_back(self, path: str, request_id: str, name: str = "") -> None:
        """Give a hidden file its name back, or the next free one: nobody's request is lost."""
        self._taker.put_back(path, request_id, name)

    def give_back(self, path: str, request_id: str, kept: Path) -> None:
        """Put a copy of kept bytes under this name, or the next free one, once the inbox is there and ours."""
        self._debts.owe(partial(self._give_back, kept=kept), path, request_id)

    def _give_back(self, path: str, request_id: str, *, kept: Path) -> None:
        given = self._taker.give_back(path or recovered_name(request_id), kept)
        self._returned.append(Returned(request_id, given))

    def _tell_returned(self) -> tuple[Returned, ...]:
        returned, self._returned = self._returned, []
        return tuple(returned)

    def remove_wish(self, path: str) -> None:
        """Remove a wish that has been obeyed, or that nobody answers to."""
        self._debts.do(self._remove_wish, path)

    def _remove_wish(self, path: str, _: str) -> None:
        self._tree.view(folder_of(path)).wishes.pop(file_of(path), None)
        self._taker.remove(path)


def _stuck(drop: Drop, lying: tuple[Lying, ...]) -> Stuck:
    problems = problems_of(drop.asked.request, lying) if isinstance(drop.asked, Reading) else ()
    return Stuck(
        drop.path,
        drop.asked,
        drop.sha256,
        drop.mtime_ns,
        drop.owner,
        problems,
        drop.inputs,
        missing=all(each.missing for each in lying if each.whole is None),
    )


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _why_aside(error: OSError) -> tuple[Phase, str]:
    """What we think of a file that cannot be read."""
    if error.errno == errno.EAGAIN:
        return Phase.ARRIVING, "still arriving: it changed while it was read"
    why = {
        errno.ELOOP: "left alone: it is a link, and only regular files are taken",
        errno.EINVAL: "left alone: it is not a regular file",
        errno.ENXIO: "left alone: it is not a regular file",
        errno.EISDIR: "left alone: it is a folder",
        errno.EMLINK: "left alone: it is a hard link to a file that only its owner may read",
        errno.EACCES: "cannot be read: permission denied. Let the daemon's user read it.",
        errno.EPERM: "cannot be read: permission denied. Let the daemon's user read it.",
    }.get(error.errno or 0, f"cannot be read: {error.strerror}")
    return Phase.ASIDE, why
