"""Killed and stopped by signals at every point, the real daemon loses nothing and delivers all of it once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroom.spool.answer import State
from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import Json

#: A request that renders for longer than any test waits.
LONG = {"num_inference_steps": 150, "num_images": 16}
#: One that renders long enough to tell of its progress.
SOME_TIME = {"num_inference_steps": 90}
#: Pictures that take long to encode and to copy.
LARGE = {"width": 2048, "height": 2048, "num_images": 6}

BAD_LOADS = ("die_load", "fail_load")  #: models that cannot be loaded while a file of that name exists

STOP_WITHIN_S = 2.0
STALL_S = 4.0  #: longer than the start of a renderer takes on a busy machine


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    home = tmp_path_factory.mktemp("kill")
    models = {fault: f"testcard:{fault}={home / fault}" for fault in BAD_LOADS}
    models["endless_step"] = "testcard:step_s=3600"
    models |= dict.fromkeys(("slow_load", "slow_load_too"), "testcard:load_s=2.5")
    with DaemonProcess(home, models=models, settings={"max_attempts": 2, "stop_within_s": STOP_WITHIN_S}) as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: DaemonProcess) -> DaemonProcess:
    """One daemon for all: a start takes long. It runs, whatever the test before has left."""
    if not shared.is_running:
        shared.restart()
    return shared


# Where the service can be when it is killed ---------------------------------------------------------------------------


def idle(daemon: DaemonProcess, name: str) -> list[str]:
    daemon.drop(f"{name}.json")
    daemon.wait_for_state(name, "done")
    return [name]


def accepting(daemon: DaemonProcess, name: str) -> list[str]:
    mark = daemon.log.length
    names = [f"{name}-{number}" for number in range(15)]
    for each in names:
        daemon.drop(f"{each}.json")
    daemon.wait_for_event("accepted", mark)
    return names


def taking(daemon: DaemonProcess, name: str) -> list[str]:
    """Any moment at which a request is about to leave the inbox, has its hidden name, or has just lost it."""
    names = [f"{name}-{number}" for number in range(5)]
    with daemon.paused():
        for each in names:
            daemon.drop(f"{each}.json")
            daemon.wait_for_state(each, "queued")
    daemon.wait_for(lambda: os.listdir(daemon.state / "requests"), "bytes come into state")
    return names


def loading(daemon: DaemonProcess, name: str) -> list[str]:
    daemon.drop(f"{name}.json", {"model": "slow_load"})
    wait_until_loading(daemon, "slow_load")
    return [name]


def wait_until_loading(daemon: DaemonProcess, model: str) -> None:
    loading = {"state": "loading", "model": model}
    daemon.wait_for_health(lambda health: loading.items() <= health["seats"][0].items(), f"{model} is being loaded")


def rendering(daemon: DaemonProcess, name: str) -> list[str]:
    daemon.drop(f"{name}.json", SOME_TIME)
    daemon.drop(f"{name}-next.json")
    daemon.wait_for_state(name, "rendering")
    return [name, f"{name}-next"]


def delivering(daemon: DaemonProcess, name: str) -> list[str]:
    daemon.drop(f"{name}.json", LARGE)
    daemon.drop(f"{name}-next.json")
    result = daemon.outbox / name  # a quick disk may have it before anybody has seen it being built
    daemon.wait_for(lambda: is_building(daemon.outbox) or result.exists(), "a folder is being built", poll_s=0.0)
    return [name, f"{name}-next"]


def is_building(outbox: Path) -> bool:
    return any(name.endswith(".part") and ".json" not in name for name in os.listdir(outbox))


MOMENTS: list[Callable[[DaemonProcess, str], list[str]]] = [idle, accepting, taking, loading, rendering, delivering]
at_every_moment = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)


@at_every_moment
def test_a_service_that_is_killed_finishes_everything_once_after_its_next_start(
    daemon: DaemonProcess, moment: Callable[[DaemonProcess, str], list[str]]
) -> None:
    names = moment(daemon, f"killed-{moment.__name__}")
    daemon.restart()
    daemon.check_settled(names)


@at_every_moment
def test_a_service_that_is_asked_to_stop_ends_in_time_and_keeps_or_finishes_everything(
    daemon: DaemonProcess, moment: Callable[[DaemonProcess, str], list[str]]
) -> None:
    names = moment(daemon, f"stopped-{moment.__name__}")
    asked_s = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - asked_s < STOP_WITHIN_S + 10.0  # answers are flushed, and the machine is busy
    assert daemon.health()["state"] == "stopped"
    assert not (daemon.inbox / ".darkroom" / "owner.json").exists()
    daemon.start()
    daemon.check_settled(names)
    assert {daemon.answer(name)["attempt"] for name in names} == {1}


def test_a_stop_finishes_the_picture_in_hand_and_not_the_whole_request(daemon: DaemonProcess) -> None:
    daemon.drop("many.json", {"num_images": 16, "num_inference_steps": 40})

    def second_picture() -> Json:
        running = [each for seat in daemon.health().get("seats", []) for each in seat["rendering"]]
        progress: Json = running[0].get("progress", {}) if running else {}
        return progress if progress.get("image", 0) >= 2 else {}

    daemon.wait_for(second_picture, "the second picture is begun")
    assert daemon.stop() == 0
    kept = daemon.answer("many")
    assert (kept["state"], "attempt" in kept) == ("queued", False)
    finished = list((daemon.state / "work" / kept["id"]).glob("many-*.png"))
    assert 2 <= len(finished) < 16
    assert not list((daemon.state / "work" / kept["id"]).glob("*.part"))
    daemon.start()
    assert len(daemon.wait_for_state("many", "done", deadline_s=60)["images"]) == 16


def test_a_request_that_cannot_be_finished_in_time_is_kept_and_the_attempt_is_not_counted(
    daemon: DaemonProcess,
) -> None:
    daemon.drop("kept.json", LONG)
    daemon.wait_for_state("kept", "rendering")
    assert daemon.stop() == 0
    kept = daemon.answer("kept")
    assert (kept["state"], kept["in_inbox"], "attempt" in kept) == ("queued", False, False)
    daemon.start()
    again = daemon.wait_for_state("kept", "rendering")
    assert (again["id"], again["attempt"]) == (kept["id"], 1)
    daemon.cancel("kept")
    daemon.wait_for_state("kept", "cancelled")


@pytest.mark.parametrize("end", [DaemonProcess.stop, DaemonProcess.kill])
def test_a_cancel_that_the_renderer_has_not_heard_yet_is_obeyed_in_the_next_life(
    daemon: DaemonProcess, end: Callable[[DaemonProcess], object]
) -> None:
    name = f"unwanted-{end.__name__}"
    daemon.drop(f"{name}.json", {"model": "endless_step"})
    daemon.wait_for_state(name, "rendering")
    cancel_file = daemon.cancel(name)
    daemon.wait_for(lambda: not cancel_file.exists(), "the wish is recorded")
    assert daemon.answer(name)["state"] == "rendering"
    end(daemon)
    daemon.start()
    daemon.wait_for_state(name, "cancelled")


def test_an_interrupt_stops_in_order_and_a_second_one_at_once(daemon: DaemonProcess) -> None:
    mark = daemon.log.length
    daemon.drop("interrupted.json", {"num_inference_steps": 120})
    daemon.wait_for_state("interrupted", "rendering")
    daemon.send(signal.SIGINT)
    daemon.wait_for_event("stopping", mark)
    daemon.send(signal.SIGINT)
    assert daemon.wait_for_end() == 130
    daemon.start()
    daemon.check_settled(["interrupted"])


def test_a_request_that_dies_with_its_service_is_failed_after_its_attempts(daemon: DaemonProcess) -> None:
    mark = daemon.log.length
    daemon.drop("deadly.json", LONG)
    for attempt in (1, 2):  # the log is asked: after a kill the answer still tells of the attempt before
        daemon.wait_for_event("rendering", mark, request="deadly", attempt=attempt)
        daemon.restart()
    daemon.check_settled(["deadly"], State.FAILED)


# The renderer ---------------------------------------------------------------------------------------------------------


def test_a_renderer_that_is_killed_while_it_renders_costs_its_request_an_attempt(daemon: DaemonProcess) -> None:
    daemon.drop("unlucky.json", SOME_TIME)
    daemon.wait_for(lambda: daemon.answer("unlucky").get("progress"), "it has made steps")
    daemon.kill_renderer()
    assert daemon.wait_for_state("unlucky", "done")["attempt"] == 2
    daemon.check_settled(["unlucky"])


def test_a_request_that_kills_every_renderer_fails_and_the_others_render(daemon: DaemonProcess) -> None:
    for name in ("cat", "dog"):
        daemon.drop(f"{name}.json")
        daemon.drop(f"bad-{name}.json", {"prompt": "DIE"})
    for name in ("bad-cat", "bad-dog"):
        failed = daemon.wait_for_state(name, "failed")
        assert (failed["error"]["code"], failed["attempt"]) == ("renderer_died", 2)
        assert "SIGKILL" in failed["error"]["message"]
    daemon.check_settled(["cat", "dog"])
    daemon.check_settled(["bad-cat", "bad-dog"], State.FAILED)


def test_models_that_cannot_be_loaded_are_held_and_fail_nobody(daemon: DaemonProcess) -> None:
    for fault in BAD_LOADS:
        (daemon.home / fault).touch()
        daemon.drop(f"wants-{fault}.json", {"model": fault})
    for fault in BAD_LOADS:
        daemon.wait_for_event("model_held", model=fault)
        check_told_as_held(daemon, f"wants-{fault}", fault)
    daemon.drop("wants-another.json")
    daemon.wait_for_state("wants-another", "done")
    for fault in BAD_LOADS:
        (daemon.home / fault).unlink()
    for fault in BAD_LOADS:
        done = daemon.wait_for_state(f"wants-{fault}", "done", deadline_s=60)
        assert (done["attempt"], "waiting_for" in done) == (1, False)


def check_told_as_held(daemon: DaemonProcess, name: str, model: str) -> None:
    def that_waits() -> Json:
        answer = daemon.answer(name)
        return answer if "waiting_for" in answer else {}

    answer = daemon.wait_for(that_waits, "its answer says why it waits")
    assert (answer["state"], "attempt" in answer) == ("queued", False)
    held = {"model": model, "why": answer["waiting_for"]}
    daemon.wait_for_health(lambda health: any(held.items() <= each.items() for each in health["held"]), "it is told")


def test_a_model_whose_loading_kills_the_renderer_once_is_held_and_fails_nobody(daemon: DaemonProcess) -> None:
    daemon.drop("loads.json", {"model": "slow_load_too"})
    wait_until_loading(daemon, "slow_load_too")
    daemon.kill_renderer()
    daemon.wait_for_event("model_held", model="slow_load_too")
    daemon.drop("while-it-loads.json")
    daemon.wait_for_state("while-it-loads", "done")
    assert daemon.wait_for_state("loads", "done")["attempt"] == 1


def test_a_renderer_that_stands_still_is_killed_and_what_it_did_is_told_as_stalled(tmp_path: Path) -> None:
    models = {"hang_load": f"testcard:hang_load={tmp_path / 'hang_load'}"}
    (tmp_path / "hang_load").touch()
    with DaemonProcess(tmp_path, models=models, settings={"max_attempts": 1, "stall_s": STALL_S}) as daemon:
        daemon.drop("bad.json", {"prompt": "HANG"})
        failed = daemon.wait_for_state("bad", "failed", deadline_s=60)
        assert (failed["error"]["code"], failed["attempt"]) == ("stalled", 1)
        assert daemon.log.find("renderer_stalled", doing="rendering")
        daemon.drop("patient.json", {"model": "hang_load"})
        assert "no sign of life" in daemon.wait_for_event("model_held", model="hang_load")["why"]
        (tmp_path / "hang_load").unlink()
        assert daemon.wait_for_state("patient", "done", deadline_s=60)["attempt"] == 1
        daemon.check_settled(["bad"], State.FAILED)
