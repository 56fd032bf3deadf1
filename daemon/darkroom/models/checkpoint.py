"""The single-file checkpoint that lies in a model's folder, and its hash, by which other programs know the model.

Nothing is hashed here: that is gigabytes. A file that came from the hub has its SHA-256 written down beside it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from darkroom.models.files import Unusable, opened
from darkroom.models.header import MAX_HEADER_BYTES

MOST_NOTE_BYTES = 4096

#: How many digits of a SHA-256 are a model hash (AutoV2).
DIGITS = 10

#: Where the denoiser lies in a checkpoint that was trained or merged elsewhere; an adapter or a decoder has none.
DENOISER = b'"model.diffusion_model.'

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KINDS = (".safetensors", ".ckpt")


def checkpoint_hash(folder: Path) -> str:
    """The model hash of the only checkpoint beside `model_index.json`; "" where it isn't known. Raises nothing."""
    with suppress(OSError, ValueError, IndexError, Unusable):
        files = [file for file in folder.iterdir() if file.suffix in _KINDS]
        if len(files) == 1 and _is_checkpoint(files[0]):
            return known_hash(files[0])
    return ""


def known_hash(file: Path) -> str:
    """What others have written down of a file; "" where they have not. Raises nothing."""
    with suppress(OSError, ValueError, IndexError, Unusable):
        return (_by_link(file) or _by_note(file))[:DIGITS]
    return ""


def _is_checkpoint(file: Path) -> bool:
    """By its header; a .ckpt is a pickle, which is not looked into."""
    if file.suffix != ".safetensors":
        return False
    with opened(file) as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        header = stream.read(header_bytes) if header_bytes <= MAX_HEADER_BYTES else b""
    return DENOISER in header


def _by_link(file: Path) -> str:
    """The hub's cache calls a large file by its SHA-256, and a snapshot links to it."""
    name = file.resolve().name if file.is_symlink() else ""
    return name if _SHA256.fullmatch(name) else ""


def _by_note(file: Path) -> str:
    """`hf download --local-dir` notes commit, SHA-256 and time of each file, a line each; a later change undoes it."""
    note = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    with opened(note) as stream:
        _, sha256, time = stream.read(MOST_NOTE_BYTES).decode().split("\n")[:3]
    is_as_it_came = file.stat().st_mtime <= float(time) + 1  # as the hub's client judges it
    return sha256 if _SHA256.fullmatch(sha256) and is_as_it_came else ""
