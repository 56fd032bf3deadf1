"""One of several real renderers is killed: the others go on, and all is delivered once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import Json

SEATS = ("cpu/1", "cpu/2", "cpu/3")
SOME_TIME = {"num_inference_steps": 40}
#: Pictures that take a while to be made into files.
LARGE = {"width": 1024, "height": 1024, "num_images": 4}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    settings = {"device": "cpu", "renderers_per_device": len(SEATS)}
    models = dict.fromkeys(("slow", "slow_too"), "testcard:load_s=3")
    with DaemonProcess(tmp_path_factory.mktemp("several"), models=models, settings=settings) as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: DaemonProcess) -> DaemonProcess:
    """Its heartbeat may be older than the last death."""
    shared.wait_for(lambda: all(lives(pid_of(shared, seat)) for seat in SEATS), "all have been started again")
    shared.wait_for_health(
        lambda health: all(seat["state"] in ("ready", "unloaded") for seat in health["seats"]), "all are ready"
    )
    return shared


def lives(pid: int) -> bool:
    """What has died and is not waited for yet has no command."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def pid_of(daemon: DaemonProcess, seat: str) -> int:
    begun = daemon.log.find("renderer_ready", seat=seat)
    return int(begun[-1]["pid"]) if begun else 0


def seat_of(daemon: DaemonProcess, name: str) -> str:
    return str(daemon.log.find("rendering", request=name)[-1]["seat"])


def test_one_that_renders_costs_its_own_request_an_attempt(daemon: DaemonProcess) -> None:
    names = [f"cat-{number}" for number in range(6)]
    for name in names:
        daemon.drop(f"{name}.json", SOME_TIME)
    daemon.wait_for_state(names[0], "rendering")
    seat = seat_of(daemon, names[0])
    killed(pid_of(daemon, seat))
    daemon.check_settled(names)
    assert [daemon.answer(name)["attempt"] for name in names[1:]] == [1] * 5
    assert {daemon.answer(name)["rendered_by"]["seat"] for name in names[1:]} - {seat}


def test_one_that_loads_costs_nobody_an_attempt(daemon: DaemonProcess) -> None:
    mark = daemon.log.length
    daemon.drop("loads.json", {"model": "slow"})

    def loading(health: Json) -> list[Json]:
        return [seat for seat in health["seats"] if (seat["state"], seat.get("model")) == ("loading", "slow")]

    seat = loading(daemon.wait_for_health(loading, "it is being loaded"))[0]["name"]
    killed(pid_of(daemon, seat))
    daemon.drop("meanwhile.json")
    daemon.wait_for_event("renderer_died", mark, seat=seat, doing="loading")
    daemon.check_settled(["meanwhile", "loads"])
    assert [daemon.answer(name)["attempt"] for name in ("meanwhile", "loads")] == [1, 1]


def test_one_that_hands_over_pictures_keeps_those_that_are_there(daemon: DaemonProcess) -> None:
    daemon.drop("large.json", LARGE)
    daemon.drop("small.json", SOME_TIME)
    daemon.wait_for(lambda: list(daemon.state.glob("work/*/large-1.png")), "a picture is there")
    killed(pid_of(daemon, seat_of(daemon, "large")))
    daemon.check_settled(["large", "small"])
    assert daemon.answer("small")["attempt"] == 1


def test_one_that_waits_for_something_to_do_is_begun_anew(daemon: DaemonProcess) -> None:
    mark = daemon.log.length
    killed(pid_of(daemon, "cpu/2"))
    daemon.drop("unmoved.json")
    daemon.check_settled(["unmoved"])
    assert daemon.answer("unmoved")["attempt"] == 1
    daemon.wait_for_event("renderer_ready", mark, seat="cpu/2")
