"""A second daemon on the same inbox, from another host: it says who is there and ends; a dead one is taken over."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess

HOST = ("unshare", "--uts", "--net", "sh", "-c", 'hostname "$0"; exec "$@"')
IN_TIME_S = 120.0  #: a dead one's inbox is taken over after 30 s


def daemon_on(host: str, home: Path, share: Path) -> DaemonProcess:
    """A daemon on a host of its own, with a state folder of its own, on the share's inbox and outbox."""
    folders = {"inbox": str(share / "inbox"), "outbox": str(share / "outbox")}
    daemon = DaemonProcess(home / host, before=(*HOST, host), settings=folders)
    daemon.inbox, daemon.outbox = share / "inbox", share / "outbox"
    for folder in (daemon.inbox, daemon.outbox):
        folder.mkdir(parents=True, exist_ok=True)
    return daemon


def said(daemon: DaemonProcess) -> str:
    return daemon.log.path.read_text()


@pytest.mark.timeout(400)
def test_a_second_daemon_from_another_host_says_who_is_there_and_takes_over_when_that_one_is_dead(
    tmp_path: Path,
) -> None:
    first, second = (daemon_on(host, tmp_path, tmp_path / "share") for host in ("studio", "attic"))
    try:
        first.start()
        first.drop("taken.json", {"num_inference_steps": 150, "num_images": 16})
        for name in ("next", "r1", "r2"):  # the next one in line is taken, so that it can start at once
            first.drop(f"{name}.json")
            first.wait_for_state(name, "queued")
        first.wait_for_state("taken", "rendering")
        first.wait_for(lambda: not (first.inbox / "next.json").exists(), "the next one is taken")

        second.start(wait=False)
        assert second.wait_for_end(deadline_s=IN_TIME_S) == 3
        assert "he Darkroom on studio" in said(second)
        assert "serves this inbox" in said(second)
        assert first.answer("taken")["state"] == "rendering"
        assert not second.results()

        first.kill()
        mark = second.log.length
        second.start()
        second.wait_for(
            lambda: all(second.answer(name)["state"] == "done" for name in ("r1", "r2")),
            "it serves what the inbox holds",
            deadline_s=IN_TIME_S,
        )
        away = second.log.find("folder_away", mark, folder="inbox")
        assert "the Darkroom on studio" in away[0]["why"]
        assert "taken over when it has not moved for 30 s" in away[0]["why"]

        # What the dead one had taken is in its state folder: it goes on with that, and says who has its inbox now.
        mark = first.log.length
        first.start()
        first.wait_for(
            lambda: any("on attic" in away["why"] for away in first.log.find("folder_away", mark, folder="inbox")),
            "it is told who has its inbox",
        )
        first.wait_for_state("taken", "rendering")
        second.drop("theirs.json")
        second.wait_for_state("theirs", "done")
        assert second.stop() == 0
        first.wait_for(lambda: first.log.find("folder_present", mark, folder="inbox"), "it has its inbox again")
        first.cancel("taken")
        assert first.wait_for_state("taken", "cancelled", deadline_s=60)["result"] == "taken.cancelled"
        first.wait_for_state("next", "done")
    finally:
        first.kill()
        second.kill()


@pytest.mark.timeout(120)
def test_a_second_daemon_on_the_same_state_folder_says_who_is_there_and_ends(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        second = DaemonProcess(tmp_path)  # the same folders, log and all
        second.start("--once", wait=False)
        assert second.wait_for_end() == 3
        assert f"Another Darkroom (process {daemon.process.pid}) uses the state folder" in said(daemon)
        daemon.drop("cat.json")
        daemon.check_settled(["cat"])
