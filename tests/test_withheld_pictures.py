"""What a safety checker flags is withheld, and the others are delivered: a real daemon, whose test card flags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.spool.answer import State
from darkroom.testing.process import DaemonProcess

THREE = {"model": "flagging", "num_images": 3, "seed": 7}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    models = {"flagging": "testcard:step_s=0.02,flag_on=FLAG,warn_on=WARN"}
    with DaemonProcess(tmp_path_factory.mktemp("withheld"), models=models) as daemon:
        yield daemon


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_request_is_done_with_the_pictures_that_are_left_and_everybody_says_so(daemon: DaemonProcess) -> None:
    daemon.drop("cat.json", {**THREE, "prompt": "FLAG-2 WARN", "format": "jpeg"})
    answer = daemon.wait_for_state("cat", "done")
    assert answer["withheld"] == [2]
    assert [(image["file"], image["seed"]) for image in answer["images"]] == [("cat-1.jpg", 7), ("cat-3.jpg", 9)]
    assert answer["warnings"] == ["The test card found WARN."]
    assert files(daemon.outbox / "cat") == ["answer.json", "cat-1.jpg", "cat-3.jpg", "request.json"]
    daemon.check_settled(["cat"])
    assert daemon.wait_for_event("done", request="cat")["withheld"] == [2]
    shown = daemon.command("status", "cat")
    assert (shown.returncode, "1 picture was withheld" in shown.stdout) == (0, True)


def test_a_request_of_which_nothing_is_left_has_failed_and_says_what_to_do(daemon: DaemonProcess) -> None:
    daemon.drop("dog.json", {**THREE, "prompt": "FLAG"})
    answer = daemon.wait_for_state("dog", "failed")
    assert (answer["error"]["code"], answer["withheld"], answer["attempt"]) == ("filtered", [1, 2, 3], 1)
    daemon.check_settled(["dog"], State.FAILED)
    told = daemon.wait_for_event("failed", request="dog")
    assert (told["withheld"], told["code"]) == ([1, 2, 3], "filtered")
    shown = daemon.command("status", "dog")
    assert shown.returncode == 1
    assert "flagged all 3 pictures. Ask for something else" in " ".join(shown.stdout.split())


def test_who_waits_for_it_is_told_how_many_are_withheld(daemon: DaemonProcess) -> None:
    words = ("submit", "FLAG-1 FLAG-3", "--model", "flagging", "-n", "3", "--wait", "--name", "fox")
    waited = daemon.command(*words)
    assert waited.returncode == 0
    assert waited.stdout.splitlines() == [str(daemon.outbox / "fox" / "fox-2.png")]
    assert "fox: 2 pictures were withheld: the model's safety checker flagged them." in waited.stderr


def test_a_renderer_that_is_killed_behind_a_picture_that_is_withheld_goes_on_behind_it(daemon: DaemonProcess) -> None:
    mark = daemon.log.length
    daemon.drop("owl.json", {**THREE, "prompt": "FLAG-2", "num_inference_steps": 100})
    daemon.wait_for(lambda: daemon.answer("owl").get("progress", {}).get("image") == 3, "the third one is painted")
    daemon.kill_renderer()
    daemon.wait_for_event("rendering", mark, request="owl", attempt=2)
    begun: set[int] = set()

    def is_done() -> bool:
        answer = daemon.answer("owl")
        begun.add(answer.get("progress", {}).get("image", 3))
        return bool(answer["state"] == "done")

    daemon.wait_for(is_done, "it is done")
    assert begun == {3}
    assert (daemon.answer("owl")["withheld"], daemon.answer("owl")["attempt"]) == ([2], 2)
    daemon.check_settled(["owl"])
