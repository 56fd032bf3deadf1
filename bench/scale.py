"""To a thousand renderers: what one daemon carries, by a model of it that is fed with what it was measured to cost.

    pip install 'simpy>=4.1' 'matplotlib>=3.9'
    python bench/scale.py [--requests 200] [--plot docs/scaling.png] [--save costs.json | --costs costs.json]

First a daemon in this process is measured, its renderers asleep (sleepers.py): what each kind of work costs its thread
in CPU time, in calls to the share and in waiting for the state folder's disk. Then a discrete-event model of the same
threads is fed with it, has to repeat runs that it was not fed with within 10 %, and says what 10 to 1,000 renderers
get on shares of different latency, and which thread has no time left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import simpy
from figures import Row, machine, show
from rig import scratch
from sleepers import AHEAD_S, MOST_HANDS, SHARES, SLOW_S, WORK, Run, Scene, Spent, run

GOAL = 0.10  #: how far the model may be from what was measured
SCAN_S = 1.0  #: `scan_interval_s`
CLOSER_CALLS = 200  #: of a look, for the next hundred in line
MANY = 32  #: renderers of the second measurement
STEPS = 20

#: What the model has to repeat.
POINTS = (
    Scene(200, 1, 0.05),
    Scene(200, 4, 0.1, steps=STEPS),
    Scene(300, 16, 0.4),
    Scene(200, 8, 0.1, share_s=0.001),
    Scene(80, 8, 0.1, share_s=0.005),
    Scene(40, 4, 0.5, share_s=0.02),
)
RENDERERS, RENDER_S, SHARE_S = (10, 30, 100, 300, 1000), (1.0, 0.1), (0.0001, 0.001, 0.005, 0.02)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one piece of work."""

    cpu_s: float
    calls: float = 0.0  #: to the share
    state_s: float = 0.0  #: waiting for the state folder's disk

    @classmethod
    def of(cls, spent: Spent, times: float) -> Cost:
        """The mean."""
        return cls(spent.cpu_s / times, spent.calls / times, spent.state_s / times)


@dataclass(frozen=True, slots=True)
class Costs:
    """All that the model knows of the daemon."""

    look: Cost
    take: Cost
    deliver: Cost
    final: Cost
    answer: Cost
    inbox_rest: Cost
    outbox_rest: Cost
    answers: float  #: that are written of a request which nothing overtakes
    service: Cost  #: of a request, with one renderer
    service_more_cpu_s: float  #: and for each renderer beyond the first
    step_cpu_s: float  #: of the service, for each step that is told


# Measured ---------------------------------------------------------------------------------------------------------


def measured(root: Path, requests: int) -> Costs:
    """Three runs, none of which has a thread that is always busy."""
    rest, one = run(root, Scene(requests, 1, 0.05), rest_s=5 * SCAN_S)
    _, stepped = run(root, Scene(requests, 1, 0.05, steps=STEPS))
    _, many = run(root, Scene(requests, MANY, MANY * 0.05))
    of_one, of_steps, of_many = (each.spent["service"].cpu_s / requests for each in (one, stepped, many))
    look = Cost.of(rest.spent["look"], rest.spent["look"].times)
    return Costs(
        look=look,
        **{kind: Cost.of(one.spent[kind], one.spent[kind].times) for kind in WORK if kind != "look"},
        **{f"{thread}_rest": rest_of(thread, one, requests) for thread in SHARES},
        answers=one.spent["answer"].times / requests,
        service=Cost(of_one, 0, one.spent["service"].state_s / requests),
        service_more_cpu_s=max(0.0, (of_many - of_one) / (MANY - 1)),
        step_cpu_s=max(0.0, (of_steps - of_one) / (STEPS - 1)),
    )


def rest_of(thread: str, run: Run, requests: int) -> Cost:
    """What a thread does besides, for each request: removing what was taken, looking whether the share is there."""
    rest = run.spent[thread]
    for kind in SHARES[thread]:
        rest -= run.spent[kind]
    return Cost.of(rest, requests)


# The model --------------------------------------------------------------------------------------------------------


class Modelled:
    """The daemon of a scene: threads that take turns with the interpreter, and renderers that do not."""

    def __init__(self, costs: Costs, scene: Scene) -> None:
        self._costs, self._scene = costs, scene
        self._env = simpy.Environment()
        self._interpreter = simpy.Resource(self._env)
        self._events: Any = simpy.Store(self._env)
        self._takes: Any = simpy.Store(self._env)
        self._written: Any = simpy.Store(self._env)
        self._results: deque[int] = deque()
        self._finals: deque[int] = deque()
        self._answers: dict[int, float] = {}  #: request → how many are due
        self._numbers = count(1)
        self._done = self._env.event()
        self._waiting = scene.requests
        self._taking, self._taken, self._free, self._told = 0, 0, scene.renderers, 0
        more_s = costs.service_more_cpu_s * (scene.renderers - 1)
        service = replace(costs.service, cpu_s=costs.service.cpu_s + more_s)
        #: A request is four commits: taken, begun, closed, settled.
        self._commit = Cost(service.cpu_s / 4, 0, service.state_s / 4)
        self._hands = MOST_HANDS if costs.deliver.calls * scene.share_s >= SLOW_S else 1
        self.busy_s = {"inbox": 0.0, "service": 0.0, "outbox": 0.0, "hands": 0.0, "interpreter": 0.0}

    def run(self) -> float:
        """How long it takes, from the first take to the last answer."""
        self._env.process(self._inbox())
        self._env.process(self._service())
        self._env.process(self._outbox())
        self._events.put(("begin", 0))
        self._env.run(until=self._done)
        return float(self._env.now)

    def _do(self, thread: str, cost: Cost) -> Iterator[Any]:
        """The half of its CPU time, its waiting, the other half."""
        begin_s = self._env.now
        yield from self._compute(cost.cpu_s / 2)
        waits_s = cost.calls * self._scene.share_s + cost.state_s
        if waits_s:
            yield self._env.timeout(waits_s)
        yield from self._compute(cost.cpu_s / 2)
        self.busy_s[thread] += (self._env.now - begin_s) / (self._hands if thread == "hands" else 1)

    def _compute(self, seconds: float) -> Iterator[Any]:
        with self._interpreter.request() as turn:
            yield turn
            yield self._env.timeout(seconds)
        self.busy_s["interpreter"] += seconds

    def _inbox(self) -> Iterator[Any]:
        """A look each second, which spends no more than a moment on those that are next in line; else, takes."""
        base = self._costs.look.calls - CLOSER_CALLS
        closer_s = min(CLOSER_CALLS * self._scene.share_s, AHEAD_S)
        look = replace(self._costs.look, calls=base, state_s=closer_s)
        next_look_s = SCAN_S
        while True:
            request = yield self._takes.get()
            yield from self._do("inbox", self._costs.take)
            yield from self._do("inbox", self._costs.inbox_rest)
            self._events.put(("taken", request))
            if self._env.now >= next_look_s:
                yield from self._do("inbox", look)
                next_look_s = self._env.now + SCAN_S

    def _service(self) -> Iterator[Any]:
        while True:
            what, request = yield self._events.get()
            if what in ("taken", "rendered", "delivered"):
                yield from self._do("service", self._commit)
            if what == "steps":
                yield from self._do("service", Cost(self._costs.step_cpu_s * (self._scene.steps - 1)))
            if what == "taken":
                self._taking, self._taken = self._taking - 1, self._taken + 1
            if what == "rendered":
                self._free += 1
                self._answers.pop(request, None)
                self._results.append(request)
                self._written.put(1)
            if what == "delivered":
                self._finals.append(request)
                self._written.put(1)
            yield from self._dispatch()

    def _dispatch(self) -> Iterator[Any]:
        while self._free and self._taken:
            self._free, self._taken = self._free - 1, self._taken - 1
            yield from self._do("service", self._commit)
            request = next(self._numbers)
            self._env.process(self._render(request))
            self._answers[request] = self._costs.answers + int(self._scene.render_s)
            self._written.put(1)
        while self._waiting and self._taking + self._taken < self._scene.renderers:
            self._waiting, self._taking = self._waiting - 1, self._taking + 1
            self._takes.put(self._waiting + 1)

    def _render(self, request: int) -> Iterator[Any]:
        yield self._env.timeout(self._scene.render_s)
        if self._scene.steps > 1:
            self._events.put(("steps", request))
        self._events.put(("rendered", request))

    def _outbox(self) -> Iterator[Any]:
        """Results and final answers first; what is overtaken is not written. On a slow share, by several hands."""
        hands = simpy.Resource(self._env, self._hands)
        while True:
            yield self._written.get()
            turn = hands.request()
            yield turn
            if self._results:
                request = self._results.popleft()
                yield from self._do("outbox", self._costs.outbox_rest)
                self._env.process(self._write(hands, turn, self._costs.deliver, ("delivered", request)))
            elif self._finals:
                self._env.process(self._write(hands, turn, self._costs.final, ("told", self._finals.popleft())))
            elif self._answers:
                request, due = next(iter(self._answers.items()))
                if due > 1:
                    self._answers[request] = due - 1
                    self._written.put(1)
                else:
                    self._answers.pop(request)
                self._env.process(self._write(hands, turn, self._costs.answer, None))
            else:
                hands.release(turn)

    def _write(self, hands: Any, turn: Any, cost: Cost, told: tuple[str, int] | None) -> Iterator[Any]:
        yield from self._do("hands", cost)
        hands.release(turn)
        if told is None:
            return
        if told[0] == "delivered":
            self._events.put(told)
            return
        self._told += 1
        if self._told == self._scene.requests:
            self._done.succeed()


# Told -------------------------------------------------------------------------------------------------------------


def compared(root: Path, costs: Costs) -> list[Row]:
    """The model beside what it was not fed with."""
    rows, late_s = [], oversleep_s()
    for scene in POINTS:
        _, real = run(root, scene)
        modelled = Modelled(costs, replace(scene, share_s=scene.share_s + late_s) if scene.share_s else scene)
        off = modelled.run() / real.seconds - 1
        what = f"{scene.renderers} × {scene.render_s:g} s, {scene.steps} steps, {1000 * scene.share_s:g} ms"
        figure = f"{scene.requests / real.seconds:.1f}/s measured, {off:+.0%}"
        rows.append(Row(what, figure, f"within {GOAL:.0%}", abs(off) <= GOAL))
    return rows


def oversleep_s() -> float:
    """By how much a sleep is longer than it was asked to be: that is how the share is made slow."""
    begin_s = time.monotonic()
    for _ in range(200):
        time.sleep(0.001)
    return (time.monotonic() - begin_s) / 200 - 0.001


@dataclass(frozen=True, slots=True)
class Point:
    """What the model says of a scene."""

    scene: Scene
    efficiency: float
    busiest: str
    load: float  #: of the busiest


def said(costs: Costs, renderers: int, render_s: float, share_s: float) -> Point:
    """Of so many renderers that always have something to do."""
    scene = Scene(max(200, min(20 * renderers, 4000)), renderers, render_s, STEPS, share_s)
    model = Modelled(costs, scene)
    seconds = model.run()
    busiest = max(model.busy_s, key=lambda thread: model.busy_s[thread])
    ideal_s = scene.requests * render_s / renderers
    return Point(scene, ideal_s / seconds, busiest, model.busy_s[busiest] / seconds)


def plot(points: list[Point], path: Path) -> None:
    """Efficiency over the number of renderers; one picture for each time of a picture."""
    import matplotlib as mpl  # noqa: PLC0415 - only who wants a plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, len(RENDER_S), figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, render_s in zip(panels, RENDER_S, strict=True):
        for share_s in SHARE_S:
            line = [each for each in points if each.scene.render_s == render_s and each.scene.share_s == share_s]
            xs, ys = [each.scene.renderers for each in line], [100 * each.efficiency for each in line]
            panel.plot(xs, ys, marker="o", label=f"{1000 * share_s:g} ms a call")
        panel.set(xscale="log", xlabel="renderers", title=f"{render_s:g} s a picture", ylim=(0, 105))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("pictures, % of what the renderers could")
    panels[0].legend(title="share")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Measure, compare, say; ends with 1 when the model is too far off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="of each measurement (default: %(default)s)")
    parser.add_argument("--costs", type=Path, help="take the costs from this file instead of measuring them")
    parser.add_argument("--save", type=Path, help="write the costs there")
    parser.add_argument("--plot", type=Path, help="draw what is said there")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    on, status = machine(), 0
    with scratch(args.folder) as root:
        costs = read(args.costs) if args.costs else measured(root / "daemon", args.requests)
        if args.save:
            args.save.write_text(json.dumps(asdict(costs), indent=1))
        show("costs", list(cost_rows(costs)), measured_on=on)
        if not args.costs:
            status = show("the model, beside what was measured", compared(root / "daemon", costs), measured_on=on)
    points = [said(costs, *scene) for scene in ((n, r, s) for r in RENDER_S for s in SHARE_S for n in RENDERERS)]
    show("to a thousand renderers", [_row(each) for each in points], measured_on="the model")
    if args.plot:
        plot(points, args.plot)
    return status


def read(path: Path) -> Costs:
    """Saved costs."""
    data = json.loads(path.read_text())
    return Costs(**{key: Cost(**value) if isinstance(value, dict) else value for key, value in data.items()})


def cost_rows(costs: Costs) -> Iterator[Row]:
    """Each piece of work."""
    for kind in (*WORK, *(f"{thread}_rest" for thread in SHARES), "service"):
        cost: Cost = getattr(costs, kind)
        figure = f"{1000 * cost.cpu_s:.2f} ms CPU, {cost.calls:.1f} calls, {1000 * cost.state_s:.2f} ms state"
        yield Row(kind, figure)
    yield Row("service, for each further renderer", f"{1e6 * costs.service_more_cpu_s:.0f} µs")
    yield Row("service, for each step", f"{1e6 * costs.step_cpu_s:.0f} µs")


def _row(point: Point) -> Row:
    scene = point.scene
    what = f"{scene.renderers} × {scene.render_s:g} s, {1000 * scene.share_s:g} ms a call"
    return Row(what, f"{point.efficiency:.0%}; {point.busiest} {point.load:.0%} busy")


if __name__ == "__main__":
    sys.exit(main())
