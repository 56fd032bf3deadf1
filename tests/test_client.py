import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroom.client.answers import Ticket, is_answered, pictures
from darkroom.client.heartbeat import Pulse, is_gone
from darkroom.client.naming import unique_name
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError, FolderUnusable


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    return Client(tmp_path / "inbox", tmp_path / "outbox", tmp_path / "state", Disk())


def answer(client: Client, name: str, **fields: object) -> None:
    path = client.outbox / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"darkroom": 1, "name": name, "dropped_as": f"{name}.json"} | fields))


def settle(client: Client, name: str, state: str, result: str, request: bytes) -> None:
    folder = (client.outbox / name).parent / result
    folder.mkdir(parents=True)
    (folder / "request.json").write_bytes(request)
    answer(client, name, id="1", state=state, result=result)


def test_a_request_appears_whole_under_its_name_and_nothing_else_does(client: Client) -> None:
    ticket = client.submit({"prompt": "a cat", "seed": 7}, name="cat")
    assert [entry.name for entry in client.inbox.iterdir()] == ["cat.json"]
    assert json.loads(ticket.dropped.read_bytes()) == {"prompt": "a cat", "seed": 7}
    assert ticket.answer == client.outbox / "cat.json"


def test_a_name_may_begin_with_a_sub_folder_which_is_made(client: Client) -> None:
    ticket = client.submit({"prompt": "a cat"}, name="alice/cat")
    assert (ticket.name, ticket.dropped) == ("alice/cat", client.inbox / "alice" / "cat.json")


def test_a_name_that_some_client_could_not_read_is_made_safe_and_stays_in_the_inbox(client: Client) -> None:
    ticket = client.submit({"prompt": "x"}, name="a:b")
    assert ticket.dropped.resolve().is_relative_to(client.inbox)
    assert ":" not in ticket.name
    assert ticket.answer == client.outbox / f"{ticket.name}.json"


@pytest.mark.parametrize("name", ["../x", "alice/../../x", "/etc/x", "alice//x", "x/", "", ".", "a/b/c/d/e"])
def test_a_name_that_would_become_another_place_is_refused(client: Client, name: str) -> None:
    with pytest.raises(DarkroomError):
        client.submit({"prompt": "x"}, name=name)
    assert list(client.inbox.iterdir()) == []


def test_a_request_is_found_by_what_it_was_dropped_as(client: Client) -> None:
    answer(client, "alice/Cat", id="1", state="done")
    answer(client, "alice/cat~12345678", id="2", state="done", dropped_as="alice/cat.JSON")
    answer(client, "alice/cat~87654321", id="3", state="done", dropped_as="alice/cAT.json")
    found = client.answer("alice/cat")
    assert found is not None
    assert found["id"] == "2"
    assert client.answer("alice/CAT") is None


def test_an_unfinished_file_is_neither_cancelled_nor_asked_again(client: Client) -> None:
    (client.inbox / "half.json").write_text('{"prompt": ')
    answer(client, "half", id="1", state="refused", in_inbox=True)
    for act in (client.cancel, client.retry):
        with pytest.raises(DarkroomError, match="still lies in the inbox, unfinished"):
            act("half")
    assert [entry.name for entry in client.inbox.iterdir()] == ["half.json"]


def test_what_lies_in_the_inbox_is_known_before_it_is_answered(client: Client) -> None:
    client.submit({"prompt": "x"}, name="cat")
    assert "cat.json lies in the inbox" in str(client.unknown("cat"))


def test_a_name_is_made_of_the_first_words_and_is_unique() -> None:
    names = {unique_name("A castle, on a hill! at night") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("a-castle-on-a-hill-") for name in names)
    assert unique_name("schöner Bär").startswith("schöner-bär-")
    assert unique_name("日本").startswith("日本-")
    assert unique_name("…!").startswith("request-")


def test_a_waiting_request_is_not_overwritten(client: Client) -> None:
    client.submit({"prompt": "one"}, name="cat")
    with pytest.raises(DarkroomError, match="still waiting"):
        client.submit({"prompt": "two"}, name="cat")
    assert json.loads((client.inbox / "cat.json").read_bytes())["prompt"] == "one"
    assert len(list(client.inbox.iterdir())) == 1


def test_without_an_inbox_nothing_is_made(client: Client) -> None:
    client.inbox.rmdir()
    for act in (
        lambda: client.submit({"prompt": "x"}),
        client.pause,
        client.resume,
        lambda: client.adopt(client.inbox),
    ):
        with pytest.raises(FolderUnusable):
            act()
    assert not client.inbox.exists()


def test_the_answer_to_an_older_request_of_the_same_name_is_not_ours(client: Client) -> None:
    answer(client, "cat", id="OLD", state="done")
    ticket = client.submit({"prompt": "x"}, name="cat")
    assert not is_answered(ticket, client.answer("cat"))
    answer(client, "cat", id="NEW", state="queued")
    assert is_answered(ticket, client.answer("cat"))


def test_an_answer_that_is_being_replaced_or_is_none_reads_as_not_there(client: Client) -> None:
    assert client.answer("cat") is None
    (client.outbox / "cat.json").write_text('{"id": ')
    assert client.answer("cat") is None
    (client.outbox / "cat.json").write_text("[]")
    assert client.answer("cat") is None


def test_cancelling_drops_an_empty_file_beside_the_request_as_it_was_dropped(client: Client) -> None:
    answer(client, "alice/a_b~12345678", id="1", state="queued")
    path = client.outbox / "alice" / "a_b~12345678.json"
    path.write_text(path.read_text().replace('"alice/a_b~12345678.json"', '"alice/a:b.json"'))
    assert client.cancel("alice/a_b~12345678") == client.inbox / "alice" / "a:b.cancel"
    assert (client.inbox / "alice" / "a:b.cancel").read_bytes() == b""


@pytest.mark.parametrize("said", ["{}/elsewhere.json", "../elsewhere.json", "a/../../elsewhere.json"])
def test_an_answer_that_somebody_has_changed_leads_nowhere_else(client: Client, tmp_path: Path, said: str) -> None:
    answer(client, "cat", id="1", state="queued")
    path = client.outbox / "cat.json"
    path.write_text(path.read_text().replace("cat.json", said.format(tmp_path)))
    with pytest.raises(DarkroomError, match="is not a name for a request"):
        client.cancel("cat")
    assert not list(tmp_path.rglob("elsewhere*"))


def test_only_what_lives_can_be_cancelled(client: Client) -> None:
    answer(client, "done", id="1", state="done")
    with pytest.raises(DarkroomError, match="done already"):
        client.cancel("done")
    with pytest.raises(DarkroomError, match="Did you mean done"):
        client.cancel("dnoe")
    client.submit({"prompt": "not seen by any daemon yet"}, name="new")
    assert client.cancel("new").exists()


def test_a_retry_drops_the_kept_bytes_under_the_next_free_name(client: Client) -> None:
    settle(client, "alice/cat", "failed", "cat.failed", b'{"prompt":  "a cat"}')
    assert client.retry("alice/cat").name == "alice/cat.retry-1"
    assert (client.inbox / "alice" / "cat.retry-1.json").read_bytes() == b'{"prompt":  "a cat"}'
    assert client.retry("alice/cat").name == "alice/cat.retry-2"


def test_the_retry_of_a_retry_asks_for_the_same_request_again(client: Client) -> None:
    settle(client, "cat.retry-1", "failed", "cat.retry-1.failed", b"{}")
    assert client.retry("cat.retry-1").name == "cat.retry-2"


def test_what_is_not_settled_or_was_carried_away_cannot_be_retried(client: Client) -> None:
    answer(client, "busy", id="1", state="rendering")
    with pytest.raises(DarkroomError, match="is rendering"):
        client.retry("busy")
    answer(client, "gone", id="1", state="failed", result="gone.failed")
    with pytest.raises(DarkroomError, match="cannot be read"):
        client.retry("gone")


def test_a_result_never_leads_out_of_the_outbox(client: Client, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    answer(client, "evil", id="1", state="failed", result="..")
    with pytest.raises(DarkroomError):
        client.retry("evil")
    found = pictures({"result": "../../etc", "images": [{"file": "/etc/passwd"}]}, client.outbox / "evil.json")
    assert found == [client.outbox / "etc" / "passwd"]


def test_pause_and_resume_make_and_remove_one_file(client: Client) -> None:
    client.pause()
    assert (client.inbox / ".darkroom" / "pause").exists()
    assert client.resume() is True
    assert not (client.inbox / ".darkroom" / "pause").exists()
    assert client.resume() is False


def test_adopting_leaves_a_word_in_the_folder_and_in_no_other(client: Client, tmp_path: Path) -> None:
    client.adopt(client.outbox)
    assert (client.outbox / ".darkroom" / "adopt").exists()
    with pytest.raises(FolderUnusable, match="neither"):
        client.adopt(tmp_path)


@pytest.mark.parametrize("planted", [".darkroom", "alice"])
@pytest.mark.parametrize("leads_somewhere", [True, False])
def test_nothing_is_written_or_removed_through_a_link_in_the_inbox(
    client: Client, tmp_path: Path, planted: str, leads_somewhere: bool
) -> None:
    """A command may be root's, and others may write to the inbox."""
    elsewhere = tmp_path / "elsewhere"
    if leads_somewhere:
        elsewhere.mkdir()
        (elsewhere / "pause").write_text("not ours")
    (client.inbox / planted).symlink_to(elsewhere)
    acts: dict[str, list[Callable[[], object]]] = {
        ".darkroom": [client.pause, lambda: client.adopt(client.inbox)],
        "alice": [lambda: client.submit({"prompt": "x"}, name="alice/cat"), lambda: client.cancel("alice/cat")],
    }
    answer(client, "alice/cat", id="1", state="queued")
    for act in acts[planted]:
        with pytest.raises(FolderUnusable, match=f"{planted} is a link.*Nothing is written through links"):
            act()
    assert client.resume() is False
    assert [path.name for path in tmp_path.rglob("*") if "elsewhere" in str(path.parent)] == ["pause"] * leads_somewhere


def test_what_a_retry_drops_is_not_read_through_a_link(client: Client, tmp_path: Path) -> None:
    settle(client, "secret", "failed", "secret.failed", b"{}")
    answer(client, "cat", id="1", state="failed", result="cat.failed")
    (client.outbox / "cat.failed").symlink_to(client.outbox / "secret.failed")
    with pytest.raises(DarkroomError, match="cannot be read"):
        client.retry("cat")


def test_a_whole_file_name_means_the_request(client: Client) -> None:
    assert client.submit({"prompt": "x"}, name="bear.json").name == "bear"
    answer(client, "bear", id="1", state="queued")
    assert client.answer("bear.JSON") == client.answer("bear")
    assert client.cancel("bear.json") == client.inbox / "bear.cancel"


def test_wishes_go_to_a_folder_of_their_own_once_the_daemon_has_made_it(client: Client) -> None:
    (client.inbox / ".darkroom" / "wishes").mkdir(parents=True)
    client.pause()
    client.adopt(client.inbox)
    assert sorted(path.name for path in (client.inbox / ".darkroom" / "wishes").iterdir()) == ["adopt", "pause"]
    assert (client.resume(), client.resume()) == (True, False)


def test_a_folder_that_the_daemon_uses_needs_no_adoption(client: Client) -> None:
    client.state_dir.mkdir()
    folders = {"inbox": {"state": "present", "path": str(client.inbox)}, "outbox": {"state": "away"}}
    (client.state_dir / "health.json").write_text(json.dumps({"state": "running", "folders": folders}))
    assert client.adopt(client.inbox) is False
    assert client.adopt(client.outbox / "." / ".." / "outbox") is True
    assert [path.name for path in client.inbox.iterdir()] == []


def test_of_two_heartbeats_the_state_folders_counts(client: Client) -> None:
    """Anybody may write to the outbox."""
    client.state_dir.mkdir()
    (client.outbox / ".darkroom").mkdir()

    def beats(folder: Path, **fields: object) -> None:
        (folder / "health.json").write_text(json.dumps({"state": "running", "instance": "ours"} | fields))

    beats(client.outbox / ".darkroom", written_at="2999", host="forged", instance="theirs")
    assert (client.health() or {}).get("host") == "forged"
    beats(client.state_dir, written_at="2026", host="true")
    assert (client.health() or {}).get("host") == "true"
    beats(client.state_dir, host="moved away", state="stopped")
    assert (client.health() or {}).get("host") == "forged"
    beats(client.outbox / ".darkroom", host="forged")
    assert (client.health() or {}).get("host") == "moved away"


def test_a_heartbeat_that_moves_is_alive_whatever_its_clock_says() -> None:
    pulse = Pulse(heartbeat_s=5, now_s=0)
    assert pulse.look({"instance": "a", "counter": 1, "written_at": "1970-01-01T00:00:00Z"}, 0)
    assert pulse.look({"instance": "a", "counter": 1}, 14)
    assert not pulse.look({"instance": "a", "counter": 1}, 15)
    assert pulse.look({"instance": "a", "counter": 2}, 16)
    assert pulse.look({"instance": "b", "counter": 2}, 40)


def test_no_heartbeat_at_all_is_silence_too() -> None:
    pulse = Pulse(heartbeat_s=5, now_s=100)
    assert pulse.look(None, 114)
    assert not pulse.look(None, 115)


def test_a_daemon_that_said_goodbye_or_whose_process_ended_here_is_gone() -> None:
    here = os.uname().nodename
    assert is_gone({"state": "stopped"})
    assert not is_gone({"state": "running", "host": here, "pid": os.getpid()})
    assert is_gone({"state": "running", "host": here, "pid": 2**22 + 1})
    assert not is_gone({"state": "running", "host": "elsewhere", "pid": 2**22 + 1})


def test_pictures_lie_in_the_result_folder_beside_the_answer() -> None:
    ticket = Ticket("alice/cat", Path("/in/alice/cat.json"), Path("/out/alice/cat.json"), None)
    found = pictures({"result": "cat-2", "images": [{"file": "cat-1.png"}]}, ticket.answer)
    assert found == [Path("/out/alice/cat-2/cat-1.png")]


def test_folders_that_a_person_makes_are_as_open_to_the_group_as_the_inbox(client: Client, usual_umask: None) -> None:
    client.inbox.chmod(0o2775)
    client.outbox.chmod(0o2770)
    client.pause()
    client.adopt(client.outbox)
    client.submit({"prompt": "a castle"}, name="alice/trip/cat")
    modes = {place: f"{place.stat().st_mode & 0o7777:o}" for place in client.inbox.rglob("*") if place.is_dir()}
    assert set(modes.values()) == {"2775"}
    assert len(modes) == 3
    assert client.outbox.joinpath(".darkroom").stat().st_mode & 0o070 == 0o070
