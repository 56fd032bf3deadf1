"""Judges files at once, in the process that asks: every run is the same run."""

from __future__ import annotations

import os
from dataclasses import asdict
from hashlib import sha256

from darkroom.inbox import decoder
from darkroom.inbox.judge import Fault, Verdict, Version
from darkroom.request.inputs import MAX_INPUT_BYTES, MAX_INPUT_PIXELS


class PromptJudge:
    """Decodes as the process of its own does."""

    def __init__(self) -> None:
        self.judged = 0  #: how often one was decoded

    def verdict(self, version: Version, handle: int, path: str) -> Verdict:  # noqa: ARG002 - nobody has to be woken
        """What a file is."""
        self.judged += 1
        os.lseek(handle, 0, os.SEEK_SET)
        raw = b"".join(iter(lambda: os.read(handle, 1 << 20), b""))
        found = decoder.fault_of(raw, MAX_INPUT_BYTES, MAX_INPUT_PIXELS)
        fault = None if found is None else Fault(**asdict(found))
        return Verdict(sha256(raw).hexdigest(), len(raw), fault)

    def stop(self) -> None:
        """There is nothing to end."""
