"""A model of the hub on its way here: which of its files, how much has come, and whether it came whole."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.pipelines import pipeline_utils
from huggingface_hub import errors

from darkroom.errors import ModelUnavailable
from darkroom.models.source import ModelSource
from darkroom.render import model_files

#: What the hub calls the content of a file: SHA-256 of large ones, git's own of the others.
_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
CHUNK_BYTES = 1 << 20


class Fetch:
    """The download of one model."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self.bytes_total: int | None = None  #: of all its files, as soon as the hub has told

    @property
    def bytes_done(self) -> int:
        """How much of it is here."""
        done = model_files.downloaded_bytes(self._source)
        return done if self.bytes_total is None else min(done, self.bytes_total)

    def run(self) -> Path:
        """Download what is not here yet; returns the snapshot's folder. Raises ModelUnavailable."""
        return model_files.download(self._source, self._download)

    def _download(self) -> str:
        source = self._source
        unread = {} if source.safety_checker else {"safety_checker": None, "feature_extractor": None}
        with _listening(self._note_total):
            folder: str = DiffusionPipeline.download(
                source.source, revision=source.revision, variant=source.variant, use_safetensors=True, **unread
            )
        return folder

    def _note_total(self, files: list[Any]) -> None:
        self.bytes_total = sum(file.file_size for file in files)


@contextmanager
def _listening(tell: Callable[[list[Any]], None]) -> Iterator[None]:
    """Diffusers alone knows which files it wants: hear what it asks the hub for, and ask first how large they are."""
    ask = pipeline_utils.snapshot_download
    if "dry_run" not in inspect.signature(ask).parameters:  # an older client of the hub
        yield
        return

    def listened(*arguments: Any, **options: Any) -> Any:
        with suppress(errors.DryRunError):  # what is wrong is told by the question itself
            tell(ask(*arguments, **options, dry_run=True))
        return ask(*arguments, **options)

    pipeline_utils.snapshot_download = listened
    try:
        yield
    finally:
        pipeline_utils.snapshot_download = ask


def check(source: ModelSource, snapshot: Path) -> int:
    """Whether each file is what the hub has; returns how many bytes they are. Raises ModelUnavailable.

    What is damaged is removed, so that it comes anew.
    """
    read = 0
    for link in sorted(file for file in snapshot.rglob("*") if file.is_symlink()):
        blob = link.resolve()
        digest = _digest_like(blob)
        if digest is None:
            continue
        with blob.open("rb") as opened:
            for chunk in iter(partial(opened.read, CHUNK_BYTES), b""):
                digest.update(chunk)
                read += len(chunk)
        if digest.hexdigest() != blob.name:
            blob.unlink()
            link.unlink()
            raise ModelUnavailable(
                f"{source.alias}: {link.relative_to(snapshot)} was damaged, and is removed.",
                hint=f"Download it again: darkroom models pull {source.alias}",
            )
    return read


def _digest_like(blob: Path) -> Any:
    """By which its name was made; None for one that tells nothing."""
    if _SHA256.fullmatch(blob.name):
        return hashlib.sha256()
    if _GIT.fullmatch(blob.name):
        return hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    return None
