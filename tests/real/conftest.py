"""What the tests with real clients share: they need root, they skip nothing, and they tell what they measured."""

import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from darkroom.testing.process import DaemonProcess
from tests.real import part
from tests.real.latency import Latencies

LATENCIES = pytest.StashKey[Latencies]()
FIGURES = pytest.StashKey[list[str]]()
#: What a person has who configures nothing; only the heartbeat is quicker, for the tests that read it.
AS_SHIPPED = {"settle_s": 10.0, "scan_interval_s": 1.0}


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0:
        pytest.exit("tests/real needs root: servers, mounts, network namespaces. `make test-real` sets it up.", 1)
    session.config.stash[LATENCIES] = Latencies()
    session.config.stash[FIGURES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=lambda item: -part.group_s(item.path.name))


class Groups(LoadScopeScheduling):
    """What runs beside what is said in part.py."""

    def _split_scope(self, nodeid: str) -> str:
        name = Path(nodeid.partition("::")[0]).name
        return nodeid if name in part.APART else part.group(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Asked for by pytest-xdist; its own groups do not outlive a newer pytest."""
    return Groups(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker's figures go to whoever shows them."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["figures"] = config.stash[FIGURES]
        config.workeroutput["latencies"] = config.stash[LATENCIES].seconds


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """They have come; a worker that has died has none."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[FIGURES] += output.get("figures", [])
    node.config.stash[LATENCIES].add(output.get("latencies", {}))


@pytest.fixture(scope="session")
def latencies(pytestconfig: pytest.Config) -> Latencies:
    return pytestconfig.stash[LATENCIES]


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines to be shown at the end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path / "daemon", settings=AS_SHIPPED) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures of docs/shares.md."""
    for line in config.stash.get(FIGURES, []):
        terminalreporter.line(line)
    latencies = config.stash.get(LATENCIES, Latencies())
    if not latencies.seconds:
        return
    terminalreporter.section("from the start of the drop to its answer")
    for what, seconds in latencies.seconds.items():
        median, most = statistics.median(seconds), max(seconds)
        terminalreporter.line(f"{what:<58} median {median:7.3f} s, longest {most:7.3f} s, of {len(seconds)}")
