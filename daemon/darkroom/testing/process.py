"""A real daemon in a process of its own, on folders of its own, rendering test cards: for tests that kill it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import darkroom
from darkroom.names import HEALTH, OWN_FOLDER, PAUSE
from darkroom.spool.answer import FOLDER_ENDINGS, State
from darkroom.testing.waiting import DEADLINE_S, POLL_S, Json, Log, T, read_json, wait_for

#: A small test card in one step, which takes a moment: `num_inference_steps` makes a request as slow as a test needs.
CARD = "testcard:step_s=0.02,die_on=DIE,hang_on=HANG,oom_on=OOM"
#: What makes a daemon quick to test; every key can be overridden.
SETTINGS: Json = {
    "default_model": "card",
    "default_style": "none",
    "log_format": "json",
    "settle_s": 1.0,
    "heartbeat_s": 0.2,
    "scan_interval_s": 0.25,
    "min_free_bytes": 0,
    "max_priority": 10,
    "gallery": False,
}


class DaemonProcess:
    """`darkroom run` on an inbox, an outbox and a state folder below `home`.

    `models` gives sources by alias ("card" is there), `settings` overrides SETTINGS, `before` starts the command.
    """

    def __init__(
        self,
        home: Path,
        *,
        models: Mapping[str, str | Json] | None = None,
        settings: Mapping[str, Any] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.inbox, self.outbox, self.state = home / "inbox", home / "outbox", home / "state"
        for folder in (self.inbox, self.outbox, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(home / "log.jsonl")
        self.log.path.touch()
        self.config = home / "darkroom.toml"
        self.config.write_text(_toml(self._tables(models or {}, settings or {})))
        self._before = tuple(before)
        self._process: subprocess.Popen[bytes] | None = None
        self._dropped = 0

    # Life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start it, and wait until it serves."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, whatever it does; its renderer dies with it."""
        self.kill()

    def start(self, *arguments: str, wait: bool = True) -> None:
        """Start it (again)."""
        assert self._process is None, "it runs already"
        mark = self.log.length
        with open(self.log.path, "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*self._before, sys.executable, "-m", "darkroom", "run", "--config", str(self.config), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.home,
                start_new_session=True,
            )
        if wait:
            self.wait_for(lambda: self.log.find("serving", mark), "it serves")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "it does not run"
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the service, not to its renderer."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end; fine when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self, number: signal.Signals = signal.SIGTERM, *, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end, and wait. Returns its exit status."""
        self.send(number)
        return self.wait_for_end(deadline_s=deadline_s)

    def wait_for_end(self, *, deadline_s: float = DEADLINE_S) -> int:
        """Wait until it has ended. Returns its exit status."""
        status = self.process.wait(deadline_s)
        self._process = None
        return status

    def restart(self) -> None:
        """SIGKILL and start."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP; returns when the kernel has stopped it."""
        self.send(signal.SIGSTOP)
        wait_for(lambda: _process_state(self.process.pid) == "T", "it is stopped")

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def kill_renderer(self) -> None:
        """SIGKILL to the renderer that said last that it is ready."""
        os.kill(self.log.find("renderer_ready")[-1]["pid"], signal.SIGKILL)

    # Commands -----------------------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `darkroom` with the configuration of this daemon."""
        return subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "darkroom", *arguments, "--config", str(self.config)],
            env=self._environment(),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing new starts: what is dropped stays in the inbox, queued."""
        pause = self.inbox / OWN_FOLDER / PAUSE
        self.wait_for(pause.parent.is_dir, "the inbox has been looked at")
        pause.touch()
        self.wait_for_health(lambda health: health["state"] == "paused", "the queue is held")
        try:
            yield
        finally:
            pause.unlink()

    # Dropping -----------------------------------------------------------------------------------------------------

    def drop(self, path: str, content: Json | bytes | None = None) -> Path:
        """Let a request appear in the inbox at once and whole. None: a small request."""
        target = self.inbox / path
        self._dropped += 1
        hidden = target.with_name(f".drop-{self._dropped}")
        hidden.write_bytes(content if isinstance(content, bytes) else request(**(content or {})))
        hidden.rename(target)
        return target

    def cancel(self, name: str) -> Path:
        """Drop a `.cancel` file."""
        return self.drop(f"{name}.cancel", b"")

    # Watching -----------------------------------------------------------------------------------------------------

    def wait_for(
        self, condition: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S, poll_s: float = POLL_S
    ) -> T:
        """Like `wait_for`, but ends at once when the daemon has died."""

        def alive_and_true() -> T:
            value = condition()
            assert value or self.is_running, f"the daemon ended before: {what}"
            return value

        try:
            return wait_for(alive_and_true, what, deadline_s=deadline_s, poll_s=poll_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def answer(self, name: str) -> Json:
        """The answer of this name; {} while there is none. It must be whole whenever it is there."""
        return read_json(self.outbox / f"{name}.json")

    def wait_for_state(self, name: str, *states: str, deadline_s: float = DEADLINE_S) -> Json:
        """Wait until the answer of this name is in one of the states; returns it."""

        def reached() -> Json:
            answer = self.answer(name)
            return answer if answer.get("state") in states else {}

        try:
            return self.wait_for(reached, f"{name} is {' or '.join(states)}", deadline_s=deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\nits answer: {self.answer(name)}") from None

    def wait_for_event(self, event: str, since: int = 0, *, deadline_s: float = DEADLINE_S, **values: object) -> Json:
        """Wait for something to be logged; returns it."""
        return self.wait_for(
            lambda: self.log.find(event, since, **values), f"{event} {values} is logged", deadline_s=deadline_s
        )[-1]

    def health(self) -> Json:
        """The newest heartbeat of the state folder."""
        return read_json(self.state / HEALTH)

    def wait_for_health(self, condition: Callable[[Json], object], what: str) -> Json:
        """Wait until a heartbeat of this life says so; returns it."""
        pid = self.process.pid

        def said() -> Json:
            health = self.health()
            return health if health.get("pid") == pid and condition(health) else {}

        try:
            return self.wait_for(said, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe heartbeat: {self.health()}") from None

    def wait_until_told(self, name: str, words: str) -> None:
        """Wait until the heartbeat says why a file is not taken."""
        self.wait_for_health(lambda _: words in self.why_not_taken().get(name, ""), f"{name} is told as {words!r}")

    def why_not_taken(self) -> dict[str, str]:
        """What the heartbeat tells of files that are not taken."""
        return {each["name"]: each["why"] for each in self.health().get("not_taken", [])}

    def look_again(self) -> None:
        """Wait until the inbox has been listed twice more: what has not happened by then does not happen."""
        self._dropped += 1
        name = f"look-{self._dropped}.json"
        folder = self.inbox / name  # a folder of such a name is never taken, and always told
        folder.mkdir()
        self.wait_for(lambda: name in self.why_not_taken(), "a listing finds a folder")
        folder.rmdir()
        self.wait_for(lambda: name not in self.why_not_taken(), "a listing misses a folder")

    def tail(self, lines: int = 25) -> str:
        """The end of the log."""
        return "\n".join(json.dumps(event, ensure_ascii=False) for event in self.log.read()[-lines:])

    # Judging ------------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, list[Path]]:
        """The delivered folders by the id of their request."""
        found: dict[str, list[Path]] = {}
        for folder, _, files in os.walk(self.outbox):
            if "answer.json" in files and not os.path.basename(folder).startswith("."):
                answer = read_json(Path(folder, "answer.json"))
                if answer.get("result") == os.path.basename(folder):  # else it answers a request called `answer`
                    found.setdefault(answer["id"], []).append(Path(folder))
        return found

    def hidden_names(self) -> list[str]:
        """Every hidden name in inbox and outbox that is not one of our own two folders' parts."""
        return sorted(
            os.path.join(folder, name)
            for root in (self.inbox, self.outbox)
            for folder, folders, files in os.walk(root)
            for name in (*folders, *files)
            if name.startswith(".") and OWN_FOLDER not in (name, os.path.basename(folder))
        )

    def check_settled(self, names: Iterable[str], state: State = State.DONE) -> None:
        """Each of these ended so, delivered exactly once, complete; nothing half-made is left anywhere."""
        answers = {name: self.wait_for_state(name, state.value) for name in names}
        self.wait_for(lambda: not self.hidden_names(), "nothing half-made is left")
        results = self.results()
        for name, answer in answers.items():
            self._check_delivered(results.get(answer["id"], []), answer, name + FOLDER_ENDINGS[state])
        waiting = [path.name for path in self.inbox.rglob("*.json") if OWN_FOLDER not in path.parts]
        assert not waiting, f"left in the inbox: {waiting}"

    def check_settled_as(self, name: str, result: str) -> None:
        """The newest request of this name was delivered once, as this folder, whole; its file has left the inbox."""
        answer = self.answer(name)
        self._check_delivered(self.results().get(answer["id"], []), answer, result)
        assert not (self.inbox / f"{name}.json").exists()

    @staticmethod
    def _check_delivered(folders: list[Path], answer: Json, result: str) -> None:
        assert [folder.name for folder in folders] == [result], f"{answer['name']} was delivered as {folders}"
        check_complete(folders[0], answer)

    @staticmethod
    def _environment() -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DARKROOM_")}
        return environment | {"PYTHONPATH": str(Path(darkroom.__file__).parents[1])}

    def _tables(self, models: Mapping[str, str | Json], settings: Mapping[str, Any]) -> Json:
        folders = {
            "inbox": self.inbox,
            "outbox": self.outbox,
            "state_dir": self.state,
            "model_cache": self.home / "models",
        }
        shipped: dict[str, str | Json] = {"starter": "testcard", "sd15": "testcard"}  # no torch is imported then
        every = shipped | {"card": CARD} | dict(models)
        return {
            **{key: str(path) for key, path in folders.items()},
            **SETTINGS,
            **settings,
            "models": {alias: _model(given) for alias, given in every.items()},
        }


def request(**values: Any) -> bytes:
    """The bytes of a small request."""
    return json.dumps({"prompt": "a castle on a hill", "seed": 1, **values}).encode()


def check_complete(folder: Path, answer: Mapping[str, Any]) -> None:
    """A result folder holds what its answer says, whole, and the answer itself."""
    kept = read_json(folder / "answer.json")
    for key in ("id", "name", "state", "result", "images", "withheld", "request_sha256", "finished_at"):
        assert kept.get(key) == answer.get(key), f"{folder}: {key} is {kept.get(key)}, not {answer.get(key)}"
    for image in answer.get("images", []):
        data = (folder / image["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == image["sha256"], f"{folder / image['file']} is not whole"
    raw = (folder / "request.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == answer["request_sha256"]
    inputs = {each["file"]: each["sha256"] for each in answer.get("inputs", [])}
    for name, sha256 in inputs.items():
        assert hashlib.sha256((folder / "inputs" / name).read_bytes()).hexdigest() == sha256, f"{name} is not whole"
    expected = {"answer.json", "request.json"} | {image["file"] for image in answer.get("images", [])}
    expected |= {"inputs"} if inputs else set()
    assert {path.name for path in folder.iterdir()} == expected


def _model(given: str | Json) -> Json:
    table: Json = {
        "width": 64,
        "height": 64,
        "num_inference_steps": 1,
        "scheduler": "ddim",
        "min_px": 64,
        "max_px": 2048,
    }
    return table | (given if isinstance(given, dict) else {"source": given})


def _toml(tables: Json) -> str:
    """The configuration as a file: keys first, then one table a model and the like. JSON's scalars are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    of_aliases = ((key, value) for key, value in tables.items() if isinstance(value, dict))
    for kind, alias, table in ((kind, *each) for kind, of in of_aliases for each in of.items()):
        lines += ["", f"[{kind}.{alias}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
