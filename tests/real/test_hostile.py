"""Who may write to the shares and means ill: floods, bombs, links swapped in, files that never hold still."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from darkroom.testing.waiting import wait_for

FLOOD = int(os.environ.get("FLOOD", "100000"))
RENAME_EXCHANGE = 2  # linux/fs.h
AT_FDCWD = -100
SECRET = "nobody may read this"
PATIENCE_S = 240.0  #: for what takes seconds on an idle machine
SWAPPED_S = 8.0  #: for so long links and folders are exchanged, thousands of times

_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step, if both are there."""
    if _libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        assert ctypes.get_errno() == errno.ENOENT


@contextmanager
def again_and_again(work: Callable[[], None]) -> Iterator[list[int]]:
    """Do something all the time, in a thread; how often stands in the list at the end."""
    done = threading.Event()
    times = [0]

    def run() -> None:
        while not done.is_set():
            work()
            times[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


def files_with(secret: str, *roots: Path) -> list[Path]:
    found = [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if secret.encode() in path.read_bytes()]


# Links that are swapped in --------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_link_that_is_swapped_in_for_a_file_or_a_folder_of_the_inbox_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    secrets = {outside / f"r{number}.json": json.dumps({"prompt": f"{SECRET} {number}"}) for number in range(20)}
    for path, text in secrets.items():
        path.write_text(text)
    with DaemonProcess(tmp_path / "daemon") as daemon:
        (daemon.inbox / "real").mkdir()
        (daemon.inbox / ".link").symlink_to(outside)
        (daemon.inbox / ".files").mkdir()
        for path in secrets:
            (daemon.inbox / ".files" / path.name).symlink_to(path)
        end_s, dropped = time.monotonic() + SWAPPED_S, 0

        def swap() -> None:
            exchange(daemon.inbox / "real", daemon.inbox / ".link")
            for path in secrets:
                exchange(daemon.inbox / path.name, daemon.inbox / ".files" / path.name)

        with again_and_again(swap) as times:
            while time.monotonic() < end_s:
                for path in secrets:
                    if not (daemon.inbox / path.name).exists():
                        dropped += 1
                        daemon.drop(path.name, {"prompt": f"a castle {dropped}"})
                try:
                    daemon.drop(f"real/in-{dropped}.json", {"prompt": f"a tower {dropped}"})
                except OSError as error:  # exchanged between the two steps of this drop
                    if error.errno != errno.ENOENT:
                        raise
                time.sleep(0.02)
        assert times[0] > 100
        daemon.wait_for(lambda: daemon.log.find("done"), "something was rendered all the same")
        assert not files_with(SECRET, daemon.state, daemon.outbox)
        assert {path: path.read_text() for path in secrets} == secrets
        left = {path.name for path in outside.iterdir()} - {path.name for path in secrets}
        assert all(name.startswith((".drop-", "in-")) for name in left), "only this test's own drops"
        assert daemon.is_running


@pytest.mark.timeout(300)
def test_a_link_that_is_swapped_in_for_a_folder_of_the_outbox_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)
    (outside / "precious" / "file").write_text("mine")
    with DaemonProcess(tmp_path / "daemon") as daemon:
        (daemon.inbox / "alice").mkdir()
        daemon.drop("alice/first.json")
        daemon.wait_for_state("alice/first", "done")
        (daemon.outbox / ".link").symlink_to(outside)
        (daemon.outbox / ".precious").symlink_to(outside / "precious")
        end_s, dropped = time.monotonic() + SWAPPED_S, 0

        def swap() -> None:
            exchange(daemon.outbox / "alice", daemon.outbox / ".link")
            for place in (daemon.outbox / "alice", daemon.outbox / ".link"):
                for part in place.glob(".*.part"):
                    exchange(part, daemon.outbox / ".precious")

        with again_and_again(swap) as times:
            while time.monotonic() < end_s:
                dropped += 1
                daemon.drop(f"alice/r{dropped}.json", {"prompt": f"a tower {dropped}"})
                time.sleep(0.05)
        assert times[0] > 100
        assert sorted(path.relative_to(outside).as_posix() for path in outside.rglob("*")) == [
            "precious",
            "precious/file",
        ]
        assert (outside / "precious" / "file").read_text() == "mine"
        assert daemon.is_running


# Files that never hold still, and bombs -------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("whole", [False, True], ids=["never complete", "complete each time"])
def test_a_file_that_is_rewritten_for_ever_is_told_and_the_others_go_on(tmp_path: Path, whole: bool) -> None:
    with DaemonProcess(tmp_path) as daemon:
        target, number = daemon.inbox / "restless.json", 0

        def rewrite() -> None:
            nonlocal number
            number += 1
            text = f'{{"prompt": "version {number}", "num_inference_steps": 1'
            target.write_text(text + "}" * whole)
            time.sleep(0.001)

        with daemon.paused():
            rewrite()
            with again_and_again(rewrite):
                for name in ("cat", "dog"):
                    daemon.drop(f"{name}.json", {"priority": 1})
                    daemon.wait_for_state(name, "queued")
                if not whole:
                    daemon.wait_until_told("restless.json", "still arriving")
        with again_and_again(rewrite):
            for name in ("cat", "dog"):
                daemon.wait_for_state(name, "done")
        if whole:  # the last version holds still
            daemon.wait_for(
                lambda: f"version {number}" in daemon.answer("restless").get("plan", {}).get("prompt", ""),
                "its last version is answered",
            )
            daemon.wait_for_state("restless", "done")


BOMBS = {
    "deep": b"[" * 1_000_000,
    "deep-object": b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
    "wide": b'{"prompt": "x", "metadata": {' + b",".join(b'"k%d":%d' % (n, n) for n in range(60_000)) + b"}}",
    "wide-keys": b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(60_000)) + b"}",
    "wide-list": b'{"prompt": "x", "metadata": {"a": [' + b",".join([b"0"] * 400_000) + b"]}}",
    "long-number": b'{"prompt": "x", "seed": ' + b"9" * 1_000_000 + b"}",
    "long-fraction": b'{"prompt": "x", "guidance_scale": 0.' + b"3" * 1_000_000 + b"}",
    "exponent": b'{"prompt": "x", "guidance_scale": 1e999999999}',
    "long-string": b'{"prompt": "' + b"a" * 1_000_000 + b'"}',
    "escapes": b'{"prompt": "' + b"\\u0041" * 160_000 + b'"}',
    "duplicates": b"{" + b",".join([b'"prompt": "x"'] * 60_000) + b"}",
    "prompts": b'{"prompt": ' + b'{"prompt": ' * 18 + b"1" + b"}" * 19,
}


@pytest.mark.timeout(300)
def test_bombs_of_json_are_refused_and_cost_little(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        before_mb = resident_mb(daemon)
        for name, raw in BOMBS.items():
            daemon.drop(f"{name}.json", raw)
        daemon.drop("cat.json")
        for name in BOMBS:
            answer = daemon.wait_for_state(name, "refused", deadline_s=PATIENCE_S)
            assert len(json.dumps(answer)) < 20_000, f"the answer to {name} is a bomb itself"
        daemon.wait_for_state("cat", "done", deadline_s=PATIENCE_S)
        assert resident_mb(daemon) < before_mb + 60


def resident_mb(daemon: DaemonProcess, what: str = "VmRSS") -> float:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


# Floods ---------------------------------------------------------------------------------------------------------------


def flood(folder: Path, number: int, name: str, text: str) -> None:
    """So many files, numbered."""
    for each in range(number):
        with open(folder / name.format(each), "w") as file:
            file.write(text.format(each))


@pytest.mark.timeout(3000)
def test_a_flood_of_requests_in_one_folder_is_answered_and_others_still_have_their_turn(
    tmp_path: Path, figures: list[str]
) -> None:
    with DaemonProcess(tmp_path, settings={"default_model": "slow"}, models={"slow": "testcard:step_s=3600"}) as daemon:
        (daemon.inbox / "flood").mkdir()
        begun_mb = resident_mb(daemon)
        flood(daemon.inbox / "flood", FLOOD, "r{}.json", '{{"prompt": "flood {}"}}')
        daemon.wait_for(lambda: daemon.health()["queued"] > FLOOD // 100, "it begins to accept")
        daemon.drop("alice.json", {"model": "card"})
        beats = daemon.health()["counter"]
        daemon.wait_for(
            lambda: daemon.health()["queued"] >= FLOOD - 1 and daemon.answer("alice"),
            "all are accepted",
            deadline_s=2400,
        )
        assert daemon.health()["counter"] > beats
        peak_mb = resident_mb(daemon, "VmHWM")
        figures.append(f"{FLOOD} requests: {begun_mb:.0f} MB before, {peak_mb:.0f} MB at most")
        assert peak_mb < begun_mb + 60 + FLOOD * 2_500 / 2**20
        daemon.drop("quick.json", {"priority": 1})
        daemon.wait_for_state("quick", "queued", deadline_s=60)


@pytest.mark.timeout(1200)
def test_a_flood_of_ignored_files_costs_little_and_requests_are_answered(tmp_path: Path, figures: list[str]) -> None:
    with DaemonProcess(tmp_path) as daemon:
        begun_mb = resident_mb(daemon)
        flood(daemon.inbox, FLOOD, "picture-{}.png", "no request")
        daemon.wait_for(lambda: daemon.health().get("not_taken_more", 0) >= FLOOD - 100, "all are seen", deadline_s=300)
        for name in ("cat", "dog"):
            began_s = time.monotonic()
            daemon.drop(f"{name}.json")
            daemon.wait_for_state(name, "done")
            figures.append(f"{name} took {time.monotonic() - began_s:.2f} s beside {FLOOD} files")
        peak_mb = resident_mb(daemon, "VmHWM")
        figures.append(f"{begun_mb:.0f} MB before, {peak_mb:.0f} MB at most")
        assert peak_mb < begun_mb + 20 + FLOOD * 500 / 2**20
        assert len(daemon.health()["not_taken"]) == 100


@pytest.mark.timeout(1200)
def test_ten_thousand_queued_requests_that_are_deleted_at_once_are_all_cancelled(tmp_path: Path) -> None:
    number = FLOOD // 10
    with DaemonProcess(tmp_path) as daemon, daemon.paused():
        flood(daemon.inbox, number, "r{}.json", '{{"prompt": "flood {}"}}')
        daemon.wait_for(lambda: daemon.health()["queued"] == number, "all are accepted", deadline_s=600)
        for path in daemon.inbox.glob("*.json"):
            path.unlink()
        daemon.wait_for(lambda: daemon.health()["queued"] == 0, "none is queued", deadline_s=600)
        daemon.wait_for(
            lambda: daemon.health()["settled"].get("cancelled") == number, "all are cancelled", deadline_s=600
        )
        daemon.wait_for_state(f"r{number - 1}", "cancelled", deadline_s=600)
        daemon.wait_for(
            lambda: all(daemon.answer(f"r{each}")["state"] == "cancelled" for each in range(number)),
            "all are told",
            deadline_s=600,
        )


# What is written where, and for whom ----------------------------------------------------------------------------------


CHANGES = ("mkdir", "unlink", "rename", "rmdir", "link", "symlink", "chmod", "chown", "truncate", "utime", "mknod")


@pytest.mark.timeout(300)
def test_nothing_is_changed_outside_inbox_outbox_and_state_whatever_comes(tmp_path: Path) -> None:
    """By what the kernel was asked: strace on the daemon and its renderer."""
    trace = tmp_path / "trace"
    strace = ("strace", "-D", "-f", "-q", "-y", "-s", "4096", "-o", str(trace), "-e", "trace=%file")
    with DaemonProcess(tmp_path / "daemon", before=("env", "PYTHONDONTWRITEBYTECODE=1", *strace)) as daemon:
        number = drop_hostile_requests(daemon, tmp_path)
        daemon.drop("cat.json", {"priority": -10})
        daemon.wait_for_state("cat", "done", deadline_s=120)
        daemon.look_again()
        pid = daemon.process.pid
        assert daemon.stop(deadline_s=60) == 0
    wait_for(lambda: f"{pid} +++ exited" in trace.read_text(errors="replace"), "the trace is written")
    assert len(daemon.results()) >= number
    changed = changed_paths(trace.read_text(errors="replace"))
    assert len(changed) > 100, "the trace has been understood"
    allowed = tuple(f"{folder}/" for folder in (daemon.inbox, daemon.outbox, daemon.state))
    assert {path for path in changed if not f"{path}/".startswith(allowed)} <= {"/dev/null"}


def drop_hostile_requests(daemon: DaemonProcess, top: Path) -> int:
    """Requests whose names and contents would lead elsewhere; returns how many have to get a result."""
    names = [
        "..",
        "...",
        "a\\b",
        "-rf",
        "C:",
        "x\n..",
        "%2e%2e%2fz",
        "\u202egnp",
        "con",
        "a" * 250,
        "\x01",
        "$(id)",
        "`id`",
    ]
    every_byte = bytes(sorted(set(range(1, 256)) - set(b"/")))
    names += [os.fsdecode(b"b" + every_byte[first : first + 8]) for first in range(0, len(every_byte), 8)]
    for name in names:
        daemon.drop(f"{name}.json")
    (daemon.inbox / "~sub").mkdir()
    (daemon.inbox / "..sub").mkdir()
    (daemon.inbox / "su:b").mkdir()
    daemon.drop("su:b/in.json")
    evil = {"model": "../../etc/passwd", "style": "/etc/passwd", "scheduler": "../x", "format": "../../png"}
    daemon.drop("evil.json", {**evil, "metadata": {"file": "/etc/passwd"}})
    for key, value in evil.items():
        daemon.drop(f"evil-{key}.json", {key: value})
    daemon.drop("paths.json", {"prompt": "../../../../tmp/x /etc/passwd", "metadata": {"../x": "../y"}})
    (top / "outside").mkdir()
    (daemon.inbox / "link.json").symlink_to(top / "outside" / "nothing.json")
    (daemon.inbox / "folder-link").symlink_to(top / "outside")
    (daemon.inbox / "../outside.cancel").resolve().touch()
    daemon.cancel("..")
    hidden = [name for name in names if name.startswith(".")]
    return len(names) - len(hidden) + 7


def changed_paths(trace: str) -> set[str]:
    """Every path that was opened for writing, made, renamed or removed, as far as the kernel did it."""
    changed: set[str] = set()
    folders: dict[tuple[str, str], str] = {}  # (thread, descriptor) → what it had opened there last
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
            call = begun.pop(pid, "") + call[resumed.end() :]
        if opened := re.match(r"open(?:at)?\(.*\)\s+= (\d+)<(.*)>$", call):
            folders[pid, opened[1]] = opened[2]
            if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call):
                changed.add(opened[2])
        elif call.startswith(CHANGES) and call.endswith("= 0"):
            for path in re.findall(r'"((?:[^"\\]|\\.)*)"', call):
                inside = re.match(r"/proc/self/fd/(\d+)", path)
                real = folders[pid, inside[1]] + path[inside.end() :] if inside else path
                changed.add(os.path.normpath(real))
    return changed


@pytest.mark.timeout(120)
def test_what_is_made_on_the_shares_is_for_the_group_of_the_folder_and_for_nobody_else_to_write(tmp_path: Path) -> None:
    """As the unit starts it: umask 0002, folders that hand their group down."""
    umask = ("sh", "-c", 'umask 0002; exec "$@"', "sh")
    group = 54321
    with DaemonProcess(tmp_path, before=umask) as daemon:
        daemon.stop()
        for folder in (daemon.inbox, daemon.outbox):
            os.chown(folder, -1, group)
            folder.chmod(0o2775)
        daemon.start()
        (daemon.inbox / "alice").mkdir(mode=0o2775)
        daemon.drop("cat.json", {"num_images": 2})
        daemon.drop("alice/dog.json")
        daemon.drop("wrong.json", {"style": "no such style"})
        for name, state in (("cat", "done"), ("alice/dog", "done"), ("wrong", "refused")):
            daemon.wait_for_state(name, state)
        daemon.stop()
    made = [path for path in daemon.outbox.rglob("*") if ".darkroom" not in path.parts]  # that is older
    assert len(made) > 10
    for path in made:
        status = path.stat()
        assert status.st_gid == group, path
        assert oct(status.st_mode & 0o7777) == ("0o2775" if path.is_dir() else "0o664"), path
    for path in [*(daemon.outbox / ".darkroom").iterdir(), *(daemon.inbox / ".darkroom").iterdir()]:
        assert path.stat().st_mode & 0o002 == 0, path
    for path in daemon.state.rglob("*"):
        assert path.stat().st_mode & 0o002 == 0, path
