"""A model's files: what of them is there, and what an unusable one is told as."""

from __future__ import annotations

import json
import os
import stat
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO

from darkroom.guard import describe
from darkroom.log.logger import Logger
from darkroom.printable import printable

MOST_JSON_BYTES = 64 << 20  #: of a configuration

_log = Logger("darkroom.models")

COPY_AGAIN = "Copy or download the model again."
CONVERT = (
    "Choose a .safetensors of the same model, or convert it where you trust it: "
    'python -c "import sys, torch; from safetensors.torch import save_file; d = torch.load(sys.argv[1], '
    "weights_only=True); d = d.get('state_dict', d); save_file({k: v.contiguous() for k, v in d.items() "
    'if torch.is_tensor(v)}, sys.argv[2])" OLD.ckpt NEW.safetensors'
)


class Fate(Enum):
    """What can come of a model."""

    USABLE = auto()  #: all that can be seen from here is right
    ABSENT = auto()  #: all or parts of it are downloaded when it is first used
    HELD = auto()  #: parts are missing or torn: it works when somebody has mended that
    NEVER = auto()  #: it can't be rendered as it is, however often it is tried


class Unusable(Exception):
    """Why a model cannot be used, and what to do."""

    def __init__(self, fate: Fate, message: str, hint: str) -> None:
        super().__init__(message)
        self.fate, self.message, self.hint = fate, printable(message), printable(hint)


def exists(path: Path) -> bool:
    """Whether it is there. Raises Unusable for a link that leads nowhere."""
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            message = f"{short(path)} is a link to {os.readlink(path)}, which is not there."
            hint = "Copy the files that the links lead to as well (cp -L, rsync -L)."
            raise Unusable(Fate.HELD, message, hint) from None
        return False
    except NotADirectoryError:
        return False
    return True


def opened(file: Path) -> BinaryIO:
    """Open for reading. Raises Unusable for what is not a file: a FIFO would keep us waiting for ever."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unusable(Fate.HELD, f"{short(file)} is not a file.", COPY_AGAIN)
    return os.fdopen(handle, "rb")


def unforeseen(what: str, alias: str, error: Exception) -> Unusable:
    """What becomes of a model, a LoRA or an embedding over which an error comes that nobody foresaw."""
    _log.error("unforeseen_error", **{what: alias}, why=describe(error), exc_info=error)
    message = f"an unexpected error: {describe(error)}."
    return Unusable(Fate.HELD, message, "Report it: the service's log tells more. All others go on.")


def read_json(file: Path) -> dict[str, Any]:
    """A configuration. Raises Unusable when it is missing, torn, or not a JSON object."""
    if not exists(file):
        raise Unusable(Fate.HELD, f"{short(file)} is missing.", COPY_AGAIN)
    with opened(file) as stream:
        raw = stream.read(MOST_JSON_BYTES + 1)
    if len(raw) > MOST_JSON_BYTES:
        raise Unusable(Fate.HELD, f"{short(file)} is torn: it is larger than any configuration.", COPY_AGAIN)
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise Unusable(Fate.HELD, f"{short(file)} is torn: it is not JSON.", COPY_AGAIN) from None
    if not isinstance(data, dict):
        raise Unusable(Fate.NEVER, f"{short(file)} is not a JSON object.", "Choose the folder of a diffusers model.")
    return data


def short(file: Path) -> str:
    """A file of a model as people find it: with the folder that it is in."""
    return "/".join(file.parts[-2:])
