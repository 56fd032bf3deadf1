"""README.md and docs/operations.md as a person follows them: every command, in the order in which it stands there.

A real systemd, an administrator with sudo whose home is closed. What needs a network (`git`, `make venv`) is taken for
done.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.machine import PROGRAM, Machine
from tests.real.test_systemd import (
    CONFIG,
    INBOX,
    OUTBOX,
    clean,  # noqa: F401 - a fixture
    configure,
    drop,
    folder_state,
    listed,
    machine,  # noqa: F401 - a fixture
    state_of,
)

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
UNIT = "/etc/systemd/system/darkroom.service"
OVERRIDE = "/etc/systemd/system/darkroom.service.d/override.conf"
#: Models that need no network, in place of those that the pages name.
TEST_CARDS = '[models.starter]\nsource = "testcard"\n[models.sd15]\nsource = "testcard"\nvariant = ""\n'
CARD = "width = 64\nheight = 64\nnum_inference_steps = 2\n"
SETTINGS = f"heartbeat_s = 0.5\nsettle_s = 1\n{TEST_CARDS}{CARD}"


def blocks_of(page: str) -> Iterator[tuple[str, str]]:
    """Each piece of code in a page, with its kind: "toml", "ini", …, or "" for what is typed."""
    for fenced, kind, inside, typed in re.findall(
        r"(^```(\w*)\n((?s:.*?))^```$)|((?:^ {4}\S.*\n)+)", page, re.MULTILINE
    ):
        yield (kind, inside) if fenced else ("", re.sub(r"^ {4}", "", typed, flags=re.MULTILINE))


def part(page: str, *headings: str) -> str:
    """The parts of a page below these headings."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "".join(text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] for heading in headings)


@pytest.fixture
def admin(clean: Machine) -> Iterator[Machine]:  # noqa: F811 - the fixture
    """A machine with somebody who looks after it."""
    clean.run("useradd", "--create-home", "--shell", "/bin/bash", "admin")
    clean.run("chmod", "700", "/home/admin")
    clean.run("groupadd", "--force", "--system", "render")  # there where a graphics driver is
    clean.write("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n")
    for name in ("git", "make"):
        clean.write(f"/usr/local/bin/{name}", "#!/bin/sh\nexit 0\n")
    clean.write("/usr/local/bin/sudoedit", '#!/bin/sh\necho HF_TOKEN=hf_secret | sudo tee -a "$1"\n')
    clean.run(
        "sh", "-c", "chmod 755 /usr/local/bin/*; rm -f /usr/bin/darkroom; rm -rf /opt/darkroom/config/darkroom.toml"
    )
    yield clean
    clean.run(
        "sh", "-c", f"rm -f /usr/local/bin/* /etc/sudoers.d/admin /etc/profile.d/darkroom.sh; ln -s {PROGRAM} /usr/bin"
    )
    clean.run("systemctl", "stop", "darkroom", check=False)  # it may hold a folder in that home
    clean.run("sh", "-c", "userdel admin; rm -rf /home/admin")


class Shell:
    """What the administrator types, in one folder after another."""

    def __init__(self, machine: Machine) -> None:  # noqa: F811 - a parameter
        self._machine = machine
        self._folder = "/opt/darkroom"

    def type(self, text: str) -> str:
        """Returns what was said. Fails when one line fails."""
        script = f"set -e; PATH=/usr/local/bin:$PATH; cd {self._folder}\n{text}\npwd > /tmp/folder\n"
        done = self._machine.run("bash", "--login", "-c", script, user="admin")
        self._folder = (self._machine.root / "tmp/folder").read_text().strip()
        return done.stdout + done.stderr

    def write(self, path: str, text: str) -> None:
        """As with an editor that sudo has opened."""
        self._machine.write(path, text)


def test_operations_md_can_be_followed_line_by_line(admin: Machine) -> None:
    shell = Shell(admin)
    before: dict[str, Callable[[], None]] = {
        "adopt": lambda: served(admin, "first", OUTBOX, then=lambda: change_outbox(admin)),
        "mkdir -p /var/backups": lambda: served(admin, "second", "/srv/darkroom/pictures"),
    }
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for kind, text in blocks_of(page):
        for word, prepare in before.items():
            if word in text:
                prepare()
        if kind == "toml":
            shell.write(text.splitlines()[0].lstrip("# "), text + SETTINGS)
        elif kind == "ini":
            shell.write(OVERRIDE, text)
            admin.run("systemctl", "daemon-reload")
            admin.run("systemctl", "restart", "darkroom")
            assert admin.show("ActiveState") == "active", text
        else:
            shell.type(text)
            if "usermod" in text:
                admin.run("usermod", "--append", "--groups", "darkroom", "ann")
    assert not (admin.root / UNIT.lstrip("/")).exists()
    left = admin.run("find", "/srv/darkroom", "-name", "*.png").stdout
    assert "/srv/darkroom/outbox/first/first-1.png" in left
    assert "second-1.png" in left
    assert (admin.root / "var/backups/darkroom/darkroom/darkroom.sqlite3").exists()
    assert (admin.root / CONFIG.lstrip("/")).exists()


def served(machine: Machine, name: str, outbox: str, *, then: Callable[[], None] = lambda: None) -> None:  # noqa: F811
    machine.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(machine, name)
    state_of(machine, name, "done", outbox=outbox)
    then()


def change_outbox(machine: Machine) -> None:  # noqa: F811
    machine.run("sed", "-i", 's|^outbox = .*|outbox = "/srv/darkroom/pictures"|', CONFIG)


def test_readme_md_leads_to_a_nas_and_to_a_service(admin: Machine) -> None:
    shell = Shell(admin)
    admin.run("chown", "admin:", "/mnt", "/opt/darkroom", "/opt/darkroom/config")
    shell.type("sudo ln -s /opt/darkroom/.venv/bin/darkroom /usr/local/bin/")
    for kind, text in blocks_of(part("README.md", "On a NAS")):
        if kind == "toml":
            shell.write("/opt/darkroom/config/darkroom.toml", text + SETTINGS)
        else:
            said = shell.type(text)
    assert "ok    inbox: /mnt/nas/inbox can be written" in said
    configure(admin)
    for _, text in blocks_of(part("README.md", "As a service")):
        if "usermod" in text:
            shell.type(text)
            served(admin, "cat", OUTBOX)
        else:
            shell.type(text)
    assert listed(admin, f"{OUTBOX}/cat/cat-1.png")
    assert not (admin.root / UNIT.lstrip("/")).exists()


# What people have -----------------------------------------------------------------------------------------------------


def test_folders_in_a_closed_home_are_refused_and_served_once_others_may_pass(admin: Machine) -> None:
    admin.run("sh", "-c", "mkdir /home/admin/in /home/admin/out", user="admin")
    configure(admin, inbox="/home/admin/in", outbox="/home/admin/out")
    said = admin.run(PROGRAM, "service", "install", "--config", CONFIG, check=False)
    assert said.returncode == 1
    assert "could not reach /home/admin/in: /home/admin is closed to it" in said.stderr
    (cure,) = re.findall(r"chmod o\+x \S+[^.\s]", said.stderr)
    admin.run("sh", "-c", cure)
    admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    admin.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(admin, "cat", inbox="/home/admin/in")
    state_of(admin, "cat", "done", outbox="/home/admin/out")


def test_a_link_is_refused_and_what_it_leads_to_is_served(admin: Machine) -> None:
    admin.run("sh", "-c", "mkdir -p /srv/nas /srv/true; chmod 700 /srv/true; ln -s /srv/true /srv/nas/inbox")
    before = listed(admin, "/srv")
    configure(admin, inbox="/srv/nas/inbox")
    said = admin.run(PROGRAM, "service", "install", "--config", CONFIG, check=False)
    assert said.returncode == 1
    assert "/srv/nas/inbox is a link" in said.stderr
    assert "/srv/true" in said.stderr
    assert listed(admin, "/srv") == before
    configure(admin, inbox="/srv/true")
    admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    admin.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(admin, "cat", inbox="/srv/true")
    state_of(admin, "cat", "done")


def test_relative_values_mean_the_same_to_the_command_and_to_the_service(admin: Machine) -> None:
    shell = Shell(admin)
    configure(admin, more='styles = "my.toml"')
    admin.run("sh", "-c", "mkdir /srv/here && cp /opt/darkroom/config/styles.toml /srv/here/my.toml")
    shell.type(f"cd /srv/here; sudo {PROGRAM} service install --config {CONFIG}")
    admin.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(admin, "cat", style="fantasy")
    state_of(admin, "cat", "done")
    assert admin.show("NRestarts") == "0"
    assert "Nothing is left to do." in shell.type(f"cd /srv; sudo {PROGRAM} service install --config {CONFIG}")
    shell.type(f"cd /srv; sudo {PROGRAM} service remove --config {CONFIG}")


def test_what_was_run_by_hand_before_is_served_by_the_service_and_by_another_user_after_it(admin: Machine) -> None:
    configure(admin)
    admin.run("sh", "-c", f"mkdir -p {INBOX}/alice {OUTBOX}; chown -R ann: /srv/darkroom")
    drop(admin, "alice/by-hand")
    once = f"umask 022; {PROGRAM} run --once --config {CONFIG} --state-dir /home/ann/state"
    admin.run("sh", "-c", once, user="ann")
    state_of(admin, "alice/by-hand", "done")

    admin.run(PROGRAM, "service", "install", "--config", CONFIG, "--group", "people")
    served_by(admin, "darkroom", "people", "cat")
    assert "Nothing is left to do." in admin.darkroom("service", "install", "--config", CONFIG)
    admin.run(PROGRAM, "service", "install", "--config", CONFIG, "--user", "painter", "--group", "people")
    served_by(admin, "painter", "people", "dog")
    admin.run(PROGRAM, "service", "remove", "--config", CONFIG)
    admin.run("sh", "-c", "userdel darkroom; groupdel people; rm -rf /home/ann/state", check=False)


def served_by(machine: Machine, user: str, group: str, name: str) -> None:  # noqa: F811
    assert (machine.show("User"), machine.show("Group")) == (user, group)
    machine.run("usermod", "--append", "--groups", group, "ann")
    drop(machine, name)
    state_of(machine, name, "done")
    machine.run("chmod", "-R", "g+rwX", f"{INBOX}/alice")
    machine.run("chgrp", "-R", group, f"{INBOX}/alice")
    drop(machine, f"alice/{name}")
    state_of(machine, f"alice/{name}", "done")


def test_what_is_away_is_the_last_word_of_an_installation(admin: Machine) -> None:
    configure(admin)
    admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    change_outbox(admin)
    done = admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    assert "the outbox is away: " in done.stderr
    assert "darkroom adopt /srv/darkroom/pictures" in done.stderr
    assert folder_state(admin, "outbox") == "away"


def test_a_disk_that_becomes_writable_is_served_after_a_restart(admin: Machine) -> None:
    disk = "/mnt/disk"
    admin.run("groupadd", "--system", "darkroom")
    admin.run("mkdir", disk)
    admin.run("mount", "-t", "tmpfs", "tmpfs", disk)
    try:
        for folder in ("inbox", "outbox"):
            admin.run("install", "-d", "-g", "darkroom", "-m", "2775", f"{disk}/{folder}")
        admin.run("mount", "-o", "remount,ro", disk)
        configure(admin, inbox=f"{disk}/inbox", outbox=f"{disk}/outbox")
        done = admin.run(PROGRAM, "service", "install", "--config", CONFIG)
        assert "the inbox is away: /mnt/disk/inbox cannot be used: Read-only file system." in done.stderr
        admin.run("mount", "-o", "remount,rw", disk)
        admin.run("systemctl", "restart", "darkroom")
        admin.run("usermod", "--append", "--groups", "darkroom", "ann")
        drop(admin, "cat", inbox=f"{disk}/inbox")
        state_of(admin, "cat", "done", outbox=f"{disk}/outbox")
        admin.run("systemctl", "stop", "darkroom")
    finally:
        admin.run("umount", "--lazy", disk)


def test_a_wrong_configuration_is_the_status_of_the_service(admin: Machine) -> None:
    configure(admin)
    admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    admin.run("sh", "-c", f"sed -i '1i settle = 3' {CONFIG}; systemctl restart darkroom", check=False)
    admin.wait_for(lambda: admin.show("ExecMainStatus") == "78", "it says EX_CONFIG")
    said = admin.run("systemctl", "status", "darkroom", "--no-pager", check=False).stdout
    assert "cannot start" in said
    assert "settle: is not a key of the configuration" in said
    configure(admin)


def test_removing_what_is_not_installed_touches_nobodys_marker(admin: Machine) -> None:
    configure(admin)
    admin.run("sh", "-c", f"mkdir -p {INBOX}/.darkroom {OUTBOX}; echo '{{}}' > {INBOX}/.darkroom/folder.json")
    before = listed(admin, "/srv")
    assert "No Darkroom service is installed" in admin.darkroom("service", "remove", "--config", CONFIG)
    assert listed(admin, "/srv") == before


def test_a_removal_that_cannot_be_is_told_before_anything_is_stopped(admin: Machine) -> None:
    configure(admin)
    admin.run(PROGRAM, "service", "install", "--config", CONFIG)
    admin.run("usermod", "--append", "--groups", "darkroom", "ann")
    drop(admin, "long", model="slow")
    state_of(admin, "long", "rendering")
    admin.wait_for(  # the heartbeat tells it within a second
        lambda: re.search(r"renders\s+long", admin.darkroom("status", "--config", CONFIG)), "it says what it renders"
    )
    began = admin.show("MainPID")
    for words in (["--dry-run"], []):
        said = admin.darkroom("service", "remove", "--config", CONFIG, *words, check=False)
        assert "1 request is taken and not delivered" in said
    assert admin.show("MainPID") == began
    assert json.loads((admin.root / OUTBOX.lstrip("/") / "long.json").read_bytes())["state"] != "failed"
