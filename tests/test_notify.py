"""A command for each request that has come to its end: told once, in time, and in nobody's way."""

import json
import os
import re
import resource
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from structlog.testing import capture_logs

from darkroom.config.load import TOLD_TO_COMMANDS
from darkroom.report import messenger as rooms
from darkroom.report.messenger import Messenger
from darkroom.report.tally import Tally
from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import read_json, wait_for

PAGE = (Path(__file__).parents[1] / "docs" / "notify.md").read_text(encoding="utf-8")
ABOUT = dict.fromkeys(TOLD_TO_COMMANDS, "") | {"DARKROOM_REQUEST": "alice/cat"}


class Outcomes(Tally):
    """Those that were told, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def notified(self, outcome: str) -> None:
        self.heard.append(outcome)


def script(folder: Path, text: str, name: str = "tell") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def told(argv: list[str], *, limit_s: float = 30.0, answer: bytes = b"{}", about: Mapping[str, str] = ABOUT) -> Any:
    """What comes of one message: the outcome, and what was logged."""
    outcomes = Outcomes()
    messenger = Messenger(argv, tally=outcomes, clock=monotonic, limit_s=limit_s)
    with capture_logs() as logs:
        messenger.start()
        messenger.tell(answer, about)
        messenger.finish(60.0)
    return outcomes.heard, logs


# One command ---------------------------------------------------------------------------------------------------------


def test_the_answer_comes_on_stdin_and_what_it_is_about_in_the_environment(tmp_path: Path) -> None:
    answer = json.dumps({"images": ["x" * 200_000]}).encode()  # more than a pipe holds
    argv = [script(tmp_path, f'cat > {tmp_path}/stdin; echo "$1 $DARKROOM_REQUEST" > {tmp_path}/said'), "a word"]
    outcomes, logs = told(argv, answer=answer)
    assert (outcomes, logs) == (["told"], [])
    assert (tmp_path / "stdin").read_bytes() == answer
    assert (tmp_path / "said").read_text() == "a word alice/cat\n"


def test_a_command_need_not_read_anything(tmp_path: Path) -> None:
    assert told(["true"], answer=b"x" * 1_000_000) == (["told"], [])


def test_what_it_says_goes_to_the_log_for_whoever_looks_closely(tmp_path: Path) -> None:
    outcomes, logs = told([script(tmp_path, "echo out; echo err >&2; head -c 1000000 /dev/zero | tr '\\0' x")])
    assert outcomes == ["told"]
    (log,) = logs
    assert (log["log_level"], log["event"], log["request"]) == ("debug", "notification_said", "alice/cat")
    assert log["said"].startswith("out\nerr\nxxx")
    assert len(log["said"]) == rooms.MOST_SAID_BYTES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3", "it ended with status 3"),
        ("kill -9 $$", "it was ended by SIGKILL"),
        ("kill -40 $$", "it was ended by signal 40"),
    ],
)
def test_a_command_that_fails_is_a_warning(text: str, why: str, tmp_path: Path) -> None:
    outcomes, logs = told([script(tmp_path, text)])
    assert outcomes == ["failed"]
    assert [(log["log_level"], log["event"], log["why"]) for log in logs] == [("warning", "notification_failed", why)]


def test_an_error_that_nobody_foresaw_costs_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = Outcomes()
    erred: list[bytes] = []

    def err(answer: bytes) -> int:
        if not erred:
            erred.append(answer)
            raise ZeroDivisionError("a bug")
        return before(answer)

    before = rooms._in_memory
    monkeypatch.setattr(rooms, "_in_memory", err)
    messenger = Messenger(["true"], tally=outcomes, clock=monotonic)
    with capture_logs() as logs:
        messenger.start()
        for _ in range(2):
            messenger.tell(b"{}", ABOUT)
        messenger.finish(60.0)
    assert outcomes.heard == ["failed", "told"]
    assert [(log["event"], log["why"]) for log in logs if log["log_level"] == "error"] == [
        ("unforeseen_error", "ZeroDivisionError: a bug")
    ]


def test_a_command_is_heard_however_many_files_are_open(tmp_path: Path) -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 1200:
        pytest.skip("this process may not open so many")
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(open("/dev/null", "rb"))
        assert told([script(tmp_path, "echo out; sleep 0.01")])[0] == ["told"]


@pytest.mark.parametrize("word", ["/no/such/command", "/etc/passwd", "/"])
def test_a_command_that_cannot_be_run_is_a_warning(word: str) -> None:
    outcomes, logs = told([word])
    assert outcomes == ["failed"]
    assert logs[0]["why"].startswith("it cannot be run: ")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    text = f"(exec sleep 600) > {tmp_path}/alive & exec sleep 600"
    outcomes, logs = told([script(tmp_path, text)], limit_s=0.3)
    assert outcomes == ["failed"]
    assert logs[0]["why"] == "it took longer than 0.3 s, and was ended"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"", "nobody holds the other end any more"
    os.close(reader)


def test_a_command_that_leaves_something_behind_has_ended_all_the_same(tmp_path: Path) -> None:
    outcomes, _ = told([script(tmp_path, "sleep 60 & echo $! > " + str(tmp_path / "pid"))])
    assert outcomes == ["told"]
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_systemds_own_words_are_kept_from_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("LANGUAGE", "de")
    told([script(tmp_path, f"env > {tmp_path}/env")])
    words = (tmp_path / "env").read_text().splitlines()
    assert "LANGUAGE=de" in words
    assert not [word for word in words if word.startswith("NOTIFY_SOCKET")]


# Many ----------------------------------------------------------------------------------------------------------------


def test_where_messages_come_faster_than_they_are_told_the_oldest_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MOST_WAITING", 3)
    outcomes = Outcomes()
    messenger = Messenger(
        [script(tmp_path, f"echo $DARKROOM_REQUEST >> {tmp_path}/said")], tally=outcomes, clock=monotonic
    )
    with capture_logs() as logs:
        for number in range(5):
            messenger.tell(b"{}", ABOUT | {"DARKROOM_REQUEST": str(number)})
        messenger.start()
        messenger.finish(60.0)
    assert outcomes.heard == ["dropped", "dropped", "told", "told", "told"]
    assert (tmp_path / "said").read_text().split() == ["2", "3", "4"]
    dropped = [(log["event"], log["request"], log["dropped"]) for log in logs]
    assert dropped == [("notification_dropped", "0", 1), ("notification_dropped", "1", 2)]


def test_what_is_left_at_the_end_is_dropped_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    outcomes = Outcomes()
    messenger = Messenger(
        [script(tmp_path, f"echo > {tmp_path}/begun; exec sleep 600")], tally=outcomes, clock=monotonic
    )
    messenger.start()
    for _ in range(3):
        messenger.tell(b"{}", ABOUT)
    (tmp_path / "begun").read_text()
    messenger.finish(0.0)
    assert outcomes.heard == ["dropped", "dropped", "failed"]


# A whole daemon ------------------------------------------------------------------------------------------------------


def example(heading: str) -> str:
    """The script that the page shows under this comment."""
    found = re.search(rf"```sh\n(#!/bin/sh\n# {re.escape(heading)}.*?)```", PAGE, re.DOTALL)
    assert found is not None, heading
    return found[1]


def shown(folder: Path, heading: str, **changes: str) -> str:
    """That script, as a file, with these words of it changed."""
    text = example(heading)
    for word, other in changes.items():
        assert word in text
        text = text.replace(word, other)
    path = folder / "tell"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_each_end_is_told_once_when_everything_is_there(tmp_path: Path) -> None:
    text = (
        'test -e "$DARKROOM_ANSWER" && cmp -s "$DARKROOM_ANSWER" - || exit 9\n'
        'test -z "$DARKROOM_RESULT" || test -d "$DARKROOM_RESULT" || exit 8\n'
        f'env | grep "^DARKROOM_" | sort > {tmp_path}/$DARKROOM_STATE-$DARKROOM_REQUEST.env\n'
        f'echo "$DARKROOM_REQUEST $DARKROOM_STATE" >> {tmp_path}/said'
    )
    settings = {"notify": [script(tmp_path, text)], "log_level": "debug"}
    with DaemonProcess(tmp_path / "home", settings=settings) as daemon:
        daemon.drop("cat.json", {"num_images": 2})
        daemon.drop("dog.json", {"width": 3})
        daemon.drop("fox.json", b'{"prompt": ')
        for name in ("cat", "dog", "fox"):
            daemon.wait_for_state(name, "done", "refused")
        wait_for(
            lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text().count("\n") == 3, "all are told"
        )
        daemon.stop()
        daemon.start()
        daemon.drop("owl.json")
        daemon.wait_for_state("owl", "done")
        daemon.stop()
        assert not daemon.log.find("notification_failed")
    said = (tmp_path / "said").read_text().splitlines()
    assert sorted(said) == ["cat done", "dog refused", "fox refused", "owl done"]
    about = dict(line.split("=", 1) for line in (tmp_path / "done-cat.env").read_text().splitlines())
    assert about.keys() == TOLD_TO_COMMANDS.keys()
    assert about["DARKROOM_RESULT"] == str(daemon.outbox / "cat")
    assert about["DARKROOM_PICTURES"] == "2"
    assert "fox ends" not in (tmp_path / "refused-fox.env").read_text()
    assert "DARKROOM_MESSAGE=The file ends" in (tmp_path / "refused-fox.env").read_text()


def test_a_command_that_hangs_keeps_no_request_waiting_and_no_stop(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    settings = {"notify": [script(tmp_path, f"echo > {tmp_path}/begun; exec sleep 600")]}
    with DaemonProcess(tmp_path / "home", settings=settings) as daemon:
        daemon.drop("cat.json")
        (tmp_path / "begun").read_text()
        for name in ("dog", "fox"):
            daemon.drop(f"{name}.json")
            daemon.wait_for_state(name, "done")
        assert daemon.stop() == 0
        assert [log["request"] for log in daemon.log.find("notification_dropped")] == ["dog", "fox"]


def test_a_command_may_call_darkroom_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DaemonProcess(tmp_path / "home") as daemon:
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        given = dict.fromkeys(TOLD_TO_COMMANDS, "x")
        monkeypatch.setattr(DaemonProcess, "_environment", staticmethod(lambda: os.environ | given))
        assert daemon.command("status", "cat").returncode == 0
        del given["DARKROOM_ID"]  # a person who means another setting is told so
        assert "DARKROOM_STATE" in daemon.command("status", "cat").stderr


def test_with_once_every_end_is_told_before_the_daemon_ends(tmp_path: Path) -> None:
    argv = shown(tmp_path, "A line in a file", **{"/var/log/darkroom/ends.txt": str(tmp_path / "ends.txt")})
    daemon = DaemonProcess(tmp_path / "home", settings={"notify": [argv]})
    for number in range(5):
        daemon.drop(f"cat-{number}.json")
    daemon.start("--once", wait=False)
    assert daemon.wait_for_end() == 0
    lines = (tmp_path / "ends.txt").read_text().splitlines()
    assert sorted(line.split(" ", 1)[1] for line in lines) == [f"cat-{number}: done, 1 pictures" for number in range(5)]


@pytest.fixture
def hook() -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """A webhook: its port, and what was posted."""
    posted: list[tuple[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_port, posted
    server.shutdown()
    server.server_close()
    thread.join()


def test_curl_posts_the_answer_to_a_webhook(tmp_path: Path, hook: tuple[int, list[tuple[str, Any]]]) -> None:
    port, posted = hook
    (line,) = re.findall(r"^notify = (\[.*curl.*\])$", PAGE, re.MULTILINE)
    argv = json.loads(line.replace("http://127.0.0.1:9000", f"http://127.0.0.1:{port}"))
    with DaemonProcess(tmp_path / "home", settings={"notify": argv}) as daemon:
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        wait_for(lambda: posted, "it is posted")
        assert posted == [("/darkroom", read_json(daemon.outbox / "cat.json"))]


def test_the_page_names_every_variable_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(DARKROOM_\w+)` \| (.*?) \|$", PAGE, re.MULTILINE))
    assert rows == TOLD_TO_COMMANDS
    assert set(re.findall(r"DARKROOM_[A-Z]+", PAGE)) <= TOLD_TO_COMMANDS.keys()
