import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from darkroom.cli import main
from darkroom.config.settings import Config, shipped
from darkroom.systemd.notify import Notifier
from darkroom.systemd.unit import STOP_SPARE_S, TIMEOUT_STOP_S, service_unit

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: THE UNIT IS NOT VERIFIED (Debian: apt install systemd)",
)


class Unit(ConfigParser):
    """Just enough of a unit file: the last of several equal keys counts."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read_string(text)


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As for folders on a disk of this machine, whatever these tests lie on."""
    monkeypatch.setattr("darkroom.systemd.unit.share_point", lambda _: None)
    config = Config(inbox=tmp_path / "my inbox", outbox=tmp_path / "out")
    return service_unit(config, file=tmp_path / "darkroom.toml", user="ann", group="ann")


@pytest.fixture
def unit_file(printed: str, tmp_path: Path) -> Path:
    """The printed unit, with a program that exists wherever these tests run."""
    program = str(Path(sys.executable).with_name("darkroom"))
    path = tmp_path / "darkroom.service"
    path.write_text(printed.replace(program, "/bin/true"))
    return path


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_about_the_unit(unit_file: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit_file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd_analyze
def test_the_service_is_exposed_to_little(unit_file: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_unit_agrees_with_the_configuration() -> None:
    unit = Unit(shipped("systemd/darkroom.service").read_text())
    assert int(unit["Service"]["TimeoutStopSec"]) == TIMEOUT_STOP_S > Config().stop_within_s + 5
    assert unit["Service"]["Type"] == "notify"
    assert "RequiresMountsFor" not in unit["Unit"]
    assert not {"Requires", "BindsTo", "Requisite"} & set(unit["Unit"])


def test_every_directive_has_its_reason_above_it() -> None:
    """One comment may stand above a few directives; none stands alone behind a blank line."""
    lines = shipped("systemd/darkroom.service").read_text().splitlines()
    service = lines[lines.index("[Service]") + 1 : lines.index("[Install]")]
    assert [
        here for above, here in zip(["", *service], service, strict=False) if here[:1].isalpha() and not above
    ] == []


def test_user_command_and_folders_are_filled_in(printed: str, tmp_path: Path) -> None:
    service = Unit(printed)["Service"]
    assert service["User"] == "ann"
    assert service["ExecStart"].endswith(
        f'/darkroom run --config {tmp_path}/darkroom.toml --inbox "{tmp_path}/my inbox" --outbox {tmp_path}/out'
    )
    assert service["ReadWritePaths"] == f'"-{tmp_path}/my inbox" -{tmp_path}/out'
    assert service["Environment"] == "DARKROOM_STATE_DIR=/var/lib/darkroom DARKROOM_MODEL_CACHE=/var/cache/darkroom"


def test_folders_of_ones_own_for_state_and_models_can_be_written() -> None:
    config = Config(inbox="/in", outbox="/out", state_dir="/data/100%", model_cache="/data/models")
    service = Unit(service_unit(config, file=None, user="darkroom", group="darkroom"))["Service"]
    assert service["ReadWritePaths"] == "-/in -/out -/data/100%% -/data/models"
    assert "--config" not in service["ExecStart"]


def test_a_command_of_notify_that_lies_in_a_home_is_seen_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("program", "python"):
        monkeypatch.setattr(f"darkroom.systemd.unit.{path}", lambda: Path("/opt/darkroom/.venv/bin/python"))
    monkeypatch.setattr("darkroom.systemd.unit.needed", lambda *_: [])
    for words, homes in ((("curl", "http://x/home/y"), "yes"), (("sh", "/home/ann/tell"), "read-only")):
        config = Config(inbox=Path("/in"), outbox=Path("/out"), notify=words)
        service = Unit(service_unit(config, file=None, user="ann", group="ann"))["Service"]
        assert service["ProtectHome"] == homes


def test_the_folder_of_the_text_file_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.systemd.unit.share_point", lambda _: None)
    config = Config(inbox=Path("/in"), outbox=Path("/out"), textfile="/var/lib/node exporter/darkroom.prom")
    service = Unit(service_unit(config, file=None, user="ann", group="ann"))["Service"]
    assert service["ReadWritePaths"] == '-/in -/out "-/var/lib/node exporter"'


def test_systemd_waits_longer_than_the_picture_in_hand_may_take() -> None:
    config = Config(inbox="/in", outbox="/out", stop_within_s=120.5)
    service = Unit(service_unit(config, file=None, user="darkroom", group="darkroom"))["Service"]
    assert int(service["TimeoutStopSec"]) == 121 + STOP_SPARE_S


def test_homes_are_hidden_unless_something_that_it_needs_lies_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.systemd.unit.needed", lambda config, file: [Path("/opt/darkroom")])
    for inbox, expected in (("/srv/inbox", "yes"), ("/home/ann/inbox", "read-only"), ("/homestead/inbox", "yes")):
        config = Config(inbox=inbox, outbox="/srv/outbox")
        service = Unit(service_unit(config, file=None, user="ann", group="people"))["Service"]
        assert (service["ProtectHome"], service["Group"]) == (expected, "people")


def test_of_a_share_the_mount_point_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own would be mounted over itself, and hold the share for the service alone."""
    monkeypatch.setattr(
        "darkroom.systemd.unit.share_point", lambda path: "/mnt/nas" if path.is_relative_to("/mnt/nas") else None
    )
    config = Config(inbox="/mnt/nas/inbox", outbox="/mnt/nas/outbox")
    service = Unit(service_unit(config, file=None, user="ann", group="ann"))["Service"]
    assert service["ReadWritePaths"] == "-/mnt/nas"


# The notify socket ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        address = str(tmp_path / "notify") if request.param == "path" else f"@darkroom-test-{os.getpid()}"
        listening.bind(address.replace("@", "\0", 1))
        listening.settimeout(5)
        yield listening, address


def test_systemd_hears_what_the_service_does(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready("looking\nat the inbox")
    notifier.status("rendering")
    notifier.alive()
    notifier.stopping("stopping")
    heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == [
        "READY=1\nSTATUS=looking at the inbox",
        "STATUS=rendering",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=stopping",
    ]
    assert notifier.watchdog_s == 30


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_there_is_nothing_to_feed(
    environ: dict[str, str], manager: tuple[socket.socket, str]
) -> None:
    listening, address = manager
    notifier = Notifier({**environ, "NOTIFY_SOCKET": address})
    notifier.alive()
    notifier.status("the only word")
    assert listening.recv(4096) == b"STATUS=the only word"
    assert notifier.watchdog_s is None


def test_what_keeps_a_service_from_starting_is_its_last_word(
    manager: tuple[socket.socket, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To systemd, exit status 3 would mean "not implemented"."""
    (tmp_path / "wrong.toml").write_text("settle_s = 0\nhistory = 3\n")
    assert main(["run", "--config", str(tmp_path / "wrong.toml")]) == 3
    monkeypatch.setenv("NOTIFY_SOCKET", manager[1])
    assert main(["run", "--config", str(tmp_path / "wrong.toml")]) == 78
    said = manager[0].recv(4096).decode()
    assert said.startswith(f"STATUS=cannot start: {tmp_path}/wrong.toml has 2 problems; ")
    assert "settle_s: must be above 0" in said
    assert main(["check", "--config", str(tmp_path / "wrong.toml"), "x.json"]) == 3


def test_a_manager_that_does_not_listen_is_no_trouble(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody"), "vsock:2:1234", ""):
        Notifier({"NOTIFY_SOCKET": address}).ready("up")


def test_a_manager_that_does_not_read_never_makes_us_wait(manager: tuple[socket.socket, str]) -> None:
    _, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for _ in range(5000):
        notifier.status("x" * 1000)
