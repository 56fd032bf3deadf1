"""One of several renderers is stopped by a signal, and hangs until the service kills it: the others go on."""

import os
import signal
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import Json

SOME_TIME = {"num_inference_steps": 60}
STALL_S = 5.0  #: longer than the start of a renderer takes on a busy machine


def seat_named(health: Json, name: str) -> Json:
    found: Json = next(seat for seat in health["seats"] if seat["name"] == name)
    return found


@pytest.mark.parametrize(("model", "doing"), [("card", "rendering"), ("slow", "loading")])
def test_it_costs_the_others_nothing_and_its_own_request_at_most_an_attempt(
    model: str, doing: str, tmp_path: Path
) -> None:
    settings = {"device": "cpu", "renderers_per_device": 3, "stall_s": STALL_S}
    with DaemonProcess(tmp_path, models={"slow": "testcard:load_s=2"}, settings=settings) as daemon:
        daemon.wait_for_health(
            lambda health: all(seat["state"] == "ready" for seat in health["seats"]), "all are ready"
        )
        daemon.drop("unlucky.json", SOME_TIME | {"model": model})

        def busy(health: Json) -> list[Json]:
            return [seat for seat in health["seats"] if (seat["state"], seat.get("model")) == (doing, model)]

        seat = str(busy(daemon.wait_for_health(busy, f"one is {doing}"))[0]["name"])
        os.kill(daemon.log.find("renderer_ready", seat=seat)[-1]["pid"], signal.SIGSTOP)
        others = [f"cat-{number}" for number in range(6)]
        for name in others:
            daemon.drop(f"{name}.json", SOME_TIME)
        for name in others:
            daemon.wait_for_state(name, "done")
        daemon.wait_for_event("renderer_stalled", seat=seat, doing=doing)
        daemon.check_settled([*others, "unlucky"])
        assert daemon.answer("unlucky")["attempt"] == (2 if doing == "rendering" else 1)
        assert [daemon.answer(name)["attempt"] for name in others] == [1] * 6
        daemon.wait_for_health(lambda health: seat_named(health, seat)["state"] == "ready", "it is there again")
