"""Answers as JSON: the file in the outbox, and the column of the state folder's database. The one place that knows."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any, TypeVar

from darkroom.errors import Problem
from darkroom.facts import Artefact, Progress, RenderedBy, Tokens
from darkroom.request import plan_json
from darkroom.request.inputs import InputFile
from darkroom.spool.answer import FORMAT, Answer, Error, State, Timing

T = TypeVar("T")

_FIRST = ("id", "rev", "name", "dropped_as", "request_sha256", "state")
_IN_ORDER = (*_FIRST, *(field.name for field in fields(Answer) if field.name not in (*_FIRST, "tokens")))


def dump(answer: Answer) -> dict[str, Any]:
    """The content of the file; fields without a value are absent."""
    values: dict[str, Any] = {name: getattr(answer, name) for name in _IN_ORDER}
    values |= {
        "state": answer.state.value,
        "progress": asdict(answer.progress) if answer.progress else None,
        "plan": _plan(answer),
        "inputs": [{"file": each.name, "bytes": each.bytes, "sha256": each.sha256} for each in answer.inputs] or None,
        "images": [asdict(image) for image in answer.images] or None,
        "withheld": list(answer.withheld) or None,
        "timing": _present(asdict(answer.timing)) if answer.timing else None,
        "warnings": list(answer.warnings) or None,
        "error": _error(answer.error) if answer.error else None,
        "resent": answer.resent or None,
        "rendered_by": _rendered_by(answer.rendered_by) if answer.rendered_by else None,
    }
    return {"darkroom": FORMAT} | _present(values)


def to_bytes(answer: Answer) -> bytes:
    """The file."""
    return (json.dumps(dump(answer), ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def load(data: dict[str, Any]) -> Answer:
    """The inverse of `dump`; unknown fields (of a newer program) are ignored.

    Raises KeyError, TypeError or ValueError for what is not an answer.
    """
    plan = data.get("plan")
    error = data.get("error")
    simple = {name: data[name] for name in _IN_ORDER if name in data}
    return Answer(
        **simple
        | {
            "state": State(data["state"]),
            "progress": _made(Progress, data.get("progress")),
            "plan": plan_json.load(plan) if plan else None,
            "tokens": _made(Tokens, plan.get("tokens")) if plan else None,
            "inputs": tuple(
                InputFile(each["file"], each["sha256"], each["bytes"]) for each in data.get("inputs") or ()
            ),
            "images": tuple(_make(Artefact, image) for image in data.get("images") or ()),
            "withheld": tuple(data.get("withheld") or ()),
            "timing": _made(Timing, data.get("timing")),
            "warnings": tuple(data.get("warnings") or ()),
            "error": _read_error(error) if error else None,
            "rendered_by": _made(RenderedBy, data.get("rendered_by")),
        }
    )


def _plan(answer: Answer) -> dict[str, Any] | None:
    if answer.plan is None:
        return None
    return plan_json.dump(answer.plan) | ({"tokens": _present(asdict(answer.tokens))} if answer.tokens else {})


def _rendered_by(by: RenderedBy) -> dict[str, Any]:
    """Without a model where none painted."""
    of_model = ("model", "model_revision")
    return {key: value for key, value in _present(asdict(by)).items() if value != "" or key not in of_model}


def _error(error: Error) -> dict[str, Any]:
    said: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.hint:
        said["hint"] = error.hint
    if error.problems:
        said["problems"] = [
            {"where": each.where, "message": each.message} | ({"hint": each.hint} if each.hint else {})
            for each in error.problems
        ]
    return said


def _read_error(data: dict[str, Any]) -> Error:
    problems = (Problem(each["where"], each["message"], each.get("hint", "")) for each in data.get("problems") or ())
    return Error(data["code"], data["message"], data.get("hint", ""), tuple(problems))


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _make(kind: type[T], data: dict[str, Any]) -> T:
    """Without the keys that this program does not know."""
    return kind(**{field.name: data[field.name] for field in fields(kind) if field.name in data})  # type: ignore[arg-type]


def _made(kind: type[T], data: dict[str, Any] | None) -> T | None:
    return _make(kind, data) if data is not None else None
