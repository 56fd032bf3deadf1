"""The numbers of a look, for Prometheus: what is so now, and not what has happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from darkroom.report.look import Look, troubles
from darkroom.report.snapshot import Life, Snapshot

STATES = ("running", "paused", "stopping", "stopped")
SEAT_STATES = ("down", "starting", "loading", "ready", "unloaded", "rendering", "stopping", "held")


class Gauges(Collector):
    """Looks whenever it is read. No name of a request, a folder or a person is a label: those have no bound."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        look = self._look()
        yield _one("healthy", "Whether it serves: 1 where /health answers 200.", not troubles(look))
        if look.life is not None:
            yield from _of_life(look.life)
        if look.snapshot is not None:
            yield _one("snapshot_age_seconds", "Since the service's loop has told of itself.", look.age_s)
            yield from _of_snapshot(look.snapshot)


def _of_life(life: Life) -> Iterable[Metric]:
    yield InfoMetricFamily("darkroom_build", "Which program.", {"version": life.version})
    since_s = datetime.fromisoformat(life.alive_since).timestamp()
    yield _one("alive_since_seconds", "When this life began, in Unix time.", since_s)


def _of_snapshot(snapshot: Snapshot) -> Iterable[Metric]:
    states = {state: state == snapshot.state for state in STATES}
    yield _each("state", "1 for what the service does.", "state", states)
    yield _each("queued", "Requests that wait.", "model", snapshot.queued_by_model or {"": 0})
    by_folder = snapshot.queued_by_folder or {".": 0}
    yield _each("queued_in_folder", "Those of each folder of the inbox (20 at most).", "folder", by_folder)
    in_hand = sum(len(seat.rendering) for seat in snapshot.seats)
    yield _one("rendering", "Requests on a device, or being encoded.", in_hand)
    yield _one("undelivered", "Finished requests that wait for the outbox.", snapshot.undelivered)
    yield _one("undelivered_bytes", "Of their pictures.", snapshot.undelivered_bytes)
    not_taken = len(snapshot.not_taken) + snapshot.not_taken_more
    yield _one("not_taken", "Files in the inbox that are not taken.", not_taken)
    yield _one("troubled", "Requests that met an unexpected error (20 at most).", len(snapshot.troubled))
    held = dict.fromkeys((hold.model for hold in snapshot.held), 1)
    yield _each("model_held", "1 for a model that is not tried for a while.", "model", held)
    yield _seats(snapshot)
    yield from _folders(snapshot)


def _seats(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily("darkroom_seat_state", "1 for what a renderer does.", labels=["seat", "state"])
    for seat in snapshot.seats:
        for state in SEAT_STATES:
            family.add_metric([seat.name, state], float(seat.state == state))
    return family


def _folders(snapshot: Snapshot) -> Iterable[Metric]:
    present = {role: each.state == "present" for role, each in snapshot.folders.items() if each.state is not None}
    free = {role: each.free_bytes for role, each in snapshot.folders.items() if each.free_bytes is not None}
    yield _each("folder_present", "0 while a folder is away.", "folder", present)
    yield _each("folder_free_bytes", "Room on a folder's disk.", "folder", free)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"darkroom_{name}", text, value=float(value))


def _each(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"darkroom_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
