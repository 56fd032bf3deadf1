"""What the real Prometheus makes of our metrics and rules."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for
from tests.real.conftest import AS_SHIPPED
from tests.real.servers import free_port
from tests.real.test_faults import on_a_faulty

RULES = Path(__file__).parents[2] / "docs" / "monitoring" / "alerts.yml"

PANELS = json.loads((RULES.parent / "dashboard.json").read_text())["panels"]
#: What the dashboard asks, with what Grafana puts in the place of its variables.
QUERIES = [
    target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
    for panel in PANELS
    for target in panel["targets"]
]

#: Prometheus' own tests of rules: what comes of a series, minute by minute.
TESTS = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'darkroom_healthy{instance="a"}', values: '1x10 0x20'}
      - {series: 'darkroom_queued{instance="a",model="sd15"}', values: '3x60'}
      - {series: 'darkroom_steps_total{instance="a",device="cuda:0"}', values: '0+50x10 500x50'}
      - {series: 'darkroom_state{instance="a",state="running"}', values: '1x60'}
      - {series: 'darkroom_requests_total{instance="a",state="failed",model="sd15"}', values: '0+1x60'}
      - {series: 'darkroom_requests_total{instance="a",state="done",model="sd15"}', values: '0+2x60'}
    alert_rule_test:
      - {eval_time: 10m, alertname: DarkroomNotHealthy, exp_alerts: []}
      - eval_time: 20m
        alertname: DarkroomNotHealthy
        exp_alerts:
          - exp_labels: {severity: critical, instance: a}
            exp_annotations:
              summary: Requests do not get on at a
              do: curl /health says why; docs/operations.md says what to do
      - {eval_time: 12m, alertname: DarkroomNothingRenders, exp_alerts: []}
      - eval_time: 50m
        alertname: DarkroomNothingRenders
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: Requests wait at a, and nothing renders
              do: darkroom status says what they wait for
      - eval_time: 50m
        alertname: DarkroomManyFail
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: More than a tenth of the requests at a fail
              do: darkroom_request_errors_total says of what; docs/contract.md, Errors
"""


def promtool(*arguments: str, cwd: Path | None = None, stdin: bytes = b"") -> str:
    done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, check=False, cwd=cwd)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def ask(url: str, within_s: float = 10) -> bytes:
    with urllib.request.urlopen(url, timeout=within_s) as response:
        content: bytes = response.read()
    return content


def status(port: int, path: str) -> int:
    try:
        ask(f"http://127.0.0.1:{port}{path}", within_s=100)
    except HTTPError as error:
        return error.code
    return 200


def why(port: int) -> list[str]:
    """Why it is not well."""
    try:
        ask(f"http://127.0.0.1:{port}/health")
    except HTTPError as error:
        told: list[str] = json.loads(error.read())["why"]
        return told
    return []


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[DaemonProcess, int]]:
    port = free_port()
    settings = AS_SHIPPED | {"http": f"127.0.0.1:{port}", "textfile": str(tmp_path / "darkroom.prom")}
    with DaemonProcess(tmp_path / "daemon", settings=settings) as daemon:
        daemon.wait_for_event("http_listening")
        yield daemon, port


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    """A Prometheus that looks at the daemon each second; its port."""
    port = free_port()
    (folder / "alerts.yml").write_text(RULES.read_text())
    job = {"job_name": "darkroom", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": times, "rule_files": ["alerts.yml"], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML as well
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def test_promtool_has_nothing_to_say_about_the_rules(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(RULES.read_text())
    (tmp_path / "tests.yml").write_text(TESTS)
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml", cwd=tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "tests.yml", cwd=tmp_path)


def test_promtool_can_read_each_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:query{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(QUERIES)} rules found" in promtool("check", "rules", "queries.yml", cwd=tmp_path)


def test_promtool_has_nothing_to_say_about_the_metrics(watched: tuple[DaemonProcess, int], tmp_path: Path) -> None:
    daemon, port = watched
    daemon.drop("cat.json")
    daemon.drop("dog.json", {"width": 1})
    daemon.wait_for_state("cat", "done")
    daemon.wait_for_state("dog", "refused")
    assert promtool("check", "metrics", stdin=ask(f"http://127.0.0.1:{port}/metrics")) == ""
    daemon.stop()
    written = (tmp_path / "darkroom.prom").read_bytes()
    assert b'darkroom_state{state="stopped"} 1.0' in written
    assert promtool("check", "metrics", stdin=written) == ""


@pytest.mark.timeout(300)
def test_while_the_outbox_hangs_health_and_metrics_answer_and_files_do_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    with on_a_faulty("outbox", tmp_path, http=f"127.0.0.1:{port}") as (daemon, share, _):
        daemon.wait_for_event("http_listening")
        daemon.wait_for(lambda: status(port, "/first/first-1.png") == 200, "a picture is shown")
        share.hang()
        with ThreadPoolExecutor(4) as pool:
            pictures = [pool.submit(status, port, "/first/first-1.png") for _ in range(4)]
            daemon.drop("second.json")
            daemon.wait_for_health(lambda health: health["undelivered"] == 1, "it is rendered")
            daemon.wait_for(
                lambda: b"darkroom_undelivered 1.0" in ask(f"http://127.0.0.1:{port}/metrics"), "so it says"
            )
            assert status(port, "/health") == 200
            assert not any(each.done() for each in pictures)
            share.heal()
            assert [each.result() for each in pictures] == [200] * 4
        daemon.wait_for_state("second", "done")


@pytest.mark.timeout(300)
def test_a_loop_that_stands_still_is_told(tmp_path: Path) -> None:
    port = free_port()
    with on_a_faulty("state", tmp_path, http=f"127.0.0.1:{port}") as (daemon, share, _):
        daemon.wait_for_event("http_listening")
        daemon.wait_for(lambda: status(port, "/health") == 200, "it is well")
        share.hang()
        daemon.drop("second.json")
        told = daemon.wait_for(lambda: why(port), "it is told", deadline_s=90)
        assert told[0].startswith("the service's loop has stood still for ")
        share.heal()
        daemon.wait_for_state("second", "done")
        daemon.wait_for(lambda: status(port, "/health") == 200, "it is well again")


def test_prometheus_reads_the_daemon_and_its_rules(watched: tuple[DaemonProcess, int], tmp_path: Path) -> None:
    daemon, port = watched
    with prometheus(tmp_path, port) as its:

        def value(query: str) -> float | None:
            found = json.loads(ask(f"http://127.0.0.1:{its}/api/v1/query?query={quote(query)}"))["data"]["result"]
            return float(found[0]["value"][1]) if found else None

        def is_asked() -> bool:
            try:
                return value('up{job="darkroom"}') == 1.0
            except OSError:  # it does not listen yet
                return False

        wait_for(is_asked, "it reads the daemon")
        daemon.drop("cat.json", {"num_images": 2})
        daemon.wait_for_state("cat", "done")
        wait_for(lambda: value("darkroom_pictures_total") == 2.0, "it has read of the pictures")
        assert value("darkroom_healthy") == 1.0
        answered = [query for query in QUERIES if value(query) is not None]
        assert 2 * len(answered) > len(QUERIES), "of troubles there is nothing to show"
        rules: list[dict[str, Any]] = json.loads(ask(f"http://127.0.0.1:{its}/api/v1/rules"))["data"]["groups"]
        assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
        assert sum(len(group["rules"]) for group in rules) == RULES.read_text().count("- alert: ")
