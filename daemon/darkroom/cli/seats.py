"""Several renderers for people: a line for each, with what it renders and how far that is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from darkroom.cli import terminal
from darkroom.hearsay import Json
from darkroom.printable import printable

_LOOKS = {"rendering": "green", "held": "red", "down": "yellow"}


def seat_lines(seats: Sequence[Json]) -> list[Text]:
    """In columns: name, state, model, what it has in hand; and where it is, if that is not its name."""
    return terminal.columns(*(_row(seat) for seat in seats))


def _row(seat: Json) -> tuple[Text, ...]:
    name, state = str(seat.get("name", "?")), str(seat.get("state", "unknown"))
    where = seat.get("device_name") or seat.get("device")
    return (
        Text("renderer", style="bold"),
        Text(printable(name)),
        Text(printable(state), style=_LOOKS.get(state, "")),
        Text(printable(str(seat.get("model") or "-"))),
        Text(printable(str(where or "-"))),
        Text(printable(_in_hand(seat)), style="yellow" if seat.get("why") else ""),
    )


def _in_hand(seat: Json) -> str:
    """What is on the device comes last: those before it are being made into files."""
    if seat.get("why"):
        return str(seat["why"])
    return ", ".join(_how_far(each) for each in reversed(seat.get("rendering", ())))


def _how_far(rendering: Json) -> str:
    name, progress = str(rendering.get("name")), rendering.get("progress")
    if not progress:
        return name
    steps, step = progress["images"] * progress["steps"], (progress["image"] - 1) * progress["steps"] + progress["step"]
    left = f", {terminal.duration(rendering['eta_s'])} left" if rendering.get("eta_s") is not None else ""
    return f"{name}: {step}/{steps} steps{left}"
