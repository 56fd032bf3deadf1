"""Let many requests through a real daemon whose service and renderer are killed at random moments, and count the harm.

    python bench/soak.py --requests 20000 [--renderers 3]

The daemon paints test cards of one step. While it does, its service or one of its renderers gets SIGKILL at
whatever they are doing: starting, recovering, accepting, taking, rendering, delivering. The moments are chosen by what
has been logged since the last one, so that a slow machine gets as far between two kills as a quick one.

Counted are requests without a result (lost), with two (double), results or answers that were ever seen incomplete
(half-made) or that ended otherwise than they should, and files that are left behind. All of them have to be 0; else the
status is 1. Three of ten requests are bundles: they name a picture, which is sent before or behind them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from figures import Row, machine, show
from PIL import Image
from rig import renderers_of, scratch

from darkroom.names import OWN_FOLDER
from darkroom.testing.process import DaemonProcess, check_complete, request

AHEAD = 300  #: so many requests wait at most
FOLDERS = ("", "", "", "alice/", "bob/", "bob/new/")
STEP_S = 0.05
SAMPLE = 20  #: answers that are read at each look
PATIENCE_S = 300.0  #: without a new result, at the end: what has no result then is lost
SETTINGS = {
    "max_attempts": 100,  # or an unlucky request would fail, as it should
    "stop_within_s": 10.0,
    "heartbeat_s": 1.0,
    "log_level": "info",
}


@dataclass(slots=True)
class Harm:
    """What must not happen, and how much was done to make it happen."""

    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    half_made: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)  #: ended in another state than they should
    left: list[str] = field(default_factory=list)  #: files that nobody needs any more
    service_kills: Counter[str] = field(default_factory=Counter)  #: by what it had come to: starting, serving
    other_kills: Counter[str] = field(default_factory=Counter)  #: by what was done, and to what
    requests: int = 0
    wall_s: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.lost or self.double or self.half_made or self.otherwise or self.left)


class Soak:
    """One daemon, its clients, and whoever kills it. `lines` of its log lie between two kills, in the mean."""

    def __init__(
        self, daemon: DaemonProcess, *, requests: int, lines: float, seed: int, within_s: float = math.inf
    ) -> None:
        self.harm = Harm()
        self._requests = requests
        self._drop_until_s = time.monotonic() + within_s
        self._lines = lines
        self._chance = random.Random(seed)
        self._daemon = daemon
        for folder in FOLDERS:
            (self._daemon.inbox / folder).mkdir(parents=True, exist_ok=True)
        self._expected: dict[str, str] = {}  # digest of the dropped bytes → the state that it should end in
        self._names: dict[str, str] = {}  # digest → name
        self._inputs: dict[str, str] = {}  # digest → that of the picture that it names
        self._later: list[tuple[Path, bytes]] = []  # pictures that are still to be sent
        self._seen: dict[str, list[str]] = {}  # digest → its result folders
        self._checked: set[Path] = set()
        self._progress_s = time.monotonic()
        self._log = b""  # since the last start
        self._log_offset = 0
        self._logged = 0  # lines since the last kill
        self._started_s = 0.0  # monotonic
        self._start_s = 1.0  # how long the last start took

    def run(self, tell: Callable[[str], None] = lambda _: None) -> Harm:
        """Drop everything, kill on, and judge at the end."""
        began_s = time.monotonic()
        self._start()
        try:
            self._under_fire(tell)
            self._in_peace()
            status = self._daemon.stop(deadline_s=120)
            self._read_log()
            assert status == 0, f"it ended with {status}:\n{self._log.decode(errors='replace')[-4000:]}"
        finally:
            self._daemon.kill()
        self._judge()
        self.harm.requests = len(self._expected)
        self.harm.wall_s = time.monotonic() - began_s
        return self.harm

    # Doing --------------------------------------------------------------------------------------------------------

    def _under_fire(self, tell: Callable[[str], None]) -> None:
        enough = self._chance.expovariate(1 / self._lines)
        while len(self._seen) < self._requests:
            self._drop_some()
            self._read_log()
            assert self._daemon.is_running, f"it ended by itself:\n{self._log.decode(errors='replace')[-4000:]}"
            if self._logged >= enough:
                time.sleep(self._chance.random() * STEP_S)
                self._kill_something()
                self._logged, enough = 0, self._chance.expovariate(1 / self._lines)
            self._look()
            tell(f"{len(self._seen)} of {self._requests}, {self.kills} kills")
            if time.monotonic() - self._progress_s > PATIENCE_S:
                return
            time.sleep(STEP_S)

    def _in_peace(self) -> None:
        """From now on nobody kills it: what has no result now and gets none is lost."""
        if not self._daemon.is_running:
            self._daemon.kill()
            self._start()
        self._progress_s = time.monotonic()
        while len(self._seen) < self._requests and time.monotonic() - self._progress_s < PATIENCE_S:
            self._look()
            time.sleep(0.05)
        self._daemon.wait_for(self._serves, "it serves")  # one that is only starting dies of a SIGTERM, as it may
        # What the last kills have left goes a little later, once all requests of the folder are read.
        self._daemon.wait_for(lambda: not self._daemon.hidden_names(), "the inbox is cleared up")

    def _serves(self) -> bool:
        self._read_log()
        return b'"serving"' in self._log

    @property
    def kills(self) -> int:
        """How many there were."""
        return self.harm.service_kills.total() + self.harm.other_kills.total()

    def _drop_some(self) -> None:
        if time.monotonic() > self._drop_until_s:
            self._requests = len(self._expected)
            return
        waiting = len(self._expected) - len(self._seen)
        for _ in range(min(self._chance.randint(0, 40), AHEAD - waiting, self._requests - len(self._expected))):
            self._drop(len(self._expected) + 1)

    def _drop(self, number: int) -> None:
        wrong = self._chance.random() < 0.05
        prompt = {"prompt": f"picture {number}", "num_images": 1 + (self._chance.random() < 0.1)}
        photo = f"photo-{number}.png" if self._chance.random() < 0.3 else None
        named = {"init_image": photo, "num_inference_steps": 2} if photo is not None else {}
        raw = request(**prompt, **named, **({"style": "no such style"} if wrong else {}))
        name = f"{self._chance.choice(FOLDERS)}r{number}"
        digest = hashlib.sha256(raw).hexdigest()
        if photo is not None:
            self._inputs[digest] = hashlib.sha256(picture := photo_of(number)).hexdigest()
            self._later.append((self._place_of(name, photo), picture))
            if self._chance.random() < 0.5:
                self._send_photos()
        self._expected[digest], self._names[digest] = ("refused" if wrong else "done"), name
        if self._chance.random() < 0.5:
            self._daemon.drop(f"{name}.json", raw)
        else:
            half = len(raw) // 2
            with open(self._daemon.inbox / f"{name}.json", "wb", buffering=0) as writer:
                writer.write(raw[:half])
                writer.write(raw[half:])
        self._send_photos()

    def _place_of(self, name: str, photo: str) -> Path:
        """Beside the request, or in the folder that is that request's alone."""
        beside = self._daemon.inbox / name
        return (beside.with_name(f"{beside.name}.files") if self._chance.random() < 0.5 else beside.parent) / photo

    def _send_photos(self) -> None:
        for path, picture in self._later:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture)
        self._later.clear()

    def _kill_something(self) -> None:
        """The service twice of five times."""
        if self._chance.random() < 0.4:
            self._kill_service()
            while self._chance.random() < 0.3:  # again, on its way to where it serves
                time.sleep(self._chance.random() * self._start_s)
                self._read_log()
                self._kill_service()
        else:
            self._kill_other()

    def _kill_other(self) -> None:
        """A renderer. Only processes of ours: it is found by its parent."""
        renderers = renderers_of(self._daemon.process.pid)
        for pid in self._chance.sample(renderers, min(1, len(renderers))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.harm.other_kills["SIGKILL of a renderer"] += 1

    def _kill_service(self) -> None:
        self.harm.service_kills["serving" if b'"serving"' in self._log else "starting"] += 1
        self._daemon.kill()
        self._start()

    def _start(self) -> None:
        self._log = b""
        self._log_offset = self._daemon.log.path.stat().st_size
        self._started_s = time.monotonic()
        self._daemon.start(wait=False)
        self._logged = 0

    def _read_log(self) -> None:
        with open(self._daemon.log.path, "rb") as log:
            log.seek(self._log_offset)
            new = log.read()
        self._log_offset += len(new)
        self._logged += new.count(b"\n")
        if b'"serving"' in new and b'"serving"' not in self._log:
            self._start_s = time.monotonic() - self._started_s
        self._log += new

    # Looking ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """As a client does, at any moment: every folder that has appeared is complete, every answer is whole."""
        answers: list[Path] = []
        for folder in dict.fromkeys(FOLDERS):
            place = self._daemon.outbox / folder
            if not place.is_dir():
                continue
            for entry in os.scandir(place):
                path = Path(entry.path)
                if entry.name.startswith("r") and path not in self._checked and entry.is_dir():
                    self._checked.add(path)
                    self._check_result(path)
                elif entry.name.startswith("r") and entry.name.endswith(".json"):
                    answers.append(path)
        for path in self._chance.sample(answers, min(SAMPLE, len(answers))):
            self._check_answer(path)

    def _check_result(self, folder: Path) -> None:
        self._progress_s = time.monotonic()
        try:
            answer = json.loads((folder / "answer.json").read_bytes())
            check_complete(folder, answer)
        except (OSError, ValueError, AssertionError) as error:
            self.harm.half_made.append(f"{folder}: {error}")
            return
        digest = answer["request_sha256"]
        self._seen.setdefault(digest, []).append(str(folder))
        inputs = [each["sha256"] for each in answer.get("inputs", [])]
        expected = [self._inputs[digest]] if digest in self._inputs else []
        if inputs != expected and not (inputs == [] and self._expected[digest] == "refused"):  # it waits for none
            self.harm.otherwise.append(f"{folder} has other inputs than were sent: {inputs}")
        if answer["state"] != self._expected[digest]:
            self.harm.otherwise.append(f"{folder} is {answer['state']}: {answer.get('error')}")

    def _check_answer(self, path: Path) -> None:
        try:
            answer = json.loads(path.read_bytes())
            if answer["state"] == "done":
                check_complete(path.with_name(answer["result"]), answer)
        except (OSError, ValueError, KeyError, AssertionError) as error:
            self.harm.half_made.append(f"{path}: {error}")

    def _judge(self) -> None:
        """After its orderly end: each request has one result and its answer, and nothing is left anywhere."""
        self._checked.clear()
        seen, self._seen = self._seen, {}
        self._look()
        for digest, name in self._names.items():
            folders = self._seen.get(digest, [])
            if not folders:
                self.harm.lost.append(f"{name} (it was seen as {seen.get(digest)})")
            elif len(folders) > 1:
                self.harm.double.append(f"{name}: {folders}")
            answer = self._daemon.answer(name)
            if answer.get("state") != self._expected[digest]:
                self.harm.otherwise.append(f"{name} is answered {answer.get('state')}")
        self.harm.left += self._daemon.hidden_names()
        for kind in ("*.json", "photo-*"):
            found = self._daemon.inbox.rglob(kind)
            self.harm.left += [str(path) for path in found if OWN_FOLDER not in path.parts]
        self.harm.left += [str(path) for each in ("requests", "work") for path in (self._daemon.state / each).iterdir()]


def photo_of(number: int) -> bytes:
    """A small picture of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (number % 256, number // 256 % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--renderers", type=int, default=1, help="side by side (1)")
    parser.add_argument("--lines", type=float, default=40, help="mean number of log lines between two kills (40)")
    parser.add_argument("--within-s", type=float, default=math.inf, help="drop no more after so many seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="of what is killed and dropped")
    parser.add_argument("--folder", help="where to work; SIGKILL spares what is written, so memory will do")
    args = parser.parse_args()
    on = f"{machine()}; seed {args.seed}"
    with scratch(args.folder) as home:
        daemon = DaemonProcess(
            home, models={"card": "testcard"}, settings=SETTINGS | {"renderers_per_device": args.renderers}
        )
        soak = Soak(daemon, requests=args.requests, lines=args.lines, seed=args.seed, within_s=args.within_s)
        harm = soak.run(tell_now_and_then())
    tell_harm(harm)
    return show(
        f"soak: {harm.requests} requests over {args.renderers} renderers under SIGKILL", rows(harm), measured_on=on
    )


def tell_harm(harm: Harm) -> None:
    """What it was, one by one."""
    for what in ("lost", "double", "half_made", "otherwise", "left"):
        for line in getattr(harm, what)[:20]:
            print(f"{what}: {line}", file=sys.stderr)


def rows(harm: Harm) -> list[Row]:
    """What was done, and what it did."""
    counts = {
        "lost": harm.lost,
        "delivered twice": harm.double,
        "seen half-made": harm.half_made,
        "ended otherwise than they should": harm.otherwise,
        "files left behind": harm.left,
    }
    return [
        Row("SIGKILL of the service while it served", str(harm.service_kills["serving"])),
        Row("SIGKILL of the service while it started", str(harm.service_kills["starting"])),
        *(Row(what, str(count)) for what, count in sorted(harm.other_kills.items())),
        Row("time", f"{harm.wall_s:.0f} s ({harm.requests / harm.wall_s:.1f} requests a second)"),
        *(Row(what, str(len(found)), "0", not found) for what, found in counts.items()),
    ]


def tell_now_and_then(every_s: float = 10.0) -> Callable[[str], None]:
    """Where it is, on a terminal or in a log."""
    next_s = time.monotonic() + every_s

    def tell(words: str) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + every_s
            print(words, file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    sys.exit(main())
