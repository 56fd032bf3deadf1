"""Rendering on the machines of a Ray cluster: real Ray, real processes, machines that die, freeze, and are cut off."""

import itertools
import os
import signal
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for
from tests.real.cage import Cage
from tests.real.ray_machines import PROGRAM, Machines

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="Ray is not installed: pip install 'darkroom[ray]'"),
    pytest.mark.timeout(300),
]

NOTICED_S = 10.0  #: a death, a freeze, a cut
PATIENCE_S = 90.0
ACTOR = "ray::RendererHost"
RENDERER = "darkroom.render.worker"
BRIDGE = "darkroom.cluster.bridge"
LONG = {"num_inference_steps": 150}  # some three seconds a picture
MACHINES = ("one", "two")
COUNTER = itertools.count()
#: A frozen raylet lets its actor work, and a frozen renderer is a stall, as on the daemon's own machine.
TROUBLES = {
    "the actor is killed": (ACTOR, signal.SIGKILL),
    "the actor freezes": (ACTOR, signal.SIGSTOP),
    "its renderer is killed": (RENDERER, signal.SIGKILL),
    "Ray is killed": ("raylet/raylet", signal.SIGKILL),
}
#: A model that takes long to load, for each: one that was loaded stays.
HEAVY = {trouble: f"heavy-{number}" for number, trouble in enumerate(TROUBLES)}


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with Machines(*MACHINES) as running:
        yield running


def daemon_on_head(machines: Machines, home: Path, **settings: Any) -> DaemonProcess:
    ray = {"executor": "ray", "ray_address": machines.address, "ray_token_file": str(machines.token)}
    before = (*machines.on("head"), "env", 'DARKROOM_RAY_RESOURCES={"painter": 1}')
    settings = {"preload": False, "max_attempts": 5, **ray, **settings}
    return DaemonProcess(
        home, before=before, settings=settings, models=dict.fromkeys(HEAVY.values(), "testcard:load_s=5")
    )


@pytest.fixture(scope="module")
def running(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with daemon_on_head(machines, tmp_path_factory.mktemp("ray") / "daemon") as started:
        yield started
    wait_for(lambda: not actors(machines), "Ray has ended every actor", deadline_s=PATIENCE_S)


@pytest.fixture
def daemon(machines: Machines, running: DaemonProcess) -> DaemonProcess:
    """One daemon for all: both machines are ready again, whatever the test before did."""
    if not running.is_running:
        running.start()
    for name in MACHINES:
        if not machines.pids(name, "raylet/raylet"):
            machines.kill(name)
            machines.start_worker(name)
    both_ready(running)
    return running


def both_ready(daemon: DaemonProcess) -> None:
    """Both machines can render."""
    names = {f"{name}/0" for name in MACHINES}
    daemon.wait_for(lambda: names <= ready_seats(daemon), "both machines are ready", deadline_s=PATIENCE_S)


def ready_seats(daemon: DaemonProcess) -> set[str]:
    seats = (daemon.health() or {}).get("seats", [])
    return {seat["name"] for seat in seats if seat["state"] in ("ready", "unloaded")}


def actors(machines: Machines) -> list[int]:
    return [pid for name in machines.workers for pid in machines.pids(name, ACTOR)]


def begin(daemon: DaemonProcess, *, num_images: int = 12) -> dict[str, str]:
    """A request on each machine, in hand: machine → name of the request."""
    names = drop(daemon, len(MACHINES), num_images=num_images)
    daemon.wait_for(lambda: all("progress" in daemon.answer(name) for name in names), "both render")
    found = {daemon.answer(name)["rendered_by"]["host"]: name for name in names}
    assert set(found) == set(MACHINES)
    return found


def drop(daemon: DaemonProcess, count: int, **values: Any) -> list[str]:
    """Requests of names that nothing has yet."""
    names = [f"r{next(COUNTER)}" for _ in range(count)]
    for number, name in enumerate(names):
        daemon.drop(f"{name}.json", {**LONG, "seed": number, **values})
    return names


def gives_back(daemon: DaemonProcess, name: str, began_s: float) -> float:
    """Wait until a request has lost its attempt, which is told, and returns how long that took."""
    daemon.wait_for(lambda: daemon.answer(name).get("error"), f"{name} is given back", deadline_s=PATIENCE_S)
    return time.monotonic() - began_s


def check_untouched(daemon: DaemonProcess, name: str) -> None:
    assert daemon.answer(name)["attempt"] == 1
    assert "error" not in daemon.answer(name)


def finish(daemon: DaemonProcess, *names: str) -> None:
    for name in names:
        daemon.wait_for_state(name, "done", deadline_s=PATIENCE_S)
    daemon.check_settled(names)


def test_two_machines_render_what_one_inbox_is_given(daemon: DaemonProcess) -> None:
    names = drop(daemon, 4, num_inference_steps=50, num_images=3)
    finish(daemon, *names)
    assert {daemon.answer(name)["rendered_by"]["host"] for name in names} == set(MACHINES)
    assert {daemon.answer(name)["attempt"] for name in names} == {1}


def test_a_cancelled_request_leaves_its_machine(daemon: DaemonProcess) -> None:
    names = begin(daemon, num_images=4)
    daemon.cancel(names["one"])
    daemon.wait_for_state(names["one"], "cancelled")
    (after,) = drop(daemon, 1)
    finish(daemon, after, names["two"])
    assert daemon.answer(after)["rendered_by"]["host"] == "one"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_is_killed_or_frozen_costs_the_request_on_it_one_attempt(
    daemon: DaemonProcess, machines: Machines, trouble: str
) -> None:
    words, number = TROUBLES[trouble]
    names = begin(daemon, num_images=4)
    began_s = time.monotonic()
    machines.send("one", words, number)
    assert gives_back(daemon, names["one"], began_s) < NOTICED_S
    check_untouched(daemon, names["two"])
    finish(daemon, *names.values())
    assert daemon.answer(names["one"])["attempt"] == 2
    check_untouched(daemon, names["two"])


@pytest.mark.parametrize("words", [ACTOR, RENDERER, "raylet/raylet"])
def test_what_the_kernel_kills_for_its_memory_costs_the_request_on_it_one_attempt(
    daemon: DaemonProcess, machines: Machines, words: str
) -> None:
    names = begin(daemon, num_images=4)
    (pid,) = machines.pids("one", words)
    with Cage.made("darkroom-test-ray", kib=64) as cage:
        began_s = time.monotonic()
        cage.take_in(pid)
        wait_for(lambda: cage.kills, "the kernel has killed it", deadline_s=PATIENCE_S)
        assert gives_back(daemon, names["one"], began_s) < PATIENCE_S
    check_untouched(daemon, names["two"])
    finish(daemon, *names.values())
    assert daemon.answer(names["one"])["attempt"] == 2


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_ends_while_it_loads_a_model_costs_no_attempt(
    daemon: DaemonProcess, machines: Machines, trouble: str
) -> None:
    words, number = TROUBLES[trouble]
    (name,) = drop(daemon, 1, model=HEAVY[trouble], num_inference_steps=5)
    seat = daemon.wait_for(lambda: loading(daemon), "it is loaded", deadline_s=PATIENCE_S)
    machines.send(seat.partition("/")[0], words, number)
    finish(daemon, name)
    assert daemon.answer(name)["attempt"] == 1
    for machine in MACHINES:
        for pid in machines.pids(machine, ACTOR):  # one that stands still is given up, and lives on for a moment
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def loading(daemon: DaemonProcess) -> str:
    return next((seat["name"] for seat in daemon.health().get("seats", []) if seat["state"] == "loading"), "")


#: What ends while it hands over pictures, and by what.
RETURNING = {
    "the actor is killed": ("one", ACTOR, signal.SIGKILL),
    "its renderer is killed": ("one", RENDERER, signal.SIGKILL),
    "the bridges are killed": ("head", BRIDGE, signal.SIGKILL),
    "Ray is killed": ("one", "raylet/raylet", signal.SIGKILL),
}


@pytest.mark.parametrize("trouble", RETURNING)
def test_what_ends_while_it_returns_pictures_leaves_those_that_have_come(
    daemon: DaemonProcess, machines: Machines, trouble: str
) -> None:
    """Pictures of two steps, one after another: the next attempt goes on behind those that are here."""
    machine, words, number = RETURNING[trouble]
    names = drop(daemon, 2, num_images=40, num_inference_steps=2)
    daemon.wait_for(
        lambda: all(daemon.answer(name).get("progress", {}).get("image", 0) > 4 for name in names),
        "both return pictures",
    )
    machines.send(machine, words, number)
    finish(daemon, *names)
    assert {len(daemon.answer(name)["images"]) for name in names} == {40}
    assert all(daemon.answer(name)["attempt"] <= 2 for name in names)


def test_a_head_that_stands_still_for_a_moment_costs_nothing(daemon: DaemonProcess, machines: Machines) -> None:
    names = begin(daemon, num_images=4)
    machines.send("head", "gcs_server", signal.SIGSTOP)
    time.sleep(5)
    machines.send("head", "gcs_server", signal.SIGCONT)
    finish(daemon, *names.values())
    for name in names.values():
        check_untouched(daemon, name)


def test_a_daemon_that_stands_still_goes_on_where_it_was(daemon: DaemonProcess) -> None:
    names = begin(daemon, num_images=4)
    daemon.freeze()
    time.sleep(NOTICED_S + 2)
    daemon.thaw()
    finish(daemon, *names.values())
    for name in names.values():
        check_untouched(daemon, name)


@pytest.mark.parametrize("word", ["OOM", "DIE"])
def test_a_request_that_a_machine_has_too_little_memory_for_fails_and_the_others_do_not(
    daemon: DaemonProcess, word: str
) -> None:
    (bad,) = drop(daemon, 1, prompt=f"a castle {word}")
    good = drop(daemon, 4, num_inference_steps=5)
    daemon.wait_for_state(bad, "failed", deadline_s=PATIENCE_S)
    finish(daemon, *good)
    assert daemon.answer(bad)["error"]["code"] == {"OOM": "out_of_memory", "DIE": "renderer_died"}[word]


def test_a_link_that_is_cut_for_ever_costs_one_attempt(daemon: DaemonProcess, machines: Machines) -> None:
    names = begin(daemon, num_images=4)
    began_s = time.monotonic()
    machines.cut("one")
    try:
        assert gives_back(daemon, names["one"], began_s) < NOTICED_S
        finish(daemon, *names.values())
        assert daemon.answer(names["one"])["rendered_by"]["host"] == "two"
        assert daemon.answer(names["one"])["attempt"] == 2
        check_untouched(daemon, names["two"])
        daemon.wait_for(lambda: "one/0" not in seats(daemon), "its seat is gone", deadline_s=PATIENCE_S)
    finally:
        machines.mend("one")
    machines.kill("one")
    machines.start_worker("one")
    both_ready(daemon)


def test_a_machine_that_dies_goes_and_comes_back_while_the_daemon_runs(
    daemon: DaemonProcess, machines: Machines
) -> None:
    names = begin(daemon, num_images=4)
    began_s = time.monotonic()
    machines.kill("one")
    assert gives_back(daemon, names["one"], began_s) < NOTICED_S
    daemon.wait_for(lambda: "one/0" not in seats(daemon), "its seat is gone", deadline_s=PATIENCE_S)
    finish(daemon, *names.values())
    assert daemon.answer(names["one"])["rendered_by"]["host"] == "two"
    machines.start_worker("one")
    both_ready(daemon)


def seats(daemon: DaemonProcess) -> set[str]:
    return {seat["name"] for seat in (daemon.health() or {}).get("seats", [])}


@pytest.mark.parametrize("seconds", [5, 30])
def test_a_link_that_is_cut(daemon: DaemonProcess, machines: Machines, seconds: int) -> None:
    """A short cut may cost nothing; a long one costs one attempt, and what is sent after it counts for nothing."""
    names = begin(daemon, num_images=4)
    began_s = time.monotonic()
    machines.cut("one")
    try:
        if seconds > NOTICED_S:
            assert gives_back(daemon, names["one"], began_s) < NOTICED_S
        time.sleep(max(0.0, began_s + seconds - time.monotonic()))
    finally:
        machines.mend("one")
    finish(daemon, *names.values())
    assert daemon.answer(names["one"])["attempt"] <= 2
    check_untouched(daemon, names["two"])
    if seconds > NOTICED_S:  # it has been given up, and ends by itself; its unit starts it again
        wait_for(lambda: not machines.pids("one", "raylet/raylet"), "Ray has ended there", deadline_s=PATIENCE_S)
        machines.kill("one")
        machines.start_worker("one")
    both_ready(daemon)


def test_a_daemon_that_is_killed_leaves_no_actor(daemon: DaemonProcess, machines: Machines) -> None:
    names = begin(daemon)
    before = set(actors(machines))
    assert len(before) == 2
    daemon.restart()
    for name in names.values():
        daemon.cancel(name)
        daemon.wait_for_state(name, "cancelled", deadline_s=PATIENCE_S)
    both_ready(daemon)
    wait_for(lambda: len(actors(machines)) == 2 and not before & set(actors(machines)), "only new actors live")


def test_two_daemons_share_a_cluster(daemon: DaemonProcess, machines: Machines, tmp_path: Path) -> None:
    with daemon_on_head(machines, tmp_path / "second") as second:
        second.drop("later.json")
        second.wait_for(
            lambda: "found no room on" in second.answer("later").get("waiting_for", ""),
            "it says that the places are taken",
            deadline_s=2 * PATIENCE_S,
        )
        finish(daemon, *drop(daemon, 1))
        assert daemon.stop() == 0
        finish(second, "later")


def test_a_head_that_goes_and_comes_back_costs_nothing_that_was_accepted(
    daemon: DaemonProcess, machines: Machines
) -> None:
    names = begin(daemon, num_images=2)
    with Cage.made("darkroom-test-head", kib=64) as cage:
        (gcs,) = machines.pids("head", "gcs_server")
        cage.take_in(gcs)
        wait_for(lambda: cage.kills, "the kernel has killed it for its memory", deadline_s=PATIENCE_S)
    machines.kill("head", "raylet/raylet")
    finish(daemon, *names.values())  # the other machines go on for a while
    daemon.wait_for(lambda: not seats(daemon), "nothing is left to render on", deadline_s=PATIENCE_S)
    (waits,) = drop(daemon, 1)
    daemon.wait_for(
        lambda: "cannot reach the Ray cluster" in daemon.answer(waits).get("waiting_for", ""),
        "it tells what it waits for",
        deadline_s=PATIENCE_S,
    )
    for name in ("head", *MACHINES):
        machines.kill(name)
    machines.start_head()
    for name in MACHINES:
        machines.start_worker(name)
    finish(daemon, waits)
    both_ready(daemon)


LIES = {
    "another byte": "data[:-1] + b'x'",
    "a byte less": "data[:-1]",
    "too much": "data + bytes(10_000_000)",
    "nothing": "None",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_worker_that_returns_something_else_is_not_believed(
    daemon: DaemonProcess, machines: Machines, tmp_path: Path, lie: str
) -> None:
    """Python itself loads what plants it on one of the machines; the other one renders the request in the end."""
    planted = textwrap.dedent(f"""
        from darkroom.cluster import host

        honest = host.RendererHost._packed

        def packed(self, event):
            line, data = honest(self, event)
            return line, data if data is None else {LIES[lie]}

        host.RendererHost._packed = packed
    """)
    (tmp_path / "sitecustomize.py").write_text(planted)
    machines.kill("one")
    machines.start_worker("one", {"PYTHONPATH": str(tmp_path)})
    mark = daemon.log.length
    daemon.wait_for(lambda: "one/0" in ready_seats(daemon), "the liar is ready", deadline_s=PATIENCE_S)
    names = drop(daemon, 2, num_images=2)
    finish(daemon, *names)
    died = daemon.log.find("renderer_died", mark, seat="one/0")
    assert any("on one sent" in each["why"] for each in died), [each["why"] for each in died]
    assert {daemon.answer(name)["rendered_by"]["host"] for name in names} == {"two"}
    machines.kill("one")


def test_a_machine_with_other_software_is_not_used(daemon: DaemonProcess, machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import darkroom\ndarkroom.__version__ = '9.9'\n")
    machines.kill("one")
    mark = daemon.log.length
    machines.start_worker("one", {"PYTHONPATH": str(tmp_path)})
    died = daemon.wait_for_event("renderer_died", mark, seat="one/0", doing="starting", deadline_s=PATIENCE_S)
    while "9.9" not in died["why"]:  # the death of the seat before it
        mark += 1
        died = daemon.wait_for_event("renderer_died", mark, seat="one/0", doing="starting", deadline_s=PATIENCE_S)
    assert "one has darkroom 9.9" in died["why"]
    assert "install there: darkroom==" in died["why"]
    machines.kill("one")


def test_without_the_token_nothing_is_rendered(machines: Machines, tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text(os.urandom(32).hex())
    with daemon_on_head(machines, tmp_path / "stranger", ray_token_file=str(other)) as stranger:
        before = set(actors(machines))
        stranger.drop("cat.json")
        stranger.wait_for(
            lambda: "is ray_token_file that of the cluster?" in stranger.answer("cat").get("waiting_for", ""),
            "it tells that it is refused",
            deadline_s=PATIENCE_S,
        )
        assert set(actors(machines)) <= before
