"""What goes on at this moment, as the page reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from darkroom.gallery.catalogue import Catalogue
from darkroom.gallery.script import call, literal
from darkroom.report.snapshot import FolderReport, Snapshot, plain


def now(snapshot: Snapshot, catalogue: Catalogue, *, life: str, counter: int, within_s: float) -> bytes:
    """The file. `life` and `counter` tell two of them apart; the next one comes `within_s`, or nobody is there.

    `made`, `part` and `results` tell the page whether there is anything new to be read.
    """
    said: dict[str, Any] = plain(news(snapshot))
    said |= {"life": life, "counter": counter, "within_s": within_s}
    said |= {"made": catalogue.made, "part": catalogue.open.number, "results": catalogue.results}
    return call("now", [literal(said)])


def news(snapshot: Snapshot) -> Snapshot:
    """What of it a person should see at once; how many bytes are free changes all the time."""
    folders = {role: FolderReport(each.path, state=each.state, why=each.why) for role, each in snapshot.folders.items()}
    held = tuple(replace(each, next_try_s=round(each.next_try_s, -1)) for each in snapshot.held)
    return replace(snapshot, folders=folders, held=held)
