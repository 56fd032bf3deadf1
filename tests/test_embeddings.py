"""Embeddings, as far as they are told without torch: the words in prompts, what a file holds, which model it fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.config.load import load
from darkroom.errors import ConfigUnusable
from darkroom.executor.settings import RendererSettings
from darkroom.models.embeddings import EmbeddingFile, Vectors, misfit, misfits, placed, read_embedding
from darkroom.models.families import FLUX
from darkroom.models.files import Fate, Unusable
from darkroom.models.judge import judge_folder
from darkroom.models.layers import Misfit
from darkroom.models.source import EmbeddingSource, ModelSource
from darkroom.models.thread import Looked, ModelsThread
from darkroom.request import plan_json
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.embeddings import with_tokens
from darkroom.request.plan import Embedding
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.starter import MODEL_DIR as STARTER
from tests.test_loras import weights

WIDE = {"": 768}
XL = {"": 768, "_2": 1280}


def source(*files: Path, alias: str = "easy", **more: Any) -> EmbeddingSource:
    return EmbeddingSource(alias, tuple(map(str, files)), **{"word": alias, **more})


def held(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> EmbeddingFile:
    return read_embedding(source(weights(folder / "easy.safetensors", shapes)))


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["<easy>", "emb_params", "string_to_param.*", "*"])
def test_the_only_tensor_of_a_file_is_its_word_whatever_it_is_called(key: str, tmp_path: Path) -> None:
    for shape, count in (((768,), 1), ((1, 768), 1), ((8, 768), 8)):
        (vectors,) = held(tmp_path, {key: shape}).vectors
        assert (vectors.key, vectors.count, vectors.width) == (key, count, 768)


def test_a_file_for_sdxl_has_vectors_for_both_encoders_in_any_order(tmp_path: Path) -> None:
    file = held(tmp_path, {"clip_g": (4, 1280), "clip_l": (4, 768), "step": (1,)})
    where = placed(file, XL)
    assert where is not None
    assert {suffix: (each.key, each.width) for suffix, each in where.items()} == {
        "": ("clip_l", 768),
        "_2": ("clip_g", 1280),
    }


def test_two_files_are_for_an_encoder_each_by_their_widths(tmp_path: Path) -> None:
    large, small = (weights(tmp_path / f"{width}.safetensors", {"emb_params": (2, width)}) for width in (1280, 768))
    where = placed(read_embedding(source(large, small)), XL)
    assert where is not None
    assert {suffix: each.file for suffix, each in where.items()} == {"": small, "_2": large}


def unusable(asked: EmbeddingSource) -> tuple[Fate, str, str]:
    with pytest.raises(Unusable) as caught:
        read_embedding(asked)
    return caught.value.fate, caught.value.message, caught.value.hint


def test_what_is_no_embedding_is_told_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    assert unusable(source(file))[:2] == (Fate.HELD, f"there is no file {file}.")
    for shapes in ({"a.weight": (4, 4), "b.weight": (4, 4)}, {"x": (2, 2, 2)}, {"x": (0, 8)}, {}):
        assert unusable(source(weights(file, shapes)))[:2] == (Fate.NEVER, "its file holds no embedding.")
    message = "its word stands for 76 tokens, and a text encoder reads 75 at once."
    assert unusable(source(weights(file, {"x": (76, 8)})))[1] == message
    assert unusable(source(tmp_path)) == (
        Fate.NEVER,
        f"{tmp_path} is a folder.",
        "Name the file itself: x.safetensors.",
    )
    file.write_bytes(b"PK not safetensors")
    assert "is torn" in unusable(source(file))[1]


def of(*widths: int) -> EmbeddingFile:
    return EmbeddingFile(tuple(Vectors(Path("x"), "x", 2, width) for width in widths))


def test_one_for_other_encoders_is_told_by_its_widths() -> None:
    assert misfit(of(768), WIDE) is None
    assert misfit(of(768, 1280), XL) is None
    assert misfit(of(1024), WIDE) == "its vectors are 1024 numbers wide, and the words of the model 768"
    assert misfit(of(768, 1280), WIDE) == "its vectors are 768 and 1280 numbers wide, and the words of the model 768"
    assert misfit(of(768), XL) == "it is for one text encoder (768 numbers), and the model has two (768 and 1280)"


def test_those_of_flux_are_for_clip_and_t5(tmp_path: Path) -> None:
    for name in ("t5xxl", "t5"):
        file = held(tmp_path, {"clip_l": (2, 768), name: (4, 4096)})
        assert misfit(file, {"": 768, "_2": 4096}) is None
        assert misfit(file, XL) == "its vectors are 768 and 4096 numbers wide, and the words of the model 768 and 1280"
    assert misfit(held(tmp_path, {"t5": (4, 4096)}), {"": 4096}) is None


def test_a_model_tells_the_widths_of_its_words(tmp_path: Path) -> None:
    """The starter's is 128, a folder as others are."""
    found = judge_folder(ModelSource("starter", "starter"), STARTER)
    width = json.loads((STARTER / "text_encoder" / "config.json").read_text())["hidden_size"]
    files: dict[str, EmbeddingFile | Unusable] = {
        "right": held(tmp_path, {"x": (1, width)}),
        "wrong": held(tmp_path, {"x": (1, width + 1)}),
        "torn": Unusable(Fate.HELD, "it is torn.", "Copy it again."),
    }
    wrong = misfits(found, files)
    assert wrong["torn"] == Misfit("it is torn.", "Copy it again.")
    assert wrong.keys() == {"torn", "wrong"}
    assert wrong["wrong"].message.endswith(f"{width + 1} numbers wide, and the words of the model {width}.")


def test_the_models_thread_tells_of_a_file_that_has_changed(tmp_path: Path) -> None:
    asked = source(weights(tmp_path / "easy.safetensors", {"x": (1, 9)}))
    told: list[Any] = []
    sources = {"starter": ModelSource("starter", "starter")}
    thread = ModelsThread(sources, tmp_path, offline=True, emit=told.append, clock=lambda: 0.0, embeddings=[asked])
    thread.idle()
    thread.idle()
    width = json.loads((STARTER / "text_encoder" / "config.json").read_text())["hidden_size"]
    weights(tmp_path / "easy.safetensors", {"x": (1, width)})
    thread.idle()
    assert [set(each.unreadable) for each in told if isinstance(each, Looked)] == [{"easy"}, set()]


# Words ---------------------------------------------------------------------------------------------------------------

FITS = {
    "easy": EmbeddingSource("easy", ("/x.safetensors",), "EasyNegative"),
    "ink": EmbeddingSource("ink", ("/y",), "ink"),
}


def decided(
    prompt: str, negative: str = "", *, embeddings: Mapping[str, EmbeddingSource] = FITS, known: Known | None = None,
    **asked: Any,
) -> Decision:  # fmt: skip
    models = {
        "sd": ModelSource("sd", "x/sd", family="stable-diffusion"),
        "z": ModelSource("z", "x/z", family="z-image"),
    }
    rules = Rules(StyleBook({}, ""), models, "sd", ("none",), 0, embeddings=embeddings)
    given = {"prompt": prompt, "negative_prompt": negative, "default_negative": False, **asked}
    known = known or Known()
    return decide(read(json.dumps(given).encode()), rules, drawn_seed=0, known=lambda _: known)


@pytest.mark.parametrize(
    ("prompt", "syntax"),
    [
        ("a cat, easynegative", "plain"), ("EASYNEGATIVE", "plain"), ("<EasyNegative>.", "plain"),
        ("(easynegative:1.2)", "weighted"), ("[[easynegative]]", "weighted"),
        ("{easynegative|<easynegative>}", "dynamic"),
    ],
)  # fmt: skip
def test_a_word_of_a_prompt_is_planned_in_any_syntax(prompt: str, syntax: str) -> None:
    for texts in ((prompt, ""), ("a cat", prompt)):
        decision = decided(*texts, prompt_syntax=syntax)
        assert decision.plan.embeddings == (Embedding("easy", "EasyNegative"),)
        assert not any("is read as a word" in warning for warning in decision.warnings)
        assert plan_json.load(json.loads(json.dumps(plan_json.dump(decision.plan)))) == decision.plan


@pytest.mark.parametrize("prompt", ["a pink drink", "ink-jet", "inks", "easynegative_2", "uneasynegative"])
def test_a_part_of_another_word_is_none(prompt: str) -> None:
    assert decided(prompt).plan.embeddings == ()
    assert "embeddings" not in plan_json.dump(decided(prompt).plan)


def test_a_word_that_the_model_cannot_take_is_told() -> None:
    wrong = Known(unreadable={"ink": Misfit("its vectors are 9 numbers wide, and the words of the model 8.", "")})
    decision = decided("a cat, ink, easynegative", known=wrong)
    assert decision.plan.embeddings == (Embedding("easy", "EasyNegative"),)
    assert (
        "`ink` is read as a word: the embedding ink can't be used with the model sd: "
        "its vectors are 9 numbers wide, and the words of the model 8."
    ) in decision.warnings
    assert "`ink` is read as a word: Z-Image takes no embeddings." in decided("ink", model="z").warnings
    elsewhere = {"ink": replace(FITS["ink"], models=("z",))}
    warnings = decided("ink", embeddings=elsewhere).warnings
    assert "`ink` is read as a word: the embedding ink is for z, not for the model sd." in warnings
    assert decided("a cat", known=wrong).warnings == decided("a cat").warnings


def test_flux_takes_none_where_it_begins_with_a_picture(tmp_path: Path) -> None:
    known = Known(FLUX)
    assert decided("ink", known=known).plan.embeddings == (Embedding("ink", "ink"),)
    for asked in ({"init_image": "cat.png"}, {"hires": {"scale": 2}}):
        decision = decided("ink", known=known, width=512, height=512, **asked)
        assert decision.plan.embeddings == ()
        told = (
            "`ink` is read as a word: FLUX.1 takes no embeddings where it begins with a picture, as `hires` does, too."
        )
        assert told in decision.warnings


def test_of_two_with_one_word_the_one_that_fits_is_meant() -> None:
    two = {alias: EmbeddingSource(alias, ("/x",), "easy") for alias in ("easy15", "easyxl")}
    wrong = Known(unreadable={"easy15": Misfit("x.", "")})
    decision = decided("easy", embeddings=two, known=wrong)
    assert decision.plan.embeddings == (Embedding("easyxl", "easy"),)
    assert not any("is read as a word" in warning for warning in decision.warnings)


def test_words_become_tokens_and_nothing_else_does() -> None:
    both = (Embedding("easy", "EasyNegative"), Embedding("bad.5", "bad-hands"), Embedding("bad", "bad"))
    text = "bad, (BAD-hands:1.2) <easynegative>, badly sad"
    assert with_tokens(text, both) == "<bad>, (<bad.5>:1.2) <easy>, badly sad"
    assert with_tokens(text, ()) == text


@given(st.text(), st.lists(st.from_regex(r"[0-9]{0,2}[A-Za-z][A-Za-z0-9._+-]{0,5}", fullmatch=True), max_size=4))
def test_a_text_without_the_words_stays_as_it_is(text: str, words: list[str]) -> None:
    embeddings = tuple(Embedding(f"e{number}", word) for number, word in enumerate(words))
    told = with_tokens(text, embeddings)
    if not any(word.lower() in text.lower() for word in words):
        assert told == text
    for embedding in embeddings[:1]:
        assert with_tokens(f"({embedding.word}:1.2)", (embedding,)) == "(<e0>:1.2)"


# The configuration ---------------------------------------------------------------------------------------------------


def configured(folder: Path, text: str) -> Any:
    (folder / "darkroom.toml").write_text(text)
    return load(folder / "darkroom.toml", {})


def test_a_table_says_where_it_is_and_its_word(tmp_path: Path) -> None:
    text = """
        [embeddings.easy]
        source = "/srv/easy.safetensors"
        [embeddings.two]
        source = ["/srv/l.safetensors", "/srv/g.safetensors"]
        word = "<by-two>"
        models = "starter"
    """
    config = configured(tmp_path, text)
    assert config.embedding_sources() == {
        "easy": EmbeddingSource("easy", ("/srv/easy.safetensors",), "easy"),
        "two": EmbeddingSource("two", ("/srv/l.safetensors", "/srv/g.safetensors"), "by-two", ("starter",)),
    }
    assert config.rules().embeddings == config.embedding_sources()
    settings = config.renderer_settings()
    assert RendererSettings.from_line(settings.as_line()) == settings


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[embeddings.x]\nsource = "/srv/easy.pt"', "Such a file can run code, and is never read"),
        ('[embeddings.x]\nsource = ["/srv/a.safetensors", "/srv/easy.bin"]', "Such a file can run code"),
        ('[embeddings.x]\nsource = ""', "must name a .safetensors file"),
        ("[embeddings.x]", "is missing"),
        ('[embeddings.x]\nsource = "/a.safetensors"\nword = "two words"', "must be one word"),
        ('[embeddings.x]\nsource = "/a.safetensors"\nmodels = "nobody"', "There is no model 'nobody'"),
        ('[embeddings.x]\nsource = "/a.safetensors"\nweight = 1', "is not a key of the configuration"),
        ('[embeddings.x]\nsource = "/a.safetensors"\n[embeddings.X]\nsource = "/a.safetensors"', "is called like X"),
    ],
)
def test_a_table_that_is_wrong_is_told(table: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigUnusable) as caught:
        configured(tmp_path, table)
    assert said in str([(problem.where, problem.message, problem.hint) for problem in caught.value.problems])


@pytest.mark.parametrize("table", ['[embeddings.1]\nsource = "/x.safetensors"\n',
                                   '[embeddings.a]\nsource = "/x.safetensors"\nword = "1.2"\n'])  # fmt: skip
def test_a_number_is_no_word_since_weights_are_numbers(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigUnusable) as caught:
        configured(tmp_path, table)
    assert "letter" in str(caught.value.problems[0])
