import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.cli import main, service
from darkroom.cli.completion import script
from darkroom.config.settings import shipped
from darkroom.errors import DarkroomError
from darkroom.names import HEALTH
from darkroom.report.snapshot import Life, RenderingReport, SeatReport, Snapshot, dump
from darkroom.spool.record import Stage
from darkroom.systemd import host
from darkroom.systemd.completions import (
    PLACES,
    Found,
    as_installed,
    completions_to_install,
    completions_to_remove,
)
from darkroom.systemd.install import (
    FULL_NAME,
    STATE_NAMES,
    UNIT_FILE,
    Account,
    Facts,
    Group,
    Link,
    Place,
    Wish,
    configuration_of,
    left,
    not_installed,
    own_folder,
    to_install,
    to_remove,
)
from darkroom.systemd.step import Step
from darkroom.systemd.unit import MODEL_CACHE, STATE_DIR
from darkroom.testing.process import DaemonProcess
from darkroom.testing.world import World

FOLDER, FILE = 0o040755, 0o100644
WISH = Wish(
    user="darkroom",
    group="darkroom",
    inbox=Path("/srv/inbox"),
    outbox=Path("/srv/outbox"),
    state_dir=STATE_DIR,
    model_cache=MODEL_CACHE,
    unit="[Unit]\n",
    needed=(Path("/opt/darkroom/bin"),),
)
USERADD = (
    "--system --gid darkroom --home-dir /var/lib/darkroom --no-create-home --shell /usr/sbin/nologin"
    " --comment 'Darkroom service'"
)
ROOTS = {Path(path): Place(0, 0, FOLDER) for path in ("/", "/srv", "/opt", "/opt/darkroom", "/opt/darkroom/bin")}
NOTHING = Facts(places=ROOTS)
OURS = Place(990, 991, 0o042775)
#: As it is after `service install`, with a request or two behind it.
RUNNING = Facts(
    account=Account(990, frozenset({991}), FULL_NAME),
    group=Group(991),
    places=ROOTS
    | dict.fromkeys((WISH.inbox, WISH.outbox, STATE_DIR, MODEL_CACHE), OURS)
    | dict.fromkeys((own_folder(WISH.inbox), own_folder(WISH.outbox)), OURS),
    unit=WISH.unit,
    enabled=True,
    active=True,
)


def commands(steps: list[Step]) -> list[str]:
    return [str(step) for step in steps]


# Installing ----------------------------------------------------------------------------------------------------------


def test_on_a_bare_machine_everything_is_made() -> None:
    assert commands(to_install(WISH, NOTHING)) == [
        "groupadd --system darkroom",
        f"useradd {USERADD} darkroom",
        "install -d -o darkroom -g darkroom -m 2775 /srv/inbox",
        "install -d -o darkroom -g darkroom -m 2775 /srv/outbox",
        f"write {UNIT_FILE}",
        "systemctl daemon-reload",
        "systemctl enable darkroom",
        "systemctl start darkroom",
    ]


def test_installing_again_does_nothing() -> None:
    assert to_install(WISH, RUNNING) == []


def test_a_changed_unit_is_written_and_started_anew() -> None:
    changed = replace(WISH, unit="[Unit]\nDescription=other\n")
    assert commands(to_install(changed, RUNNING)) == [
        f"write {UNIT_FILE}",
        "systemctl daemon-reload",
        "systemctl restart darkroom",
    ]


def test_state_and_models_of_ones_own_choice_are_private_to_the_service() -> None:
    wish = replace(WISH, state_dir=Path("/data/state"))
    assert "install -d -o darkroom -g darkroom -m 0750 /data/state" in commands(to_install(wish, NOTHING))


@pytest.mark.parametrize(
    ("place", "is_open"),
    [
        (Place(1000, 1000, 0o040755), False),
        (Place(1000, 1000, 0o042775), False),  # open to a group that the service is not in
        (Place(1000, 991, 0o042775), True),
        (Place(1000, 991, 0o040775), False),  # results would belong to the service's group: the same, but not by design
        (Place(990, 100, 0o040755), True),
        (Place(0, 0, 0o040777, is_share=True), True),  # a share's rights are the server's
    ],
)
def test_an_existing_folder_is_opened_to_the_group_and_never_given_away(place: Place, is_open: bool) -> None:
    steps = commands(to_install(WISH, replace(RUNNING, places=RUNNING.places | {WISH.inbox: place})))
    assert steps == ([] if is_open else ["chgrp darkroom /srv/inbox", "chmod g+rwxs /srv/inbox"])


def test_nothing_is_made_under_a_mount_point_that_waits_for_its_share() -> None:
    places = {path: place for path, place in RUNNING.places.items() if path != WISH.inbox}
    waiting = replace(places[Path("/srv")], waits_for="fstab mounts /srv, and nothing is mounted there")
    assert to_install(WISH, replace(RUNNING, places=places | {Path("/srv"): waiting})) == []


@pytest.mark.parametrize("closed", ["/opt/darkroom", "/opt/darkroom/bin"])
def test_what_the_user_cannot_read_is_refused_with_the_place_that_is_closed(closed: str) -> None:
    mode = 0o040700 if closed.endswith("darkroom") else 0o100600
    facts = replace(NOTHING, places=ROOTS | {Path(closed): Place(1000, 1000, mode)})
    with pytest.raises(DarkroomError, match=rf"could not read /opt/darkroom/bin: {closed} is closed") as refused:
        to_install(WISH, facts)
    assert "/opt" in refused.value.hint


def test_what_is_closed_to_others_may_be_open_to_the_service() -> None:
    theirs = {Path("/opt/darkroom"): Place(0, 991, 0o040750), Path("/opt/darkroom/bin"): Place(990, 0, 0o100400)}
    assert to_install(WISH, replace(RUNNING, places=RUNNING.places | theirs)) == []


def test_a_folder_in_tmp_is_refused_since_the_service_has_a_tmp_of_its_own() -> None:
    with pytest.raises(DarkroomError, match="/tmp/in would be hidden"):
        to_install(replace(WISH, inbox=Path("/tmp/in")), NOTHING)


COMMAND = "/opt/darkroom/.venv/bin/darkroom run --config /etc/darkroom/darkroom.toml --inbox /srv/inbox"
INSTALLED = f"[Service]\nExecStart={COMMAND}\n"
CHECKOUTS_OWN = Path("/opt/darkroom/config/darkroom.toml")


def test_the_configuration_of_an_installed_unit_is_read_from_its_command() -> None:
    assert configuration_of(INSTALLED) == Path("/etc/darkroom/darkroom.toml")
    assert configuration_of('ExecStart=/x/darkroom run --config "/etc/a b/50%%.toml"\n') == Path("/etc/a b/50%.toml")
    assert configuration_of("[Service]\nExecStart=/x/darkroom run\n") is None


@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_configuration_that_is_only_found_does_not_replace_the_one_of_the_service(action: str) -> None:
    facts = replace(RUNNING, unit=INSTALLED)
    wish = replace(WISH, config=CHECKOUTS_OWN)

    def decide(wish: Wish) -> list[Step]:
        return to_install(wish, facts) if action == "install" else to_remove(wish, facts, discard=False)

    with pytest.raises(DarkroomError, match=r"uses /etc/darkroom/darkroom.toml.* uses /opt/darkroom/config") as refused:
        decide(wish)
    assert f"`darkroom service {action} --config /etc/darkroom/darkroom.toml` keeps it." in refused.value.hint
    assert decide(replace(wish, config_is_named=True))
    assert decide(replace(wish, config=Path("/etc/darkroom/darkroom.toml")))


# Links, and what an earlier Darkroom has left -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "is_refused"),
    [
        (Link(WISH.inbox, Path("/etc"), is_roots=True), True),
        (Link(Path("/srv"), Path("/data/inbox"), is_roots=False), True),
        (Link(Path("/srv"), Path("/data/inbox"), is_roots=True), False),
    ],
)
def test_nothing_is_changed_through_a_link_that_others_could_redirect(link: Link, is_refused: bool) -> None:
    facts = replace(RUNNING, links=(link,))
    wish = replace(WISH, said=(WISH.inbox, WISH.outbox))
    if is_refused:
        with pytest.raises(DarkroomError, match=f"{link.path} is a link") as refused:
            to_install(wish, facts)
        assert str(link.leads_to) in refused.value.hint
        assert not any("/srv/inbox" in step for step in commands(to_remove(wish, facts, discard=False)))
        assert f"{link.path}, a link, with what Darkroom keeps there" in left(wish, facts)
    else:
        assert to_install(wish, facts) == []


def test_links_on_the_way_are_seen_with_who_could_redirect_them(tmp_path: Path) -> None:
    for name in ("roots", "anybodys", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "anybodys").chmod(0o777)
    os.chown(tmp_path / "roots", 0, 0)
    for name in ("roots", "anybodys"):
        (tmp_path / name / "link").symlink_to(tmp_path / "target")
    found = [*host._links(tmp_path / "roots/link/inbox"), *host._links(tmp_path / "anybodys/link")]
    assert found == [
        Link(tmp_path / "roots/link", tmp_path / "target/inbox", is_roots=True),
        Link(tmp_path / "anybodys/link", tmp_path / "target", is_roots=False),
    ]


@pytest.mark.parametrize(
    "command", [("chmod", "g+rwxs"), ("rm", "-r"), ("install", "-d", "-o", "0", "-g", "0", "-m", "2775")]
)
def test_a_link_that_is_planted_after_the_look_is_not_followed(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "target" / "x").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for folder in (tmp_path / "link", tmp_path / "link" / "x"):
        with pytest.raises(DarkroomError, match="without following a link"):
            host.carry_out(Step("why", (*command, str(folder)), on=folder))
    assert [oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "target", tmp_path / "target/x")] == ["0o700"] * 2


def test_a_folder_is_made_with_its_parents_and_changed_by_a_handle_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    uid, gid = str(os.geteuid()), str(os.getegid())
    host.carry_out(Step("why", ("install", "-d", "-o", uid, "-g", gid, "-m", "2775", str(folder)), on=folder))
    assert folder.stat().st_mode & 0o7777 == 0o2775
    host.carry_out(Step("why", ("chmod", "0700", str(folder)), on=folder))
    assert folder.stat().st_mode & 0o7777 == 0o2700
    (folder / ".darkroom").mkdir()
    host.carry_out(Step("why", ("rm", "-r", str(folder / ".darkroom")), on=folder))
    assert list(folder.iterdir()) == []


def test_what_another_user_s_darkroom_has_left_is_given_to_the_service() -> None:
    """Run by hand before, or installed with another --user."""
    ann = Place(1000, 991, 0o040755)
    mirror, other = WISH.outbox / "alice", WISH.outbox / "bob"
    places = RUNNING.places | dict.fromkeys((own_folder(WISH.outbox), mirror), ann) | {other: Place(1001, 1001, FOLDER)}
    facts = replace(RUNNING, places=places, mirrors=(mirror, other))
    assert commands(to_install(WISH, facts)) == [
        "chown -R -h darkroom:darkroom /srv/outbox/.darkroom",
        "chown darkroom:darkroom /srv/outbox/alice",
    ]


def test_a_state_folder_of_before_is_opened_and_its_files_are_given_to_the_service() -> None:
    state = Path("/data/state")
    wish = replace(WISH, state_dir=state)
    theirs = {state: Place(1000, 1000, FOLDER), state / "darkroom.sqlite3": Place(1000, 1000, FILE)}
    facts = replace(RUNNING, places=RUNNING.places | theirs)
    assert commands(to_install(wish, facts)) == [
        "chgrp darkroom /data/state",
        "chmod g+rwx /data/state",
        "chown -R -h darkroom:darkroom /data/state/darkroom.sqlite3",
    ]
    ours = {state: Place(1000, 991, 0o040775), state / "darkroom.sqlite3": Place(990, 991, FILE)}
    assert to_install(wish, replace(RUNNING, places=RUNNING.places | ours)) == []


@pytest.mark.parametrize(("home", "opens"), [("/home/ann", True), ("/root", False)])
def test_a_folder_below_a_closed_one_is_refused_with_what_to_do(home: str, opens: bool) -> None:
    wish = replace(WISH, inbox=Path(home, "inbox"))
    places = ROOTS | {Path("/home"): Place(0, 0, FOLDER), Path(home): Place(1000, 1000, 0o040700)}
    with pytest.raises(DarkroomError, match=f"could not reach {home}/inbox: {home} is closed to it") as refused:
        to_install(wish, replace(NOTHING, places=places))
    assert ("chmod o+x" in refused.value.hint) is opens
    open_by_acl = places | {Path(home): Place(1000, 1000, 0o040700, has_acl=True)}
    assert to_install(wish, replace(NOTHING, places=open_by_acl))


def test_a_file_in_place_of_a_folder_is_refused() -> None:
    with pytest.raises(DarkroomError, match="/srv/inbox is not a folder"):
        to_install(WISH, replace(NOTHING, places=ROOTS | {WISH.inbox: Place(0, 0, FILE)}))


def test_a_python_in_a_closed_home_is_no_reason_to_open_that_home() -> None:
    python = Path("/root", "python", "bin", "python3.12")
    wish = replace(WISH, needed=(python,), python=python)
    with pytest.raises(DarkroomError, match="/root is closed") as refused:
        to_install(wish, replace(NOTHING, places=ROOTS | {Path("/root"): Place(0, 0, 0o040700)}))
    assert "make clean; make PYTHON=/usr/bin/python3 venv" in refused.value.hint
    assert "open" not in refused.value.hint


# What was said when it was installed ---------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and a unit file of its own."""
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "UNIT_FILE", tmp_path / "darkroom.service")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["service", "show", *words]) == 0
    return capsys.readouterr().out


def test_what_the_first_installation_was_told_counts_for_the_second(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(machine / "darkroom.toml")]
    (machine / "darkroom.toml").write_text('default_model = "testcard"\n')
    first = shown(capsys, *config, "--group", "people", "--user", "ann", "--inbox", "/srv/in", "--state-dir", "/srv/st")
    (machine / "darkroom.service").write_text(first)
    assert shown(capsys, *config) == first
    assert "Group=others\n" in shown(capsys, *config, "--group", "others")
    assert "Group=bob\n" in shown(capsys, *config, "--user", "bob")
    (machine / "darkroom.toml").write_text('inbox = "/srv/other"\n')
    assert "--inbox /srv/other " in shown(capsys, *config)


def test_relative_paths_start_where_the_service_was_installed(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "my.toml").write_bytes(shipped("config/styles.toml").read_bytes())
    (machine / "darkroom.toml").write_text('styles = "my.toml"\ninbox = "in"\n')
    first = shown(capsys, "--config", "darkroom.toml")
    assert f"WorkingDirectory={machine}\n" in first
    assert f"--inbox {machine}/in " in first
    (machine / "darkroom.service").write_text(first)
    (machine / "elsewhere").mkdir()
    monkeypatch.chdir(machine / "elsewhere")
    assert shown(capsys, "--config", "../darkroom.toml") == first
    monkeypatch.chdir(machine / "elsewhere")
    assert shown(capsys, "--config", str(machine / "darkroom.toml")) == first


def test_without_relative_paths_it_starts_nowhere_in_particular(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / "darkroom.toml").write_text('inbox = "/srv/in"\n[models.x]\nsource = "owner/name"\n')
    assert "WorkingDirectory=/\n" in shown(capsys, "--config", "darkroom.toml")


def test_while_it_runs_what_it_has_in_its_keeping_is_asked_of_its_heartbeat(machine: Path) -> None:
    wish = replace(WISH, state_dir=machine, outbox=machine / "outbox")
    assert host._told_in_keeping(wish) == 0
    seat = SeatReport("cpu", "rendering", rendering=(RenderingReport("cat", "01K"),))
    told = dump(Life("1", "01J", "vm", 7, "now"), Snapshot(state="running", seats=(seat,), undelivered=2))
    (machine / "health.json").write_text(json.dumps(told))
    assert host._told_in_keeping(wish) == 3
    with pytest.raises(DarkroomError, match="3 requests are taken and not delivered"):
        to_remove(WISH, replace(RUNNING, in_keeping=3), discard=False)


# Removing ------------------------------------------------------------------------------------------------------------


def test_removing_takes_everything_that_was_made_but_the_folders_of_people() -> None:
    assert commands(to_remove(WISH, RUNNING, discard=False)) == [
        "systemctl stop darkroom",
        "systemctl disable darkroom",
        "rm -r --one-file-system /var/lib/darkroom",
        "rm -r --one-file-system /var/cache/darkroom",
        "rm -r --one-file-system /srv/inbox/.darkroom",
        "rm -r --one-file-system /srv/outbox/.darkroom",
        f"rm {UNIT_FILE}",
        "systemctl daemon-reload",
        "userdel darkroom",
        "groupdel darkroom",
    ]
    assert left(replace(WISH, config=Path("/etc/x.toml")), replace(RUNNING, has_drop_ins=True))[2:] == [
        "configuration /etc/x.toml",
        "changes of the unit in /etc/systemd/system/darkroom.service.d",
    ]
    assert left(WISH, RUNNING) == ["inbox /srv/inbox", "outbox /srv/outbox"]


def test_without_a_unit_only_what_is_surely_the_service_s_own_is_removed() -> None:
    """A removal that was interrupted; or somebody who says it in a checkout, by mistake."""
    wish = replace(WISH, state_dir=Path("/checkout/state"))
    half = replace(RUNNING, unit=None, enabled=False, active=False)
    half = replace(half, places=half.places | {wish.state_dir: OURS})
    removed = ["rm -r --one-file-system /var/cache/darkroom", "userdel darkroom", "groupdel darkroom"]
    assert commands(to_remove(wish, half, discard=False)) == removed
    assert to_remove(wish, replace(half, account=Account(990, frozenset({991})), places=ROOTS), discard=False) == []


def test_removing_from_a_bare_machine_does_nothing() -> None:
    assert to_remove(WISH, NOTHING, discard=False) == []


def test_requests_in_keeping_are_not_removed_unless_somebody_says_so() -> None:
    stopped = replace(RUNNING, active=False, in_keeping=2)
    with pytest.raises(DarkroomError, match="2 requests are taken and not delivered; /var/lib/darkroom"):
        to_remove(WISH, stopped, discard=False)
    assert "rm -r --one-file-system /var/lib/darkroom" in commands(to_remove(WISH, stopped, discard=True))


def test_a_group_that_people_are_in_stays_and_is_told() -> None:
    facts = replace(RUNNING, group=Group(991, members=("ann", "bob")))
    assert "groupdel darkroom" not in commands(to_remove(WISH, facts, discard=False))
    assert left(WISH, facts)[-1] == "group darkroom (ann, bob)"


def test_a_user_who_was_there_before_stays_and_so_does_the_group() -> None:
    wish = replace(WISH, user="ann", group="ann")
    facts = replace(RUNNING, account=Account(1000, frozenset({1000}), "Ann Smith"), group=Group(1000))
    assert not {"userdel", "groupdel"} & {step.command[0] for step in to_remove(wish, facts, discard=False)}
    assert left(wish, facts)[-2:] == ["user ann, who was there before", "group ann"]


def test_a_model_cache_that_others_may_use_stays() -> None:
    wish = replace(WISH, model_cache=Path("/data/models"))
    facts = replace(RUNNING, places=RUNNING.places | {wish.model_cache: OURS})
    assert not any("/data/models" in step for step in commands(to_remove(wish, facts, discard=False)))
    assert "models in /data/models" in left(wish, facts)


# The machine, and the command ----------------------------------------------------------------------------------------


def test_what_is_in_keeping_is_counted_while_the_service_holds_its_state(tmp_path: Path) -> None:
    """Taken and not delivered: one renders, one was taken ahead; the third still lies in the inbox."""
    world = World(tmp_path)
    world.holding = True
    for name in ("a", "b", "c"):
        world.drop(f"{name}.json", {"prompt": "a castle"})
    world.start()
    for _ in range(5):
        world.step()
    spool = world.running.spool
    assert sorted(record.stage for id in spool.unsettled() if (record := spool.get(id))) == sorted(
        [Stage.RENDERING, Stage.TAKEN, Stage.ACCEPTED]
    )
    assert host.in_keeping(world.state) == 2
    world.die()
    assert host.in_keeping(tmp_path / "nowhere") == 0


def test_a_dry_run_changes_nothing_and_needs_no_systemd_and_no_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "UNIT_FILE", tmp_path / "darkroom.service")
    folders = ["--inbox", "/nowhere/inbox", "--outbox", "/nowhere/outbox"]
    status = main(["service", "install", "--dry-run", "--user", "no-such-user", *folders])
    captured = capsys.readouterr()
    # Where this Python lies in a closed home, that is what is said.
    assert (status, "Nothing of this was done" in captured.out) == (0, True) or "is closed to it" in captured.err
    assert main(["service", "remove", "--dry-run", "--user", "no-such-user", *folders]) == 0
    said = capsys.readouterr().out
    assert said == "No Darkroom service is installed on this machine: there is nothing to remove.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(DarkroomError, match=rf"`rm {missing}` failed \(exit status 1\): .*No such file"):
        host.carry_out(Step("why", ("rm", str(missing))))
    host.carry_out(Step("why", ("rm", str(missing)), also_fine=1))
    host.carry_out(Step("why", file=tmp_path / "unit", content="[Unit]\n"))
    assert (tmp_path / "unit").read_text() == "[Unit]\n"


def test_a_state_folder_of_a_persons_own_choice_loses_only_what_the_service_has_made_in_it() -> None:
    wish = replace(WISH, state_dir=Path("/data/darkroom"), model_cache=Path("/data/darkroom/models"))
    place = Place(0, 0, 0o40755)
    facts = replace(RUNNING, places={**RUNNING.places, wish.state_dir: place, wish.model_cache: place})
    removals = [step for step in commands(to_remove(wish, facts, discard=False)) if "/data" in step]
    assert removals == [
        "rm -rf --one-file-system " + " ".join(f"/data/darkroom/{name}" for name in STATE_NAMES),
        "rmdir --ignore-fail-on-non-empty /data/darkroom",
    ]


def test_what_a_state_folder_holds_is_what_the_service_makes_in_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DaemonProcess(tmp_path) as daemon:
        daemon.drop("cat.json")
        daemon.wait_for_state("cat", "done")
        assert {path.name for path in state.iterdir()} <= {*STATE_NAMES, f".{HEALTH}.part"}


# What completes the command in shells --------------------------------------------------------------------------------

BASHS, FISHS = PLACES["bash"], PLACES["fish"]
COMPLETING = replace(WISH, completions={BASHS: as_installed("complete -F x darkroom\n"), FISHS: as_installed("y\n")})


def completing(**found: Found) -> Facts:
    return replace(RUNNING, completions={PLACES[shell]: each for shell, each in found.items()})


def test_what_completes_the_command_is_written_where_shells_look_upgraded_and_removed_again() -> None:
    bare = completing(bash=Found(), fish=Found(has_folder=True))
    assert commands(to_install(COMPLETING, bare)) == [
        "install -d -m 0755 /usr/local/share/bash-completion/completions",
        "write /usr/local/share/bash-completion/completions/darkroom",
        "write /etc/fish/completions/darkroom.fish",
    ]
    there = {shell: Found(COMPLETING.completions[PLACES[shell]], has_folder=True) for shell in ("bash", "fish")}
    assert to_install(COMPLETING, completing(**there)) == []
    older = completing(**there | {"fish": Found(as_installed("older\n"), has_folder=True)})
    assert commands(to_install(COMPLETING, older)) == ["write /etc/fish/completions/darkroom.fish"]
    removed = commands(to_remove(COMPLETING, older, discard=False))
    assert removed[removed.index(f"rm {UNIT_FILE}") - 2 :][:2] == [f"rm {BASHS}", f"rm {FISHS}"]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Found("complete -F mine darkroom\n", has_folder=True), "which somebody else has put there"),
        (Found("", has_folder=True), "which somebody else has put there"),
        (Found(is_strange=True, has_folder=True), "which somebody else has put there"),
        (Found(is_read_only=True), "nothing can be written there"),
    ],
)
def test_what_somebody_else_has_put_there_stays_and_is_told(found: Found, why: str) -> None:
    facts = completing(fish=found)
    wish = replace(COMPLETING, completions={FISHS: as_installed("y\n")})
    assert to_install(wish, facts) == []
    assert [line for line in not_installed(facts) if line.startswith(str(FISHS)) and why in line]
    assert not any("fish" in step for step in commands(to_remove(wish, facts, discard=False)))


def test_what_lies_where_shells_look_is_told_from_what_was_installed(tmp_path: Path) -> None:
    assert host._completion(tmp_path / "no" / "darkroom") == Found()
    assert host._completion(tmp_path / "darkroom") == Found(has_folder=True)
    (tmp_path / "ours").write_text(as_installed(script("fish")))
    assert host._completion(tmp_path / "ours").is_ours
    (tmp_path / "theirs").write_text(script("fish"))  # by hand, as docs/many.md says
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    for name in ("theirs", "bytes", "folder", "link", "nowhere", "pipe"):
        assert host._completion(tmp_path / name).is_theirs, name


def test_the_plan_of_an_installation_names_each_file_that_it_would_write(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of its own in the place of the machine's root."""
    staged = {shell: machine / str(place).lstrip("/") for shell, place in PLACES.items()}
    monkeypatch.setattr(service, "PLACES", staged)
    steps = completions_to_install(wished := {staged[shell]: as_installed(script(shell)) for shell in staged}, {})
    before = os.umask(0o077)
    try:
        for step in steps:
            host.carry_out(step)
    finally:
        os.umask(before)
    assert {path: path.read_text() for path in wished} == wished
    assert {stat.S_IMODE(path.stat().st_mode) for path in wished} == {0o644}
    staged["fish"].write_text("# mine\n")
    folders = ["--inbox", "/nowhere/inbox", "--outbox", "/nowhere/outbox"]
    status = main(["service", "install", "--dry-run", "--user", "no-such-user", *folders])
    captured = capsys.readouterr()
    if status:  # this Python lies in a closed home
        assert "is closed to it" in captured.err
        return
    assert f"stays  {staged['fish']}, which somebody else has put there" in captured.out
    assert not any(f"write {path}" in captured.out for path in staged.values())
    for step in completions_to_remove({path: host._completion(path) for path in wished}):
        host.carry_out(step)
    assert [path for path in wished if path.exists()] == [staged["fish"]]
