"""What the doctor says of a daemon that runs."""

import encodings.utf_8_sig  # noqa: F401 - the user that one test becomes may not read it
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest

from darkroom.cli import doctor, model_checks
from darkroom.config.models import LoraSettings, UpscalerSettings
from darkroom.config.settings import Config
from darkroom.executor.devices import DeviceInfo
from darkroom.systemd import host
from darkroom.testing.zoo.upscalers import build_upscaler

EVERYBODY = 65_534


@pytest.fixture
def nobody() -> Iterator[None]:
    """Somebody with no rights of their own."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(EVERYBODY)
    os.seteuid(EVERYBODY)
    yield
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(host, "UNIT_FILE", tmp_path / "darkroom.service")
    (tmp_path / "place").mkdir()
    folders = {
        key: tmp_path / "place" / name for key, name in (("inbox", "in"), ("outbox", "out"), ("state_dir", "st"))
    }
    for folder in folders.values():
        folder.mkdir()
    return Config(**folders)


def failed(config: Config, file: Path | None = None) -> dict[str, str]:
    found = doctor.examine(config, file)
    return {each.what: f"{each.says} {each.do}" for each in found if each.verdict is doctor.Verdict.FAIL}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
@pytest.mark.parametrize("closed", ["place", "place/in"])
def test_somebody_outside_is_told_whose_rights_are_meant_and_how_to_get_in(
    config: Config, tmp_path: Path, closed: str, request: pytest.FixtureRequest
) -> None:
    ours: Path = request.getfixturevalue("tmp_path_factory").getbasetemp()
    ours = ours.parent if ours.name.startswith("popen-") else ours
    for parent in (tmp_path, *tmp_path.parents):
        if parent == ours or ours in parent.parents or Path(gettempdir()) in parent.parents:
            parent.chmod(0o755)
    (tmp_path / "darkroom.service").write_text("[Service]\nUser=darkroom\n")
    (tmp_path / closed).chmod(0o700)
    (config.outbox).chmod(0o2770)
    request.getfixturevalue("nobody")
    said = failed(config)
    assert said["inbox"].startswith((f"{config.inbox} cannot be looked at by nobody", "nobody cannot write to "))
    assert "Ask its owner (root)" in said["inbox"] or "ask its owner (root)" in said["inbox"]
    assert "state" not in said, "the service's own folder is none of theirs"
    if closed == "place/in":
        assert "open to the group root. To join it: sudo usermod --append --groups root nobody" in said["outbox"]


def test_a_link_in_place_of_our_own_folder_is_told_and_not_followed(config: Config, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (config.inbox / ".darkroom").symlink_to(tmp_path / "elsewhere")
    assert (
        failed(config)["inbox"] == f"{config.inbox}/.darkroom is a link. Nothing is written through links: remove it."
    )
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_folders_that_are_one_below_their_spelling_are_told(config: Config) -> None:
    assert "folders" not in failed(config)
    config.outbox.rmdir()
    config.outbox.symlink_to(config.inbox)
    assert failed(config)["folders"].startswith(f"the outbox {config.outbox} is the same folder as the inbox")
    config.outbox.unlink()
    (config.inbox / "deep/er").mkdir(parents=True)
    config.outbox.symlink_to(config.inbox / "deep/er")
    assert failed(config)["folders"].startswith(f"the outbox {config.outbox} is inside the inbox {config.inbox}")


def test_a_check_that_errs_is_one_line_and_the_others_go_on(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def oops(_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(doctor, "likely_devices", oops)
    whats = [each.what for each in doctor.examine(config)]
    assert failed(config)["device"] == "this check itself failed: RuntimeError: no luck. Report it, with this line."
    assert {"inbox", "clock", "daemon"} <= set(whats)


def test_an_environment_that_its_python_has_left_behind_is_told(config: Config, tmp_path: Path) -> None:
    program = tmp_path / "darkroom/.venv/bin/darkroom"
    program.parent.mkdir(parents=True)
    (tmp_path / "darkroom/.venv/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.4.1\n")
    program.with_name("python").symlink_to(sys.executable)
    (tmp_path / "darkroom.service").write_text(f"[Service]\nExecStart={program} run --config /etc/other.toml\n")
    assert "is not there" in failed(config)["service"]
    program.touch()
    assert f"made with Python 3.4, and finds 3.{sys.version_info[1]} now" in failed(config)["service"]
    assert f"cd {tmp_path}/darkroom && make venv" in failed(config)["service"]
    says = [each.says for each in doctor.examine(config, tmp_path / "mine.toml") if each.what == "service"]
    assert says[-1] == "it uses /etc/other.toml, and not the configuration above."


def test_where_relative_paths_start_is_told(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "darkroom.toml"
    file.write_text('styles = "my.toml"\n')

    def told() -> list[str]:
        return [each.says for each in doctor.examine(config, file) if each.what == "configuration"]

    assert told() == [f'relative paths start at {tmp_path}: styles = "my.toml".']
    (tmp_path / "darkroom.service").write_text(
        f"[Service]\nWorkingDirectory=/srv\nExecStart=/x/darkroom run --config {file}\n"
    )
    assert told() == [f'relative paths start here at {tmp_path}, for the service at /srv: styles = "my.toml".']


def test_what_the_daemon_cannot_use_just_now_is_told_with_what_to_do(config: Config) -> None:
    for folder in (config.inbox, config.outbox, config.state_dir):
        folder.mkdir(exist_ok=True)
    health = {
        "host": socket.gethostname(), "pid": os.getpid(), "state": "running", "version": "1",
        "folders": {"inbox": {"state": "away", "why": "it waits."}, "outbox": {"state": "present"}},
        "held": [{"model": "sd15", "why": "no hub.", "hint": "Connect the machine.", "next_try_s": 3}],
        "seats": [{"name": "cuda:0", "state": "held", "why": "it fell off the bus."}, {"state": "ready"}],
    }  # fmt: skip
    (config.state_dir / "health.json").write_text(json.dumps(health))
    told = [(each.says, each.do) for each in doctor.examine(config) if each.what == "daemon"][1:]
    assert told == [
        ("the inbox is away for it: it waits.", ""),
        ("it holds the model sd15: no hub.", "Connect the machine."),
        ("it holds the device cuda:0: it fell off the bus.", ""),
    ]


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
    health = {"host": host, "pid": os.getpid(), "state": "running", "version": "1", "seats": [{"device": used}]}
    (config.state_dir / "health.json").write_text(json.dumps(health))
    monkeypatch.setattr(doctor, "likely_devices", lambda _: {there: DeviceInfo(there, there, None)})
    said = [finding.says for finding in doctor.examine(config) if finding.what == "daemon"]
    assert ("running on" in said[0], WORDS in said) == (True, told)


def said_of(what: str, config: Config) -> list[tuple[doctor.Verdict, str]]:
    return [(each.verdict, each.says) for each in doctor.examine(config) if each.what == what]


def test_an_address_that_is_free_taken_or_open_to_all_is_told(config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        at_it = config.model_copy(update={"http": address})
        taken.close()
        assert said_of("http", at_it) == [(doctor.Verdict.OK, f"{address} is free.")]
    open_to_all = config.model_copy(update={"http": "0.0.0.0:0"})
    assert [verdict for verdict, _ in said_of("http", open_to_all)] == [doctor.Verdict.OK, doctor.Verdict.WARN]
    assert said_of("http", config) == []


def test_a_lora_whose_file_is_not_there_is_told(config: Config, tmp_path: Path) -> None:
    gone = LoraSettings(source=tmp_path / "gone.safetensors")
    told = said_of("lora ink", config.model_copy(update={"loras": {"ink": gone}}))
    assert told == [(doctor.Verdict.WARN, f"it can't be used: there is no file {tmp_path / 'gone.safetensors'}.")]


def test_an_upscaler_that_can_not_be_used_is_told(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "4x.safetensors"
    config = config.model_copy(update={"upscalers": {"sharp": UpscalerSettings(source=file)}})
    monkeypatch.setattr(model_checks, "find_spec", lambda _: None)
    missing = "it can't be used: the package spandrel is not installed."
    assert said_of("upscaler sharp", config) == [(doctor.Verdict.WARN, missing)]
    monkeypatch.setattr(model_checks, "find_spec", lambda _: object())
    gone = f"it can't be used: {file} can't be read (No such file or directory)."
    assert said_of("upscaler sharp", config) == [(doctor.Verdict.WARN, gone)]
    build_upscaler(file)
    assert said_of("upscaler sharp", config) == [(doctor.Verdict.OK, f"{file} is there, whole.")]
    file.write_bytes(file.read_bytes()[:-9])
    ((verdict, said),) = said_of("upscaler sharp", config)
    assert verdict == doctor.Verdict.WARN
    assert "is torn" in said


def answering(listener: socket.socket, answer: bytes) -> None:
    """One connection."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + answer)


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (b'{"healthy": false, "version": "9.9"}', doctor.Verdict.OK, "Darkroom 9.9 listens at"),
        (b'{"status": "up"}', doctor.Verdict.WARN, "Address already in use"),
        (b"hello", doctor.Verdict.WARN, "Address already in use"),
    ],
)
def test_whoever_listens_at_the_address_is_asked_whether_it_is_darkroom(
    config: Config, answer: bytes, verdict: doctor.Verdict, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = threading.Thread(target=answering, args=(taken, answer), daemon=True)
        thread.start()
        at_it = config.model_copy(update={"http": f"127.0.0.1:{taken.getsockname()[1]}"})
        ((found, says),) = said_of("http", at_it)
        thread.join()
    assert found is verdict
    assert words in says


def test_a_command_of_notify_that_is_not_there_is_told(config: Config) -> None:
    absent = config.model_copy(update={"notify": ("no-such-command",)})
    assert [verdict for verdict, _ in said_of("notify", absent)] == [doctor.Verdict.WARN]
    there = config.model_copy(update={"notify": ("true",)})
    assert [verdict for verdict, _ in said_of("notify", there)] == [doctor.Verdict.OK]
