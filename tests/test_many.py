"""Many requests at once: from a file, below a folder."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.cli import main
from darkroom.client import many
from darkroom.client.requests import Client
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError
from darkroom.request import pattern
from darkroom.request.rows import rows_of
from darkroom.testing.process import DaemonProcess

pytestmark = pytest.mark.usefixtures("home")

PROMPTS = "# a list\na red fox\n\n  an old castle  \n# no\na cat\n"


@pytest.fixture
def client(home: Path) -> Client:
    return Client(home / "inbox", home / "outbox", home / "state", Disk())


def requests(text: str, ending: str) -> list[tuple[int, Any]]:
    return [(row.line, dict(row.request)) for row in rows_of(text.encode(), ending) if row.problem is None]


def dropped(home: Path, folder: str = "prompts") -> list[str]:
    return sorted(path.name for path in (home / "inbox" / folder).glob("*.json"))


def settle(home: Path, name: str, state: str, raw: bytes = b"{}", **fields: Any) -> dict[str, Any]:
    """An answer as the daemon leaves it."""
    answer = {
        "darkroom": 1,
        "id": name.upper(),
        "name": name,
        "dropped_as": f"{name}.json",
        "request_sha256": hashlib.sha256(raw).hexdigest(),
        "state": state,
        **fields,
    }
    path = home / "outbox" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer))
    return answer


def take(home: Path, name: str, state: str, **fields: Any) -> None:
    """What waits under this name is answered, and leaves the inbox."""
    file = home / "inbox" / f"{name}.json"
    settle(home, name, state, file.read_bytes(), **fields)
    file.unlink()


# Rows ----------------------------------------------------------------------------------------------------------------


def test_a_text_has_a_prompt_a_line() -> None:
    expected = [(2, {"prompt": "a red fox"}), (4, {"prompt": "an old castle"}), (6, {"prompt": "a cat"})]
    assert requests(PROMPTS, ".txt") == expected
    assert requests("\ufeff" + PROMPTS.replace("\n", "\r\n"), ".TXT") == expected


def test_a_table_has_the_keys_of_a_request_and_values_of_their_types() -> None:
    text = (
        "prompt,seed,guidance_scale,default_negative,style,width,metadata,model\n"
        'a cat,7,7.5,FALSE,ink,512.0,"{""a"": [1]}",15\n'
        '"a hill, two\nlines",,,,"[""ink"", ""neon""]",wide,,\n'
        ",,,,,,,\n"
        "a dog,8\n"
    )
    assert requests(text, ".csv") == [
        (
            2,
            {
                "prompt": "a cat",
                "seed": 7,
                "guidance_scale": 7.5,
                "default_negative": False,
                "style": "ink",
                "width": 512,
                "metadata": {"a": [1]},
                "model": "15",
            },
        ),
        (3, {"prompt": "a hill, two\nlines", "style": ["ink", "neon"], "width": "wide"}),
        (6, {"prompt": "a dog", "seed": 8}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_any_spreadsheet_is_read(delimiter: str) -> None:
    text = delimiter.join(["prompt", "seed"]) + "\n" + delimiter.join(["a cat", "7"]) + "\n"
    assert requests(text, ".csv") == [(2, {"prompt": "a cat", "seed": 7})]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompt,sed\na,1\n", r"Line 1: no request has a key 'sed'. Did you mean seed"),
        ("prompt,prompt\na,b\n", "two columns are called prompt"),
        ('prompt\n"a cat\n', "Line 2: this is not a table.* quote not closed"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_whole(text: str, says: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        rows_of(text.encode(), ".csv")
    assert re.search(says, str(caught.value))


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_in_a_cell_end_as_they_do_in_a_request(end: str) -> None:
    text = f'prompt,seed{end}"a cat,{end}on a hill",7{end}'
    assert requests(text, ".csv") == [(2, {"prompt": "a cat,\non a hill", "seed": 7})]


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_only_what_editors_break_lines_at_ends_a_row(odd: str) -> None:
    text = f"prompt,seed\na cat{odd}on a hill,7\r\na dog,8\r"
    assert requests(text, ".csv") == [
        (2, {"prompt": f"a cat{odd}on a hill", "seed": 7}),
        (3, {"prompt": "a dog", "seed": 8}),
    ]
    assert requests(f"a cat{odd}on a hill\n", ".txt") == [(1, {"prompt": f"a cat{odd}on a hill"})]


def test_a_seed_whose_digits_a_spreadsheet_has_rounded_away_is_wrong_and_not_another_one() -> None:
    (row,) = requests("prompt,seed\na cat,1.23457E+18\n", ".csv")
    assert row == (2, {"prompt": "a cat", "seed": "1.23457E+18"})


def test_a_row_with_more_cells_than_columns_is_wrong_by_itself() -> None:
    good, bad = rows_of(b"prompt,seed,\na,1,\na cat, on a hill,7,8\n", ".csv")
    assert good.problem is None
    assert bad.line == 3
    assert "more cells" in str(bad.problem)


def test_json_lines_are_read_as_strictly_as_requests() -> None:
    rows = rows_of(b'{"prompt": "a"}\n\n{"prompt": "b", "prompt": "c"}\n[1]\n{"prompt"\n', ".jsonl")
    assert [(row.line, row.problem is None) for row in rows] == [(1, True), (3, False), (4, False), (5, False)]


def test_what_is_no_text_or_of_another_kind_is_refused() -> None:
    with pytest.raises(DarkroomError, match="Line 2 is not UTF-8"):
        rows_of(b"a\n\xff\n", ".txt")
    with pytest.raises(DarkroomError, match=r"\.xlsx is not known"):
        rows_of(b"", ".xlsx")


@given(st.binary(max_size=60), st.sampled_from([".txt", ".csv", ".jsonl"]))
def test_any_file_is_read_or_told(raw: bytes, ending: str) -> None:
    try:
        rows = rows_of(raw, ending)
    except DarkroomError:
        return
    assert all(row.line >= 1 for row in rows)


def test_every_file_that_the_page_shows_is_right(home: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "many.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(txt|csv|jsonl)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert [ending for ending, _ in blocks] == ["txt", "csv", "jsonl"]
    for ending, text in blocks:
        (home / f"{ending}.{ending}").write_text(text)
        assert main(["submit", "--from", f"{ending}.{ending}"]) == 0
        assert len(dropped(home, ending)) == 2


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (pattern.DEFAULT, "0003-a-red-fox-on-a"),
        ("{style}/{seed}", "ink+neon/7"),
        ("{prompt}", "A red fox, on a_b hill"),
        ("fox{n}-{default_negative}", "fox0003-false"),
        ("{{{n}}}", "{0003}"),
    ],
)
def test_a_pattern_names_a_request(wanted: str, name: str) -> None:
    request = {"prompt": "A red fox, on a/b hill", "style": ["ink", "neon"], "seed": 7, "default_negative": False}
    pattern.check(wanted)
    assert pattern.fill(wanted, request, number=3) == name


@pytest.mark.parametrize("wanted", ["{nn}", "{metadata}", "{n", "}", "{}", "{n:>5}", "{n!r}", "{prompt.__class__}"])
def test_a_pattern_that_cannot_be_filled_is_refused(wanted: str) -> None:
    with pytest.raises(DarkroomError):
        pattern.check(wanted)


# submit --from -------------------------------------------------------------------------------------------------------


def test_a_file_of_prompts_becomes_requests_under_its_own_name(home: Path) -> None:
    (home / "prompts.txt").write_text(PROMPTS)
    assert main(["submit", "--from", "prompts.txt", "--style", "ink", "--seed", "5"]) == 0
    assert dropped(home) == ["0001-a-red-fox.json", "0002-an-old-castle.json", "0003-a-cat.json"]
    read = json.loads((home / "inbox" / "prompts" / "0003-a-cat.json").read_bytes())
    assert read == {"prompt": "a cat", "style": "ink", "seed": 5}


def test_a_file_whose_name_no_folder_may_have_tells_where_its_requests_are(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "fair: spring.txt").write_text("a red fox\n")
    assert main(["submit", "--from", "fair: spring.txt"]) == 0
    (folder,) = [each for each in (home / "inbox").iterdir() if each.is_dir() and not each.name.startswith(".")]
    assert capsys.readouterr().out.strip() == str(home / "outbox" / folder.name)
    assert (folder / "0001-a-red-fox.json").exists()
    for name in ("fair: spring/", f"{folder.name}/"):
        assert main(["status", name]) == 0
        assert "1 dropped" in capsys.readouterr().out


def test_what_a_row_says_wins_over_the_options(home: Path) -> None:
    (home / "t.csv").write_text("prompt,seed,style\na cat,,neon\na dog,9,\n")
    words = ["--name", "{seed}", "--folder", "fairs/spring", "--seed", "5", "--style", "ink"]
    assert main(["submit", "--from", "t.csv", *words]) == 0
    found = [json.loads((home / "inbox/fairs/spring" / f"{seed}.json").read_bytes()) for seed in (5, 9)]
    assert found == [{"style": "neon", "seed": 5, "prompt": "a cat"}, {"style": "ink", "seed": 9, "prompt": "a dog"}]


def test_where_one_is_wrong_nothing_is_dropped_unless_it_is_skipped(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "r.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "width": "wide"}\n{"prompt": }\n{"prompt": "d"}\n')
    assert main(["submit", "--from", "r.jsonl"]) == 1
    said = capsys.readouterr().err
    assert "r.jsonl, line 2: /width" in said
    assert "r.jsonl, line 3: " in said
    assert "nothing was dropped" in said
    assert list((home / "inbox").iterdir()) == []
    assert main(["submit", "--from", "r.jsonl", "--skip-wrong"]) == 1
    assert dropped(home, "r") == ["0001-a.json", "0004-d.json"]


def test_two_rows_of_one_name_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text("a cat\na dog\n")
    assert main(["submit", "--from", "prompts.txt", "--name", "same"]) == 1
    assert "line 2: It would be called prompts/same, like line 1" in capsys.readouterr().err


def test_the_same_call_again_drops_only_what_is_missing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text("a cat\na dog\na fox\n")
    call = ["submit", "--from", "prompts.txt"]
    assert main(call) == 0
    take(home, "prompts/0001-a-cat", "done")
    (home / "inbox/prompts/0003-a-fox.json").unlink()
    (home / "prompts.txt").write_text("a cat\na dog\na fox\na hen\n")
    assert main(call) == 0
    assert "2 dropped, 2 there already, 0 wrong" in capsys.readouterr().err
    assert dropped(home) == ["0002-a-dog.json", "0003-a-fox.json", "0004-a-hen.json"]


def test_another_request_of_that_name_is_told_and_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text("a cat\na dog\na fox\n")
    (home / "inbox/prompts").mkdir()
    (home / "inbox/prompts/0001-a-cat.json").write_text("{}")
    settle(home, "prompts/0002-a-dog", "done", b"other")
    assert main(["submit", "--from", "prompts.txt", "--skip-wrong"]) == 1
    said = capsys.readouterr().err
    assert "line 1: Another request called prompts/0001-a-cat waits in the inbox" in said
    assert "line 2: prompts/0002-a-dog was another request" in said
    assert (home / "inbox/prompts/0001-a-cat.json").read_text() == "{}"
    assert dropped(home) == ["0001-a-cat.json", "0003-a-fox.json"]


@pytest.mark.parametrize("folder", ["../x", "/etc", "a//b", "", ".", "a/b/c/d", ".hidden", "x.part"])
def test_a_folder_that_requests_cannot_lie_in_is_refused(home: Path, folder: str) -> None:
    (home / "prompts.txt").write_text("a cat\n")
    assert main(["submit", "--from", "prompts.txt", "--folder", folder]) == 1
    assert list((home / "inbox").iterdir()) == []


def test_names_that_lead_out_are_wrong_rows(home: Path) -> None:
    (home / "t.csv").write_text("prompt,style\na cat,..\n")
    assert main(["submit", "--from", "t.csv", "--name", "{style}/x"]) == 1
    assert list((home / "inbox").iterdir()) == []


def test_nothing_is_dropped_through_a_link(home: Path) -> None:
    (home / "elsewhere").mkdir()
    (home / "inbox" / "prompts").symlink_to(home / "elsewhere")
    (home / "prompts.txt").write_text("a cat\n")
    assert main(["submit", "--from", "prompts.txt"]) == 3
    assert list((home / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("words", [["x", "--from", "y.txt"], ["x", "--folder", "y"], ["x", "--skip-wrong"], ["--wait"]])
def test_words_that_do_not_go_together_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["submit", *words])
    assert caught.value.code == 2


def test_a_file_is_rendered_through_the_daemon_and_a_failure_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "prompts.txt").write_text("a cat\na dog\na fox\n")
    with DaemonProcess(tmp_path / "home") as daemon:
        done = daemon.command("submit", "--from", "prompts.txt", "--model", "card", "--wait")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"3 done, in {daemon.outbox}/prompts"
        (daemon.home / "prompts.txt").write_text("a cat\na dog\na fox\na hen\n")
        again = daemon.command("submit", "--from", "prompts.txt", "--model", "card", "--wait")
        assert "1 dropped, 3 there already" in again.stderr
        assert again.stdout.splitlines()[-1] == f"4 done, in {daemon.outbox}/prompts"


# What lies below a folder --------------------------------------------------------------------------------------------


def test_answers_count_only_where_they_say_that_they_lie(home: Path, client: Client) -> None:
    settle(home, "a/cat", "done", result="cat")
    settle(home, "a/b/dog", "queued")
    settle(home, "other", "done")
    (home / "outbox/a/moved.json").write_text((home / "outbox/other.json").read_text())
    (home / "outbox/a/cat").mkdir()
    (home / "outbox/a/cat/answer.json").write_text((home / "outbox/a/cat.json").read_text())
    (home / "outbox/a/noise.json").write_text("[")
    (home / "outbox/a/link.json").symlink_to(home / "outbox/other.json")
    (home / "outbox/a/linked").symlink_to(home / "outbox")
    assert sorted(each["name"] for each in many.answers_below(client, "a")) == ["a/b/dog", "a/cat"]
    assert sorted(each["name"] for each in many.answers_below(client, "")) == ["a/b/dog", "a/cat", "other"]
    assert list(many.answers_below(client, "none")) == []


def test_what_is_in_the_inbox_and_not_answered_counts_as_dropped(home: Path, client: Client) -> None:
    (home / "inbox/a").mkdir()
    for name in ("cat.json", "dog.json", "note.txt", ".hidden.json"):
        (home / "inbox/a" / name).write_text("{}")
    settle(home, "a/cat", "queued")
    found = many.many_of(client, "a")
    assert found.counts() == {"dropped": 1, "queued": 1}
    assert found.live == ["a/cat", "a/dog"]


def test_status_of_a_folder_counts_each_state(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settle(home, "a/cat", "done", timing={"render_s": 10.0})
    settle(home, "a/dog", "done", timing={"render_s": 20.0})
    settle(home, "a/fox", "rendering", eta_s=5.0)
    settle(home, "a/hen", "queued")
    for name in ("a", "a/"):
        assert main(["status", name]) == 0
        assert capsys.readouterr().out == (
            "a/: 1 queued, 1 rendering, 2 done; about 20 s left, if nobody else is served\n"
        )
    settle(home, "a/hen", "failed")
    assert main(["status", "a", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "folder": "a",
        "states": {"rendering": 1, "done": 2, "failed": 1},
        "eta_s": 5.0,
    }
    settle(home, "a/fox", "cancelled")
    assert main(["status", "a", "--watch"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"2 done, 1 failed, 1 cancelled, in {home}/outbox/a"


def test_a_request_goes_before_a_folder_of_its_name_and_a_slash_means_the_folder(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(home, "a", "done")
    settle(home, "a/cat", "queued")
    assert main(["status", "a"]) == 0
    assert capsys.readouterr().out.startswith("a  done")
    assert main(["status", "a/"]) == 0
    assert capsys.readouterr().out == "a/: 1 queued\n"


@pytest.mark.parametrize("name", ["../outbox/", "/", "a//b/", "./", "none/", "none", "x\0/", ".darkroom/"])
@pytest.mark.parametrize("command", [["status"], ["cancel"], ["retry", "--failed"]])
def test_folders_that_mislead_or_are_not_there_are_told(home: Path, command: list[str], name: str) -> None:
    assert main([*command, name]) == 1
    assert list((home / "inbox").iterdir()) == []


def test_a_name_that_no_disk_takes_is_told_as_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "a" * 300]) == 1
    assert "Nothing is known of a request aaa" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["find", "retry --failed", "clean --older-than 1d", "submit --from prompts.txt"])
def test_without_an_outbox_nobody_can_tell(home: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text(PROMPTS)
    (home / "outbox").rmdir()
    assert main(command.split()) == 3
    assert "There is no outbox at" in capsys.readouterr().err
    assert list((home / "inbox").iterdir()) == []


def test_cancelling_a_folder_asks_to_cancel_all_that_is_live_below_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(home, "a/cat", "done")
    settle(home, "a/b/dog", "queued")
    settle(home, "a/fox", "rendering")
    settle(home, "other", "queued")
    (home / "inbox/a").mkdir()
    (home / "inbox/a/new.json").write_text("{}")
    assert main(["cancel", "a/"]) == 0
    wishes = sorted(str(path.relative_to(home / "inbox")) for path in (home / "inbox").rglob("*.cancel"))
    assert wishes == ["a/b/dog.cancel", "a/fox.cancel", "a/new.cancel"]
    settle(home, "b/cat", "done")
    assert main(["cancel", "b/"]) == 0
    assert "all below b/ is settled already" in capsys.readouterr().err
    for number in range(25):
        (home / f"inbox/a/{number}.json").write_text("{}")
    assert main(["cancel", "a/"]) == 0
    *told, rest = capsys.readouterr().out.splitlines()
    assert (len(told), rest) == (20, "8 more will be cancelled")


def test_all_that_waits_below_a_folder_gets_another_priority(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settle(home, "a/cat", "done")
    settle(home, "a/b/dog", "queued")
    settle(home, "a/fox", "rendering")
    (home / "inbox/a").mkdir()
    (home / "inbox/a/new.json").write_text("{}")
    for level in (5, -10):  # the second wish takes the place of the first
        assert main(["priority", "a/", str(level)]) == 0
    wishes = sorted(str(path.relative_to(home / "inbox")) for path in (home / "inbox").rglob("*.priority"))
    assert wishes == ["a/b/dog.-10.priority", "a/new.-10.priority"]
    settle(home, "b/cat", "done")
    assert main(["priority", "b/", "1"]) == 0
    assert "nothing below b/ waits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["fox", "1"], 1, "fox is rendering already."),
        (["cat", "1"], 1, "cat is done already."),
        (["dgo", "1"], 1, "Did you mean dog"),
        (["../dog", "1"], 1, "is not a name for a request"),
        (["forged", "1"], 1, "is not a name for a request"),
        (["dog", "11"], 2, "a whole number from -10 to 10, not 11"),
        (["dog", "high"], 2, "invalid int value"),
    ],
)
def test_a_priority_that_cannot_be_is_told_and_drops_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    settle(home, "cat", "done")
    settle(home, "dog", "queued")
    settle(home, "fox", "rendering")
    settle(home, "forged", "queued", dropped_as="../../x.json")
    try:
        ended = main(["priority", *words])
    except SystemExit as usage:
        ended = int(usage.code or 0)
    assert ended == status
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(home.rglob("*.priority"))


def test_an_answer_that_names_another_place_cancels_nothing_there(home: Path) -> None:
    settle(home, "a/cat", "queued", dropped_as="../../x.json")
    assert main(["cancel", "a/"]) == 1
    assert not list(home.rglob("*.cancel"))


def kept(home: Path, name: str, **fields: Any) -> None:
    settle(home, name, "failed", result=f"{name.rpartition('/')[2]}.failed", **fields)
    folder = home / "outbox" / f"{name}.failed"
    folder.mkdir()
    (folder / "request.json").write_text('{"prompt": "x"}')


def test_what_failed_is_asked_for_again_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(home, "a/cat")
    kept(home, "dog")
    kept(home, "hen")
    settle(home, "hen.retry-1", "done", retry_of="HEN")
    settle(home, "fox", "refused")
    assert main(["retry", "--failed", "a/"]) == 0
    assert main(["retry", "--failed"]) == 0
    found = sorted(str(path.relative_to(home / "inbox")) for path in (home / "inbox").rglob("*.json"))
    assert found == ["a/cat.retry-1.json", "dog.retry-1.json"]
    capsys.readouterr()
    assert main(["retry", "--failed"]) == 0
    assert "Nothing has failed that was not asked for again" in capsys.readouterr().err


def test_a_retry_that_failed_is_asked_for_again_under_the_next_number(home: Path) -> None:
    kept(home, "cat")
    kept(home, "cat.retry-1", retry_of="CAT")
    assert main(["retry", "--failed"]) == 0
    assert [path.name for path in (home / "inbox").iterdir()] == ["cat.retry-2.json"]


def test_a_retry_names_a_request_or_all_that_failed() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["retry"])
    assert caught.value.code == 2
