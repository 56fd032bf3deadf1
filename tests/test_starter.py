"""The starter model's vocabulary, as the daemon asks for it without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.starter.concepts import CONCEPTS, OWN_COLOURS, PAINTABLE, UNLISTED, parse
from darkroom.starter.vocabulary import concepts, unknown_prompt_hint, vocabulary

ROOT = Path(__file__).resolve().parent.parent


def test_the_vocabulary_names_at_least_120_things() -> None:
    assert len(concepts()) >= 120
    assert list(concepts()) == sorted(set(concepts()))
    assert {"apple", "castle", "cat"} <= set(concepts())


@pytest.mark.parametrize(
    "prompt",
    ["a red apple", "Two CATS on a sofa", "cherries", "a bunny", "an old castle, oil painting", "pine trees", "apples"],
)
def test_a_prompt_with_a_known_thing_gets_no_hint(prompt: str) -> None:
    assert unknown_prompt_hint(prompt) is None


@pytest.mark.parametrize("prompt", ["", "quantum finance", "carpet", "a blue background", "pineapplejuice"])
def test_a_prompt_without_a_known_thing_gets_one_sentence_that_names_some(prompt: str) -> None:
    hint = unknown_prompt_hint(prompt)
    assert hint is not None
    assert hint == unknown_prompt_hint(prompt)
    assert hint.endswith(".")
    assert sum(name in hint for name in concepts()) >= 5


def test_every_known_phrase_is_recognised_by_itself() -> None:
    for name, aliases in vocabulary().things.items():
        for phrase in (name, *aliases):
            assert unknown_prompt_hint(phrase) is None, phrase


def test_importing_the_vocabulary_does_not_import_torch() -> None:
    code = "import sys, darkroom.starter.vocabulary as v; v.concepts(); print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "daemon")},
    )
    assert found.stdout.strip() == "False"


def test_the_table_of_concepts_is_consistent() -> None:
    names = [concept.name for concept in CONCEPTS]
    phrases = [word for concept in CONCEPTS for word in concept.words]
    assert len(set(phrases)) == len(phrases)
    assert PAINTABLE | set(OWN_COLOURS) <= set(names)
    assert set(concepts()) <= set(names) - UNLISTED
    (one,) = parse("=key-icon | key | latchkey, opener")
    assert (one.icon, one.words, one.mirrors) == ("key-icon", ("key", "latchkey", "opener"), False)
