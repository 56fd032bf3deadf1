"""What the doctor says of a daemon that runs."""

import json
import os
import socket
from pathlib import Path

import pytest

from darkroom.cli import doctor
from darkroom.config.load import Config
from darkroom.executor.devices import DeviceInfo

WORDS = "it renders on the processor, though cuda:0 is there."


@pytest.mark.parametrize(
    ("host", "used", "there", "told"),
    [
        (socket.gethostname(), "cpu", "cuda:0", True),
        (socket.gethostname(), "cuda:0", "cuda:0", False),
        (socket.gethostname(), "cpu", "cpu", False),
        ("another-machine", "cpu", "cuda:0", False),
    ],
)
def test_a_renderer_that_does_not_use_the_gpu_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, used: str, there: str, told: bool
) -> None:
    config = Config(inbox=tmp_path / "in", outbox=tmp_path / "out", state_dir=tmp_path / "state")
    for folder in (config.inbox, config.outbox, config.state_dir):
        folder.mkdir()
    health = {"host": host, "pid": os.getpid(), "state": "running", "version": "1", "renderer": {"device": used}}
    (config.state_dir / "health.json").write_text(json.dumps(health))
    monkeypatch.setattr(doctor, "likely_device", lambda _: DeviceInfo(there, there, None))
    said = [finding.says for finding in doctor.examine(config) if finding.what == "daemon"]
    assert ("running on" in said[0], WORDS in said) == (True, told)
