"""A model's files: what of them is there, and what an unusable one is told as."""

from __future__ import annotations

import json
import os
import stat
from enum import Enum, auto
from pathlib import Path
from typing import Any

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
        self.fate, self.message, self.hint = fate, message, hint


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


def read_json(file: Path) -> dict[str, Any]:
    """A configuration. Raises Unusable when it is missing, torn, or not a JSON object."""
    if not exists(file):
        raise Unusable(Fate.HELD, f"{short(file)} is missing.", COPY_AGAIN)
    if not stat.S_ISREG(file.stat().st_mode):
        raise Unusable(Fate.HELD, f"{short(file)} is not a file.", COPY_AGAIN)
    try:
        data = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise Unusable(Fate.HELD, f"{short(file)} is torn: it is not JSON.", COPY_AGAIN) from None
    if not isinstance(data, dict):
        raise Unusable(Fate.NEVER, f"{short(file)} is not a JSON object.", "Choose the folder of a diffusers model.")
    return data


def short(file: Path) -> str:
    """A file of a model as people find it: with the folder that it is in."""
    return "/".join(file.parts[-2:])
