"""docs/monitoring: every metric that a page, a rule or a panel names exists, and every one that exists is told."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from darkroom.errors import ErrorCode
from darkroom.report.gauges import SEAT_STATES, STATES
from darkroom.report.look import Look
from darkroom.report.metrics import Metrics
from darkroom.report.snapshot import FolderReport, HoldReport, Life, SeatReport, Snapshot
from darkroom.report.tally import Ending
from darkroom.service.seats import Doing

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
RULES = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
DASHBOARD = (FOLDER / "dashboard.json").read_text(encoding="utf-8")


def everything() -> Metrics:
    """Numbers in which every family has a sample."""
    folders = {role: FolderReport(f"/{role}", state="present", free_bytes=1) for role in ("inbox", "outbox")}
    held = (HoldReport("sd15", "why", "hint", 1),)
    snapshot = Snapshot(
        "running", folders=folders, seats=(SeatReport("auto", "held"),), queued_by_model={"sd15": 1}, held=held
    )
    metrics = Metrics(lambda: Look(Life("1", "i", "h", 1, "2026-01-01T00:00:00.000Z"), snapshot))
    metrics.life_began()
    metrics.turned(0.1)
    for tell in (
        metrics.accepted, metrics.attempted, metrics.stepped, metrics.painted, metrics.withheld, metrics.model_held,
        metrics.seat_held, metrics.notified,
    ):  # fmt: skip
        tell("x")
    metrics.ended(Ending("failed", "sd15", ErrorCode.STALLED.value, 1.0, 1.0, 1.0, 1.0))
    metrics.loaded("sd15", 1.0)
    metrics.renderer_died("auto", stalled=False)
    metrics.answered("health", 200)
    return metrics


@pytest.fixture(scope="module")
def families() -> dict[str, tuple[str, set[str], str]]:
    """Name as it is asked for → kind, labels, what it says."""
    found = {}
    for family in text_string_to_metric_families(everything().text().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert family.samples, f"{name} has no sample"
        found[name] = (family.type, labels, family.documentation)
    return found


@pytest.fixture(scope="module")
def samples() -> set[str]:
    """Every name that a query may ask for."""
    parsed = text_string_to_metric_families(everything().text().decode())
    return {sample.name for family in parsed for sample in family.samples}


def panels() -> Iterator[dict[str, Any]]:
    yield from json.loads(DASHBOARD)["panels"]


@pytest.mark.parametrize("text", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_every_metric_that_is_asked_for_exists(text: str, samples: set[str]) -> None:
    asked = set(re.findall(r"\bdarkroom_[a-z_]+", text))
    assert asked - samples == set()
    assert len(asked) > 10


@pytest.mark.parametrize("text", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_every_label_that_is_asked_for_exists(text: str, families: dict[str, tuple[str, set[str], str]]) -> None:
    known = {label for _, labels, _ in families.values() for label in labels} | {"le", "instance", "job"}
    text = text.replace('\\"', '"')
    for group in re.findall(r"by \(([^)]*)\)", text):
        assert {word.strip() for word in group.split(",")} <= known
    for inside in re.findall(r"[a-z]\{([^}$]*)[}$]", text):
        assert set(re.findall(r"(\w+)(?:=|!=|=~)\"", inside)) <= known


def test_every_state_that_a_rule_asks_for_exists() -> None:
    assert set(re.findall(r'seat_state\{state="(\w+)"', RULES)) <= set(SEAT_STATES)
    assert set(re.findall(r'darkroom_state\{state="(\w+)"', RULES)) <= set(STATES)
    assert {doing.value for doing in Doing} | {"held", "unloaded"} == set(SEAT_STATES)


def test_the_page_has_a_row_for_every_metric(families: dict[str, tuple[str, set[str], str]]) -> None:
    rows = {}
    for name, kind, labels, says in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\| (.*) \|$", PAGE, re.MULTILINE):
        rows[f"darkroom_{name}"] = (kind, {word.strip() for word in labels.split(",") if word.strip()}, says)
    assert rows == {name: told for name, told in families.items() if not name.startswith("darkroom_process_")}


def test_every_alert_says_what_to_do() -> None:
    alerts = RULES.split("- alert: ")[1:]
    assert len(alerts) > 10
    for alert in alerts:
        assert all(f"{key}: " in alert for key in ("expr", "severity", "summary", "do")), alert.partition("\n")[0]
    names = [alert.partition("\n")[0] for alert in alerts]
    assert len(set(names)) == len(names)
    assert set(re.findall(r"`(Darkroom\w+)`", PAGE)) <= set(names)


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD)
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "instance"]
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers) > 10
    for panel in panels():
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
        assert all('{instance=~"$instance"' in target["expr"] for target in panel["targets"])


def test_no_two_panels_lie_over_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies over {taken.get(cell)}"
            taken[cell] = panel["title"]


def test_there_are_as_many_series_as_models_and_no_more() -> None:
    """A thousand requests of two models, of any names, add no series."""
    metrics = everything()
    add: list[Callable[[], None]] = [
        lambda: metrics.ended(Ending("done", "sd15", "", 1.0, 1.0, 1.0, 1.0)),
        lambda: metrics.ended(Ending("done", "starter", "", 1.0, 1.0, 1.0, 1.0)),
    ]
    for each in add:
        each()
    before = len(metrics.text().splitlines())
    for _ in range(500):
        for each in add:
            each()
    assert len(metrics.text().splitlines()) == before < 400
