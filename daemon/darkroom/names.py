"""The grammar of every file name that is read or written: request, answer and result, and what is ignored.

A *path* here is a file's path below the inbox with "/" between its parts, as Python's file functions give it (bytes
that are not UTF-8 become lone surrogates). A *name* is what answers call a request: the path without `.json`, made safe
for every client that may have to read it back.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from darkroom import left_alone

OWN_FOLDER = ".darkroom"  #: our own folder in the inbox and in the outbox
MARKER = "folder.json"  #: in OWN_FOLDER: which folder this is
OWNER = "owner.json"  #: in the inbox's OWN_FOLDER: which daemon serves it
WISHES = "wishes"  #: in OWN_FOLDER, which is the daemon's alone: a folder where whoever may write to an inbox may write
PAUSE = "pause"  #: in the inbox's WISHES, or in its OWN_FOLDER: while it is there, nothing renders
ADOPT = "adopt"  #: in WISHES or in OWN_FOLDER: a person says that this is the right folder
GALLERY = "darkroom-gallery"  #: in the outbox: what the page beside it reads. No dot: it goes where the results go
PAGE = "index.html"  #: in the outbox
HEALTH = "health.json"  #: in the outbox's OWN_FOLDER and in the state folder

MAX_DEPTH = 3  #: sub-folders of the inbox that are watched
MIN_PRIORITY, MAX_PRIORITY = -10, 10  #: of a request
MAX_STEM_BYTES = 100
NAME_WORDS = 5  #: of a prompt, in a name that is made from it
NAME_WORDS_BYTES = 48
MAX_NAME_BYTES = 143  #: what every file system takes: eCryptfs allows no more, which NAS systems encrypt with
FILES = ".files"  #: `cat.files/` holds files that `cat.json` names

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_UNSEEN = ("Cf", "Zl", "Zp")  # format characters, and what breaks a line
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$", re.IGNORECASE)
_TAKEN = re.compile(r"^\.(?P<name>.*)\.(?P<id>[0-9A-HJKMNP-TV-Z]{26})\.taken$", re.DOTALL)
_RETRY = re.compile(r"^(?P<name>.+)\.retry-(?P<number>[0-9]{1,6})$", re.DOTALL)
_PRIORITY = re.compile(r"(?P<stem>.+)\.(?P<level>[+-]?[0-9]{1,2})\.priority", re.IGNORECASE | re.DOTALL)
_DIGITS = re.compile(r"([0-9]+)")


def why_ignored(name: str) -> str | None:
    """Why a file of this name is never touched, in words for `darkroom status`; None when it may be looked at."""
    if name.startswith((".", "~")) or name.endswith("~"):
        return "a hidden or backup file"
    if (lower := name.lower()) in left_alone.FILES or lower in left_alone.FOLDERS:
        return "a file that the operating system keeps"
    return "a sync conflict copy" if left_alone.is_conflict_copy(name) else left_alone.why_unfinished(name)


def why_not_entered(name: str) -> str | None:
    """Why a folder of this name is never looked into, in words for `darkroom status`; None when it is."""
    why = left_alone.why_system_folder(name)
    if why is not None:
        return why
    if name.startswith((".", "~")) or name.endswith("~"):
        return "a hidden or backup folder"
    return "a sync conflict copy" if left_alone.is_conflict_copy(name) else left_alone.why_unfinished(name)


def is_request(name: str) -> bool:
    """Whether a file of this name is a request."""
    return name.lower().endswith(".json") and why_ignored(name) is None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a file beside a request asks for: all of it stands in its name, so nobody has to read the file."""

    stems: tuple[str, ...]  #: request paths without `.json` that it may mean: `cat` and `cat.json` both mean cat
    priority: int | None = None  #: None: to be cancelled


def is_files_folder(name: str) -> bool:
    """Whether a folder of this name holds the files of one request: it is no sub-folder of requests."""
    return name.lower().endswith(FILES) and name.lower() != FILES


def files_folder(name: str) -> str:
    """The folder beside a request file that holds files of that request alone."""
    return f"{stem_of(name)}{FILES}"


def is_plain_file(name: str) -> bool:
    """Whether every client can read back a file of this name, which is delivered as it is."""
    return not (_FORBIDDEN.search(name) or _RESERVED.match(name) or name.endswith((".", " ")))


def leaving_name(name: str, request_id: str) -> str:
    """The hidden name that a file of a taken request has between its renaming and its removal."""
    return _hidden(name, _leaving(request_id))


def arriving_name(name: str) -> str:
    """The hidden name of a file that is being written, and gets this name when it is whole."""
    return _hidden(name, ".part")


def _hidden(name: str, ending: str) -> str:
    """It does not grow with the name: a file system whose names are short has to take it.

    Cut between characters, since some take nothing else, and filled up: what is cut again stays as it is.
    """
    room = MAX_NAME_BYTES - len(ending) - 1
    if len(os.fsencode(name)) <= room:
        return f".{name}{ending}"
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return f".{name}{'_' * (room - len(os.fsencode(name)))}{ending}"


def left_by(name: str, request_id: str) -> str | None:
    """The name that a hidden file of this request had, cut where that was long; None: it is none."""
    ending = _leaving(request_id)
    return name[1 : -len(ending)] if name.startswith(".") and name.endswith(ending) else None


def _leaving(request_id: str) -> str:
    return f".{request_id}.leaving"


def wish_of(path: str) -> Wish | None:
    """What a file asks for: `cat.cancel`, `cat.5.priority`, `cat.-3.priority`; None where it is no such file."""
    if why_ignored(file_of(path)) is not None:
        return None
    if path.lower().endswith(".cancel"):
        return Wish(_stems(path[: -len(".cancel")]))
    match = _PRIORITY.fullmatch(path)
    level = int(match["level"]) if match is not None else 0
    if match is None or not MIN_PRIORITY <= level <= MAX_PRIORITY:
        return None
    return Wish(_stems(match["stem"]), level)


def _stems(stem: str) -> tuple[str, ...]:
    return (stem, stem[: -len(".json")]) if stem.lower().endswith(".json") else (stem,)


def why_no_wish(name: str) -> str | None:
    """Why a file that looks like a wish is none, in words for `darkroom status`."""
    if not name.lower().endswith(".priority") or wish_of(name) is not None:
        return None
    return f"NAME.N.priority asks for the priority N, a whole number from {MIN_PRIORITY} to {MAX_PRIORITY}"


def stem_of(path: str) -> str:
    """A request's path without its `.json`."""
    return path[: -len(".json")]


def folder_of(path: str) -> str:
    """The sub-folder part of a path; "" for the root."""
    return path.rpartition("/")[0]


def file_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def joined(folder: str, name: str) -> str:
    """The path of a name in a sub-folder ("" is the root)."""
    return f"{folder}/{name}" if folder else name


def is_watched(folder: str) -> bool:
    """Whether requests are taken from this sub-folder ("" is the root)."""
    parts = folder.split("/") if folder else []
    return len(parts) <= MAX_DEPTH and all(
        why_not_entered(part) is None and not part.lower().endswith(".json") and not is_files_folder(part)
        for part in parts
    )


def first_folder(path: str) -> str:
    """The first-level folder that takes fair turns; "" for the root."""
    return path.partition("/")[0] if "/" in path else ""


def safe_name(path: str) -> str:
    """The name of a request path (without `.json`) or of a sub-folder, each part safe for every client."""
    return "/".join(safe_part(part) for part in path.split("/"))


def safe_part(part: str) -> str:
    """One part of a name: NFC, nothing that SMB forbids or nobody sees, at most 100 bytes.

    `~` and 8 hex digits are added if it changed.
    """
    text = _visible(_FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)))
    text = re.sub(r"[. ]+$", "_", text)
    text = re.sub(r"\.json$", "_json", text, flags=re.IGNORECASE)  # an answer and a result may not share a name
    if _RESERVED.match(text) or text == "" or text.startswith((".", "~")):
        text = f"_{text}"
    if text == part and len(text.encode()) <= MAX_STEM_BYTES:
        return text
    return distinct(text, part)


def _visible(text: str) -> str:
    """Without format characters, which turn a name round or hide in it. The joiner between two emoji may stay."""
    return "".join(
        "_" if unicodedata.category(char) in _UNSEEN and not _joins_emoji(text, at) else char
        for at, char in enumerate(text)
    )


def _joins_emoji(text: str, at: int) -> bool:
    """Whether it is a zero-width joiner with an emoji on either side (the left one may carry a variation or a tone)."""
    if text[at] != "\u200d":
        return False
    left = text[:at].rstrip("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")[-1:]
    right = text[at + 1 : at + 2]
    return all(side != "" and unicodedata.category(side) == "So" for side in (left, right))


def distinct(text: str, raw: str) -> str:
    """`text` cut to fit, with `~` and 8 hex digits of the raw name's SHA-256."""
    mark = "~" + hashlib.sha256(os.fsencode(raw)).hexdigest()[:8]
    return cut(text, MAX_STEM_BYTES - len(mark)) + mark


def cut(text: str, limit_bytes: int) -> str:
    """The longest start of `text` that has at most so many bytes in UTF-8."""
    return text.encode()[:limit_bytes].decode(errors="ignore")


def words_of(prompt: str) -> str:
    """The first words of a prompt, for a name that people recognise; "" where it has none."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", prompt.casefold()))[:NAME_WORDS]
    return cut("-".join(words), NAME_WORDS_BYTES).strip("-")


def folded(name: str) -> str:
    """Equal for names that a case-insensitive client would take for one."""
    return unicodedata.normalize("NFC", name.casefold())


def dropped_as(path: str) -> str:
    """A path as it stands in an answer: bytes that are not UTF-8 (and `%` beside them) are percent-encoded."""
    if not any("\ud800" <= char <= "\udfff" for char in path):
        return path
    return "".join(
        "".join(f"%{byte:02X}" for byte in os.fsencode(char)) if "\ud800" <= char <= "\udfff" or char == "%" else char
        for char in path
    )


def taken_name(name: str, request_id: str) -> str:
    """The hidden name that a request file has between its renaming and its removal."""
    return _hidden(name, f".{request_id}.taken")


def parse_taken(name: str) -> tuple[str, str] | None:
    """The file name and the id in a hidden name of ours; the name ends in `.json` again even if it had been cut."""
    match = _TAKEN.match(name)
    if match is None:
        return None
    original = match["name"]  # a longer name had been cut: `.json` leads `taken_name` to the same hidden name
    return (original if original.lower().endswith(".json") else f"{original}.json"), match["id"]


def recovered_name(request_id: str) -> str:
    """The file name of a request whose own name is lost."""
    return f"recovered-{request_id}.json"


def retried(name: str) -> str | None:
    """The name that `cat.retry-1` asks again; None for a name that is not a retry."""
    match = _RETRY.match(name)
    return match["name"] if match else None


def result_names(stem: str, ending: str = "") -> Iterator[str]:
    """Folder names for a result, best first: `cat`, `cat-2`, and so on; `cat.refused`, `cat.refused-2` likewise."""
    yield f"{stem}{ending}"
    number = 2
    while True:
        yield f"{stem}{ending}-{number}"
        number += 1


def is_gallerys(path: str) -> bool:
    """Whether this path below the outbox is the gallery's own: no result and no mirror is ever called so."""
    return folded(path) in (GALLERY, PAGE)


def is_result_name(folder: str, stem: str, ending: str = "") -> bool:
    """Whether `result_names` gives this folder name."""
    head = f"{stem}{ending}"
    tail = folder[len(head) :]
    return folder.startswith(head) and (tail == "" or re.fullmatch(r"-[1-9][0-9]*", tail) is not None)


def natural_key(path: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `page-2` before `page-10`."""
    parts = _DIGITS.split(path)
    return tuple((1, int(part), "") if "0" <= part[0] <= "9" else (0, 0, part) for part in parts if part)


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(milliseconds: int, randomness: int) -> str:
    """A ULID: 48 bits of Unix time in ms, 80 bits of randomness, in Crockford's base 32 (26 characters)."""
    value = (milliseconds & ((1 << 48) - 1)) << 80 | (randomness & ((1 << 80) - 1))
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -5, -5))
