"""The tally that counts, and all numbers as Prometheus reads them. Imported only where somebody wants to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from darkroom.errors import ErrorCode
from darkroom.report.gauges import Gauges
from darkroom.report.look import Look
from darkroom.report.tally import Ending, Tally

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: Upper ends of the buckets, in seconds.
WAITS_S = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
RENDERS_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
FILES_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)
LOADS_S = (1, 5, 15, 30, 60, 120, 300, 900)
TURNS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15)

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more line for each series, which nobody asks for


class Metrics(Tally):
    """Counts; its counters may be told of by any thread. They live as long as the process."""

    def __init__(self, look: Callable[[], Look], *, models: Iterable[str] = (), seats: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Gauges(look))
        ProcessCollector(namespace="darkroom", registry=self.registry)  # the renderers are other processes
        self._count_requests()
        self._count_work()
        self._count_troubles()
        self._begin_at_zero(models, seats)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _count_requests(self) -> None:
        self._accepted = self._counter("requests_accepted", "Requests that have come.", "model")
        self._ended = self._counter("requests", "Requests that have come to their end.", "state", "model")
        self._errors = self._counter("request_errors", "Why requests were refused or failed.", "code")
        self._queued = self._histogram("queued_seconds", "From acceptance to the attempt that finished it.", WAITS_S)
        self._render = self._histogram("render_seconds", "On the device, each request.", RENDERS_S)
        self._encode = self._histogram("encode_seconds", "From the device to files, each request.", FILES_S)
        self._deliver = self._histogram("deliver_seconds", "From files to the outbox, each request.", FILES_S)

    def _count_work(self) -> None:
        self._attempts = self._counter("attempts", "Attempts that have begun.", "model")
        self._pictures = self._counter("pictures", "Finished pictures.", "model")
        self._withheld = self._counter("withheld", "Pictures that a safety checker has flagged.", "model")
        self._steps = self._counter("steps", "Denoising steps; their rate is the device's speed.", "device")
        self._loads = self._histogram("model_load_seconds", "To put a model on a device.", LOADS_S)
        self._turns = self._histogram("loop_lag_seconds", "How late the loop's turn of each second is.", TURNS_S, "")

    def _count_troubles(self) -> None:
        self._lives = self._counter("lives", "Beginnings of the service in this process.")
        self._model_holds = self._counter("model_holds", "How often a model was put off.", "model")
        self._seat_holds = self._counter("seat_holds", "How often a renderer was put off.", "seat")
        self._deaths = self._counter("renderer_deaths", "Renderers that ended unasked.", "seat", "how")
        self._notices = self._counter("notifications", "Commands for requests that have ended.", "outcome")
        self._answers = self._counter("http_requests", "Requests over HTTP.", "page", "status")

    def _begin_at_zero(self, models: Iterable[str], seats: Iterable[str]) -> None:
        """What has not happened yet is told as well: else its first time would be no increase to Prometheus."""
        for model in models:
            for family in (self._accepted, self._attempts, self._pictures, self._withheld, self._model_holds):
                family.labels(model)
            for state in ("done", "failed", "cancelled"):
                self._ended.labels(state, model)
        self._ended.labels("refused", "")
        for code in ErrorCode:
            self._errors.labels(code.value)
        for seat in seats:
            self.seat_ready(seat)
        for outcome in ("told", "failed", "dropped"):
            self._notices.labels(outcome)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"darkroom_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], label: str = "model") -> Histogram:
        labels = [label] if label else []
        return Histogram(f"darkroom_{name}", text, labels, buckets=buckets, registry=self.registry)

    # What it hears ------------------------------------------------------------------------------------------------

    def life_began(self) -> None:
        """Count it."""
        self._lives.inc()

    def turned(self, late_s: float) -> None:
        """Count it."""
        self._turns.observe(late_s)

    def accepted(self, model: str) -> None:
        """Count it."""
        self._accepted.labels(model).inc()

    def attempted(self, model: str) -> None:
        """Count it."""
        self._attempts.labels(model).inc()

    def stepped(self, device: str) -> None:
        """Count it."""
        self._steps.labels(device).inc()

    def painted(self, model: str) -> None:
        """Count it."""
        self._pictures.labels(model).inc()

    def withheld(self, model: str) -> None:
        """Count it."""
        self._withheld.labels(model).inc()

    def ended(self, ending: Ending) -> None:
        """Count it, and how long it took."""
        self._ended.labels(ending.state, ending.model).inc()
        if ending.code:
            self._errors.labels(ending.code).inc()
        for family, seconds in (
            (self._queued, ending.queued_s),
            (self._render, ending.render_s),
            (self._encode, ending.encode_s),
            (self._deliver, ending.deliver_s if ending.render_s is not None else None),
        ):
            if seconds is not None:
                family.labels(ending.model).observe(seconds)

    def loaded(self, model: str, load_s: float) -> None:
        """Count it."""
        self._loads.labels(model).observe(load_s)

    def model_held(self, model: str) -> None:
        """Count it."""
        self._model_holds.labels(model).inc()

    def seat_ready(self, seat: str) -> None:
        """Count its troubles from nothing on."""
        self._seat_holds.labels(seat)
        for how in ("died", "stalled"):
            self._deaths.labels(seat, how)

    def seat_held(self, seat: str) -> None:
        """Count it."""
        self._seat_holds.labels(seat).inc()

    def renderer_died(self, seat: str, *, stalled: bool) -> None:
        """Count it."""
        self._deaths.labels(seat, "stalled" if stalled else "died").inc()

    def notified(self, outcome: str) -> None:
        """Count it."""
        self._notices.labels(outcome).inc()

    def answered(self, page: str, status: int) -> None:
        """Count it."""
        self._answers.labels(page, str(status)).inc()
