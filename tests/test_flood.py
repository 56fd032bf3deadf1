"""A flood of files at once: every one is answered, whatever the daemon was doing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess, request
from tests import sampling

FILES = 10_000 if sampling.ALL else 1_000
DEADLINE_S = 400.0  #: seconds on a machine at rest

pytestmark = pytest.mark.timeout(2 * DEADLINE_S)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that renders one picture all the time."""
    with DaemonProcess(tmp_path, models={"slow": "testcard:step_s=1"}) as daemon:
        daemon.drop("busy.json", {"model": "slow", "num_inference_steps": 150, "num_images": 16})
        daemon.wait_for_state("busy", "rendering")
        yield daemon


def flood(daemon: DaemonProcess) -> None:
    """Written in place, as a plain copy does."""
    for number in range(FILES):
        (daemon.inbox / f"{number}.json").write_bytes(request(prompt=f"picture {number}", seed=number))


def check_all_answered(daemon: DaemonProcess) -> None:
    """There is an answer to each file, and it is about that file."""
    daemon.wait_for(lambda: len(os.listdir(daemon.outbox)) >= FILES + 2, "all are answered", deadline_s=DEADLINE_S)
    for number in range(FILES):
        answer = daemon.answer(str(number))
        assert (answer["state"], answer["dropped_as"], answer["plan"]["seed"]) == ("queued", f"{number}.json", number)
    assert daemon.answer("busy")["state"] == "rendering"


def test_a_flood_that_comes_while_a_picture_renders_is_answered_file_by_file(daemon: DaemonProcess) -> None:
    flood(daemon)
    check_all_answered(daemon)


def test_a_flood_that_comes_while_the_daemon_is_stopped_is_answered_file_by_file(
    daemon: DaemonProcess,
) -> None:
    daemon.freeze()
    flood(daemon)  # several events a file; of ten thousand the kernel's queue loses some, and a listing finds them
    daemon.thaw()
    check_all_answered(daemon)
    assert daemon.stop() == 0
