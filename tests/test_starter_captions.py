"""What the starter model is told of its training pictures: above all, lists in which every term holds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("resvg_py")

from darkroom.starter.captions import Captions, StyleBook
from darkroom.starter.concepts import CONCEPTS
from darkroom.starter.drawings import COLOURS
from darkroom.starter.looks import BACKDROPS, FAULTS, LOOKS, STRONG_BACKDROPS
from darkroom.starter.samples import Sample, Studio
from darkroom.starter.wording import load_tokenizer

STARTER = Path(__file__).resolve().parent.parent / "daemon" / "darkroom" / "starter"
BOOK = StyleBook.read(STARTER.parents[2] / "config" / "styles.toml")
CAPTIONS = Captions(BOOK, CONCEPTS)
#: A red square on nothing, for every thing.
SQUARE = np.zeros((len(CONCEPTS), 96, 96, 4), np.uint8)
SQUARE[:, 24:72, 24:72] = (220, 30, 30, 255)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(dict.fromkeys(("noto", "fluent", "flat"), SQUARE), CONCEPTS)


def lists(sample: Sample, count: int = 200) -> list[list[str]]:
    rng = np.random.default_rng(1)
    return [CAPTIONS.draw(sample, rng).split(", ") for _ in range(count)]


def test_a_list_names_the_ground_that_the_picture_has_beside_the_whole_default_negative_prompt() -> None:
    for terms in lists(Sample(0, "noto", backdrop="purple", faults=("blurred",), listed="default")):
        assert {"purple background", "purple backdrop"} & set(terms)
        assert set(BOOK.default_negative.split(", ")) <= set(terms)


def test_every_term_of_a_list_stands_there_once() -> None:
    for terms in lists(Sample(3, "noto", look="vintage", faults=tuple(FAULTS), listed="default")):
        assert len(set(terms)) == len(terms)


def test_lists_come_mostly_in_the_order_of_the_daemon_with_what_was_asked_in_front() -> None:
    default = BOOK.default_negative.split(", ")
    drawn = lists(Sample(0, "noto", backdrop="purple", listed="default"))
    assert sum(terms[-len(default) :] == default for terms in drawn) > len(drawn) / 2
    assert any(terms[0] in default for terms in drawn), "but not always"


def test_a_fault_that_is_not_of_the_default_negative_prompt_is_always_named() -> None:
    words = {"colorful", "saturated", "color", "oversaturated", "vivid colors"}
    assert all(words & set(terms) for terms in lists(Sample(0, "noto", faults=("garish",), listed="default")))


def test_lists_fit_the_shipped_tokenizer_almost_always(studio: Studio) -> None:
    tokenizer, rng = load_tokenizer(STARTER / "model" / "tokenizer"), np.random.default_rng(2)
    lengths = [len(tokenizer(CAPTIONS.draw(studio.choose_listed(rng), rng)).input_ids) for _ in range(400)]
    assert np.mean(np.array(lengths) > tokenizer.model_max_length) < 0.05


def test_lists_show_all_faults_together_as_well_as_each(studio: Studio) -> None:
    rng = np.random.default_rng(3)
    drawn = [studio.choose_listed(rng) for _ in range(1500)]
    assert {fault for sample in drawn for fault in sample.faults} == set(FAULTS)
    assert sum(len(sample.faults) > 1 for sample in drawn) > 300
    assert {sample.look for sample in drawn} == {None, *LOOKS}
    assert {sample.backdrop for sample in drawn} == {None, *BACKDROPS}
    order = list(FAULTS)
    assert all(order.index(a) < order.index(b) for sample in drawn for a, b in pairwise(sample.faults))


def test_the_ground_of_a_list_is_stronger_than_one_that_is_asked_for(studio: Studio) -> None:
    rng = np.random.default_rng(4)
    for listed, colours in ((None, BACKDROPS), ("free", STRONG_BACKDROPS)):
        picture = studio.draw(Sample(0, "noto", backdrop="purple", listed=listed), rng)
        assert picture.getpixel((1, 1)) == colours["purple"]


def test_two_colours_are_shown_and_named_together(studio: Studio) -> None:
    rng = np.random.default_rng(5)
    both = [sample for sample in (studio.choose(rng) for _ in range(800)) if sample.colour and sample.backdrop]
    assert len(both) > 40
    for sample in both:
        caption = CAPTIONS.draw(sample, rng)
        assert str(sample.colour) in caption
        assert str(sample.backdrop) in caption
        assert sample.colour in COLOURS


def test_the_prompt_stands_where_the_style_has_its_place() -> None:
    prompt, negative = BOOK.prompts("isometric", "a cat")
    assert prompt == "isometric view of a cat, isometric diorama, clean geometry"
    assert negative == f"perspective, fisheye, {BOOK.default_negative}"
    assert BOOK.prompts("none", "a cat") == ("a cat", BOOK.default_negative)
