import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import main, terminal
from darkroom.cli.arguments import parser
from darkroom.cli.asking import KEYS
from darkroom.cli.status import overview
from darkroom.request.shape import Request

CHECKOUT = Path(__file__).parents[1]
#: Test cards in place of models: rendering takes no time and needs no library.
TEST_CARDS = {
    "DARKROOM_DEFAULT_MODEL": "testcard",
    "DARKROOM_MODELS__STARTER__SOURCE": "testcard",
    "DARKROOM_MODELS__SD15__SOURCE": "testcard",
    "DARKROOM_MODELS__TESTCARD__SOURCE": "testcard:step_s=0.01",
    "DARKROOM_HEARTBEAT_S": "0.2",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an inbox and an outbox, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return furnish(tmp_path)


def furnish(folder: Path) -> Path:
    for name in ("inbox", "outbox"):
        (folder / name).mkdir()
    return folder


@contextmanager
def running_daemon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real daemon, on this working directory."""
    command = [sys.executable, "-m", "darkroom", "run"]
    environment = {**os.environ, **TEST_CARDS, "PYTHONPATH": str(CHECKOUT / "daemon")}
    with (
        open(home / "log", "wb") as log,
        subprocess.Popen(command, stderr=log, env=environment, cwd=home) as process,
    ):
        try:
            wait_for((home / "outbox" / ".darkroom" / "health.json").exists, home)
            yield process
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def one_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    served = furnish(tmp_path_factory.mktemp("served"))
    with running_daemon(served):
        yield served


@pytest.fixture
def served(home: Path, one_daemon: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that a daemon serves; the tests that use it take names of their own."""
    monkeypatch.chdir(one_daemon)
    for name, value in TEST_CARDS.items():
        monkeypatch.setenv(name, value)
    return one_daemon


def wait_for(condition: Callable[[], object], home: Path, *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.02)


def answer(home: Path, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((home / "outbox" / f"{name}.json").read_bytes())
    return data


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(actions[0].choices)


# The grammar ---------------------------------------------------------------------------------------------------------


def test_help_is_quick_because_it_imports_nothing_slow() -> None:
    slow = {"pydantic", "pydantic_settings", "structlog", "rich", "watchdog", "torch", "numpy", "PIL", "asyncio"}
    code = f"""
import sys
from darkroom.cli import main
try:
    main(["--help"])
finally:
    print("LOADED", sorted({slow!r} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


def test_every_command_of_the_contract_is_there_and_shows_examples() -> None:
    expected = "run submit check convert reproduce status cancel retry pause resume adopt styles schema models doctor"
    expected += " service explain verify find clean completion gallery priority demo"
    assert set(commands()) == set(expected.split())
    for name, command in commands().items():
        assert "\nexamples:\n  darkroom " in command.format_help(), name


def test_every_example_of_every_help_can_be_said() -> None:
    texts = [parser().format_help(), *(command.format_help() for command in commands().values())]
    examples = [line for text in texts for line in text.split("examples:")[1].splitlines() if "  darkroom " in line]
    assert len(examples) > 20
    for line in examples:
        words = shlex.split(re.split(r"\s{3,}| [|>&]", line.strip())[0])
        parser().parse_args(words[1:])


def test_configuration_may_be_named_before_or_after_the_command() -> None:
    assert parser().parse_args(["--inbox", "/x", "status"]).inbox == "/x"
    assert parser().parse_args(["status", "--inbox", "/x"]).inbox == "/x"


@pytest.mark.parametrize("words", [["sumbit", "x"], ["submit"], ["submit", "x", "--width", "wide"], ["run", "--onc"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: darkroom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "usage", "hint"),
    [
        (["sumbit", "x"], "usage: darkroom [options] COMMAND", "Did you mean submit?"),
        (["submit", "x", "--stile", "ink"], "usage: darkroom submit PROMPT", "Did you mean --style?"),
        (["submit", "a", "castle"], "usage: darkroom submit PROMPT", "in quotes"),
        (["status", "--wach"], "usage: darkroom status", "Did you mean --watch?"),
        (["service", "instal"], "usage: darkroom service", "Did you mean install?"),
    ],
)
def test_a_wrong_word_gets_the_nearest_one_and_the_usage_of_its_command(
    words: list[str], usage: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    said = capsys.readouterr().err
    assert said.startswith(usage)
    assert hint in said


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "darkroom doctor" in capsys.readouterr().err


def test_an_unusable_configuration_ends_with_3_and_tells_all_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_SETTLE", "3")
    assert main(["status", "--outbox", "inbox"]) == 3
    said = capsys.readouterr().err
    assert "2 problems" in said
    assert "Did you mean DARKROOM_SETTLE_S?" in said
    assert "outbox: is the same as inbox" in said


def test_what_submit_can_ask_is_what_a_request_can_hold() -> None:
    assert set(Request.model_fields) - set(KEYS) == {"metadata"}
    options = {action.dest for action in commands()["submit"]._actions}
    assert set(KEYS) <= options


# Without a daemon ----------------------------------------------------------------------------------------------------


def test_submit_drops_what_was_said_and_nothing_else(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--style watercolor -n 2 --seed 7 --width 512 --no-default-negative --guidance-scale 6.5 --name alice/c"
    assert main(["submit", "a castle", *words.split()]) == 0
    assert json.loads((home / "inbox" / "alice" / "c.json").read_bytes()) == {
        "prompt": "a castle",
        "default_negative": False,
        "style": "watercolor",
        "width": 512,
        "guidance_scale": 6.5,
        "seed": 7,
        "num_images": 2,
    }
    said = capsys.readouterr()
    assert said.out == f"{home}/outbox/alice/c.json\n"
    assert "no daemon seems to be running" in said.err


def test_what_is_plainly_wrong_is_not_dropped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config").mkdir()
    (home / "config" / "darkroom.toml").write_text("")
    assert main(["submit", "a castle", "--style", "fantasie", "--width", "512"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Did you mean fantasy" in said.err
    assert "`width` must be 96 pixels for the model starter, not 512. Use 96." in said.err
    assert list((home / "inbox").iterdir()) == []


def test_without_a_configuration_here_styles_and_models_are_the_daemon_s_to_know(home: Path) -> None:
    assert main(["submit", "a castle", "--style", "of-another-machine", "--name", "c"]) == 0
    assert (home / "inbox" / "c.json").exists()
    assert main(["submit", ""]) == 1
    assert len(list((home / "inbox").iterdir())) == 1


def test_check_tells_when_a_file_of_that_name_is_never_taken(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "ok.txt").write_text('{"prompt": "a cat"}')
    assert main(["check", "ok.txt"]) == 0
    assert "ok.txt: warning: in the inbox, a file of this name is never taken" in capsys.readouterr().out


def test_pausing_and_resuming_say_when_no_daemon_is_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("pause", "resume"):
        assert main([command]) == 0
        assert "no daemon seems to be running here" in capsys.readouterr().err
    (home / "inbox").rename(home / "elsewhere")
    for command in ("pause", "resume"):
        assert main([command]) == 3


def test_a_prompt_may_come_from_standard_input(home: Path) -> None:
    done = run_command(home, "submit", "-", "--name", "c", given=b"a castle\non a hill\n")
    assert done.returncode == 0
    assert json.loads((home / "inbox" / "c.json").read_bytes()) == {"prompt": "a castle\non a hill"}


def test_check_tells_every_problem_of_every_file_as_a_compiler_does(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "good.json").write_text('{"prompt": "a cat"}')
    (home / "bad.json").write_text('{"prompt": "a cat", "style": "fantasie", "width": 511}')
    (home / "torn.json").write_text('{"prompt": "a cat",\n "seed": }')
    assert main(["check", "good.json", "bad.json", "torn.json", "none.json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("good.json: fine: 1 picture, 96×96")]
    assert [line for line in lines if line.startswith("bad.json: /style: ") and "fantasy" in line]
    assert [line for line in lines if line.startswith("bad.json: /width: ")]
    assert [line for line in lines if line.startswith("torn.json: line 2, column 10: ")]
    assert "none.json: cannot be read: No such file or directory." in lines
    assert len(lines) == 5


def test_check_knows_a_style_book_from_a_request(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a.csv").write_text("name,prompt\nA,x\na,{prompt} {prompt}\n")
    (home / "b.json").write_text('[{"name": "b", "prompt": "y"}]')
    (home / "c.toml").write_text("[styles.c]\n")
    (home / "d.json").write_text('{"prompt": "a cat", "style": ["ink", "neon"]}')
    assert main(["check", "a.csv", "b.json", "d.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("a.csv: a: warning: {prompt} is in it 2 times")]
    assert [line for line in lines if line.startswith("a.csv: a: warning: It differs from A by case only")]
    assert "a.csv: fine: 2 styles" in lines
    assert "b.json: fine: 1 style" in lines
    assert [line for line in lines if line.startswith("d.json: fine") and "style ink, neon," in line]
    assert main(["check", "c.toml", "missing.csv"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("c.toml: styles.c.prompt: A style needs keywords.")
    assert lines[1].startswith("missing.csv: cannot be read")


@pytest.mark.parametrize(
    ("words", "style"), [(["--style", "ink"], "ink"), (["--style", "ink", "--style", "neon"], ["ink", "neon"])]
)
def test_submit_takes_styles_in_their_order(home: Path, words: list[str], style: object) -> None:
    assert run_command(home, "submit", "a cat", "--name", "c", *words).returncode == 0
    assert json.loads((home / "inbox" / "c.json").read_bytes()) == {"prompt": "a cat", "style": style}


def test_check_of_a_good_request_from_standard_input_ends_with_0(home: Path) -> None:
    assert run_command(home, "check", "-", given=b'{"prompt": "a cat"}').returncode == 0


def test_styles_and_models_are_listed_and_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["styles"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^fantasy .*\(default\)", listed, flags=re.MULTILINE)
    assert re.search(r"^none ", listed, flags=re.MULTILINE)
    assert main(["styles", "fantasy"]) == 0
    assert "magical purple glow" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert re.search(r"^starter .*\(default\)", capsys.readouterr().out, flags=re.MULTILINE)
    assert main(["models", "sd15"]) == 0
    said = capsys.readouterr().out
    assert "451f4fe16113bff5a5d2269ed5ad43b0592e9a14" in said
    assert re.search(r"^safety_checker +false$", said, re.MULTILINE), "as one writes it in the file"
    assert main(["models", "sd51"]) == 1
    assert "Did you mean sd15?" in capsys.readouterr().err


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["else"] == {"required": ["prompt"]}


def test_status_without_a_daemon_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    said = capsys.readouterr()
    assert "darkroom run" in said.out
    assert "No configuration was found: there is neither" in said.err
    assert main(["status", "--json"]) == 1
    assert capsys.readouterr().out == "null\n"
    assert main(["status", "cat"]) == 1
    assert "Nothing is known of a request cat" in capsys.readouterr().err


def beat(home: Path, **fields: object) -> None:
    """A heartbeat as a daemon leaves it."""
    (home / "state").mkdir(exist_ok=True)
    (home / "state" / "health.json").write_text(json.dumps({"state": "running", "counter": 1} | fields))


def test_status_tells_what_is_old_and_how_long_the_daemon_is_up(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    up = (now - timedelta(minutes=90)).isoformat()
    beat(home, state="paused", alive_since=up, written_at=(now - timedelta(seconds=30)).isoformat())
    main(["status"])
    said = capsys.readouterr().out
    assert "paused, up for 1 h 30 min" in said
    assert re.search(r"as it was 3\d s ago", said)
    beat(home, alive_since=up, written_at=(now - timedelta(hours=3)).isoformat())
    assert main(["status"]) == 1
    assert "3 h 0 min ago; what follows is as old" in capsys.readouterr().out


def test_status_tells_the_cause_of_a_hold_once_and_leaves_the_readme_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = {"model": "sd15", "why": "sd15: there is no such folder.", "hint": "Name another.", "next_try_s": 5}
    left = [{"name": "README.md", "why": "ignored: …"}, {"name": "cat.txt", "why": "ignored: …"}]
    beat(home, held=[held], not_taken=left)
    main(["status"])
    said = capsys.readouterr().out
    assert "held sd15: there is no such folder. Name another. It is tried again in 5 s.\n" in said
    assert "README" not in said
    assert "cat.txt" in said


def test_status_of_a_queued_request_tells_its_place_now(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "outbox" / "cat.json").write_text(json.dumps({"name": "cat", "state": "queued", "ahead": 7}))
    main(["status", "cat"])
    assert "queued, 7 ahead when it was accepted" in capsys.readouterr().out
    beat(home, next=["dog", "cat"], seats=[{"name": "cpu", "state": "rendering", "rendering": [{"name": "fox"}]}])
    main(["status", "cat"])
    assert "queued, 2 ahead\n" in capsys.readouterr().out


def test_status_has_a_line_for_each_of_several_renderers(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"image": 1, "images": 2, "step": 7, "steps": 30}
    seats = [
        {
            "name": "cuda:0",
            "state": "rendering",
            "device_name": "NVIDIA L4",
            "model": "sd15",
            "rendering": [{"name": "owl"}, {"name": "alice/cat", "progress": progress, "eta_s": 8.2}],
        },
        {"name": "cuda:1", "state": "loading", "device_name": "NVIDIA L4", "model": "sdxl"},
        {"name": "cuda:2", "state": "held", "why": "it fell off the bus"},
        {"name": "cuda:3", "state": "ready", "device": "cuda:3", "model": "\x1b[31msd15"},
    ]
    beat(home, seats=seats)
    main(["status"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("renderer")] == [
        "renderer cuda:0 rendering sd15 NVIDIA L4 alice/cat: 7/60 steps, 8 s left, owl".split(),
        "renderer cuda:1 loading sdxl NVIDIA L4".split(),
        "renderer cuda:2 held - - it fell off the bus".split(),
        r"renderer cuda:3 ready \x1b[31msd15 cuda:3".split(),
    ]
    assert not [line for line in lines if line.startswith("renders")]


def test_what_is_watched_is_wrapped_and_not_cut() -> None:
    why = "the model cannot be loaded " * 5
    health = {"state": "running", "counter": 1, "held": [{"model": "sd15", "why": why + "at all"}]}
    screen = terminal.screen()
    lines = screen.render_lines(overview(health, beats=True), screen.options.update(width=40))
    assert "at all" in "".join(segment.text for line in lines for segment in line)


def test_control_characters_in_names_do_not_reach_the_terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    health = {"state": "running", "counter": 1, "next": ["\x1b[31mred"], "not_taken": [{"name": "a\nb", "why": "?"}]}
    (home / "state").mkdir()
    (home / "state" / "health.json").write_text(json.dumps(health))
    main(["status"])
    assert "\x1b" not in (said := capsys.readouterr().out)
    assert r"\x1b[31mred" in said
    assert r"a\nb" in said


def test_doctor_names_what_is_wrong_and_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_DEFAULT_MODEL", "testcard")
    assert main(["doctor"]) == 0, capsys.readouterr().out
    assert not (home / "inbox" / ".darkroom").exists()
    capsys.readouterr()
    (home / "outbox").rmdir()
    assert main(["doctor"]) == 3
    said = capsys.readouterr().out
    assert re.search(r"^FAIL +outbox: .* is not there\.\n +→ mkdir -p", said, flags=re.MULTILINE)


def test_service_show_prints_the_unit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "show", "--user", "ann"]) == 0
    said = capsys.readouterr().out
    assert "\nUser=ann\n" in said
    assert f"--inbox {home}/inbox --outbox {home}/outbox\n" in said


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m darkroom schema | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def run_command(home: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
    command = [sys.executable, "-m", "darkroom", *words]
    return subprocess.run(command, input=given, capture_output=True, env=environment, cwd=home, check=False)


# With one ------------------------------------------------------------------------------------------------------------


def test_submit_wait_ends_with_the_paths_of_the_pictures(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "a castle", "-n", "2", "--wait", "--name", "fine"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{served}/outbox/fine/fine-{number}.png" for number in (1, 2)]
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in said.out.splitlines())
    assert said.err.splitlines()[-1] == "fine: done"


def test_submit_wait_of_a_wrong_request_ends_with_1_and_tells_why(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "a castle", "--style", "fantasie", "--width", "511", "--wait", "--name", "wrong"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "wrong was refused:" in said.err
    assert "/style" in said.err
    assert "/width" in said.err
    assert main(["status", "wrong"]) == 1
    assert "refused" in capsys.readouterr().out
    assert main(["retry", "wrong", "--wait"]) == 1
    assert answer(served, "wrong.retry-1")["retry_of"] == answer(served, "wrong")["id"]


def test_status_shows_the_daemon_and_one_request(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["submit", "a castle", "--wait", "--name", "shown"])
    capsys.readouterr()
    heartbeat = served / "state" / "health.json"
    wait_for(lambda: "inbox" in json.loads(heartbeat.read_bytes())["folders"], served)
    assert main(["status"]) == 0
    assert f"inbox   {served}/inbox" in capsys.readouterr().out
    assert main(["status", "shown"]) == 0
    assert f"{served}/outbox/shown/shown-1.png" in capsys.readouterr().out
    assert main(["status", "shown", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"


def test_a_paused_queue_waits_and_what_waits_can_be_cancelled(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause"]) == 0
    wait_for(lambda: json.loads((served / "state" / "health.json").read_bytes())["state"] == "paused", served)
    assert main(["submit", "a castle", "--name", "paused"]) == 0
    wait_for((served / "outbox" / "paused.json").exists, served)
    assert answer(served, "paused")["state"] == "queued"
    assert main(["cancel", "paused"]) == 0
    wait_for(lambda: answer(served, "paused")["state"] == "cancelled", served)
    assert main(["resume"]) == 0
    assert main(["submit", "a castle", "--wait"]) == 0
    assert "The queue goes on." in capsys.readouterr().out


def test_submit_wait_says_when_the_daemon_is_gone_and_goes_on_when_it_is_back(home: Path) -> None:
    with running_daemon(home) as daemon:
        daemon.kill()
        daemon.wait(20)
    environment = {**os.environ, **TEST_CARDS, "PYTHONPATH": str(CHECKOUT / "daemon")}
    darkroom = [sys.executable, "-m", "darkroom"]
    with (
        open(home / "err", "wb") as err,
        subprocess.Popen(
            [*darkroom, "submit", "a castle", "--wait"], stdout=-1, stderr=err, env=environment
        ) as waiting,
    ):
        wait_for(lambda: b"No daemon seems to be running" in (home / "err").read_bytes(), home)
        with open(home / "log", "wb") as log:
            # The claim of a daemon that is gone is given up when it has not moved for half a minute: too long here.
            (home / "inbox" / ".darkroom" / "owner.json").unlink(missing_ok=True)
            done = subprocess.run([*darkroom, "run", "--once"], stderr=log, env=environment, check=False)
        assert done.returncode == 0, (home / "log").read_text()
        assert waiting.wait(20) == 0
        assert waiting.stdout is not None
        assert waiting.stdout.read().endswith(b"-1.png\n")


def test_run_once_renders_what_is_there_and_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TEST_CARDS.items():
        monkeypatch.setenv(name, value)
    (home / "inbox" / "c.json").write_text('{"prompt": "a castle"}')
    done = run_command(home, "run", "--once", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    assert (home / "outbox" / "c" / "c-1.png").exists()
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events.index("accepted") < events.index("rendering") < events.index("done")


def test_run_on_folders_that_are_not_there_ends_with_3(home: Path) -> None:
    (home / "inbox").rmdir()
    done = run_command(home, "run", "--once")
    assert done.returncode == 3
    assert b"mkdir -p" in done.stderr


def test_models_says_what_the_starter_model_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "starter"]) == 0
    printed = capsys.readouterr().out
    assert "apple" in printed
    assert "castle" in printed


# Where the command is used --------------------------------------------------------------------------------------------


def in_a_shell(*words: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.Popen(
        [sys.executable, "-m", "darkroom", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**outside, "PYTHONPATH": str(CHECKOUT / "daemon"), **environment},
    )


def test_a_locale_that_does_not_know_every_character_is_no_reason_to_say_nothing(home: Path) -> None:
    with in_a_shell("--help", home=home, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") as asked:
        said, complaint = asked.communicate()
    assert (asked.returncode, complaint) == (0, "")
    assert "render" in said


@pytest.mark.parametrize("word", ["styles", "--help"])
def test_an_output_that_takes_nothing_ends_in_words(home: Path, word: str) -> None:
    words = [sys.executable, "-m", "darkroom", word]
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, cwd=home, check=False
        )
    assert done.stderr in ("", "darkroom: No space left on device.\n")
    assert done.returncode == (1 if done.stderr else 0)
    assert done.stderr or word == "--help", "argparse itself says nothing about its output"


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_cost_what_is_said_and_nothing_else(home: Path, closed: str) -> None:
    asked = f"{sys.executable} -m darkroom submit fox --name fox {closed}"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
    done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, env=environment, cwd=home, check=False)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (0, "", False)
    assert json.loads((home / "inbox" / "fox.json").read_text()) == {"prompt": "fox"}


@pytest.mark.parametrize("words", ["check", "convert", "reproduce", "submit --from"])
def test_a_pipe_that_nobody_writes_to_is_told_and_not_waited_for(home: Path, words: str) -> None:
    os.mkfifo(home / "pipe")
    asked = [sys.executable, "-m", "darkroom", *words.split(), "pipe"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "daemon")}
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, cwd=home, check=False)
    assert (done.returncode, "it is a pipe, not a file." in done.stdout + done.stderr) == (1, True)


@pytest.mark.parametrize(("words", "expected"), [([], "paused"), (["--json"], '"state": "paused"')])
def test_what_is_watched_through_a_pipe_is_printed_when_it_changes(home: Path, words: list[str], expected: str) -> None:
    beat(home, state="paused", counter=1)
    with in_a_shell("status", "--watch", *words, home=home, TERM="dumb") as watching:
        assert watching.stdout is not None
        try:
            first = watching.stdout.readline()
            beat(home, state="paused", counter=2)
            beat(home, state="running", counter=3, queued=1)
            following = iter(watching.stdout.readline, "")
            assert any("running" in line for line in following)
        finally:
            watching.terminate()
    assert expected in first


def test_an_answer_is_followed_as_json_to_its_end(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "outbox" / "cat.json").write_text(json.dumps({"name": "cat", "state": "failed", "id": "1"}))
    assert main(["status", "cat", "--watch", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"name": "cat", "state": "failed", "id": "1"}


def test_no_help_is_wider_than_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, grammar in {"": parser(), **commands()}.items():
        long = [line for line in grammar.format_help().splitlines() if len(line) > 80]
        assert long == [], f"darkroom {name} --help"


def test_on_a_terminal_no_word_is_broken_and_no_path_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal._Page, "is_terminal", True)
    page = terminal.out()
    page.width = 40
    path = "/srv/" + "a-long-name/" * 6
    with page.capture() as said:
        page.print(f"A sentence that is longer than forty columns, with {path} in it.")
    lines = said.get().splitlines()
    assert path in [line.strip() for line in lines]
    assert " ".join(said.get().split()) == f"A sentence that is longer than forty columns, with {path} in it."


# What a person meant --------------------------------------------------------------------------------------------------


def test_each_request_that_can_be_cancelled_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "inbox" / "zed.json").write_text("{}")
    assert main(["cancel", "nosuch", "zed"]) == 1
    said = capsys.readouterr()
    assert "Nothing is known of a request nosuch" in said.err
    assert "zed: will be cancelled" in said.out
    assert (home / "inbox" / "zed.cancel").exists()


def test_no_style_is_a_style_that_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["styles", "none"]) == 0
    assert "the prompt as it is" in capsys.readouterr().out


def test_the_beginning_of_an_option_is_nearer_than_a_like_sounding_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["submit", "a cat", "--num", "2"])
    assert "Did you mean --num-images?" in capsys.readouterr().err


def test_where_no_configuration_was_found_it_is_said_where_it_was_looked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "inbox").rmdir()
    assert main(["submit", "a cat"]) == 3
    assert f"there is neither {home}/config/darkroom.toml nor /etc/darkroom/darkroom.toml" in capsys.readouterr().err
    assert main(["submit", "a cat", "--inbox", "nowhere", "--outbox", "nowhere"]) == 3
    assert "neither" not in capsys.readouterr().err


def test_adopting_what_is_in_use_claims_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beat(home, folders={"inbox": {"state": "present", "path": str(home / "inbox")}})
    assert main(["adopt", "inbox"]) == 0
    assert capsys.readouterr().out == "inbox is in use already: there is nothing to adopt.\n"
    assert list((home / "inbox").iterdir()) == []


def test_waiting_is_not_silent_while_the_inbox_is_away(home: Path) -> None:
    beat(home, folders={"inbox": {"state": "away", "why": "/mnt/nas waits for its mount"}})
    with in_a_shell("submit", "a cat", "--name", "cat", "--wait", home=home) as waiting:
        assert waiting.stderr is not None
        try:
            assert any("Waiting: the inbox is away: /mnt/nas waits" in line for line in waiting.stderr)
        finally:
            waiting.terminate()


def test_what_was_settled_is_counted_from_the_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beat(home, settled={"done": 1, "failed": 0})
    main(["status"])
    assert "settled 1 done, since it was started\n" in capsys.readouterr().out
