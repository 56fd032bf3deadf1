"""What people and their tools do to the folders while a real daemon runs: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess, check_complete, request
from darkroom.testing.waiting import Json

SETTLE_S = 1.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("people"), settings={"settle_s": SETTLE_S}) as daemon:
        yield daemon


def sent_as_it_was(daemon: DaemonProcess, path: str, raw: bytes, mtime_s: int = 1_700_000_000) -> None:
    """As rsync and sync clients send: a hidden name, the old mtime, a rename."""
    hidden = daemon.inbox / f".{path}.Xf3k2"
    hidden.write_bytes(raw)
    os.utime(hidden, (mtime_s, mtime_s))
    hidden.rename(daemon.inbox / path)


def result_of(daemon: DaemonProcess, name: str) -> Path:
    """The folder that an answer names, checked to be whole. A refusal is answered before its folder is there."""
    answer = daemon.wait_for(lambda: with_result(daemon.answer(name)), f"{name} has a folder")
    folder = (daemon.outbox / name).parent / str(answer["result"])
    check_complete(folder, answer)
    return folder


def with_result(answer: Json) -> Json:
    return answer if "result" in answer else {}


# Sent again -----------------------------------------------------------------------------------------------------------


def test_a_refused_request_is_mended_and_dropped_again(daemon: DaemonProcess) -> None:
    daemon.drop("mended.json", {"styel": "fantasy"})
    refused = daemon.wait_for_state("mended", "refused")
    assert "style" in refused["error"]["problems"][0]["hint"]
    kept = result_of(daemon, "mended")
    refused = daemon.answer("mended")

    daemon.drop("mended.json", {"style": "fantasy"})
    done = daemon.wait_for_state("mended", "done")
    assert (done["result"], done["rev"] > refused["rev"]) == ("mended", True)
    assert kept.name == "mended.refused"
    check_complete(kept, refused)


def test_the_same_file_sent_again_is_not_rendered_again(daemon: DaemonProcess) -> None:
    raw = request(prompt="sent twice")
    sent_as_it_was(daemon, "twice.json", raw)
    first = daemon.wait_for_state("twice", "done")
    sent_as_it_was(daemon, "twice.json", raw)
    again = daemon.wait_for(lambda: has_resent(daemon.answer("twice"), 1), "it is told that it was sent again")
    assert (again["id"], again["state"], again["result"]) == (first["id"], "done", "twice")
    assert any("touch" in warning and "retry" in warning for warning in again["warnings"])
    daemon.wait_for(lambda: not (daemon.inbox / "twice.json").exists(), "the file leaves the inbox")
    assert len(daemon.results()[first["id"]]) == 1


def test_the_same_file_is_not_rendered_again_after_its_result_was_carried_away(daemon: DaemonProcess) -> None:
    raw = request(prompt="carried away")
    sent_as_it_was(daemon, "carried.json", raw)
    first = daemon.wait_for_state("carried", "done")
    (daemon.outbox / "carried").rename(daemon.home / "carried")
    (daemon.outbox / "carried.json").unlink()
    for times in (1, 2):
        sent_as_it_was(daemon, "carried.json", raw)
        again = daemon.wait_for(lambda: has_resent(daemon.answer("carried"), times), "its answer is there again")  # noqa: B023
        assert (again["id"], again["state"]) == (first["id"], "done")
        daemon.wait_for(lambda: not (daemon.inbox / "carried.json").exists(), "the file leaves the inbox")
    assert first["id"] not in daemon.results()


def has_resent(answer: Json, times: int) -> Json:
    return answer if answer.get("resent") == times else {}


def test_a_touched_file_is_rendered_anew_beside_the_first_result(daemon: DaemonProcess) -> None:
    raw = request(prompt="touched")
    sent_as_it_was(daemon, "touched.json", raw)
    first = daemon.wait_for_state("touched", "done")
    sent_as_it_was(daemon, "touched.json", raw, mtime_s=1_700_000_001)
    daemon.wait_for(lambda: daemon.answer("touched").get("id") != first["id"], "a new request has this name")
    second = daemon.wait_for_state("touched", "done")
    assert (first["result"], second["result"]) == ("touched", "touched-2")
    check_complete(daemon.outbox / "touched", first)
    check_complete(daemon.outbox / "touched-2", second)


def test_retry_asks_for_a_failed_request_again_under_a_new_name(daemon: DaemonProcess) -> None:
    daemon.drop("unlucky.json", {"prompt": "OOM"})
    failed = daemon.wait_for_state("unlucky", "failed")
    assert failed["error"]["code"] == "out_of_memory"
    check_complete(daemon.outbox / "unlucky.failed", failed)
    assert daemon.command("retry", "unlucky").returncode == 0
    again = daemon.wait_for_state("unlucky.retry-1", "failed")
    assert (again["retry_of"], again["request_sha256"]) == (failed["id"], failed["request_sha256"])


# Changed while it waits -----------------------------------------------------------------------------------------------


def test_a_file_that_is_deleted_and_renamed_in_place_is_a_new_request_and_no_cancelling(daemon: DaemonProcess) -> None:
    with daemon.paused():
        path = daemon.drop("replaced.json", {"prompt": "old"})
        old = daemon.wait_for_state("replaced", "queued")
        path.unlink()
        daemon.drop("replaced.json", {"prompt": "new"})
        daemon.wait_for(lambda: daemon.answer("replaced")["id"] != old["id"], "the new file is accepted")
        assert daemon.answer("replaced")["state"] == "queued"
    new = daemon.wait_for_state("replaced", "done")
    assert (new["plan"]["prompt"], new["result"]) == ("new", "replaced")
    assert old["id"] not in daemon.results()
    assert not daemon.log.find("cancelled_by_deletion", request="replaced")


def test_a_queued_file_that_is_overwritten_in_place_counts_with_its_new_bytes(daemon: DaemonProcess) -> None:
    with daemon.paused():
        path = daemon.drop("overwritten.json", {"prompt": "old"})
        old = daemon.wait_for_state("overwritten", "queued")
        path.write_bytes(request(prompt="new"))
        daemon.wait_for(lambda: daemon.answer("overwritten")["id"] != old["id"], "the new bytes are accepted")
    new = daemon.wait_for_state("overwritten", "done")
    assert (new["plan"]["prompt"], new["result"]) == ("new", "overwritten")
    assert old["id"] not in daemon.results()


def test_a_file_that_is_overwritten_again_and_again_is_rendered_as_the_bytes_that_were_taken(
    daemon: DaemonProcess,
) -> None:
    path = daemon.drop("restless.json", {"prompt": "version 000"})
    version = 0
    answered = daemon.wait_for_state("restless", "queued", "rendering")["id"]

    def noticed() -> bool:
        return not path.exists() or daemon.answer("restless")["id"] != answered

    while path.exists():
        version += 1
        try:
            with open(path, "r+b") as writer:
                writer.write(request(prompt=f"version {version:03}"))
        except FileNotFoundError:
            break
        daemon.wait_for(noticed, "it is taken or answered anew")
        answered = daemon.answer("restless")["id"]
    assert version > 1
    done = daemon.wait_for_state("restless", "done")
    kept = (result_of(daemon, "restless") / "request.json").read_bytes()
    assert kept == request(prompt=done["plan"]["prompt"])
    assert [
        folder.name for folders in daemon.results().values() for folder in folders if "restless" in folder.name
    ] == ["restless"]


def test_deleting_a_queued_file_cancels_it_and_putting_it_back_asks_again(daemon: DaemonProcess) -> None:
    raw = request(prompt="withdrawn")
    with daemon.paused():
        sent_as_it_was(daemon, "withdrawn.json", raw)
        assert daemon.wait_for_state("withdrawn", "queued")["in_inbox"] is True
        (daemon.inbox / "withdrawn.json").unlink()
        cancelled = daemon.wait_for_state("withdrawn", "cancelled")
        assert "in_inbox" not in cancelled
        sent_as_it_was(daemon, "withdrawn.json", raw)
        daemon.wait_for_state("withdrawn", "queued")
    done = daemon.wait_for_state("withdrawn", "done")
    assert done["id"] != cancelled["id"]
    assert cancelled["id"] not in daemon.results()


def test_a_cancel_file_finds_a_request_however_its_ending_is_spelled(daemon: DaemonProcess) -> None:
    with daemon.paused():
        daemon.drop("shouted.jSoN")
        daemon.wait_for_state("shouted", "queued")
        daemon.cancel("shouted")
        daemon.wait_for_state("shouted", "cancelled")


# Slow and broken writers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "placeholder"), [("empty", b""), ("zeros", bytes(300)), ("half", b'{"prompt": "a cas')]
)
def test_a_placeholder_is_refused_where_it_lies_and_taken_when_it_is_filled(
    daemon: DaemonProcess, name: str, placeholder: bytes
) -> None:
    path = daemon.inbox / f"{name}.json"
    path.write_bytes(placeholder)
    refused = daemon.wait_for_state(name, "refused")
    assert (refused["error"]["code"], refused["in_inbox"]) == ("incomplete", True)
    assert path.read_bytes() == placeholder
    daemon.wait_until_told(f"{name}.json", "refused as it stands")

    path.write_bytes(request(prompt="filled"))
    done = daemon.wait_for_state(name, "done")
    assert done["id"] != refused["id"]
    assert result_of(daemon, name).name == name
    assert refused["id"] not in daemon.results()


def test_what_no_byte_can_mend_is_refused_after_two_still_seconds_with_line_and_column(daemon: DaemonProcess) -> None:
    dropped_s = time.monotonic()
    daemon.drop("comma.json", b'{"prompt": "a castle",\n "seed": 1,}\n')
    refused = daemon.wait_for_state("comma", "refused")
    assert time.monotonic() - dropped_s >= 2.0
    assert refused["error"]["code"] == "not_json"
    assert refused["error"]["problems"][0]["where"] == "line 2, column 11"
    assert result_of(daemon, "comma").name == "comma.refused"
    assert not (daemon.inbox / "comma.json").exists()


def test_a_writer_that_takes_its_time_is_waited_for(daemon: DaemonProcess) -> None:
    raw = request(prompt="written slowly " * 10)
    longest_s, wrote_s = 0.0, time.monotonic()
    with open(daemon.inbox / "slow.json", "wb", buffering=0) as writer:
        for byte in raw[:-1]:
            writer.write(bytes([byte]))
            time.sleep(2 * SETTLE_S / len(raw))  # in all, longer than a file that stands still is waited for
            longest_s, wrote_s = max(longest_s, time.monotonic() - wrote_s), time.monotonic()
        assert daemon.answer("slow") == {} or longest_s > SETTLE_S / 2, "a busy machine may let the writer stand still"
        writer.write(raw[-1:])
    daemon.wait_for_state("slow", "done")
    assert result_of(daemon, "slow").name == "slow"


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_a_queued_request_is_cancelled_by_a_file_and_kept(daemon: DaemonProcess) -> None:
    with daemon.paused():
        daemon.drop("early.json")
        daemon.wait_for_state("early", "queued")
        asked = daemon.cancel("early")
        daemon.wait_for_state("early", "cancelled")
        daemon.wait_for(lambda: not asked.exists(), "the .cancel file is gone")
    daemon.check_settled_as("early", "early.cancelled")


def test_a_rendering_request_is_cancelled_by_a_file(daemon: DaemonProcess) -> None:
    daemon.drop("midway.json", {"num_inference_steps": 150, "num_images": 16})
    daemon.wait_for_state("midway", "rendering")
    asked = daemon.cancel("midway")
    daemon.wait_for_state("midway", "cancelled")
    daemon.wait_for(lambda: not asked.exists(), "the .cancel file is gone")
    daemon.check_settled_as("midway", "midway.cancelled")
    assert not list((daemon.outbox / "midway.cancelled").glob("*.png"))


def test_the_next_one_in_line_is_cancelled_after_it_was_taken(daemon: DaemonProcess) -> None:
    daemon.drop("first.json", {"num_inference_steps": 150, "num_images": 16})
    daemon.wait_for_state("first", "rendering")
    path = daemon.drop("second.json")
    daemon.wait_for(lambda: not path.exists(), "the next one is taken ahead")
    daemon.cancel("second")
    daemon.wait_for_state("second", "cancelled")
    daemon.cancel("first.json")  # `.json.cancel` means the same
    daemon.wait_for_state("first", "cancelled")
    daemon.check_settled_as("second", "second.cancelled")


def test_a_cancel_file_that_arrives_before_its_request_cancels_it(daemon: DaemonProcess) -> None:
    daemon.freeze()
    asked = daemon.cancel("overtaken")
    daemon.drop("overtaken.json")
    daemon.thaw()
    daemon.wait_for_state("overtaken", "cancelled")
    daemon.wait_for(lambda: not asked.exists(), "the .cancel file is gone")


@pytest.mark.parametrize("name", ["finished", "never-asked"])
def test_a_cancel_file_without_a_live_request_is_removed_and_logged(daemon: DaemonProcess, name: str) -> None:
    if name == "finished":
        daemon.drop("finished.json")
        daemon.wait_for_state("finished", "done")
    asked = daemon.cancel(name)
    daemon.wait_for(lambda: not asked.exists(), "the .cancel file is gone")
    assert daemon.wait_for_event("cancel_without_request", file=f"{name}.cancel")
    assert daemon.answer(name).get("state") == ("done" if name == "finished" else None)


# Names that meet ------------------------------------------------------------------------------------------------------


def test_two_names_that_differ_by_case_only_have_answers_and_results_that_differ_by_more(daemon: DaemonProcess) -> None:
    daemon.drop("castle.json", {"prompt": "small"})
    daemon.wait_for_state("castle", "done")
    daemon.drop("CASTLE.json", {"prompt": "large"})
    large = daemon.wait_for(lambda: answer_to(daemon, "CASTLE.json", "done"), "CASTLE.json is done")
    assert large["name"].casefold() != "castle"
    assert daemon.answer("castle")["plan"]["prompt"] == "small"
    result_of(daemon, "castle")
    assert result_of(daemon, large["name"]).name == large["name"]
    names = [path.name.casefold() for path in daemon.outbox.iterdir()]
    assert len(names) == len(set(names))


def answer_to(daemon: DaemonProcess, dropped_as: str, state: str) -> Json:
    """The answer to a file, whatever its name was made to."""
    answers = (daemon.answer(path.name[: -len(".json")]) for path in daemon.outbox.glob("*.json"))
    return next((each for each in answers if each.get("dropped_as") == dropped_as and each["state"] == state), {})


def test_a_sub_folder_that_is_called_like_a_result_is_mirrored_beside_it(daemon: DaemonProcess) -> None:
    daemon.drop("tower.json")
    first = daemon.wait_for_state("tower", "done")
    (daemon.inbox / "tower").mkdir()
    daemon.drop("tower/top.json")
    daemon.wait_for_state("tower-2/top", "done")
    check_complete(daemon.outbox / "tower", first)
    check_complete(daemon.outbox / "tower-2" / "top", daemon.answer("tower-2/top"))


def test_a_result_that_is_called_like_a_mirrored_sub_folder_appears_beside_it(daemon: DaemonProcess) -> None:
    (daemon.inbox / "bridge").mkdir()
    daemon.drop("bridge/arch.json")
    daemon.wait_for_state("bridge/arch", "done")
    daemon.drop("bridge.json")
    assert daemon.wait_for_state("bridge", "done")["result"] == "bridge-2"
    assert result_of(daemon, "bridge").name == "bridge-2"
    result_of(daemon, "bridge/arch")


def test_an_empty_folder_in_the_way_of_a_result_stays_empty(daemon: DaemonProcess) -> None:
    (daemon.outbox / "moat").mkdir()
    daemon.drop("moat.json")
    assert daemon.wait_for_state("moat", "done")["result"] == "moat-2"
    result_of(daemon, "moat")
    assert not list((daemon.outbox / "moat").iterdir())


def test_a_file_of_somebody_else_at_the_place_of_an_answer_is_left_alone(daemon: DaemonProcess) -> None:
    foreign = daemon.outbox / "drawbridge.json"
    foreign.write_text('{"mine": true}')
    daemon.drop("drawbridge.json")
    delivered = daemon.outbox / "drawbridge" / "answer.json"
    daemon.wait_for(delivered.exists, "the result is delivered")
    daemon.wait_for_event("answer_withheld", name="drawbridge")
    assert foreign.read_text() == '{"mine": true}'


# Folders and order ----------------------------------------------------------------------------------------------------


def test_sub_folders_are_answered_three_deep_and_told_where_they_are_deeper(daemon: DaemonProcess) -> None:
    (daemon.inbox / "one/two/three/four").mkdir(parents=True)
    deep = daemon.drop("one/two/three/four/deep.json")
    for folder in ("one", "one/two", "one/two/three"):
        daemon.drop(f"{folder}/leaf.json")
    for folder in ("one", "one/two", "one/two/three"):
        assert daemon.wait_for_state(f"{folder}/leaf", "done")["name"] == f"{folder}/leaf"
        result_of(daemon, f"{folder}/leaf")
    daemon.wait_until_told("one/two/three/four", "3 deep")
    assert deep.exists()


def test_a_folder_that_is_copied_in_is_answered_whole(daemon: DaemonProcess, tmp_path: Path) -> None:
    tree = tmp_path / "album"
    (tree / "sea").mkdir(parents=True)
    for name in ("1.json", "2.json", "sea/3.json"):
        (tree / name).write_bytes(request(prompt=name))
    shutil.copytree(tree, daemon.inbox / "album")
    for name in ("album/1", "album/2", "album/sea/3"):
        daemon.wait_for_state(name, "done")
        result_of(daemon, name)


def test_priority_goes_first_then_folders_take_fair_turns(daemon: DaemonProcess) -> None:
    for folder in ("ann", "ben"):
        (daemon.inbox / folder).mkdir()
    asked = {"last": -5, "ann/1": 0, "ann/2": 0, "ann/3": 0, "ben/1": 0, "ben/2": 0, "root": 0, "urgent": 5}
    with daemon.paused():
        for name, priority in asked.items():
            daemon.drop(f"{name}.json", {"priority": priority})
            daemon.wait_for_state(name, "queued")
    started = {name: daemon.wait_for_state(name, "done")["started_at"] for name in asked}
    order = sorted(started, key=lambda name: started[name])
    assert order == ["urgent", "ann/1", "ben/1", "root", "ann/2", "ben/2", "ann/3", "last"]


def test_pause_and_resume_hold_the_queue_and_say_so(daemon: DaemonProcess) -> None:
    assert daemon.command("pause").returncode == 0
    try:
        daemon.wait_for_health(lambda health: health["state"] == "paused", "it is paused")
        daemon.drop("patient.json")
        daemon.wait_for(lambda: "paused" in daemon.answer("patient").get("waiting_for", ""), "it says why it waits")
        assert daemon.answer("patient")["state"] == "queued"
    finally:
        assert daemon.command("resume").returncode == 0
    assert "waiting_for" not in daemon.wait_for_state("patient", "done")


# Left alone -----------------------------------------------------------------------------------------------------------

LEFT_ALONE = {
    "cat.sync-conflict-20260101-120000-ABCDEFG.json": "sync conflict",
    "cat.json.part": "unfinished",
    "cat.json~": "backup",
    "~cat.json": "backup",
    "cat.json.filepart": "unfinished",
    "cat.json.crdownload": "unfinished",
    "Thumbs.db": "operating system",
    "notes.txt": "does not end in .json",
    "picture.png": "does not end in .json",
}


def test_what_is_not_taken_is_told_and_never_touched(daemon: DaemonProcess) -> None:
    for name in (*LEFT_ALONE, ".hidden.json", "._cat.json"):
        (daemon.inbox / name).write_bytes(request())
    for name, words in LEFT_ALONE.items():
        daemon.wait_until_told(name, words)
    daemon.look_again()
    for name in (*LEFT_ALONE, ".hidden.json", "._cat.json"):
        assert (daemon.inbox / name).read_bytes() == request()
        (daemon.inbox / name).unlink()
    daemon.wait_for_health(
        lambda health: not LEFT_ALONE.keys() & set(daemon.why_not_taken()), "nothing is told of them"
    )


def test_a_hard_link_is_taken_and_the_other_name_keeps_its_bytes(daemon: DaemonProcess, tmp_path: Path) -> None:
    original = tmp_path / "original.json"
    original.write_bytes(request(prompt="linked"))
    os.link(original, daemon.inbox / "linked.json")
    daemon.wait_for_state("linked", "done")
    result_of(daemon, "linked")
    assert original.read_bytes() == request(prompt="linked")
