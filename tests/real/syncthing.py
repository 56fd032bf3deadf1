"""Two Syncthing nodes on loopback that share an inbox and an outbox; no discovery, no relays."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from darkroom.testing.waiting import wait_for
from tests.real.servers import HOST, free_port, process, run

API_KEY = "real"
#: What docs/shares.md tells people to write into .stignore on each node.
IGNORED = "(?d).*\n"


class Node:
    """One of the two, and its folders."""

    def __init__(self, home: Path, inbox: Path, outbox: Path) -> None:
        self.home, self.inbox, self.outbox = home, inbox, outbox
        home.mkdir(parents=True)
        self.port, self.api_port = free_port(), free_port()
        run("syncthing", "generate", f"--home={home}", "--no-default-folder")
        self.id = run("syncthing", f"--home={home}", "--device-id").strip()

    def configure(self, other: "Node", *, watch_delay_s: int, max_kib_s: int, ignored: str) -> None:
        """Share both folders with the other node."""
        for folder in (self.inbox, self.outbox):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".stignore").write_text(ignored)
        (self.home / "config.xml").write_text(
            '<configuration version="35">'
            + "".join(self._folder(name, other, watch_delay_s) for name in ("inbox", "outbox"))
            + "".join(
                f'<device id="{node.id}" name="{node.home.name}"><address>tcp://{HOST}:{node.port}</address></device>'
                for node in (self, other)
            )
            + f'<gui enabled="true" tls="false"><address>{HOST}:{self.api_port}</address>'
            f"<apikey>{API_KEY}</apikey></gui><options><listenAddress>tcp://{HOST}:{self.port}</listenAddress>"
            "<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>"
            "<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>"
            "<crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH>"
            f"<maxSendKbps>{max_kib_s}</maxSendKbps><limitBandwidthInLan>true</limitBandwidthInLan>"
            "<startBrowser>false</startBrowser><reconnectionIntervalS>1</reconnectionIntervalS></options>"
            "</configuration>"
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """The node, until it has been ended."""
        command = ["syncthing", "serve", f"--home={self.home}", "--no-browser", "--no-restart", "--no-upgrade"]
        with process(command, self.home / "log", environment={"STNOUPGRADE": "1"}):
            wait_for(self._is_up, f"{self.home.name} is up")
            yield

    def wait_for_other(self) -> None:
        """Wait until the two are connected."""
        wait_for(lambda: '"connected": true' in self._ask("GET", "system/connections"), "the nodes are connected")

    def pause(self) -> None:
        """Do not talk to the other."""
        self._ask("POST", "system/pause")
        wait_for(lambda: '"connected": true' not in self._ask("GET", "system/connections"), "the nodes are apart")

    def resume(self) -> None:
        """Talk to it again."""
        self._ask("POST", "system/resume")
        self.wait_for_other()

    def scan(self, folder: str) -> None:
        """Look at a folder now; returns when that is done."""
        self._ask("POST", f"db/scan?folder={folder}")

    def in_sync(self, folder: str, other: "Node") -> bool:
        """Whether both have the same of a folder, by this node's word."""
        status: dict[str, Any] = json.loads(self._ask("GET", f"db/status?folder={folder}"))
        completion: dict[str, Any] = json.loads(self._ask("GET", f"db/completion?folder={folder}&device={other.id}"))
        return bool(status["state"] == "idle" and not status["needTotalItems"] and not completion["needItems"])

    def _is_up(self) -> bool:
        try:
            return "pong" in self._ask("GET", "system/ping")
        except OSError:
            return False

    def _ask(self, method: str, what: str) -> str:
        url = f"http://{HOST}:{self.api_port}/rest/{what}"
        asked = urllib.request.Request(url, method=method, headers={"X-API-Key": API_KEY})
        with urllib.request.urlopen(asked, timeout=30) as reply:
            text: str = reply.read().decode()
        return text

    def _folder(self, name: str, other: "Node", watch_delay_s: int) -> str:
        path = {"inbox": self.inbox, "outbox": self.outbox}[name]
        devices = "".join(f'<device id="{node.id}"></device>' for node in (self, other))
        return (
            f'<folder id="{name}" label="{name}" path="{path}" type="sendreceive" rescanIntervalS="3600"'
            f' fsWatcherEnabled="true" fsWatcherDelayS="{watch_delay_s}">{devices}'
            "<maxConflicts>10</maxConflicts></folder>"
        )


@contextmanager
def two_nodes(
    person: Path, daemon: Path, scratch: Path, *, watch_delay_s: int = 1, max_kib_s: int = 0, ignored: str = IGNORED
) -> Iterator[tuple[Node, Node]]:
    """The person's node and the daemon's, connected; each has `inbox` and `outbox` below its folder."""
    ours = Node(scratch / "ours", person / "inbox", person / "outbox")
    theirs = Node(scratch / "theirs", daemon / "inbox", daemon / "outbox")
    for node, other in ((ours, theirs), (theirs, ours)):
        node.configure(other, watch_delay_s=watch_delay_s, max_kib_s=max_kib_s, ignored=ignored)
    with ExitStack() as stack:
        stack.enter_context(ours.running())
        stack.enter_context(theirs.running())
        ours.wait_for_other()
        yield ours, theirs
