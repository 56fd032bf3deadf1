"""What the page says of one result: taken from its answer and its request as they lie in the outbox.

Whoever may write to the outbox may have written them, so only what has the right shape is believed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from darkroom import hearsay
from darkroom.gallery.script import literal
from darkroom.hearsay import Json
from darkroom.names import folder_of

FACETS = ("state", "style", "model", "folder")
FINAL = ("done", "refused", "failed", "cancelled")
MOST_REQUEST_BYTES = 64 << 10  #: of a request that can be copied from the page
MOST_SAID = 2000  #: characters of what was dropped and is no request
MOST_TEXT = 4000  #: characters of any other text, as of a prompt
MOST_NAME = 100  #: characters of a style or a model
MOST_STYLES = 20
MOST_VARIED_BYTES = 20 << 10  #: of prompts that differ from picture to picture

_PICTURE = {"file!": str, "seed": int, "width": int, "height": int, "sha256": str}
_NUMBERS: Mapping[str, Any] = {
    "width": int,
    "height": int,
    "num_inference_steps": int,
    "guidance_scale": float,
    "true_cfg_scale": float,
    "clip_skip": int,
}
_PLAN = {
    **_NUMBERS,
    **dict.fromkeys(("prompt", "negative_prompt", "model", "scheduler", "format"), str),
    "images": [{"seed": int, "prompt": str}],
    "init_image": str,
    "upscale": {"by": str, "scale": float},
}
_ANSWER: Mapping[str, Any] = {
    **hearsay.ANSWER,
    "id!": str,
    "name!": str,
    "state!": str,
    "darkroom!": int,
    "request_sha256": str,
    "finished_at": str,
    "images": [_PICTURE],
    "plan": _PLAN,
    "timing": {"render_s": float},
    "rendered_by": {"device": str, "model_revision": str},
}
#: What the page says of how a picture was made, besides what stands in the entry itself.
_TOLD = (*_NUMBERS, "negative_prompt", "scheduler", "format")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One result, ready to be written; the other fields are what the page looks for before it reads it."""

    id: str
    line: str  #: all of it, as `script.literal` writes it
    time: str  #: when it was finished: RFC 3339, UTC
    state: str
    styles: tuple[str, ...]  #: their names; () for none
    model: str  #: "" for none that is known
    folder: str  #: of the outbox; "" for the outbox itself
    pictures: int  #: that the page shows, at least one

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """What it can be looked for by; "" stands for none."""
        return {"state": (self.state,), "style": self.styles or ("",), "model": (self.model,), "folder": (self.folder,)}


@dataclass(frozen=True, slots=True)
class Found:
    """A result as it lies in the outbox."""

    at: str  #: its folder, below the outbox
    answer: Json  #: of the right shape
    request: bytes | None  #: as it was dropped

    @property
    def pictures(self) -> tuple[tuple[str, str], ...]:
        """File and SHA-256 of each picture that can be told from others."""
        images = self.answer.get("images") or ()
        return tuple((each["file"], each["sha256"]) for each in images if _SHA256.fullmatch(each.get("sha256", "")))

    @property
    def order(self) -> tuple[str, str]:
        """Results are told in this order."""
        return _time_of(self.answer), self.answer["id"]


def answer_in(raw: bytes) -> Json | None:
    """A final answer of Darkroom's, or None."""
    answer = hearsay.read(raw, _ANSWER)
    if answer is None or answer["state"] not in FINAL or _ID.fullmatch(answer["id"]) is None:
        return None
    return answer


def is_of(folder: str, answer: Json, request: bytes | None) -> bool:
    """Whether a folder is the result that the answer in it tells of, also if somebody has given it another name.

    A folder that mirrors one of the inbox may hold the answer of a request that is called `answer`.
    """
    if answer.get("result") == folder:
        return True
    return request is not None and hashlib.sha256(request).hexdigest() == answer.get("request_sha256")


def small_name(sha256: str) -> str:
    """What a small picture is called: like its original's content, so it outlives every move."""
    return f"{sha256[:2]}/{sha256[2:34]}.webp"


def entry_of(found: Found, small: frozenset[str]) -> Entry:
    """`small`: the SHA-256 of pictures of which a small one is there."""
    answer, request = found.answer, _object(found.request)
    plan = answer.get("plan") or {}
    data = {
        "id": answer["id"],
        "name": answer["name"],
        "at": found.at,
        "state": answer["state"],
        "time": _time_of(answer),
        "styles": (styles := _styles(plan.get("style", (request or {}).get("style")))),
        "model": (model := _model(plan, request)),
        **_prompts(plan, request),
        "images": [_image(each, small, has_seed="upscale" not in plan) for each in answer.get("images") or ()],
        "larger": _larger(plan),
        "plan": {key: _short(plan[key]) for key in _TOLD if key in plan},
        "request": _to_copy(request),
        "said": None if request is not None else _said(found.request),
        "error": _error(answer.get("error")),
        "withheld": len(answer.get("withheld") or ()),
        "render_s": (answer.get("timing") or {}).get("render_s"),
        "device": _short((answer.get("rendered_by") or {}).get("device")),
    }
    line = literal({key: value for key, value in data.items() if value not in (None, [], {}, "", 0)})
    return Entry(
        id=answer["id"],
        line=line,
        time=_time_of(answer),
        state=answer["state"],
        styles=tuple(styles),
        model=model,
        folder=folder_of(found.at),
        pictures=max(1, len(answer.get("images") or ())),
    )


def _time_of(answer: Json) -> str:
    time = answer.get("finished_at", "")
    return time if _TIME.fullmatch(time) else ""


def _model(plan: Json, request: Json | None) -> str:
    """As it was decided; of a request that was refused, as it was asked for."""
    value = plan.get("model") or (request or {}).get("model")
    return value[:MOST_NAME] if isinstance(value, str) else ""


def _styles(value: object) -> list[str]:
    """One name or several; "none" is none."""
    names = value if isinstance(value, list) else [value]
    return [each[:MOST_NAME] for each in names[:MOST_STYLES] if isinstance(each, str) and each not in ("", "none")]


def _prompts(plan: Json, request: Json | None) -> Json:
    """A person's own words; what was put around them, or painted in their place; and what each picture's own were."""
    own = (request or {}).get("prompt")
    own = own if isinstance(own, str) and own else plan.get("prompt", "")
    painted = plan.get("prompt", "")
    told: Json = {"prompt": _short(own)}
    before, found, after = painted.partition(own) if own else ("", "", "")
    if not found:
        told["painted"] = _short(painted)
    elif before or after:
        told["around"] = [_short(before), _short(after)]
    varied = [[str(each.get("seed", "")), each.get("prompt", "")] for each in plan.get("images") or ()]
    if varied and sum(len(text) for _, text in varied) <= MOST_VARIED_BYTES:
        told["varied"] = varied
    return told


def _larger(plan: Json) -> str | None:
    """Of a picture that came in, of which nothing was painted."""
    upscale = plan.get("upscale") or {}
    by, scale = upscale.get("by"), upscale.get("scale")
    if by is None or scale is None:
        return None
    return f"{plan.get('init_image', '')[:MOST_NAME]}, {scale:g} times by {by[:MOST_NAME]}"


def _image(image: Json, small: frozenset[str], *, has_seed: bool) -> list[object]:
    """File, seed, width, height, small picture. JavaScript has no whole numbers of 63 bits, so the seed is a text."""
    sha256 = image.get("sha256", "")
    there = small_name(sha256) if sha256 in small else ""
    seed = str(image.get("seed", "")) if has_seed else ""
    return [image["file"], seed, image.get("width", 0), image.get("height", 0), there]


def _object(raw: bytes | None) -> Json | None:
    """A request as it was written; None for what is none."""
    return None if raw is None else hearsay.read(raw, {})


def _to_copy(request: Json | None) -> Json | None:
    """To be dropped again, without what is the asking program's own; a seed is a text, as in `_image`.

    The prompt stands in the entry itself; None in its place here.
    """
    if request is None:
        return None
    kept = {key: value for key, value in request.items() if key != "metadata"}
    if isinstance(prompt := kept.get("prompt"), str) and prompt and prompt == _short(prompt):
        kept["prompt"] = None
    if isinstance(kept.get("seed"), int):
        kept["seed"] = str(kept["seed"])
    try:
        is_small = len(json.dumps(kept, ensure_ascii=False, allow_nan=False)) <= MOST_REQUEST_BYTES
    except ValueError:  # a number that JSON has no words for
        return None
    return kept if is_small else None


def _said(raw: bytes | None) -> str | None:
    return None if raw is None else raw[: 4 * MOST_SAID].decode("utf-8", "replace")[:MOST_SAID]


def _short(value: Any) -> Any:
    return value[: 2 * MOST_TEXT] if isinstance(value, str) else value


def _error(error: Json | None) -> Json | None:
    if error is None:
        return None
    told = {key: _short(error[key]) for key in ("code", "message", "hint") if error.get(key)}
    problems = [{key: _short(each[key]) for key in each if each[key]} for each in error.get("problems") or ()]
    return told | ({"problems": problems[:50]} if problems else {})
