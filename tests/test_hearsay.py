"""Whatever stands in an answer or a heartbeat, a command says a word and ends."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom import hearsay
from darkroom.cli import main

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text()
    | st.sampled_from(["\x1b[31m", "\u202e", "\ud800", "a\0b", "../../etc/passwd", "done", "queued", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def like(shape: Any) -> st.SearchStrategy[Any]:
    """Nearly what a shape says: somewhere in it, anything may stand."""
    if isinstance(shape, dict):
        keys = {key.rstrip("!"): like(kind) | ANYTHING for key, kind in shape.items()}
        return st.fixed_dictionaries({}, optional=keys)
    if isinstance(shape, list):
        return st.lists(like(shape[0]) | ANYTHING, max_size=3)
    kinds = {str: st.text(max_size=8), int: st.integers(), float: st.floats(), bool: st.booleans()}
    return kinds[shape]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for folder in ("inbox", "outbox", "state"):
        Path(folder).mkdir()
    return tmp_path


def say(*words: str) -> int:
    status = main(list(words))
    assert status in (0, 1, 3)
    return status


COMMANDS = (("status",), ("status", "cat"), ("status", "cat", "--json"), ("retry", "cat"), ("cancel", "cat"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(answer=like(dict(hearsay.ANSWER)), health=like(dict(hearsay.HEARTBEAT)))
def test_any_answer_and_any_heartbeat_are_survived_and_harmless(
    home: Path, capsys: pytest.CaptureFixture[str], answer: object, health: object
) -> None:
    (home / "outbox" / "cat.json").write_text(json.dumps(answer))
    (home / "state" / "health.json").write_text(json.dumps(health))
    for command in COMMANDS:
        say(*command)
    said = "".join(capsys.readouterr()).replace("\n", "")
    assert [character for character in said if character in "\x1b\u202e\x00\x07\r"] == []
    # Whatever a forged answer names, what is dropped because of it lies in the inbox alone.
    assert sorted(os.listdir(home)) == ["inbox", "outbox", "state"]
    shutil.rmtree(home / "inbox")
    (home / "inbox").mkdir()


@pytest.mark.parametrize(
    "strange",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"[]",
        b"\xff",
        b"",
        b'{"name": 1e9',
    ],
    ids=["lists", "objects", "whole and deep", "a list", "no text", "empty", "half"],
)
def test_a_file_that_is_not_an_answer_gets_a_word(
    home: Path, capsys: pytest.CaptureFixture[str], strange: bytes
) -> None:
    (home / "outbox" / "cat.json").write_bytes(strange)
    (home / "state" / "health.json").write_bytes(strange)
    for command in (("status", "cat"), ("retry", "cat"), ("cancel", "cat")):
        assert say(*command) == 1
        assert "cat.json is not an answer of Darkroom" in capsys.readouterr().err
    assert say("status") == 1
    said = capsys.readouterr()
    assert "No daemon has been seen here" in said.out
    assert f"looked for in {home / 'state'} and {home / 'outbox'}" in " ".join(said.err.split())


def test_what_has_another_shape_counts_as_absent_and_the_rest_stays() -> None:
    cats = [{"eta_s": 1}, {"name": "cat", "eta_s": "soon", "progress": {"image": 1}}]
    seats = [{"name": "cpu", "state": 5, "rendering": cats}, "cuda", {"name": 7, "rendering": {"name": "dog"}}]
    said = {"queued": True, "pid": 2**70, "next": ["a", 1, "b"], "held": 5, "seats": seats, "more": {"x": 1}}
    assert hearsay.read(json.dumps(said).encode(), hearsay.HEARTBEAT) == {
        "next": ["a", "b"],
        "seats": [{"name": "cpu", "rendering": [{"name": "cat"}]}, {}],
        "more": {"x": 1},
    }


@pytest.mark.parametrize("text", ["a\\u0000b", "\\ud800", "\\udfff.png"])
def test_a_text_that_no_path_can_hold_counts_as_absent(text: str) -> None:
    assert hearsay.read(f'{{"result": "{text}", "state": "done"}}'.encode(), hearsay.ANSWER) == {"state": "done"}
