"""The units of a Ray cluster: what systemd says of them, and what it takes to install them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.cli import main
from darkroom.cli.finding import Verdict
from darkroom.cli.outward import cluster
from darkroom.config.load import load
from darkroom.config.settings import Config, shipped
from darkroom.errors import ConfigUnusable, DarkroomError
from darkroom.systemd.install import FULL_NAME, Account, Facts, Group, Wish, to_remove
from darkroom.systemd.ray_install import TOKEN, RayFacts, RayWish, to_join, to_leave
from darkroom.systemd.ray_unit import HEAD, PORT, Role, network_of, ray_unit
from darkroom.systemd.unit import MODEL_CACHE, RAY_DIR, STATE_DIR, service_unit

ROLES: tuple[Role, ...] = ("head", "worker")
ADDRESSES = {"head": "10.1.2.3", "worker": "10.1.2.3:6380"}

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: THE UNITS ARE NOT VERIFIED (Debian: apt install systemd)",
)


def printed(role: Role) -> str:
    return ray_unit(role, ADDRESSES[role], user="ann", group="ann")


def setting(unit: str, key: str) -> str:
    return next(line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}="))


@needs_systemd_analyze
@pytest.mark.parametrize("role", ROLES)
def test_systemd_has_nothing_to_say_about_the_units(role: Role, tmp_path: Path) -> None:
    path = tmp_path / f"darkroom-ray-{role}.service"
    program = setting(printed(role), "ExecStart").partition(" ")[0]
    path.write_text(printed(role).replace(program, "/bin/true"))
    for words in (["verify"], ["security", "--offline=true", "--threshold=30"]):
        done = subprocess.run(["systemd-analyze", *words, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words[0] != "verify" or done.stdout + done.stderr == ""


@pytest.mark.parametrize("role", ROLES)
def test_every_directive_has_its_reason_above_it(role: Role) -> None:
    lines = shipped(f"systemd/darkroom-ray-{role}.service").read_text().splitlines()
    service = lines[lines.index("[Service]") + 1 : lines.index("[Install]")]
    assert [
        here for above, here in zip(["", *service], service, strict=False) if here[:1].isalpha() and not above
    ] == []


@pytest.mark.parametrize("role", ROLES)
def test_address_user_and_program_are_filled_in(role: Role) -> None:
    unit = printed(role)
    command = setting(unit, "ExecStart")
    assert command.startswith(f"{Path(sys.executable).absolute().with_name('ray')} start ")
    assert f"address={ADDRESSES[role]} " in f"{command} "
    assert "10.0.0.1" not in command
    assert (setting(unit, "User"), setting(unit, "Group")) == ("ann", "ann")


def test_both_units_give_up_a_silent_machine_after_the_same_time() -> None:
    texts = [shipped(f"systemd/darkroom-ray-{role}.service").read_text() for role in ROLES]
    health = [next(line for line in text.splitlines() if "health_check" in line) for text in texts]
    assert health[0] == health[1]


@pytest.mark.parametrize("role", ROLES)
def test_others_than_the_network_of_the_cluster_are_kept_out_where_it_is_named(role: Role) -> None:
    def unit(network: str) -> str:
        return ray_unit(role, ADDRESSES[role], user="ann", group="ann", network=network)

    assert "\nIPAddress" not in unit("")
    closed = unit("10.1.2.3/24, fd00::/64")
    assert (setting(closed, "IPAddressDeny"), setting(closed, "IPAddressAllow")) == (
        "any",
        "localhost 10.1.2.0/24 fd00::/64",
    )
    assert unit(network_of(closed)) == closed
    assert unit(network_of(unit(""))) == unit("")
    with pytest.raises(DarkroomError, match=r"'10\.1\.2' is no network: .*--ray-network 10\.0\.0\.0/24"):
        unit("10.1.2")


@pytest.mark.parametrize("address", ["", "10.0.0.1", "10.0.0.1:", "ray://10.0.0.1:6379", "a b:1", "x:1 --flag"])
def test_what_is_no_address_of_a_head_is_told(address: str) -> None:
    with pytest.raises(DarkroomError, match=r"not the address of a head.*--ray-worker 10\.0\.0\.1:6379"):
        ray_unit("worker", address, user="ann", group="ann")


def test_the_daemons_unit_reaches_rays_sockets_only_where_it_renders_by_ray(tmp_path: Path) -> None:
    folders = {"inbox": tmp_path / "in", "outbox": tmp_path / "out"}
    units = [
        service_unit(Config(**folders, executor=executor), file=None, user="ann", group="ann")
        for executor in ("local", "ray")
    ]
    assert [f"-{RAY_DIR}" in setting(unit, "ReadWritePaths") for unit in units] == [False, True]
    assert setting(printed("head"), "StateDirectory") == RAY_DIR.name


WISH = RayWish("worker", "darkroom", "darkroom", "the unit", "secret")
BARE = RayFacts(None, None, None, enabled=False, active=False, has_token=False)
READY = RayFacts(
    Account(999, frozenset({999})), Group(999), "the unit", enabled=True, active=True, has_token=True, token_fits=True
)


def said(wish: RayWish, facts: RayFacts) -> list[str]:
    return [str(step) for step in to_join(wish, facts)]


def test_a_worker_needs_the_secret_of_the_head() -> None:
    with pytest.raises(DarkroomError, match=f"scp HEAD:{TOKEN} {TOKEN}"):
        to_join(WISH, BARE)


def test_a_head_makes_the_secret_and_nobody_reads_it_meanwhile() -> None:
    steps = to_join(replace(WISH, role="head"), BARE)
    (token,) = [step for step in steps if step.file == TOKEN]
    assert (token.content, token.mode) == ("secret", 0o600)
    words = [str(step) for step in steps]
    assert (
        words.index(f"write {TOKEN}") < words.index(f"chown root:darkroom {TOKEN}") < words.index(f"chmod 0640 {TOKEN}")
    )
    assert words[-1] == "systemctl start darkroom-ray-head"


def test_a_second_run_does_nothing() -> None:
    assert said(WISH, READY) == []


def test_a_unit_that_has_changed_is_started_again() -> None:
    assert said(WISH, replace(READY, unit="another")) == [
        "write /etc/systemd/system/darkroom-ray-worker.service",
        "systemctl daemon-reload",
        "systemctl restart darkroom-ray-worker",
    ]


def test_a_secret_that_was_just_brought_is_given_to_the_service() -> None:
    assert said(WISH, replace(READY, token_fits=False)) == [f"chown root:darkroom {TOKEN}", f"chmod 0640 {TOKEN}"]


def test_it_leaves_what_it_has_made() -> None:
    assert [str(step) for step in to_leave(WISH, READY)] == [
        "systemctl stop darkroom-ray-worker",
        "systemctl disable darkroom-ray-worker",
        "rm /etc/systemd/system/darkroom-ray-worker.service",
        "systemctl daemon-reload",
    ]
    assert to_leave(WISH, BARE) == []


def test_the_command_prints_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "show", "--ray-worker", "10.1.2.3:6380"]) == 0
    assert "--address=10.1.2.3:6380" in capsys.readouterr().out


def test_an_option_that_cannot_be_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["service", "show", "--ray-worker", "a:1", "--ray-head", "a"])
    assert "not allowed with" in capsys.readouterr().err


def test_the_configuration_that_the_page_shows_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.config.contradictions._is_installed", lambda _: True)
    page = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```toml\n(executor = .*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "darkroom.toml").write_text(shown)
    cluster = load(tmp_path / "darkroom.toml").cluster_settings()
    assert (cluster.address, cluster.token_file) == (f"{HEAD}:{PORT}", str(TOKEN))
    for words in ("`{GPU = 0.5}`", "`{painter = 1}`", "`{GPU = 1.0}`"):
        assert words in page
        (tmp_path / "darkroom.toml").write_text(f"{shown}\nray_resources = {words.strip('`')}\n")
        load(tmp_path / "darkroom.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('executor = "ray"', "ray_address: is missing"),
        ('ray_address = "ray://10.0.0.1:10001"', "must be a host and a port"),
        ("ray_resources = {}", "must be names with amounts above 0"),
        ("ray_resources = {GPU = 0}", "must be names with amounts above 0"),
    ],
)
def test_what_is_wrong_with_the_keys_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(text)
    with pytest.raises(ConfigUnusable) as caught:
        load(tmp_path / "darkroom.toml")
    assert said in " ".join(map(str, caught.value.problems))


def test_without_ray_the_configuration_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.config.contradictions._is_installed", lambda _: False)
    (tmp_path / "darkroom.toml").write_text('executor = "ray"\nray_address = "10.0.0.1:6379"')
    with pytest.raises(ConfigUnusable) as caught:
        load(tmp_path / "darkroom.toml")
    (problem,) = caught.value.problems
    assert "pip install 'darkroom[ray]'" in problem.hint


def test_the_doctor_asks_whether_the_head_answers_and_the_secret_can_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "token")
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        config = Config(executor="ray", ray_address=address, ray_token_file=missing)
        said = [(finding.verdict, finding.says) for finding in cluster(config)]
    assert said[0] == (Verdict.OK, f"{address} answers.")
    assert said[1][0] is Verdict.FAIL
    assert missing in said[1][1]
    (gone,) = cluster(Config(executor="ray", ray_address=address))
    assert (gone.verdict, gone.says) == (Verdict.FAIL, f"{address} cannot be reached: Connection refused.")
    assert "darkroom-ray-head" in gone.do


def test_the_daemon_of_a_machine_in_a_cluster_is_removed_after_it_has_left() -> None:
    wish = Wish("darkroom", "darkroom", Path("/in"), Path("/out"), STATE_DIR, MODEL_CACHE, "the unit")
    facts = Facts(Account(999, frozenset({999}), FULL_NAME), Group(999), unit="the unit", ray_role="worker")
    with pytest.raises(DarkroomError, match="darkroom service remove --ray-worker"):
        to_remove(wish, facts, discard=True)
    assert to_remove(wish, replace(facts, ray_role=""), discard=True)
