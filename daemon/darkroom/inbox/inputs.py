"""The files that requests name: where each lies, whether it is whole, how it gets into state and out of the inbox.

A file lies in the folder `NAME.files/` beside the request `NAME.json`, which is that request's alone, or beside the
request, where several may name it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Protocol

from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.disk.reading import SourceUnreadable, within
from darkroom.errors import Problem
from darkroom.inbox.drops import Lying, Version
from darkroom.inbox.judge import Judge, Verdict
from darkroom.inbox.listing import Tree
from darkroom.names import arriving_name, file_of, files_folder, folder_of, is_plain_file, joined, leaving_name, left_by
from darkroom.printable import printable
from darkroom.request.inputs import MAX_INPUT_BYTES, InputFile
from darkroom.request.shape import Request

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  #: the last one of a folder for a long file name


BETWEEN_READINGS_S = 0.9  #: at least so long, where a file has to be read twice: about one look
MOST_READ = 1000  #: versions of which that is remembered


class NotYet(OSError):
    """Another request that lies there is still to be read: it may name the same file."""


class Changed(Exception):
    """A file is another one than was accepted, or not there."""


class KeepInput(Protocol):
    """Makes a copy of an open file in state."""

    def __call__(self, request_id: str, name: str, handle: int, /) -> InputFile:
        """What was copied. Raises SourceUnreadable, or OSError when it is the state folder that fails."""


def where_named(request: Request, name: str) -> str:
    """The JSON pointer to the first place that names a file."""
    places = {
        "/init_image": request.init_image,
        "/mask_image": request.mask_image,
        **{f"/reference_images/{at}": each for at, each in enumerate(request.reference_images or ())},
        **{f"/control/{at}/image": each.image for at, each in enumerate(request.control or ())},
    }
    return next(where for where, named in places.items() if named == name)


class InputFiles:
    """Used by the inbox's thread, the one that may hang on the folder."""

    def __init__(
        self,
        folder: Folder,
        tree: Tree,
        judge: Judge,
        *,
        disk: Disk,
        keep_input: KeepInput,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._tree = tree
        self._judge = judge
        self._disk = disk
        self._keep_input = keep_input
        self._clock = clock
        self._read_s: dict[Version, float] = {}  # when a version was first read whole, where it has to be read twice
        self._leaving: set[str] = set()  # ids of requests that are in state, and whose files are still here
        self._copied: dict[tuple[str, str], Version] = {}  # id and name → what was copied; a hint

    # Looking ------------------------------------------------------------------------------------------------------

    def look(self, path: str, names: Collection[str], *, twice: bool) -> tuple[Lying, ...]:
        """Each file that a request names; `twice`: one counts as whole when it was read twice, and was the same."""
        with self._disk.anchored(self._folder.path, folder_of(path)) as place:
            return tuple(self._look_at(path, place, name, twice=twice) for name in names)

    def _look_at(self, path: str, place: Path, name: str, *, twice: bool) -> Lying:
        if not is_plain_file(name):
            hint = 'Give it a name without any of <>:"|?*, and without a dot or a space at its end.'
            return Lying(name, problem=("is a name that some machine could not read back", hint))
        own = files_folder(file_of(path))
        try:
            with self._found(place, own, name) as (handle, status, folder, is_twice):
                version = _version(status)
                lying = Lying(name, folder, version, twice=is_twice)
                if (problem := _why_refused(status)) is not None:
                    return Lying(name, folder, version, problem=problem)
                verdict = self._verdict(version, handle, path, twice=twice)
        except OSError as error:
            if error.errno in _ABSENT:
                hint = f"Put it beside the request or into {own}/, or correct its name."
                return Lying(name, problem=("is not there", hint), missing=True, open=True)
            return Lying(name, problem=_why_unreadable(error), open=True)
        return lying if verdict is None else _judged(lying, verdict)

    def _verdict(self, version: Version, handle: int, path: str, *, twice: bool) -> Verdict | None:
        verdict = self._judge.verdict((*version, 0), handle, path)
        if verdict is None or not twice or verdict.fault is not None:
            return verdict
        if self._clock() - self._first_read_s(version) < BETWEEN_READINGS_S:
            return None
        second = self._judge.verdict((*version, 1), handle, path)
        if second is None or second.sha256 == verdict.sha256:
            return second
        return self._judge.verdict((*version, 2), handle, path)

    def _first_read_s(self, version: Version) -> float:
        while len(self._read_s) >= MOST_READ:
            self._read_s.pop(next(iter(self._read_s)))
        return self._read_s.setdefault(version, self._clock())

    @contextmanager
    def _found(self, place: Path, own: str, name: str) -> Iterator[tuple[int, os.stat_result, str, bool]]:
        """The open file, what it is, the folder that it lies in, and whether another one lies beside the request."""
        with ExitStack() as stack:
            folder = own
            try:
                inside = stack.enter_context(self._disk.anchored(place, own))
                handle, status = stack.enter_context(self._disk.handle_on(within(inside, name)))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                folder = ""
                handle, status = stack.enter_context(self._disk.handle_on(within(place, name)))
            yield handle, status, folder, folder == own and os.path.lexists(within(place, name))

    # Taking -------------------------------------------------------------------------------------------------------

    def keep(
        self, place: Path, request: str, request_id: str, inputs: Iterable[InputFile], *, some: bool
    ) -> tuple[InputFile, ...]:
        """Copy them into state. `some`: those that are not as they were when they were accepted are left out.

        Raises Changed, or OSError when it is the state folder that fails.
        """
        kept = []
        for each in inputs:
            try:
                kept.append(self._copy(place, files_folder(request), request_id, each))
            except Changed:
                if not some:
                    raise
        return tuple(kept)

    def _copy(self, place: Path, own: str, request_id: str, each: InputFile) -> InputFile:
        with ExitStack() as stack:
            try:
                handle, status, _, _ = stack.enter_context(self._found(place, own, each.name))
            except OSError as error:
                raise Changed(each.name) from error
            if _why_refused(status) is not None:
                raise Changed(each.name)
            try:
                copy = self._keep_input(request_id, each.name, handle)
            except SourceUnreadable as error:
                raise Changed(each.name) from error
        if copy != each:
            raise Changed(each.name)
        self._copied[request_id, each.name] = _version(status)
        return copy

    # Leaving ------------------------------------------------------------------------------------------------------

    def release(self, path: str, request_id: str, inputs: Iterable[InputFile]) -> None:
        """Remove the files of a request that is in state, but for those that another request of its folder names.

        May be cut short, and begun again. Raises OSError: NotYet when nobody knows what others name.
        """
        own = files_folder(file_of(path))
        self._leaving.add(request_id)
        with self._disk.anchored(self._folder.path, folder_of(path)) as place:
            for each in inputs:
                if not self._removed_from(place, own, each, request_id) and self._is_free(
                    path, place, each, request_id
                ):
                    self._removed_from(place, "", each, request_id)
                self._copied.pop((request_id, each.name), None)
            with suppress(OSError):  # it is not there, or holds something that nobody has named
                self._disk.remove_empty(within(place, own))
        self._leaving.discard(request_id)

    def require_known(self, path: str, inputs: Iterable[InputFile]) -> None:
        """Raises NotYet when `release` would."""
        with suppress(FileNotFoundError), self._disk.anchored(self._folder.path, folder_of(path)) as place:
            for each in inputs:
                self._is_free(path, place, each, "")

    def _is_free(self, path: str, place: Path, each: InputFile, request_id: str) -> bool:
        """Whether no other request names a file that lies beside them."""
        if request_id and os.path.lexists(place / leaving_name(each.name, request_id)):
            return True
        if not os.path.lexists(place / each.name):
            return True
        named = self._tree.is_named(each.name, path, place, self._leaving)
        if named is None:
            raise NotYet(errno.EBUSY, "another request there is still to be read", each.name)
        return not named

    def _removed_from(self, place: Path, folder: str, each: InputFile, request_id: str) -> bool:
        """Remove it if it is the file that was taken: hidden first, and looked at again. Returns whether it was."""
        try:
            with self._disk.anchored(place, folder) as inside:
                file, hidden = within(inside, each.name), inside / leaving_name(each.name, request_id)
                if not os.path.lexists(hidden):
                    if not self._is_the_one(file, each, request_id):
                        return False
                    self._disk.set_aside(file, hidden)
                if self._is_the_one(hidden, each, request_id):
                    self._disk.remove_files([hidden])
                    return True
                self._show(hidden, file)
                return False
        except OSError as error:
            if error.errno in (*_ABSENT, errno.ELOOP, errno.EINVAL):
                return False
            raise

    def _is_the_one(self, file: Path, each: InputFile, request_id: str) -> bool:
        """By what was seen when it was copied, or else by its bytes."""
        with self._disk.handle_on(file) as (_, status):
            known = self._copied.get((request_id, each.name))
            if known is not None and known[:3] == _version(status)[:3]:
                return True
            if status.st_size != each.bytes:
                return False
        return self._disk.digest(file, limit=MAX_INPUT_BYTES) == each.sha256

    def put_back(self, path: str, request_id: str) -> None:
        """Give the files of a request their names back, where a release was cut short."""
        for folder in (folder_of(path), joined(folder_of(path), files_folder(file_of(path)))):
            try:
                with self._disk.anchored(self._folder.path, folder) as place:
                    self._show_all(place, request_id)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise

    def _show_all(self, place: Path, request_id: str) -> None:
        ending = leaving_name("", request_id)[1:]
        for hidden in [each for each in os.listdir(place) if each.endswith(ending)]:  # of thousands, in no time
            if (name := left_by(hidden, request_id)) is not None:
                self._show(place / hidden, place / name)

    def _show(self, hidden: Path, file: Path) -> None:
        """Under its name, or the next free one."""
        for number in count(1):
            free = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
            with suppress(FileExistsError):
                self._disk.rename_new(hidden, free)
                return

    # Coming back --------------------------------------------------------------------------------------------------

    def give_back(self, place: Path, request: str, files: Iterable[Path]) -> bool:
        """Put copies of kept files where the request `request` will find them. False: others are in the way."""
        for file in files:
            folder = place / files_folder(request)
            self._disk.make_folder(folder, shared=True)
            with self._disk.anchored(place, files_folder(request)) as inside:
                target = inside / file.name
                if os.path.lexists(target):
                    if not self._is_copy(target, file):
                        return False
                    continue
                hidden = inside / arriving_name(file.name)
                self._disk.copy_new(file, hidden)
                self._disk.rename_new(hidden, target)
        return True

    def _is_copy(self, target: Path, file: Path) -> bool:
        try:
            return self._disk.digest(target, limit=MAX_INPUT_BYTES) == self._disk.digest(file, limit=MAX_INPUT_BYTES)
        except OSError:
            return False


def problems_of(request: Request, lying: Iterable[Lying]) -> tuple[Problem, ...]:
    """What is wrong with the files of a request."""
    return tuple(each.problem_at(where_named(request, each.name)) for each in lying if each.whole is None)


def words_for(lying: Iterable[Lying], still_s: float) -> str:
    """Why a request is not taken that waits for its files."""
    first = next(each for each in lying if each.whole is None)
    message = "is being read" if first.problem is None else first.problem[0]
    return f"still arriving: waits for {printable(first.name)}, which {message}, for {still_s:.0f} s"


def notes_of(lying: Iterable[Lying]) -> tuple[str, ...]:
    """What whoever asked should know about files that are whole."""
    return tuple(
        f"{each.name} lies in {each.folder}/ and beside the request: the one in {each.folder}/ counts."
        for each in lying
        if each.twice
    )


def _judged(lying: Lying, verdict: Verdict) -> Lying:
    if verdict.fault is None:
        return replace(lying, whole=InputFile(lying.name, verdict.sha256, verdict.bytes))
    return replace(lying, problem=(verdict.fault.message, verdict.fault.hint), open=verdict.fault.open)


def _version(status: os.stat_result) -> Version:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev


def _why_refused(status: os.stat_result) -> tuple[str, str] | None:
    """What is wrong with a file that need not even be read."""
    if status.st_nlink > 1 and not status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return "is a hard link to a file that only its owner may read", "Put a copy there."
    if status.st_size > MAX_INPUT_BYTES:
        return f"is larger than {MAX_INPUT_BYTES >> 20} MiB", "Make it smaller."
    return None


def _why_unreadable(error: OSError) -> tuple[str, str]:
    match error.errno:
        case errno.ELOOP:
            return "is a link, and links are not followed", "Put the file itself there."
        case errno.EINVAL | errno.ENXIO | errno.EISDIR:
            return "is not a regular file", "Put a picture there."
        case errno.EACCES | errno.EPERM:
            return "cannot be read: permission denied", "Let the daemon's user read it."
    return f"cannot be read: {error.strerror}", "Put it there again."
