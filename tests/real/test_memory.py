"""The kernel kills the renderer or the service for its memory: what can be rendered is, and what cannot is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.spool.answer import State
from darkroom.testing.process import DaemonProcess
from tests.real.cage import Cage

#: A picture that needs some 200 MB while it is painted.
HUGE_PX = 4096
MODEL = {"source": "testcard", "max_px": HUGE_PX}


@pytest.mark.timeout(300)
def test_a_request_that_needs_too_much_memory_fails_after_its_attempts_and_the_others_render(tmp_path: Path) -> None:
    settings = {"max_attempts": 2}
    with (
        Cage.made("darkroom-test-renderer", kib=120 << 10) as cage,
        DaemonProcess(tmp_path, models={"card": MODEL}, settings=settings) as daemon,
    ):
        cage.take_in(daemon.process.pid)  # its renderer is not there yet, or is ended here: the next one is in it
        daemon.wait_for_event("renderer_ready")
        daemon.kill_renderer()
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        daemon.drop("huge.json", {"width": HUGE_PX, "height": HUGE_PX})
        for name in ("dog", "hen"):
            daemon.drop(f"{name}.json")
        failed = daemon.wait_for_state("huge", "failed", deadline_s=120)
        assert (failed["error"]["code"], failed["attempt"]) == ("renderer_died", 2)
        assert "SIGKILL" in failed["error"]["message"]
        assert cage.kills == 2
        daemon.check_settled(["cat", "dog", "hen"])
        daemon.check_settled(["huge"], State.FAILED)
        daemon.stop()


@pytest.mark.timeout(300)
def test_a_service_that_the_kernel_kills_for_memory_finishes_everything_after_its_next_start(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(30)]
    with Cage.made("darkroom-test-service", kib=256) as cage, DaemonProcess(tmp_path) as daemon:
        daemon.drop("cat.json", {"num_inference_steps": 100})
        daemon.wait_for_state("cat", "rendering")
        cage.take_in(daemon.process.pid)
        for name in names:
            daemon.drop(f"{name}.json", {"metadata": {"long": "x" * 4000}})
        assert daemon.wait_for_end() == -9
        assert cage.kills >= 1
        daemon.start()  # outside: only what is moved in is caged
        daemon.check_settled(["cat", *names])
