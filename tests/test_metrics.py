"""The numbers: what is counted, what is looked at, and that Prometheus can read them."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from darkroom.disk.files import Disk
from darkroom.report.late import LateTally
from darkroom.report.look import STILL_S, Look, health, troubles
from darkroom.report.metrics import Metrics
from darkroom.report.snapshot import FolderReport, HoldReport, Life, RenderingReport, SeatReport, Snapshot
from darkroom.report.tally import Ending, Tally
from darkroom.report.textfile import Textfile
from darkroom.testing.world import World

LIFE = Life("1.2.3", "01J", "tower", 7, "2026-01-01T00:00:00.000Z")
HERE = {role: FolderReport(f"/{role}", state="present", free_bytes=5) for role in ("inbox", "outbox")}
WELL = Snapshot("running", folders=HERE, seats=(SeatReport("cpu", "ready"),))


def numbers(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def read(metrics: Metrics, name: str, **labels: str) -> float | None:
    return numbers(metrics.text()).get((f"darkroom_{name}", tuple(sorted(labels.items()))))


# What is counted -----------------------------------------------------------------------------------------------------


def test_what_the_service_tells_is_counted() -> None:
    metrics = Metrics(Look)
    metrics.accepted("sd15")
    metrics.attempted("sd15")
    metrics.stepped("cuda:0")
    metrics.stepped("cuda:0")
    metrics.painted("sd15")
    metrics.withheld("sd15")
    metrics.loaded("sd15", 12.0)
    metrics.model_held("sd15")
    metrics.seat_held("auto")
    metrics.renderer_died("auto", stalled=True)
    metrics.notified("told")
    metrics.answered("health", 200)
    metrics.life_began()
    metrics.turned(0.02)
    metrics.ended(Ending("done", "sd15", queued_s=2.0, render_s=7.0, encode_s=0.2, deliver_s=0.01))
    metrics.ended(Ending("failed", "sd15", "stalled", queued_s=None, deliver_s=0.01))
    for name, labels, value in (
        ("requests_accepted_total", {"model": "sd15"}, 1),
        ("attempts_total", {"model": "sd15"}, 1),
        ("steps_total", {"device": "cuda:0"}, 2),
        ("pictures_total", {"model": "sd15"}, 1),
        ("withheld_total", {"model": "sd15"}, 1),
        ("model_load_seconds_sum", {"model": "sd15"}, 12),
        ("model_holds_total", {"model": "sd15"}, 1),
        ("seat_holds_total", {"seat": "auto"}, 1),
        ("renderer_deaths_total", {"seat": "auto", "how": "stalled"}, 1),
        ("notifications_total", {"outcome": "told"}, 1),
        ("http_requests_total", {"page": "health", "status": "200"}, 1),
        ("lives_total", {}, 1),
        ("loop_lag_seconds_bucket", {"le": "0.025"}, 1),
        ("requests_total", {"state": "done", "model": "sd15"}, 1),
        ("requests_total", {"state": "failed", "model": "sd15"}, 1),
        ("request_errors_total", {"code": "stalled"}, 1),
        ("queued_seconds_bucket", {"model": "sd15", "le": "5.0"}, 1),
        ("render_seconds_sum", {"model": "sd15"}, 7),
        ("encode_seconds_count", {"model": "sd15"}, 1),
        ("deliver_seconds_count", {"model": "sd15"}, 1),
    ):
        assert read(metrics, name, **labels) == value, name


def test_counting_loses_nothing_where_many_threads_count() -> None:
    metrics = Metrics(Look)

    def count() -> None:
        for _ in range(1000):
            metrics.stepped("cpu")

    threads = [threading.Thread(target=count, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(metrics, "steps_total", device="cpu") == 8000


def test_a_tally_that_counts_nothing_hears_the_same() -> None:
    heard = {name for name, value in vars(Tally).items() if callable(value)}
    assert heard <= vars(Metrics).keys(), "each of them is counted"
    assert heard <= vars(LateTally).keys(), "each of them is kept"


def test_what_is_told_before_anybody_counts_is_counted_all_the_same() -> None:
    late, metrics = LateTally(), Metrics(Look)
    late.accepted("sd15")
    late.renderer_died("auto", stalled=True)
    assert read(metrics, "requests_accepted_total", model="sd15") is None
    late.begin(metrics)
    late.accepted("sd15")
    assert read(metrics, "requests_accepted_total", model="sd15") == 2
    assert read(metrics, "renderer_deaths_total", seat="auto", how="stalled") == 1


def test_what_has_not_happened_yet_is_told_as_zero() -> None:
    metrics = Metrics(Look, models=["sd15"], seats=["auto"])
    metrics.seat_ready("cuda:1")
    for name, labels in (
        ("requests_total", {"state": "failed", "model": "sd15"}),
        ("requests_total", {"state": "refused", "model": ""}),
        ("request_errors_total", {"code": "out_of_memory"}),
        ("pictures_total", {"model": "sd15"}),
        ("renderer_deaths_total", {"seat": "auto", "how": "died"}),
        ("renderer_deaths_total", {"seat": "cuda:1", "how": "stalled"}),
        ("notifications_total", {"outcome": "dropped"}),
    ):
        assert read(metrics, name, **labels) == 0, name


# What is looked at ---------------------------------------------------------------------------------------------------


def test_what_goes_on_now_is_read_from_the_newest_snapshot() -> None:
    seat = SeatReport("auto", "rendering", rendering=(RenderingReport("secret name", "01K"),))
    snapshot = Snapshot(
        "paused",
        folders={"inbox": FolderReport("/in", state="away", why="x"), "state": FolderReport("/state", free_bytes=9)},
        seats=(seat,),
        queued=3,
        queued_by_model={"sd15": 2, "starter": 1},
        undelivered=4,
        undelivered_bytes=5,
        held=(HoldReport("sd15", "why", "hint", 1),),
        not_taken_more=7,
        next=("another secret",),
    )
    metrics = Metrics(lambda: Look(LIFE, snapshot, age_s=0.5))
    for name, labels, value in (
        ("build_info", {"version": "1.2.3"}, 1),
        ("alive_since_seconds", {}, 1_767_225_600),
        ("healthy", {}, 0),
        ("snapshot_age_seconds", {}, 0.5),
        ("state", {"state": "paused"}, 1),
        ("state", {"state": "running"}, 0),
        ("queued", {"model": "sd15"}, 2),
        ("queued", {"model": "starter"}, 1),
        ("rendering", {}, 1),
        ("undelivered", {}, 4),
        ("undelivered_bytes", {}, 5),
        ("model_held", {"model": "sd15"}, 1),
        ("not_taken", {}, 7),
        ("seat_state", {"seat": "auto", "state": "rendering"}, 1),
        ("seat_state", {"seat": "auto", "state": "down"}, 0),
        ("folder_present", {"folder": "inbox"}, 0),
        ("folder_free_bytes", {"folder": "state"}, 9),
    ):
        assert read(metrics, name, **labels) == value, name
    assert b"secret" not in metrics.text(), "no name of a request is a label: those have no bound"


def test_before_the_first_life_there_is_little_to_read() -> None:
    metrics = Metrics(Look)
    assert read(metrics, "healthy") == 0
    assert read(metrics, "state", state="running") is None


def test_the_memory_of_the_service_is_told_under_a_name_that_the_node_exporter_does_not_use() -> None:
    names = {name for name, _ in numbers(Metrics(Look).text())}
    assert "darkroom_process_resident_memory_bytes" in names
    assert {name for name in names if not name.startswith("darkroom_")} == set()


# Whether all is well -------------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[Look, str]]:
    """A look, and a word of what is wrong with it."""
    held = (HoldReport("sd15", "no files", "h", 5),)
    yield Look(), "just been started"
    yield Look(LIFE, WELL, ended="OSError: full"), "begins again: OSError: full"
    yield Look(LIFE, Snapshot("stopping", folders=HERE)), "is stopping"
    yield Look(LIFE, Snapshot("stopped", folders=HERE)), "is stopped"
    yield Look(LIFE, WELL, age_s=STILL_S + 1), "stood still"
    yield Look(LIFE, Snapshot("running")), "inbox has not been looked at"
    away = {**HERE, "outbox": FolderReport("/out", state="away", why="gone.")}
    yield Look(LIFE, Snapshot("running", folders=away)), "outbox is away: gone."
    yield Look(LIFE, Snapshot("running", folders=HERE, waiting_for="no room")), "no room"
    seats = (SeatReport("cuda:0", "held", why="it dies"),)
    yield Look(LIFE, Snapshot("running", folders=HERE, seats=seats)), "cuda:0 is held: it dies"
    wanted = Snapshot("running", folders=HERE, queued_by_model={"sd15": 2}, held=held)
    yield Look(LIFE, wanted), "sd15 is held: no files"


@pytest.mark.parametrize(("look", "word"), list(cases()), ids=lambda value: value if isinstance(value, str) else "")
def test_what_keeps_requests_from_getting_on_is_trouble(look: Look, word: str) -> None:
    (why,) = [each for each in troubles(look) if word in each]
    told = health(look)
    assert told["healthy"] is False
    assert why in told["why"]


def test_a_pause_and_a_model_that_nobody_waits_for_are_no_trouble() -> None:
    paused = Snapshot("paused", folders=HERE, waiting_for="a person has paused the queue")
    assert troubles(Look(LIFE, paused)) == ()
    held = (HoldReport("sd15", "no files", "h", 5),)
    others = Snapshot("running", folders=HERE, queued_by_model={"sd15": 1, "starter": 1}, held=held)
    assert troubles(Look(LIFE, others)) == ()
    idle = Snapshot("running", folders=HERE, held=held)
    assert troubles(Look(LIFE, idle)) == ()
    told = health(Look(LIFE, WELL, age_s=0.5))
    assert (told["healthy"], told["why"], told["age_s"], told["version"]) == (True, [], 0.5, "1.2.3")


def test_the_text_file_can_be_read_by_the_node_exporter_whatever_the_services_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Textfile(tmp_path / "x.prom", lambda: b"", every_s=1.0, disk=Disk()).write()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.prom").stat().st_mode) == 0o644


def test_an_error_that_nobody_foresaw_costs_one_writing_of_the_text_file(tmp_path: Path) -> None:
    texts = iter([b"first", b"", b"", b"last"])

    def text() -> bytes:
        said = next(texts)
        if not said:
            raise ZeroDivisionError("a bug")
        return said

    file = Textfile(tmp_path / "x.prom", text, every_s=1.0, disk=Disk())
    with capture_logs() as logs:
        for _ in range(3):
            file.write()
        assert (tmp_path / "x.prom").read_bytes() == b"first"
        file.write()
    assert (tmp_path / "x.prom").read_bytes() == b"last"
    assert [(log["event"], log["why"]) for log in logs] == [("unforeseen_error", "ZeroDivisionError: a bug")]


# Through the whole daemon --------------------------------------------------------------------------------------------


def test_a_daemon_counts_what_it_does_and_only_where_somebody_wants_to_read_it(tmp_path: Path) -> None:
    world = World(tmp_path, textfile=str(tmp_path / "darkroom.prom"))
    world.flagged = frozenset({2})
    world.start()
    world.drop("cat.json", {"prompt": "a cat", "num_images": 3})
    world.drop("dog.json", {"promt": "a dog"})
    world.drop("half.json", b'{"prompt": "a ca')
    world.run()
    metrics = world.running.monitoring.metrics
    assert metrics is not None
    for name, labels, value in (
        ("requests_accepted_total", {"model": "testcard"}, 1),
        ("requests_accepted_total", {"model": ""}, 1),
        ("requests_total", {"state": "done", "model": "testcard"}, 1),
        ("requests_total", {"state": "refused", "model": ""}, 2),
        ("request_errors_total", {"code": "invalid_request"}, 1),
        ("request_errors_total", {"code": "incomplete"}, 1),
        ("attempts_total", {"model": "testcard"}, 1),
        ("pictures_total", {"model": "testcard"}, 2),
        ("withheld_total", {"model": "testcard"}, 1),
        ("queued", {"model": ""}, 0),
        ("healthy", {}, 1),
        ("folder_present", {"folder": "inbox"}, 1),
        ("lives_total", {}, 1),
    ):
        assert read(metrics, name, **labels) == value, name
    assert World(tmp_path / "quiet").config.http == ""


def test_how_many_wait_for_each_model_is_known_without_counting_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    world.start()
    for number in range(3):
        world.drop(f"{number}.json", {"prompt": "a cat"})
    world.step()
    snapshot = world.running.service.snapshot
    assert snapshot is not None
    assert sum(snapshot.queued_by_model.values()) == snapshot.queued
    assert set(snapshot.queued_by_model) == {"testcard"}


def test_a_daemon_that_nobody_reads_does_not_import_what_that_needs() -> None:
    code = (
        "import darkroom.service.supervise, sys; "
        "print(*(name in sys.modules for name in ('prometheus_client', 'darkroom.http.server')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


HELD_ON = {seat: HoldReport("sd15", "no paint", "", 5, seat=seat) for seat in ("0", "1")}


@pytest.mark.parametrize(
    ("held", "states", "is_well"),
    [
        ((HELD_ON["0"],), ("ready", "ready"), True),
        ((HELD_ON["0"], HELD_ON["1"]), ("ready", "ready"), False),
        ((HELD_ON["0"],), ("ready", "held"), False),
        ((HoldReport("sd15", "no paint", "", 5),), ("ready", "ready"), False),
        ((), ("ready", "held"), True),
        ((), ("held", "held"), False),
    ],
)
def test_it_is_not_well_when_what_waits_can_go_on_nowhere(
    held: tuple[HoldReport, ...], states: tuple[str, str], is_well: bool
) -> None:
    seats = tuple(SeatReport(str(number), state, why="it dies") for number, state in enumerate(states))
    snapshot = replace(WELL, seats=seats, held=held, queued_by_model={"sd15": 1})
    assert (troubles(Look(LIFE, snapshot)) == ()) is is_well
