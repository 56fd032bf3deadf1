"""What becomes of other programs' words, with the models and styles that come with Darkroom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from darkroom.config.settings import Config
from darkroom.errors import Problem, RequestRefused
from darkroom.foreign.programs import program_of, translated
from darkroom.foreign.sheet import Fate, Sheet, Target
from darkroom.models.schedulers import CLASSIC
from darkroom.request.decide import decide
from darkroom.request.shape import KEYS, read

RULES = Config(default_model="sd15").rules()
STYLES = {name: style.negative_prompt for name, style in RULES.book.styles.items()}
TARGET = Target(KEYS, CLASSIC, STYLES, ("sd15", "DreamShaper"))


def asks(request: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        decide(read(json.dumps(request).encode()), RULES, drawn_seed=0)
    except RequestRefused as refused:
        return refused.problems
    return ()


def sheet_of(data: Mapping[str, Any], target: Target = TARGET, chosen: Mapping[str, Any] | None = None) -> Sheet:
    program = program_of(data)
    assert program is not None
    return translated(data, program, target, asks if target is TARGET else lambda _: (), chosen=chosen)


def fates(sheet: Sheet, fate: Fate) -> set[str]:
    return {note.where for note in sheet.notes.values() if note.fate is fate}
