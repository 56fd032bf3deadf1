"""What others may read of the daemon, over all lives of one process: HTTP, a file of numbers, commands. Off by default.

What these need is imported here and only when it is on: a daemon that nobody reads is not larger for it. What HTTP
needs is imported after the first answers: these are not kept waiting for it.
"""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from darkroom.actor import Broken, start_thread
from darkroom.clock import Clock
from darkroom.disk.files import Disk
from darkroom.guard import describe
from darkroom.http.address import Address
from darkroom.names import file_of
from darkroom.report.late import LateTally
from darkroom.report.look import Look
from darkroom.report.tally import Tally
from darkroom.spool import answer_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from darkroom.config.settings import Config
    from darkroom.http.server import Server
    from darkroom.report.messenger import Messenger
    from darkroom.report.metrics import Metrics
    from darkroom.report.snapshot import Life, Snapshot
    from darkroom.report.textfile import Textfile
    from darkroom.spool.answer import Answer

FIRST_ANSWERS_S = 0.5  #: after the start, until HTTP begins
FINISH_S = 2.0  #: at a stop, for commands that wait
ONCE_S = 60.0  #: the same with `--once`: who says that waits for all of it

#: The newest snapshot of a life, and when it was made, in monotonic seconds.
Newest = tuple["Snapshot | None", float]

_log = structlog.get_logger("darkroom.http")


class Monitoring:
    """Holds no state of the service; it looks at the newest snapshot whenever it is asked."""

    def __init__(self, config: Config, *, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self._clock, self._disk = clock or Clock(), disk or Disk()
        self._config = config
        self._life: Life | None = None
        self._newest: Callable[[], Newest] = lambda: (None, 0.0)
        self._ended = ""
        self._late = LateTally()
        self._is_read = bool(config.http or config.textfile)
        self.tally: Tally = self._late if self._is_read else Tally()  #: what the service tells
        self._textfile = self._file(config) if config.textfile else None
        self.messenger = self._messenger(config) if config.notify else None
        self.server: Server | None = None
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        """Let others read, from before the first life until the process ends."""
        for each in (self._textfile, self.messenger):
            if each is not None:
                each.start()
        if self._config.http:
            start_thread("http begins", self._serve, self._serve_never)
        return self

    def __exit__(self, *_: object) -> None:
        """The process ends."""
        self._is_over.set()
        if self.server is not None:
            self.server.stop()

    @property
    def metrics(self) -> Metrics | None:
        """All numbers, also those of what was told before; None where nobody may read them."""
        return self._numbers if self._is_read else None

    @cached_property
    def _numbers(self) -> Metrics:
        from darkroom.report.metrics import Metrics
        from darkroom.service.seating import places

        named = places(self._config.device, self._config.renderers_per_device, cores=1)
        metrics = Metrics(self.look, models=self._config.models, seats=[place.name for place in named])
        self._late.begin(metrics)
        return metrics

    def look(self) -> Look:
        """Any thread may look."""
        snapshot, told_s = self._newest()
        return Look(self._life, snapshot, max(0.0, self._clock.monotonic_s() - told_s), self._ended)

    def follow(self, life: Life, newest: Callable[[], Newest]) -> None:
        """A life has begun."""
        self._life, self._newest, self._ended = life, newest, ""
        self.tally.life_began()

    def life_ended(self, why: str) -> None:
        """The next one begins in a while."""
        self._ended = why

    def tell_end(self, answer: Answer, folder: str) -> None:
        """A final answer is in the outbox, in this folder of it."""
        if self.messenger is not None:
            self.messenger.tell(answer_json.to_bytes(answer), _about(answer, self._config.outbox / folder))

    def finish(self, *, patient: bool) -> None:
        """The last life has ended in order: let commands and the file catch up."""
        if self.messenger is not None:
            self.messenger.finish(ONCE_S if patient else FINISH_S)
        if self._textfile is not None:
            self._textfile.stop(FINISH_S)

    # What is on ---------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        if not self._is_over.wait(FIRST_ANSWERS_S):
            self.server = self._listening(self._config)
            self.server.start()

    def _serve_never(self, broken: Broken) -> None:
        """A broken installation; the service goes on, and nobody counts."""
        _log.error("http_error", thread=broken.thread, why=describe(broken.error), exc_info=broken.error)
        self._late.begin(Tally())

    def _listening(self, config: Config) -> Server:
        from darkroom.http.files import Files
        from darkroom.http.pages import Pages
        from darkroom.http.server import Server

        address = Address.parse(config.http)
        files = Files(config.outbox, disk=self._disk)
        pages = Pages(self.look, self._numbers, files, only_this_machine=address.is_of_this_machine)
        return Server(address, pages, clock=self._clock.monotonic_s)

    def _file(self, config: Config) -> Textfile:
        from darkroom.report.textfile import Textfile

        return Textfile(Path(config.textfile), self._numbers.text, every_s=config.heartbeat_s, disk=self._disk)

    def _messenger(self, config: Config) -> Messenger:
        from darkroom.report.messenger import Messenger

        return Messenger(config.notify, tally=self.tally, clock=self._clock.monotonic_s)


def _about(answer: Answer, folder: Path) -> dict[str, str]:
    """What a command finds in its environment, all of `config.load.TOLD_TO_COMMANDS`."""
    return {
        "DARKROOM_REQUEST": answer.name,
        "DARKROOM_ID": answer.id,
        "DARKROOM_STATE": answer.state.value,
        "DARKROOM_RESULT": str(folder / answer.result) if answer.result is not None else "",
        "DARKROOM_ANSWER": str(folder / f"{file_of(answer.name)}.json"),
        "DARKROOM_PICTURES": str(len(answer.images)),
        "DARKROOM_MESSAGE": answer.error.message if answer.error is not None else "",
    }
