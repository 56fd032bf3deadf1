"""Machines of a Ray cluster: a network namespace and a host name each, joined by a bridge; no wire leads outside."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from darkroom.systemd.install import setting_of
from darkroom.systemd.ray_unit import PORT, ray_unit
from darkroom.testing.waiting import wait_for

PROGRAM = Path(sys.executable).with_name("ray")
NETWORK = "10.97.0"
HEAD = f"{NETWORK}.1"
UP_S = 90.0
NAMED = ("unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"')


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Machines:
    """The head, where the daemon is, and workers; each can be killed, frozen, cut off, and started again."""

    def __init__(self, *workers: str) -> None:
        self.workers = workers
        self._prefix = f"dr{os.getpid()}"
        self._top = Path(tempfile.mkdtemp(prefix="dr", dir="/tmp"))  # paths of sockets must be short
        self.token = self._top / "token"
        self.token.write_text(os.urandom(32).hex())
        self.token.chmod(0o600)
        self.address = f"{HEAD}:{PORT}"
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._join()
            self.start_head()
            for name in self.workers:
                self.start_worker(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("head", *self.workers):
            self.kill(name)
            subprocess.run(["ip", "netns", "delete", self.space(name)], check=False, capture_output=True)
        shutil.rmtree(self._top, ignore_errors=True)

    def space(self, name: str) -> str:
        """The name of a machine's network namespace."""
        return f"{self._prefix}{name}"

    def on(self, name: str) -> tuple[str, ...]:
        """What starts a command on a machine."""
        return ("ip", "netns", "exec", self.space(name), *NAMED, name)

    def pids(self, name: str, words: str = "") -> list[int]:
        """The processes of a machine whose command has these words."""
        told = subprocess.run(["ip", "netns", "pids", self.space(name)], capture_output=True, text=True, check=False)
        return [pid for pid in map(int, told.stdout.split()) if words in _command_of(pid)]

    def start_head(self) -> None:
        """Ray's head; returns when it listens."""
        self._start("head", ray_unit("head", HEAD, user="root", group="root"), [f"--temp-dir={self._top}/r"])

    def start_worker(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Ray's worker, with one place to paint for each of two daemons."""
        unit = ray_unit("worker", self.address, user="root", group="root")
        places = '--resources={"painter": 1, "easel": 1}'
        self._start(name, unit, [f"--node-ip-address={NETWORK}.{2 + self.workers.index(name)}", places], environment)

    def has_ended(self, name: str) -> bool:
        """Whether Ray's command on a machine is gone: its unit would start it again."""
        return name not in self._started or self._started[name].poll() is not None

    def kill(self, name: str, words: str = "") -> None:
        """SIGKILL to all that runs on a machine but the daemon, or to what has these words."""
        for pid in self.pids(name, words):
            if "darkroom" not in _command_of(pid) or words or name != "head":
                os.kill(pid, signal.SIGKILL)
        if not words and name in self._started:
            self._started.pop(name).wait()

    def send(self, name: str, words: str, number: signal.Signals) -> None:
        """A signal to what has these words."""
        found = self.pids(name, words)
        assert found, f"nothing on {name} has {words!r}"
        for pid in found:
            os.kill(pid, number)

    def cut(self, name: str) -> None:
        """No packet comes or goes."""
        ip("-n", self.space("head"), "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """As it was."""
        ip("-n", self.space("head"), "link", "set", f"to-{name}", "up")

    def _join(self) -> None:
        head = self.space("head")
        for name in ("head", *self.workers):
            ip("netns", "add", self.space(name))
            ip("-n", self.space(name), "link", "set", "lo", "up")
        ip("-n", head, "link", "add", "wire", "type", "bridge")
        ip("-n", head, "addr", "add", f"{HEAD}/24", "dev", "wire")
        ip("-n", head, "link", "set", "wire", "up")
        for number, name in enumerate(self.workers, 2):
            own = self.space(name)
            ip("link", "add", f"to-{name}", "netns", head, "type", "veth", "peer", "name", "wire", "netns", own)
            ip("-n", head, "link", "set", f"to-{name}", "master", "wire", "up")
            ip("-n", own, "addr", "add", f"{NETWORK}.{number}/24", "dev", "wire")
            ip("-n", own, "link", "set", "wire", "up")

    def _start(self, name: str, unit: str, own: list[str], environment: Mapping[str, str] | None = None) -> None:
        """What the unit would start, in its environment, as small as it can be."""
        command = shlex.split(setting_of(unit, "ExecStart").replace("%H", name))
        log = self._top / f"{name}.log"
        with open(log, "wb") as output:
            self._started[name] = subprocess.Popen(
                [*self.on(name), *command, *own, "--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment(unit), **(environment or {})},
                start_new_session=True,
            )

        def is_up() -> bool:
            if "Ray runtime started" in (said := log.read_text(errors="replace")):
                return True
            assert not self.has_ended(name), f"Ray does not start on {name}: {said[-2000:]}"
            return False

        wait_for(is_up, f"Ray runs on {name}", deadline_s=UP_S)

    def _environment(self, unit: str) -> dict[str, str]:
        lines = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("Environment=")]
        told = dict(word.split("=", 1) for line in lines for word in shlex.split(line))
        assert told["RAY_AUTH_MODE"] == "token"
        own = {
            "HOME": str(self._top),
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "TMPDIR": str(self._top),
            "DARKROOM_MODEL_CACHE": str(self._top),
        }
        return told | own


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
