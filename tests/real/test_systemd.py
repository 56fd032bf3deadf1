"""The shipped unit in a real systemd, installed and removed by the command."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from darkroom.systemd.completions import PLACES
from tests.real.machine import DEADLINE_S, PROGRAM, PYTHON, TORCH_DEADLINE_S, Machine
from tests.real.servers import free_port

pytestmark = pytest.mark.timeout(600)

INBOX, OUTBOX = "/srv/darkroom/inbox", "/srv/darkroom/outbox"
CONFIG = "/etc/darkroom/darkroom.toml"
DROP_IN = "/etc/systemd/system/darkroom.service.d/test.conf"
#: Longer than the watchdog waits in `watchdog`, and than any stop may take for it.
LONG_S = 12
Json = dict[str, Any]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for all; a person, ann, is a member of the group that the service's user is in."""
    with Machine(tmp_path_factory.mktemp("systemd")) as booted:
        booted.run("useradd", "--create-home", "ann")
        booted.run(
            "sh", "-c", f"echo secret > /home/ann/letter; chmod 755 /home/ann; ln -s {PROGRAM} /usr/bin/darkroom"
        )
        yield booted


@pytest.fixture
def clean(machine: Machine) -> Iterator[Machine]:
    """The machine as it was before anything was installed."""
    yield machine
    machine.run("systemctl", "stop", "darkroom", check=False)
    machine.darkroom("service", "remove", "--discard-requests", check=False)
    for each in ("/srv", "/mnt"):
        machine.run("find", each, "-mindepth", "1", "-delete", check=False)
    machine.run("rm", "-rf", "/etc/darkroom", str(Path(DROP_IN).parent), "/etc/fstab")
    machine.run("groupdel", "darkroom", check=False)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", check=False)
    machine.run("journalctl", "--rotate", "--vacuum-time=1s", check=False)


def configure(machine: Machine, *, inbox: str = INBOX, outbox: str = OUTBOX, more: str = "") -> None:
    machine.write(
        CONFIG,
        f'inbox = "{inbox}"\noutbox = "{outbox}"\ndefault_model = "testcard"\nheartbeat_s = 0.5\nstop_within_s = 3\n'
        f"gallery = false\nsettle_s = 1\n{more}\n"
        '[models.starter]\nsource = "testcard"\n[models.sd15]\nsource = "testcard"\n'
        f'[models.testcard]\nsource = "testcard:step_s=0.01"\nwidth = 64\nheight = 64\nnum_inference_steps = 2\n'
        f'[models.slow]\nsource = "testcard:step_s={LONG_S}"\nwidth = 64\nheight = 64\nnum_inference_steps = 1\n'
        f'[models.steady]\nsource = "testcard:step_s=0.5"\nwidth = 64\nheight = 64\nnum_inference_steps = 4\n',
    )


@pytest.fixture
def installed(clean: Machine) -> Machine:
    configure(clean)
    clean.darkroom("service", "install")
    clean.run("usermod", "--append", "--groups", "darkroom", "ann")
    return clean


def drop(machine: Machine, name: str, *, inbox: str = INBOX, **keys: Any) -> None:
    """As ann does: with her own rights, through a name that nobody takes."""
    text = json.dumps({"prompt": "a castle", **keys})
    target = f"{inbox}/{name}.json"
    machine.run("sh", "-c", f"umask 002; printf %s '{text}' > {target}.part && mv {target}.part {target}", user="ann")


def answer(machine: Machine, name: str, *, outbox: str = OUTBOX) -> Json:
    path = machine.root / outbox.lstrip("/") / f"{name}.json"
    return json.loads(path.read_bytes()) if path.exists() else {}


def state_of(machine: Machine, name: str, state: str, *, outbox: str = OUTBOX, deadline_s: float = DEADLINE_S) -> Json:
    """The answer, once it says so."""
    machine.wait_for(
        lambda: answer(machine, name, outbox=outbox).get("state") == state, f"{name} is {state}", deadline_s=deadline_s
    )
    return answer(machine, name, outbox=outbox)


def listed(machine: Machine, *places: str) -> str:
    return machine.run("find", *places, "-printf", "%p %u:%g %m\n", check=False).stdout


def is_new(machine: Machine, place: Path) -> bool:
    """Whether the folder of this file has to be made."""
    return not (machine.root / str(place.parent).lstrip("/")).exists()


# Install and remove --------------------------------------------------------------------------------------------------


def test_what_a_dry_run_says_is_done_and_then_undone(clean: Machine) -> None:
    configure(clean)
    before = listed(clean, "/etc", "/srv", "/var/lib", "/var/cache")
    said = clean.darkroom("service", "install", "--dry-run")
    assert listed(clean, "/etc", "/srv", "/var/lib", "/var/cache") == before
    commands = [line for line in said.splitlines() if not line.startswith("#")]
    assert [line.split()[0] for line in commands[:-1]] == [
        *("groupadd", "useradd", "install", "install", "write", "systemctl", "systemctl", "systemctl"),
        *(
            word
            for place in PLACES.values()
            for word in ("install", "write")
            if word == "write" or is_new(clean, place)
        ),
    ]
    assert commands[-1] == "Nothing of this was done (--dry-run)."

    done = clean.darkroom("service", "install")
    assert [line for line in done.splitlines() if line in commands] == commands[:-1]
    assert clean.show("ActiveState") == "active"
    assert clean.show("User") == clean.show("Group") == "darkroom"
    assert clean.run("systemctl", "is-enabled", "darkroom").stdout == "enabled\n"
    assert clean.darkroom("service", "install").startswith("Nothing is left to do.")
    said = clean.run("env", "HOME=/home/ann", "fish", "-c", "complete -C 'darkroom st'", user="ann").stdout
    assert {line.partition("\t")[0] for line in said.splitlines()} == {"status", "styles"}

    clean.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(clean, "cat")
    state_of(clean, "cat", "done")
    clean.run("gpasswd", "--delete", "ann", "darkroom")
    would = clean.darkroom("service", "remove", "--dry-run")
    assert clean.show("ActiveState") == "active"
    removed = clean.darkroom("service", "remove")
    assert {line for line in would.splitlines() if "dry-run" not in line} == set(removed.splitlines())
    left = clean.run("find", "/srv", "/etc/darkroom", "-type", "f").stdout.split()
    names = ("cat.json", "cat/cat-1.png", "cat/request.json", "cat/answer.json")
    assert sorted(left) == sorted([CONFIG, *(f"{OUTBOX}/{name}" for name in names)])
    for gone in ("/var/lib/darkroom", "/var/cache/darkroom", "/etc/systemd/system/darkroom.service", *PLACES.values()):
        assert not (clean.root / str(gone).lstrip("/")).exists()
    assert clean.run("getent", "passwd", "darkroom", check=False).stdout == ""
    assert clean.run("getent", "group", "darkroom", check=False).stdout == ""
    assert clean.run("systemctl", "list-unit-files", "darkroom*", "--no-legend", check=False).stdout == ""
    assert clean.darkroom("service", "remove").startswith("No Darkroom service is installed on this machine")


def test_requests_that_only_the_state_folder_holds_are_not_removed(installed: Machine) -> None:
    drop(installed, "long", model="slow")
    state_of(installed, "long", "rendering")
    said = installed.darkroom("service", "remove", check=False)
    assert "1 request is taken and not delivered; /var/lib/darkroom holds the only copy." in said
    assert installed.show("ActiveState") == "active"
    state_of(installed, "long", "done")
    installed.wait_for(  # the heartbeat tells it within a second
        lambda: not re.search(r"renders\s+long", installed.darkroom("status")), "it says that it renders no more"
    )
    installed.darkroom("service", "remove")


def test_a_configuration_that_changed_is_installed_anew(installed: Machine) -> None:
    configure(installed, outbox="/srv/darkroom/pictures")
    said = installed.darkroom("service", "install")
    assert "install -d -o darkroom -g darkroom -m 2775 /srv/darkroom/pictures" in said
    assert "systemctl restart darkroom" in said
    assert "useradd" not in said
    # A configuration may be wrong, and an outbox that changes may be a share that is not there: a person has to say so.
    installed.wait_for(lambda: "darkroom adopt /srv/darkroom/pictures" in installed.show("StatusText"), "it is told")
    installed.darkroom("adopt", "/srv/darkroom/pictures", user="ann")
    drop(installed, "cat")
    state_of(installed, "cat", "done", outbox="/srv/darkroom/pictures")


def test_a_folder_of_somebody_else_is_opened_to_the_group_and_stays_theirs(clean: Machine) -> None:
    clean.run("sh", "-c", f"mkdir -p {INBOX} {OUTBOX}; chown ann: {INBOX} {OUTBOX}")
    configure(clean)
    clean.darkroom("service", "install")
    assert listed(clean, INBOX).splitlines()[0] == f"{INBOX} ann:darkroom 2775"
    drop(clean, "cat")
    state_of(clean, "cat", "done")


def test_a_person_who_is_no_root_is_told(clean: Machine) -> None:
    configure(clean)
    assert "Only root can do that" in clean.darkroom("service", "install", user="ann", check=False)
    assert "groupadd" in clean.darkroom("service", "install", "--dry-run", user="ann")


def test_what_the_service_could_not_read_is_refused_before_anything_is_done(clean: Machine) -> None:
    configure(clean, more='styles = "/home/ann/private/styles.toml"')
    clean.run("sh", "-c", "mkdir -m 700 /home/ann/private; cp /opt/darkroom/config/styles.toml /home/ann/private")
    said = clean.darkroom("service", "install", check=False)
    assert "could not read /home/ann/private/styles.toml: /home/ann/private is closed to it" in said
    assert clean.run("getent", "passwd", "darkroom", check=False).stdout == ""
    clean.run("rm", "-r", "/home/ann/private")


def test_a_sub_folder_that_the_service_may_not_write_to_is_told_and_served_once_it_is_opened(
    installed: Machine,
) -> None:
    """What a person's usual umask makes."""
    installed.run("sh", "-c", f"umask 022; mkdir {INBOX}/bob", user="ann")
    drop(installed, "bob/cat")
    installed.wait_for(lambda: answer(installed, "bob/cat").get("waiting_for"), "it is told")
    assert "chmod g+w" in answer(installed, "bob/cat")["waiting_for"]
    drop(installed, "dog")
    state_of(installed, "dog", "done")
    installed.run("chmod", "g+w", f"{INBOX}/bob", user="ann")
    state_of(installed, "bob/cat", "done")
    assert len(installed.journal("DARKROOM_EVENT=cannot_take")) == 1


def test_a_folder_that_the_command_makes_is_open_to_the_service(installed: Machine) -> None:
    installed.run("sh", "-c", f"umask 022; {PROGRAM} submit 'a castle' --name ann/trip/cat", user="ann")
    state_of(installed, "ann/trip/cat", "done")


def test_a_person_may_wish_and_not_write_to_what_only_the_service_may(installed: Machine) -> None:
    drop(installed, "cat")
    state_of(installed, "cat", "done")
    for folder in (INBOX, OUTBOX):
        done = installed.run("touch", f"{folder}/.darkroom/folder.json", user="ann", check=False)
        assert "Permission denied" in done.stderr
        assert installed.run("stat", "-c", "%A", f"{folder}/.darkroom").stdout.startswith("drwxr-")
    installed.darkroom("pause", user="ann")
    drop(installed, "dog")
    state_of(installed, "dog", "queued")
    installed.darkroom("resume", user="ann")
    state_of(installed, "dog", "done")


# Its life ------------------------------------------------------------------------------------------------------------


def test_it_is_ready_once_it_serves_and_says_what_it_does(installed: Machine) -> None:
    assert installed.show("SubState") == "running"
    installed.wait_for(lambda: installed.show("StatusText") == "ready, 0 queued", "its status is told")
    drop(installed, "long", model="slow")
    installed.wait_for(lambda: installed.show("StatusText") == "rendering long, 0 queued", "its status is told")


def test_it_is_seen_and_tells_from_within_what_the_unit_allows(clean: Machine) -> None:
    """HTTP, the text file and a command: each needs something of the system."""
    numbers, told = "/var/lib/numbers", f"{OUTBOX}/told.txt"
    port = free_port()
    notify = ["sh", "-c", f'cat > /dev/null; echo "$DARKROOM_REQUEST $DARKROOM_STATE" > {told}']
    configure(
        clean,
        more=f'http = "127.0.0.1:{port}"\ntextfile = "{numbers}/darkroom.prom"\nnotify = {json.dumps(notify)}\n',
    )
    clean.run("install", "-d", "-m", "777", numbers)
    clean.darkroom("service", "install")
    clean.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(clean, "cat")
    state_of(clean, "cat", "done")
    clean.wait_for(lambda: clean.run("cat", told, check=False).stdout == "cat done\n", "it is told")
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/cat/cat-1.png').status)"
    assert clean.run(PYTHON, "-c", code, user="ann").stdout == "200\n"
    written = f"{numbers}/darkroom.prom"
    clean.wait_for(lambda: "darkroom_healthy 1.0" in clean.run("cat", written, check=False).stdout, "it is written")
    clean.run("rm", "-rf", numbers)


def test_sigterm_lets_the_picture_in_hand_be_finished(installed: Machine) -> None:
    drop(installed, "cat", model="steady")
    state_of(installed, "cat", "rendering")
    installed.run("systemctl", "stop", "darkroom")
    assert installed.show("Result") == "success"
    assert answer(installed, "cat")["state"] == "done"


def test_sigterm_keeps_what_would_take_too_long_for_the_next_start(installed: Machine) -> None:
    drop(installed, "long", model="slow")
    state_of(installed, "long", "rendering")
    begun_s = time.monotonic()
    installed.run("systemctl", "stop", "darkroom")
    assert time.monotonic() - begun_s < LONG_S - 2
    assert installed.show("Result") == "success"
    installed.run("systemctl", "start", "darkroom")
    assert state_of(installed, "long", "done")["attempt"] == 1


def test_it_comes_back_after_sigkill_and_goes_on(installed: Machine) -> None:
    drop(installed, "long", model="slow")
    state_of(installed, "long", "rendering")
    before = installed.show("MainPID")
    installed.kill("KILL")
    installed.wait_for(
        lambda: (installed.show("NRestarts"), installed.show("ActiveState")) == ("1", "active"), "it is up again"
    )
    assert installed.show("MainPID") != before
    assert state_of(installed, "long", "done")["attempt"] == 2


@pytest.fixture
def watched(installed: Machine) -> Machine:
    """The same unit, with less patience than the shipped one: these tests would take minutes."""
    installed.write(DROP_IN, "[Service]\nWatchdogSec=4\nTimeoutStopSec=10\nRestartSec=1\n")
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "restart", "darkroom")
    return installed


def test_the_watchdog_ends_a_service_that_hangs(watched: Machine) -> None:
    before = watched.show("MainPID")
    watched.kill("STOP")
    watched.wait_for(lambda: watched.show("NRestarts") == "1", "the watchdog has restarted it")
    watched.wait_for(lambda: watched.show("ActiveState") == "active", "it serves again")
    assert watched.show("MainPID") != before
    # As docs/operations.md says: `Result=watchdog` is not shown any more once it runs again.
    said = watched.run("journalctl", "--unit=darkroom", "--output=cat", "--no-pager").stdout
    assert "Failed with result 'watchdog'" in said
    assert watched.show("NRestarts") != "0"
    drop(watched, "cat")
    state_of(watched, "cat", "done")


def test_the_watchdog_lets_a_long_step_be(watched: Machine) -> None:
    drop(watched, "long", model="slow")
    assert state_of(watched, "long", "done")["timing"]["render_s"] > LONG_S - 1
    assert watched.show("NRestarts") == "0"
    assert watched.show("ActiveState") == "active"


def test_the_journal_has_the_name_of_the_request_as_a_field(installed: Machine) -> None:
    installed.run("mkdir", "-m", "2775", f"{INBOX}/alice", user="ann")
    drop(installed, "alice/cat")
    drop(installed, "dog")
    state_of(installed, "alice/cat", "done")
    installed.wait_for(lambda: len(installed.journal("DARKROOM_REQUEST=alice/cat")) >= 3, "its story is in the journal")
    story = installed.journal("DARKROOM_REQUEST=alice/cat")
    assert [entry["DARKROOM_EVENT"] for entry in story] == ["accepted", "rendering", "done"]
    assert story[0]["MESSAGE"].startswith("accepted request=alice/cat id=")
    assert {entry["PRIORITY"] for entry in story} == {"6"}
    assert {entry["_SYSTEMD_UNIT"] for entry in story} == {"darkroom.service"}


# What it may touch ---------------------------------------------------------------------------------------------------

PROBE = """
import errno, json, os, sys
def outcome(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
def write(folder):
    path = folder + "/.probe"
    open(path, "w").close()
    os.remove(path)
found = {place: outcome(lambda: write(place)) for place in sys.argv[2:]}
found["home"] = outcome(lambda: os.listdir("/home/ann"))
found["root"] = outcome(lambda: os.listdir("/root"))
found["setuid"] = outcome(lambda: os.chmod(sys.argv[1], 0o4755))
found["tmp"] = os.listdir("/tmp")
json.dump(found, open(sys.argv[1], "w"))
"""


def probed(machine: Machine, *places: str) -> Json:
    """What a program may do that is started with everything that the unit says."""
    machine.write("/opt/probe.py", PROBE)
    report = "/var/lib/darkroom/probe.json"
    machine.write(DROP_IN, f"[Service]\nExecStartPre={PYTHON} /opt/probe.py {report} {' '.join(places)}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "darkroom")
    found: Json = json.loads((machine.root / report.lstrip("/")).read_bytes())
    return found


def test_it_sees_only_what_it_must(installed: Machine) -> None:
    installed.run("sh", "-c", "mkdir -m 1777 /srv/open /mnt/open; echo trap > /tmp/trap")
    own = (INBOX, OUTBOX, "/var/lib/darkroom", "/var/cache/darkroom", "/tmp", "/var/tmp")
    others = ("/", "/etc", "/usr/bin", "/opt/darkroom", "/var", "/var/lib", "/srv/open", "/mnt/open", "/srv/darkroom")
    found = probed(installed, *own, *others)
    assert {place: found[place] for place in own} == dict.fromkeys(own, "ok")
    assert {found[place] for place in others} <= {"EROFS", "EACCES"}
    assert found["/srv/open"] == "EROFS"
    assert {found["home"], found["root"]} <= {"ENOENT", "EACCES"}
    assert found["setuid"] == "EPERM"
    assert "trap" not in found["tmp"]


def test_a_folder_in_a_home_lets_it_see_homes_and_write_only_there(clean: Machine) -> None:
    configure(clean, inbox="/home/ann/inbox", outbox="/home/ann/outbox")
    clean.run("mkdir", "/home/ann/inbox", "/home/ann/outbox", user="ann")
    clean.darkroom("service", "install")
    found = probed(clean, "/home/ann/inbox", "/home/ann/outbox", "/home/ann")
    assert [found[f"/home/ann{rest}"] for rest in ("/inbox", "/outbox", "")] == ["ok", "ok", "EROFS"]
    clean.darkroom("service", "remove")
    clean.run("rm", "-r", "/home/ann/inbox", "/home/ann/outbox")


# Shares --------------------------------------------------------------------------------------------------------------

NAS = "/mnt/nas"


@contextmanager
def nas(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    with machine.share("/srv/disks/nas", NAS) as server:
        yield server


@pytest.fixture
def on_share(clean: Machine) -> Machine:
    """A configuration whose folders lie on a share that fstab names, and a disk behind it that the group may use."""
    clean.run("groupadd", "--system", "darkroom")
    clean.run("usermod", "--append", "--groups", "darkroom", "ann")
    for folder in ("inbox", "outbox"):
        clean.run("install", "-d", "-g", "darkroom", "-m", "2775", f"/srv/disks/nas/{folder}")
    clean.run("mkdir", "-p", f"{NAS}/inbox", f"{NAS}/outbox")  # under the mount, where they must never be used
    clean.write("/etc/fstab", f"nas:/pictures {NAS} fuse.bindfs nofail,noauto 0 0\n")
    clean.run("systemctl", "daemon-reload")
    configure(clean, inbox=f"{NAS}/inbox", outbox=f"{NAS}/outbox", more="network_settle_s = 2")
    return clean


def folder_state(machine: Machine, role: str) -> str:
    health = json.loads((machine.root / "var/lib/darkroom/health.json").read_bytes())
    return str(health["folders"].get(role, {}).get("state"))


def is_state(machine: Machine, state: str) -> Callable[[], bool]:
    return lambda: folder_state(machine, "inbox") == folder_state(machine, "outbox") == state


def served(machine: Machine, name: str) -> None:
    """A request that ann drops on the share comes back; she may delete the result, also one that others made."""
    drop(machine, name, inbox=f"{NAS}/inbox")
    state_of(machine, name, "done", outbox=f"{NAS}/outbox")
    assert listed(machine, f"{NAS}/outbox/{name}/{name}-1.png").split()[1:] == ["darkroom:darkroom", "664"]
    machine.run("rm", "-r", f"{NAS}/outbox/{name}", f"{NAS}/outbox/{name}.json", user="ann")


def test_a_share_that_is_mounted_before_the_start(on_share: Machine) -> None:
    with nas(on_share):
        on_share.darkroom("service", "install")
        served(on_share, "cat")


def test_a_share_that_is_mounted_after_the_start(on_share: Machine) -> None:
    on_share.darkroom("service", "install")
    on_share.wait_for(is_state(on_share, "away"), "the folders are away")
    assert on_share.show("ActiveState") == "active"
    assert "waits for its mount" in on_share.show("StatusText")
    with nas(on_share):
        on_share.wait_for(is_state(on_share, "present"), "the folders are there")
        served(on_share, "cat")
    assert listed(on_share, NAS).count("\n") == 3, "nothing was made under the mount"


def test_a_share_that_goes_and_comes_back_while_a_picture_is_rendered(on_share: Machine) -> None:
    with nas(on_share):
        on_share.darkroom("service", "install")
        served(on_share, "before")
        drop(on_share, "cat", inbox=f"{NAS}/inbox", model="slow")
        state_of(on_share, "cat", "rendering", outbox=f"{NAS}/outbox")
        on_share.wait_for(lambda: on_share.run("umount", NAS, check=False).returncode == 0, "nobody uses the share")
        on_share.wait_for(is_state(on_share, "away"), "the folders are away")
        assert (
            on_share.run("grep", "-c", NAS, f"/proc/{on_share.show('MainPID')}/mountinfo", check=False).stdout == "0\n"
        )
        on_share.wait_for(lambda: on_share.journal("DARKROOM_EVENT=outbox_unwritable"), "it waits for the outbox")
    with nas(on_share):
        on_share.wait_for(is_state(on_share, "present"), "the folders are back")
        assert state_of(on_share, "cat", "done", outbox=f"{NAS}/outbox")["attempt"] == 1
        served(on_share, "after")
    assert on_share.show("NRestarts") == "0"


def test_the_watchdog_lets_a_share_hang(on_share: Machine) -> None:
    with nas(on_share) as server:
        on_share.darkroom("service", "install")
        on_share.write(DROP_IN, "[Service]\nWatchdogSec=4\n")
        on_share.run("systemctl", "daemon-reload")
        on_share.run("systemctl", "restart", "darkroom")
        served(on_share, "before")
        server.send_signal(signal.SIGSTOP)
        hung_s = time.monotonic()
        on_share.wait_for(lambda: time.monotonic() - hung_s > 3 * 4, "the share hangs for three times its patience")
        assert (on_share.show("ActiveState"), on_share.show("NRestarts")) == ("active", "0")
        server.send_signal(signal.SIGCONT)
        served(on_share, "after")
        assert on_share.show("NRestarts") == "0"


# Models --------------------------------------------------------------------------------------------------------------

TINY = "from pathlib import Path; from darkroom.testing.tiny_pipeline import build; build(Path('{snapshot}'))"


@pytest.mark.timeout(1800)
def test_models_in_its_cache_and_the_starter_are_found_without_a_network(clean: Machine) -> None:
    """A private network has no hub; a request of nobody's own model is rendered by the one that comes with Darkroom."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = f"/var/cache/darkroom/hub/models--somebody--tiny/snapshots/{commit}"
    clean.write(
        CONFIG,
        f'inbox = "{INBOX}"\noutbox = "{OUTBOX}"\noffline = true\n'
        f'[models.tiny]\nsource = "somebody/tiny"\nrevision = "{commit}"\nwidth = 64\nheight = 64\n',
    )
    clean.run(PYTHON, "-c", TINY.format(snapshot=snapshot), deadline_s=TORCH_DEADLINE_S)
    clean.darkroom("service", "install")
    clean.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(clean, "cat", model="tiny", num_inference_steps=1)
    assert state_of(clean, "cat", "done", deadline_s=TORCH_DEADLINE_S)["rendered_by"]["model_revision"] == commit
    drop(clean, "castle")
    assert state_of(clean, "castle", "done", deadline_s=TORCH_DEADLINE_S)["rendered_by"]["model"] == "starter"
