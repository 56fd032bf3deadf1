"""The whole spool against a small model of the contract: whatever people, tools and crashes do, in whichever order.

`CHAOS_EXAMPLES=2000 pytest tests/test_chaos.py` looks longer.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from darkroom.testing.faults import ArmedDisk, Crash
from darkroom.testing.painter import Painter
from darkroom.testing.world import World

NAMES = ("cat", "dog", "bob/cat")
SEATS = 2
WHICH = st.integers(0, SEATS - 1)  #: of the renderers
ENDINGS = {"done": "", "refused": ".refused", "failed": ".failed", "cancelled": ".cancelled"}


@dataclass
class Dropped:
    """A request that somebody dropped, and what its person may expect."""

    path: str
    raw: bytes
    good: bool
    withdrawn: bool = False  #: deleted, or replaced: it may end anywhere, even nowhere, but at most once
    cancel: bool = False  #: somebody asked to cancel it
    erred: bool = False  #: the renderer died or erred while it had it

    def allowed(self) -> set[str]:
        """The final states that keep the promise."""
        ends = {"done"} if self.good else {"refused"}
        return ends | ({"cancelled"} if self.cancel else set()) | ({"failed"} if self.erred else set())


class Spool(RuleBasedStateMachine):
    """People drop, replace, delete, cancel and carry away; parts crash, fail and go away."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="darkroom-chaos-", dir=memory if memory.is_dir() else None))
        self.world = World(self.root, device="cpu", renderers_per_device=SEATS)
        self.disk = ArmedDisk()
        self.dropped: dict[str, Dropped] = {}  # by the digest of its bytes
        self.carried = self.root / "carried"
        self.count = 0
        self.away: set[str] = set()

    @initialize()
    def begin(self) -> None:
        """Both folders are known from here on: one that has never been seen is adopted, whichever it is."""
        self.world.start(self.disk)
        self.world.step()
        self.world.step()

    # People -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: "inbox" not in self.away)
    @rule(name=st.sampled_from(NAMES), good=st.booleans(), in_place=st.booleans())
    def drop(self, name: str, good: bool, in_place: bool) -> None:
        self.count += 1
        path = f"{name}.json"
        request = {"prompt": f"picture {self.count}"} if good else {"prompt": f"picture {self.count}", "style": "odd"}
        raw = json.dumps(request).encode()
        self.withdraw(path)
        cancelled = (self.world.inbox / f"{name}.cancel").exists()
        self.dropped[hashlib.sha256(raw).hexdigest()] = Dropped(path, raw, good, cancel=cancelled)
        if in_place and (self.world.inbox / path).exists():
            (self.world.inbox / path).write_bytes(raw)
        else:
            self.world.drop(path, raw)

    @precondition(lambda self: "inbox" not in self.away)
    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.withdraw(f"{name}.json")
        (self.world.inbox / f"{name}.json").unlink(missing_ok=True)

    @precondition(lambda self: "inbox" not in self.away)
    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        for each in self.dropped.values():
            each.cancel = each.cancel or each.path == f"{name}.json"
        target = self.world.inbox / f"{name}.cancel"
        target.parent.mkdir(exist_ok=True)
        target.touch()

    @precondition(lambda self: "outbox" not in self.away)
    @rule()
    def carry_results_away(self) -> None:
        """As a careful client does: only what its answer calls final."""
        for answer in self.answers():
            if answer["state"] in ENDINGS and "result" in answer:
                folder = (self.world.outbox / answer["name"]).parent / answer["result"]
                if folder.exists():
                    self.carried.mkdir(exist_ok=True)
                    shutil.move(folder, self.carried / f"{answer['id']}-{len(list(self.carried.iterdir()))}")

    def withdraw(self, path: str) -> None:
        """Whoever is still in the inbox under this name loses its place there."""
        if (self.world.inbox / path).exists():
            digest = hashlib.sha256((self.world.inbox / path).read_bytes()).hexdigest()
            self.dropped[digest].withdrawn = True
        for hidden in (self.world.inbox / path).parent.glob(f".{Path(path).name}.*.taken"):
            self.dropped[hashlib.sha256(hidden.read_bytes()).hexdigest()].withdrawn = True

    # The machine --------------------------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 4))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.live(self.world.step)

    @rule(hold=st.booleans())
    def hold_or_release(self, hold: bool) -> None:
        self.world.holding = hold
        for painter in list(self.world.painters.values()):
            painter.hold = hold
        if not hold:
            self.live(self.release)

    @rule(which=WHICH)
    def renderer_dies(self, which: int) -> None:
        self.blame()
        self.painter(which).die()

    @rule(which=WHICH)
    def renderer_errs(self, which: int) -> None:
        self.blame()
        self.painter(which).fail()

    @rule()
    def service_is_killed(self) -> None:
        self.blame()
        self.world.die()
        self.live(lambda: self.world.start(self.disk))

    @rule(effects=st.integers(1, 40))
    def crash_soon(self, effects: int) -> None:
        self.disk.arm(effects)

    @rule(which=st.sampled_from(("inbox", "outbox")), empty=st.booleans())
    def go_away(self, which: str, empty: bool) -> None:
        if which in self.away:
            return
        self.away.add(which)
        folder = self.root / which
        folder.rename(self.root / f"{which}-away")
        if empty:
            folder.mkdir()

    @rule(which=st.sampled_from(("inbox", "outbox")))
    def come_back(self, which: str) -> None:
        if which in self.away:
            self.away.remove(which)
            if (self.root / which).exists():
                (self.root / which).rmdir()  # nothing was put into the wrong folder, or this raises
            (self.root / f"{which}-away").rename(self.root / which)

    @rule(days=st.sampled_from((-1, 1)))
    def set_the_clock(self, days: int) -> None:
        self.world.clock.wall_offset_s += days * 86_400

    # What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_half_made(self) -> None:
        if "outbox" in self.away:
            return
        for folder in self.results():
            check_whole(folder)
        self.answers()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.world.die()
            shutil.rmtree(self.root)
            structlog.reset_defaults()

    def finish(self) -> None:
        """Heal everything, let it run out, and count."""
        self.come_back("inbox")
        self.come_back("outbox")
        self.hold_or_release(hold=False)
        self.live(self.world.step)
        self.disk.arm(0)
        for _ in range(400):
            self.live(self.world.step)
            if self.world.running.service.is_finished and not self.waiting_cancels():
                break
        else:
            raise AssertionError(f"never finished: {self.world.running.service.snapshot}")
        self.nothing_is_half_made()
        ends: dict[str, list[str]] = {digest: [] for digest in self.dropped}
        for folder in self.results():
            answer = check_whole(folder)
            ends[hashlib.sha256((folder / "request.json").read_bytes()).hexdigest()].append(answer["state"])
        for digest, states in ends.items():
            dropped = self.dropped[digest]
            assert len(states) <= 1, f"{dropped} came out {states}"
            assert set(states) <= dropped.allowed(), f"{dropped} came out {states}"
            assert states or dropped.withdrawn, f"{dropped} was lost"
        left = [path for path in self.world.inbox.rglob("*") if path.is_file() and path.parent.name != ".darkroom"]
        assert left == []

    def waiting_cancels(self) -> list[Path]:
        return list(self.world.inbox.rglob("*.cancel"))

    # Helpers ------------------------------------------------------------------------------------------------------

    def painter(self, which: int) -> Painter:
        return list(self.world.painters.values())[which]

    def release(self) -> None:
        for painter in list(self.world.painters.values()):
            painter.release()

    def live(self, act: Callable[[], Any]) -> None:
        """Do it; a crash on the way ends this life, and the next one begins."""
        try:
            act()
        except Crash:
            self.blame()
            self.world.die()
            self.disk.arm(0)
            self.world.start(self.disk)

    def blame(self) -> None:
        """What was on the device, or may have been, is on its way to `failed`."""
        for each in self.dropped.values():
            each.erred = True

    def answers(self) -> list[dict[str, Any]]:
        paths = [path for name in NAMES if (path := self.world.outbox / f"{name}.json").exists()]
        return [json.loads(path.read_bytes()) for path in paths]

    def results(self) -> list[Path]:
        folders = [path for path in self.world.outbox.rglob("*") if path.is_dir() and (path / "answer.json").exists()]
        seen = [path for path in folders if not any(part.startswith(".") for part in path.parts)]
        return seen + (list(self.carried.iterdir()) if self.carried.exists() else [])


def check_whole(folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    raw = (folder / "request.json").read_bytes()
    assert answer["request_sha256"] == hashlib.sha256(raw).hexdigest()
    for image in answer.get("images", []):
        assert hashlib.sha256((folder / image["file"]).read_bytes()).hexdigest() == image["sha256"]
    assert (answer["state"] == "done") == ("images" in answer)
    return answer


Spool.TestCase.settings = settings(
    max_examples=int(os.environ.get("CHAOS_EXAMPLES", "40")),
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSpool = Spool.TestCase
