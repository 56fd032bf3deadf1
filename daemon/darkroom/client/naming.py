"""What a person means by the name of a request, and what may never be called so."""

from __future__ import annotations

import re
import secrets

from darkroom.errors import DarkroomError
from darkroom.names import MAX_DEPTH, is_files_folder, is_request, why_ignored, words_of


def without_ending(name: str) -> str:
    """What a person means by the file's whole name."""
    return re.sub(r"(?<=[^/])\.json$", "", name, flags=re.IGNORECASE)


def why_never_taken(file_name: str) -> str | None:
    """Why a file of this name would stay in the inbox for ever; None for a request."""
    return None if is_request(file_name) else why_ignored(file_name) or "it does not end in .json"


def unique_name(prompt: str) -> str:
    """A name that people recognise and nobody else has: the first words, and six hex digits."""
    return f"{words_of(prompt) or 'request'}-{secrets.token_hex(3)}"


def refuse_misleading(name: str) -> None:
    """A name is made safe, but never led elsewhere than it says. Raises DarkroomError."""
    parts = name.split("/")
    if is_misleading(name):
        hint = "Write it like cat, or like alice/cat for a sub-folder of the inbox."
        raise DarkroomError(f"{name!r} is not a name for a request.", hint=hint)
    if any(is_files_folder(part) for part in parts[:-1]):
        raise DarkroomError(f"{name!r} lies in a folder of files.", hint="Those are for what a request names.")
    if len(parts) > MAX_DEPTH + 1:
        raise DarkroomError(f"{name!r} lies too deep.", hint=f"Sub-folders of the inbox are watched {MAX_DEPTH} deep.")


def is_misleading(name: str) -> bool:
    """Whether a part of it is nothing, or leads elsewhere."""
    return any(part.strip() in ("", ".", "..") for part in name.split("/"))
