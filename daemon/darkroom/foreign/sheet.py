"""What becomes of what another program was asked for: each of its keys is said once, and none is dropped unsaid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from darkroom.errors import DarkroomError, Problem


class Fate(StrEnum):
    """What a key of another program comes to."""

    BECOMES = "becomes"  #: keys of the request
    NEUTRAL = "means nothing here"  #: it would change nothing
    LOST = "has no counterpart"


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of one key."""

    where: str  #: the key as the other program has it: "steps", "override_settings.sd_vae", "3 KSampler.cfg"
    fate: Fate
    words: str  #: what it becomes; or why it means nothing, or has no counterpart, and what to do
    keys: tuple[str, ...] = ()  #: of the request, that it becomes


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked in place of the other program: as much of this Darkroom as decides what its words become."""

    keys: Collection[str]  #: that a request may have, in their order
    schedulers: Collection[str]  #: that the model takes
    styles: Mapping[str, str] = field(default_factory=dict)  #: of the style book, with their negative prompts
    models: Collection[str] = ()  #: aliases
    loras: Collection[str] = ()  #: aliases
    upscalers: Collection[str] = ()  #: aliases
    own_layer: int = 1  #: of its text encoder, counted from the end, that the model is used with


class NothingToAsk(DarkroomError):
    """It says nothing that a request could be made of."""


@dataclass(slots=True)
class Sheet:
    """The request so far, and what was said of each key."""

    target: Target
    request: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)  #: by `where`
    prompts: dict[str, bool] = field(default_factory=dict)  #: those in which brackets weigh: whether square ones do

    def becomes(self, where: str, said: Mapping[str, Any], remark: str = "") -> None:
        """It becomes these keys of the request; where one of them says something else already, it is lost."""
        if other := next((key for key, value in said.items() if self.request.get(key, value) != value), None):
            self.lost(where, f"`{other}` is decided already")
            return
        if unknown := next((key for key in said if key not in self.target.keys), None):
            self.lost(where, f"no request has a key `{unknown}` yet")
            return
        self.request |= said
        self._say(Note(where, Fate.BECOMES, remark, tuple(said)))

    def adds(self, where: str, key: str, names: list[str], remark: str) -> None:
        """It is one of several names; a single one stands without a list."""
        self.request[key] = names if len(names) > 1 else names[0]
        self._say(Note(where, Fate.BECOMES, remark, (key,)))

    def adds_lora(self, where: str, name: str, weight: float | None) -> None:
        """It is one of several LoRAs, by its name there: its file's, with or without the ending."""
        alias = name.rpartition("/")[2].rpartition("\\")[2].removesuffix(".safetensors")
        if alias not in self.target.loras:
            self.lost(where, f"no LoRA of the configuration is called {alias}: it is left out")
            return
        if any(each["name"] == alias for each in self.request.get("loras", ())):
            self.lost(where, f"{alias} is named already")
            return
        one = {"name": alias} | ({} if weight is None else {"weight": weight})
        self.request["loras"] = [*self.request.get("loras", ()), one]
        self._say(Note(where, Fate.BECOMES, "", ("loras",)))

    def counts(self, where: str, number: int) -> None:
        """It is one of several numbers whose product is how many pictures come."""
        self.request["num_images"] = self.request.get("num_images", 1) * number
        self._say(Note(where, Fate.BECOMES, "", ("num_images",)))

    def neutral(self, where: str, why: str) -> None:
        """It changes nothing."""
        self._say(Note(where, Fate.NEUTRAL, why))

    def lost(self, where: str, why: str) -> None:
        """Nothing here does that."""
        self._say(Note(where, Fate.LOST, why))

    def says(self, where: str) -> bool:
        """Whether something was said of it already."""
        return where in self.notes

    def give_up(self, problem: Problem) -> bool:
        """Take out of the request what is wrong there, and say so of each key that became it; False if it can't be."""
        key = problem.where.strip("/").partition("/")[0]
        if key == "prompt" or key not in self.request:
            return False
        together = _TOGETHER.get(key, (key,))
        for each in together:
            self.request.pop(each, None)
        for note in list(self.notes.values()):
            if set(note.keys) & set(together):
                why = f"{problem.message} {problem.hint}" if key in note.keys else f"a size without `{key}` is another"
                self.notes[note.where] = Note(note.where, Fate.LOST, f"it is left out: {why}".strip())
        return True

    def _say(self, note: Note) -> None:
        where = note.where
        while where in self.notes:  # a key may be called as a part of another one is
            where += " (another)"
        self.notes[where] = replace(note, where=where)


#: One side alone would be another picture's shape.
_TOGETHER = {"width": ("width", "height"), "height": ("width", "height")}

#: What is said of one key, by its value.
Rule = Callable[[Sheet, str, Any], None]


def apply(rules: Mapping[str, Rule], data: Mapping[str, Any], sheet: Sheet, *, inside: str = "") -> None:
    """Say something of each key that nothing is said of yet; `inside` is put before their names."""
    for key, value in data.items():
        where = f"{inside}{key}"
        if sheet.says(where):
            continue
        if value is None:
            sheet.neutral(where, "null: nothing was chosen")
        elif key in rules:
            rules[key](sheet, where, value)
        else:
            sheet.lost(where, "Darkroom does not know it")
