"""Health, numbers and the outbox over HTTP: to everybody who asks well, at any time; nothing to those who do not."""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from darkroom import backoff
from darkroom.backoff import Backoff
from darkroom.disk.files import Disk
from darkroom.http import exchange, pages
from darkroom.http.address import Address
from darkroom.http.asked import Asked
from darkroom.http.files import Files
from darkroom.http.pages import Pages
from darkroom.http.server import MOST_CONNECTIONS, Server
from darkroom.report.look import Look
from darkroom.report.metrics import Metrics
from darkroom.report.snapshot import FolderReport, Life, Snapshot
from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for

LIFE = Life("1.2.3", "01J", "tower", 7, "2026-01-01T00:00:00.000Z")
HERE = Snapshot("running", folders={role: FolderReport(f"/{role}", state="present") for role in ("inbox", "outbox")})


@dataclass(frozen=True, slots=True)
class Got:
    """A response as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(port: int, path: str, method: str = "GET", **headers: str) -> Got:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Got(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def say(port: int, raw: bytes) -> bytes:
    """Bytes in, all bytes out."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@dataclass(slots=True)
class Shown:
    """A server on a folder, whose look a test can change."""

    outbox: Path
    look: Look
    port: int = 0


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    shown = Shown(outbox, Look(LIFE, HERE))
    with serving(shown):
        yield shown


@contextmanager
def serving(shown: Shown) -> Iterator[Server]:
    look = lambda: shown.look  # noqa: E731 - a test changes it
    files = Files(shown.outbox, disk=Disk())
    server = Server(Address("127.0.0.1", 0), Pages(look, Metrics(look), files, only_this_machine=True), clock=monotonic)
    server.start()
    shown.port = wait_for(lambda: server.port, "it listens") or 0
    try:
        yield server
    finally:
        server.stop()
        wait_for(lambda: server.port is None, "it listens no more")


# Health and numbers --------------------------------------------------------------------------------------------------


def test_health_is_the_heartbeat_with_the_reason_why_it_is_not_well(shown: Shown) -> None:
    told = get(shown.port, "/health")
    assert (told.status, told.json["healthy"], told.json["version"], told.json["state"]) == (
        200,
        True,
        "1.2.3",
        "running",
    )
    assert told.headers["content-type"] == "application/json"
    shown.look = Look(LIFE, Snapshot("stopping", folders=HERE.folders))
    told = get(shown.port, "/health?verbose=1")
    assert (told.status, told.json["healthy"], told.json["why"]) == (503, False, ["the service is stopping"])
    shown.look = Look(ended="OSError: the disk is full")
    assert get(shown.port, "/health").json["why"] == ["the service begins again: OSError: the disk is full"]


def test_metrics_are_prometheus_text_and_count_who_reads_them(shown: Shown) -> None:
    assert get(shown.port, "/health").status == 200
    told = get(shown.port, "/metrics")
    assert told.status == 200
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'darkroom_http_requests_total{page="health",status="200"} 1.0' in told.body


def test_head_says_what_get_would_say_and_nothing_more(shown: Shown) -> None:
    (shown.outbox / "cat.json").write_text('{"state": "done"}')
    for path in ("/health", "/cat.json", "/none.json"):
        full, head = get(shown.port, path), get(shown.port, path, "HEAD")
        assert (head.status, head.body) == (full.status, b"")
        assert head.headers["content-length"] == full.headers["content-length"] == str(len(full.body))


# Files ---------------------------------------------------------------------------------------------------------------


def test_pictures_answers_and_the_page_of_the_outbox_are_shown_as_what_they_are(shown: Shown) -> None:
    gallery = shown.outbox / "darkroom-gallery"
    gallery.mkdir(parents=True)
    (shown.outbox / "alice" / "ein Hügel").mkdir(parents=True)
    for name, path, kind in (
        ("index.html", "/", "text/html; charset=utf-8"),
        ("index.html", "/index.html", "text/html; charset=utf-8"),
        ("darkroom-gallery/index.html", "/darkroom-gallery/", "text/html; charset=utf-8"),
        ("darkroom-gallery/app.js", "/darkroom-gallery/app.js", "text/javascript; charset=utf-8"),
        ("darkroom-gallery/style.css", "/darkroom-gallery/style.css?v=2", "text/css; charset=utf-8"),
        ("alice/ein Hügel/ein Hügel-1.png", "/alice/ein%20H%C3%BCgel/ein%20H%c3%bcgel-1.png", "image/png"),
        ("alice/cat.JPG", "/alice/cat.JPG", "image/jpeg"),
        ("cat.webp", "/cat.webp", "image/webp"),
        ("cat.json", "/cat.json", "application/json"),
        ("evil.html", "/evil.html", "text/plain; charset=utf-8"),
        ("evil.js", "/evil.js", "text/plain; charset=utf-8"),
        ("evil.svg", "/evil.svg", "text/plain; charset=utf-8"),
    ):
        (shown.outbox / name).write_bytes(name.encode())
        told = get(shown.port, path)
        assert (told.status, told.headers.get("content-type"), told.body) == (200, kind, name.encode()), path
        assert told.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in told.headers["content-security-policy"]


def test_what_a_browser_has_is_not_sent_again(shown: Shown) -> None:
    (shown.outbox / "cat.png").write_bytes(b"a cat")
    first = get(shown.port, "/cat.png")
    for condition in (
        {"If_None_Match": first.headers["etag"]},
        {"If_None_Match": f'"other", W/{first.headers["etag"]}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": first.headers["last-modified"]},
    ):
        again = get(shown.port, "/cat.png", **condition)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    for condition in (
        {"If_None_Match": '"other"', "If_Modified_Since": first.headers["last-modified"]},
        {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"If_Modified_Since": "yesterday"},
    ):
        assert get(shown.port, "/cat.png", **condition).body == b"a cat"
    (shown.outbox / ".new").write_bytes(b"A cat")
    (shown.outbox / ".new").rename(shown.outbox / "cat.png")
    assert get(shown.port, "/cat.png", If_None_Match=first.headers["etag"]).body == b"A cat"


YEARS_S = (2**40, 10**12, -(10**11), 253_402_300_800, -62_135_596_801)
DATES = (
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Mon, 01 Jan 0001 00:00:00 -0000",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 2020 00:00:00 +9999999999",
    "9" * 5000,
)


def test_a_file_and_a_question_of_any_year_are_answered_and_cost_no_descriptor(tmp_path: Path) -> None:
    files = Files(tmp_path, disk=Disk())
    (tmp_path / "cat.png").write_bytes(b"a cat")
    before = len(os.listdir("/proc/self/fd"))
    for seconds in YEARS_S:
        os.utime(tmp_path / "cat.png", (seconds, seconds))
        for date in ("", *DATES):
            found = files.find(Asked("GET", b"/cat.png", {"if-modified-since": date} if date else {}))
            assert found.status in (200, 304)
            assert (found.status == 200) == (found.body.file is not None)
            if found.body.file is not None:
                os.close(found.body.file)
    assert len(os.listdir("/proc/self/fd")) == before


@given(
    st.text(st.characters(max_codepoint=255), max_size=40) | st.from_regex(r"\w{3}, \d+ Jan \d+ \d+:\d+:\d+ [+-]\d+")
)
def test_any_date_is_answered(date: str) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "cat.png").write_bytes(b"a cat")
        found = Files(Path(folder), disk=Disk()).find(Asked("GET", b"/cat.png", {"if-modified-since": date}))
        if found.body.file is not None:
            os.close(found.body.file)
        assert found.status in (200, 304)


def test_a_large_picture_comes_whole(shown: Shown) -> None:
    picture = os.urandom(3 * exchange.CHUNK_BYTES + 17)
    (shown.outbox / "cat.png").write_bytes(picture)
    assert get(shown.port, "/cat.png").body == picture


OUTSIDE: tuple[str, ...] = (
    "/../secret.json",
    "/../../etc/passwd",
    "/%2e%2e/secret.json",
    "/%2e%2e%2fsecret.json",
    "/a/../../secret.json",
)
OUTSIDE += ("//etc/passwd", "/./cat.json", "/a//cat.json", "/..", "/a/..", "/%2e%2e", "/..%2f", "/..%5csecret.json")
HIDDEN: tuple[str, ...] = (
    "/.cat.json",
    "/.darkroom/health.json",
    "/darkroom-gallery",
    "/darkroom-gallery/../.darkroom/health.json",
)
HIDDEN += (
    "/darkroom-gallery/.hidden.png",
    "/.01K.part/cat-1.png",
    "/.darkroom/",
    "/darkroom-gallery/.darkroom/x.png",
)
ODD = (
    "/folder.json",
    "/folder.json/",
    "/fifo.json",
    "/none.json",
    "/cat",
    "/cat.exe",
    "/cat.json/",
    f"/{'x' * 300}.json",
)
LINKS = ("/link.json", "/linked/secret.json", "/a/linked/secret.json", "/inside.json")


@pytest.mark.parametrize("path", [*OUTSIDE, *HIDDEN, *ODD, *LINKS])
def test_nothing_is_shown_that_is_hidden_outside_or_no_file(path: str, shown: Shown) -> None:
    outside, outbox = shown.outbox.parent, shown.outbox
    (outside / "secret.json").write_text("secret")
    (outbox / ".darkroom").mkdir(exist_ok=True)
    (outbox / "darkroom-gallery" / ".darkroom").mkdir(parents=True)
    for name in (".darkroom/health.json", "darkroom-gallery/.hidden.png", "cat.json", ".cat.json", "cat.exe"):
        (outbox / name).write_text("here")
    (outbox / "darkroom-gallery/.darkroom/x.png").write_text("here")
    (outbox / "a").mkdir()
    (outbox / ".01K.part").mkdir()
    (outbox / ".01K.part" / "cat-1.png").write_text("half")
    (outbox / "folder.json").mkdir()
    os.mkfifo(outbox / "fifo.json")
    (outbox / "link.json").symlink_to(outside / "secret.json")
    (outbox / "inside.json").symlink_to("cat.json")
    (outbox / "linked").symlink_to(outside)
    (outbox / "a" / "linked").symlink_to(outside)
    answered = say(shown.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answered.startswith(b"HTTP/1.1 404 ")
    assert b"secret" not in answered
    assert get(shown.port, "/cat.json").body == b"here"


def test_while_the_outbox_is_away_nothing_in_its_place_is_shown(shown: Shown) -> None:
    (shown.outbox / "cat.json").write_text("whose?")
    away = {**HERE.folders, "outbox": FolderReport("/outbox", state="away", why="/outbox waits for its mount.")}
    shown.look = Look(LIFE, Snapshot("running", folders=away))
    told = get(shown.port, "/cat.json")
    assert (told.status, told.body) == (503, b"503 Service Unavailable: /outbox waits for its mount.\n")
    shown.look = Look()
    assert get(shown.port, "/cat.json").status == 503


def test_a_file_that_is_closed_to_us_is_told_as_that(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def close(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Files, "_open", close)
    assert get(shown.port, "/cat.json").status == 403


def test_an_outbox_that_hangs_keeps_health_and_numbers_from_nobody(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_FILES", 3)
    hangs, hanging = threading.Event(), threading.Semaphore(0)

    def hang(*_: object) -> int:
        hanging.release()
        hangs.wait(60)
        raise FileNotFoundError(2, "gone")

    monkeypatch.setattr(Files, "_open", hang)
    with ExitStack() as stack, serving(shown):
        stack.callback(hangs.set)
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", shown.port)))
            client.sendall(b"GET /cat.png HTTP/1.1\r\n\r\n")
            assert hanging.acquire(timeout=20)
        assert get(shown.port, "/cat.png").status == 503
        assert get(shown.port, "/health").status == 200
        assert get(shown.port, "/metrics").status == 200
        hangs.set()


# Who asks badly ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /health HTTP/1.1\r\n\r\n", 405),
        (b"DELETE /cat.png HTTP/1.1\r\n\r\n", 405),
        (b"get /health HTTP/1.1\r\n\r\n", 405),
        (b"GET /health HTTP/2.0\r\n\r\n", 505),
        (b"GET /health\r\n\r\n", 400),
        (b"GET http://127.0.0.1/health HTTP/1.1\r\n\r\n", 400),
        (b"GET /a%00b HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\x00\xff\xfe garbage \r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"x" * exchange.HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
        (b"x" * (2 * exchange.HEAD_BYTES), 431),
        (b"GET /health HTTP/1.1\r\nHost: darkroom.example.com\r\n\r\n", 421),
    ],
)
def test_what_is_asked_badly_is_answered_by_what_is_wrong(raw: bytes, status: int, shown: Shown) -> None:
    answered = say(shown.port, raw)
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answered
    assert (b"\r\nAllow: GET, HEAD\r\n" in answered) == (status == 405)
    assert get(shown.port, "/health").status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8001", "localhost", "LOCALHOST:80", "[::1]:8001", "192.0.2.7", "a.localhost"]
)
def test_this_machine_may_be_called_by_its_numbers_and_as_localhost(host: str, shown: Shown) -> None:
    answered = say(shown.port, f"GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    assert answered.startswith(b"HTTP/1.1 200 ")


def test_where_others_may_ask_any_name_will_do(shown: Shown) -> None:
    look = lambda: shown.look  # noqa: E731
    everybody = Pages(look, Metrics(look), Files(shown.outbox, disk=Disk()), only_this_machine=False)
    assert everybody.answer(b"GET /health HTTP/1.1\r\nHost: pictures.example.com")[1].status == 200


def test_a_client_that_closes_without_a_word_is_forgotten(shown: Shown) -> None:
    assert say(shown.port, b"") == b""
    assert say(shown.port, b"GET /health HT") == b""
    assert get(shown.port, "/health").status == 200


def test_a_request_that_trickles_is_given_up(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEAD_S", 0.05)
    with socket.create_connection(("127.0.0.1", shown.port), timeout=20) as client:
        client.sendall(b"GET /hea")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_is_given_up(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SEND_S", 0.05)
    given_up = threading.Event()
    before = exchange._send

    def send(*arguments: Any) -> None:
        try:
            before(*arguments)
        except TimeoutError:
            given_up.set()
            raise

    monkeypatch.setattr(exchange, "_send", send)
    with open(shown.outbox / "cat.png", "wb") as file:
        file.truncate(1 << 28)
    with socket.create_connection(("127.0.0.1", shown.port), timeout=20) as client:
        client.sendall(b"GET /cat.png HTTP/1.1\r\n\r\n")
        assert given_up.wait(20)


def test_a_hundred_ask_at_once_and_each_is_answered(shown: Shown) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", shown.port), timeout=20))
            for _ in range(MOST_CONNECTIONS)
        ]
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert [client.recv(15) for client in clients] == [b"HTTP/1.1 200 OK"] * MOST_CONNECTIONS


def test_however_many_say_nothing_whoever_asks_is_answered(shown: Shown) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", shown.port), timeout=20))
            for _ in range(MOST_CONNECTIONS + 20)
        ]
        assert get(shown.port, "/health").status == 200
        assert silent[0].recv(1) == b"", "the one that had been silent for longest has made room"
        silent[-1].sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert silent[-1].recv(15) == b"HTTP/1.1 200 OK"


def test_an_error_that_nobody_foresaw_costs_one_connection(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def err(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(Asked, "parse", err)
        assert say(shown.port, b"GET /health HTTP/1.1\r\n\r\n") == b""
        wait_for(lambda: [log for log in logs if log["event"] == "http_error"], "it is told")
    assert get(shown.port, "/health").status == 200


def test_a_port_that_somebody_has_is_told_once_and_tried_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backoff, "LISTEN", Backoff(0.005, 0.01))
    look = lambda: shown.look  # noqa: E731
    with capture_logs() as logs, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second = Server(
            Address("127.0.0.1", port),
            Pages(look, Metrics(look), Files(tmp_path, disk=Disk()), only_this_machine=True),
            clock=monotonic,
        )
        second.start()
        wait_for(lambda: [log for log in logs if log["event"] == "http_unavailable"], "it is told")
        taken.close()
        wait_for(lambda: second.port == port, "it listens")
        second.stop()
        wait_for(lambda: second.port is None, "it listens no more")
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert [(log["event"], log["why"], log["address"]) for log in warnings] == [
        ("http_unavailable", "Address already in use", f"127.0.0.1:{port}")
    ]


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:8001", "127.0.0.1", 8001), ("[::1]:0", "::1", 0), ("a-b.c:1", "a-b.c", 1)]
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["8001", ":8001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "::1:80", "http://a:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Address.parse(text)


# A whole daemon ------------------------------------------------------------------------------------------------------


def port_of(daemon: DaemonProcess, since: int = 0) -> int:
    return int(daemon.wait_for_event("http_listening", since)["address"].rpartition(":")[2])


def test_a_daemon_shows_its_health_its_numbers_and_its_pictures_while_it_renders(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"http": "127.0.0.1:0"}) as daemon:
        port = port_of(daemon)
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        daemon.wait_for(lambda: get(port, "/health").status == 200, "it has looked at the folders")
        picture = get(port, "/cat/cat-1.png")
        assert picture.body == (daemon.outbox / "cat" / "cat-1.png").read_bytes()
        daemon.drop("slow.json", {"num_inference_steps": 150})
        daemon.wait_for_state("slow", "rendering")
        told = daemon.wait_for(lambda: _rendering(port), "its health tells what renders")
        assert (told["healthy"], told["seats"][0]["rendering"][0]["name"]) == (True, "slow")
        numbers = get(port, "/metrics").body
        assert b'darkroom_requests_total{model="card",state="done"} 1.0' in numbers
        assert b"darkroom_lives_total 1.0" in numbers, "what came before HTTP is counted, too"
        assert daemon.answer("slow")["state"] == "rendering"
        mark = daemon.log.length
        daemon.stop()
        assert not daemon.log.find("http_error", mark)


def _rendering(port: int) -> Any:
    told = get(port, "/health").json
    return told if any(seat["rendering"] for seat in told["seats"]) else None


def test_a_daemon_whose_port_is_taken_serves_all_the_same(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"http": f"127.0.0.1:{taken.getsockname()[1]}"}
        with DaemonProcess(tmp_path, settings=settings) as daemon:
            daemon.wait_for_event("http_unavailable")
            daemon.drop("cat.json")
            daemon.wait_for_state("cat", "done")


def test_a_daemon_tells_why_it_does_not_serve(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"http": "127.0.0.1:0"}) as daemon:
        port = port_of(daemon)
        daemon.wait_for(lambda: get(port, "/health").status == 200, "it is well")
        daemon.outbox.rename(tmp_path / "moved")
        told = daemon.wait_for(lambda: None if (got := get(port, "/health")).status == 200 else got.json, "it is not")
        assert told is not None
        assert told["why"] == [f"the outbox is away: {daemon.outbox} does not exist. Mount or create it."]
        (tmp_path / "moved").rename(daemon.outbox)
        daemon.wait_for(lambda: get(port, "/health").status == 200, "it is well again")
