"""Embeddings with a tiny model of every family that reads them: what Darkroom paints is what diffusers paints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ModelFiles, VectorsFile
from darkroom.models.embeddings import EmbeddingFile, misfits, placed, read_all, read_embedding, widths_of
from darkroom.models.families import BY_KEY
from darkroom.models.family import Family
from darkroom.models.judge import judge, judge_folder
from darkroom.models.source import EmbeddingSource, ModelSource
from darkroom.render.adapter import DiffusionModel
from darkroom.render.device import TorchDevice
from darkroom.render.embeddings import Embeddings
from darkroom.render.one_file import clip_tokenizer
from darkroom.render.parameters import a1111_parameters
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.embeddings import with_tokens
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.request.weighted import Piece
from darkroom.testing import zoo
from darkroom.testing.zoo import checkpoints, embeddings, narrow
from tests.zoo.lines import files_of, lines_for, painted_by

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

#: Of each class that reads embeddings, a tiny model.
NAMES = (
    "sd15", "sd15_pag", "sd21", "lcm", "sdxl", "sdxl_pag", "flux_dev", "flux_schnell", "flux_kontext", "chroma",
)  # fmt: skip
LONG = ", ".join(["a red cat in the grass"] * 12)


class Ground:
    """One tiny model, and embeddings in every form that it reads."""

    def __init__(self, name: str, folder: Path, *, with_embeddings: bool = True) -> None:
        self.folder = folder / "model"
        zoo.build(name, self.folder)
        self.source = ModelSource(name, str(self.folder))
        self.found = judge_folder(self.source, self.folder)
        assert self.found.family is not None
        self.family: Family = self.found.family
        self.widths = widths_of(self.found)
        self.embeddings = dict(self._built(folder)) if with_embeddings else {}
        self.rules = Rules(StyleBook({}, ""), {name: self.source}, name, ("none",), 0, embeddings=self.embeddings)
        settings = RendererSettings(embeddings=self.embeddings, device="cpu", offline=True)
        model = TorchDevice(settings).load(self.source, lambda: None)
        assert isinstance(model, DiffusionModel)
        self.model = model

    def _built(self, folder: Path) -> Iterator[tuple[str, EmbeddingSource]]:
        if len(self.widths) == 1:
            for number, form in enumerate(embeddings.FORMS):
                alias = f"word{number}"
                embeddings.build(folder / f"{alias}.safetensors", form, count=1 + 3 * number, width=self.widths[""])
                yield alias, EmbeddingSource(alias, (str(folder / f"{alias}.safetensors"),), alias.title())
            return
        names = embeddings.OF_TWO if self.family.in_blocks else embeddings.OF_FLUX
        embeddings.build_for_two(folder / "word0.safetensors", names=names, counts=(4, 2), seed=1)
        yield "word0", EmbeddingSource("word0", (str(folder / "word0.safetensors"),), "Word0")
        files = tuple(str(folder / f"{part}.safetensors") for part in embeddings.OF_TWO)
        for number, file in enumerate(files):
            embeddings.build(Path(file), count=1, seed=5 + number)
        yield "word1", EmbeddingSource("word1", files, "Word1")

    def decide(self, prompt: str, negative: str = "", **asked: Any) -> Decision:
        side, steps = max(64, self.family.step_px), max(2, self.family.fewest_steps)
        given: dict[str, Any] = {"prompt": prompt, "width": side, "height": side, "seed": 7}
        given |= {"num_inference_steps": steps, "default_negative": False} | asked
        given |= {"negative_prompt": negative} if self.family.negative else {}
        given |= {"true_cfg_scale": 3.0} if negative and self.family.cfg == "true_cfg_scale" else {}
        known = Known(self.family, unreadable=misfits(self.found, read_all(self.embeddings.values())))
        return decide(read(json.dumps(given).encode()), self.rules, drawn_seed=0, known=lambda _: known)

    def paint(self, plan: Plan) -> bytes:
        reading = self.model.read(plan)
        assert [warning for warning in reading.warnings if "word" in warning] == []
        return self.model.paint(plan, reading, 0, lambda _step, _steps: None).rgb

    def files(self) -> ModelFiles:
        vectors = {}
        for alias, source in self.embeddings.items():
            where = placed(read_embedding(source), self.widths)
            assert where is not None
            vectors[alias] = tuple(VectorsFile(str(each.file), each.key, suffix) for suffix, each in where.items())
        return files_of(self.folder, self.family.pipeline, variant=self.found.variant, embeddings=vectors)

    def by_diffusers(self, plan: Plan, folder: Path) -> bytes:
        """What the lines that are explained paint, with a pipeline of their own."""
        return painted_by(lines_for(plan, self.files()), folder).tobytes()


@pytest.fixture(scope="module", params=NAMES)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.model.close()


def test_without_its_words_the_model_paints_as_if_there_were_none(ground: Ground, tmp_path: Path) -> None:
    bare = Ground(ground.source.alias, tmp_path, with_embeddings=False)
    texts = [("a red cat, word", "plain"), (LONG, "plain"), ("a red cat, sword0", "plain")]
    texts += [("a (red:1.4) cat, sword0", "weighted")] * ground.family.in_blocks
    for prompt, syntax in texts:
        plan = bare.decide(prompt, "green", prompt_syntax=syntax).plan
        assert ground.decide(prompt, "green", prompt_syntax=syntax).plan == plan
        assert ground.paint(plan) == bare.paint(plan)
    bare.model.close()


def test_what_is_painted_is_what_a_few_lines_of_diffusers_paint(ground: Ground, tmp_path: Path) -> None:
    alone = ground.paint(ground.decide("a red cat", "green").plan)
    seen = {alone}
    last = list(ground.embeddings)[-1]
    asked: list[tuple[str, str, dict[str, Any]]] = [
        *((f"a red cat, {alias}", "green", {}) for alias in ground.embeddings),
        (f"<{last}> and WORD0, a cat", "", {}),
        (f"{LONG}, {last}, word0", "green", {}),
    ]
    if ground.family.in_blocks:
        asked += [
            (f"a ({last}:1.3) cat, [word0]", "green", {"prompt_syntax": "weighted"}),
            ("a red cat, word0", "green", {"clip_skip": 1}),
        ]
    asked += [("a red cat", f"{last}, word0", {})] * ground.family.negative
    for prompt, negative, more in asked:
        plan = ground.decide(prompt, negative, **more).plan
        assert plan.embeddings
        ours = ground.paint(plan)
        assert ours == ground.by_diffusers(plan, tmp_path), (prompt, negative)
        seen.add(ours)
    assert len(seen) == 1 + len(asked)
    assert ground.paint(ground.decide("a red cat", "green").plan) == alone
    assert not ground.model.is_spent


def test_a_word_counts_as_its_tokens_and_blocks_never_cut_it(ground: Ground) -> None:
    if not ground.family.in_blocks:
        return
    most = {alias: max(each.count for each in _file(ground, alias).vectors) for alias in ground.embeddings}
    for alias, count in most.items():
        tokens = ground.model.read(ground.decide(f"cat {alias} cat").plan).tokens
        assert (tokens.prompt, tokens.blocks) == (2 + count, 1)
    longest = max(most, key=lambda alias: most[alias])
    words = " ".join(["cat"] * (76 - most[longest]))
    assert ground.model.read(ground.decide(words).plan).tokens.prompt == 76 - most[longest]
    tokens = ground.model.read(ground.decide(f"{words} {longest}").plan).tokens
    assert (tokens.prompt, tokens.blocks) == (76, 2)


def test_where_the_pipeline_reads_a_text_whole_a_word_counts_as_its_tokens(ground: Ground) -> None:
    if ground.family.in_blocks:
        return
    pipeline, plain = ground.model._pipeline, ground.decide("a cat").plan
    tokenizer = getattr(pipeline, ground.family.reads[0].tokenizer)
    for alias in ground.embeddings:
        plan = ground.decide(f"a cat {alias}").plan
        spelled = pipeline.maybe_convert_prompt(with_tokens(f"a cat {alias}", plan.embeddings), tokenizer)
        added = ground.model.read(plan).tokens.prompt - ground.model.read(plain).tokens.prompt
        ids = tokenizer(spelled, add_special_tokens=False).input_ids
        assert added == len(ids) - len(tokenizer("a cat", add_special_tokens=False).input_ids)
        taught = {key for key in tokenizer.added_tokens_encoder if key.startswith(f"<{alias}>")}
        assert taught == {tokenizer.convert_ids_to_tokens(each) for each in ids} & taught
    long = ground.decide(f"{'word0 ' * 600}").plan
    assert any("has no effect" in warning for warning in ground.model.read(long).warnings)


def _file(ground: Ground, alias: str) -> EmbeddingFile:
    return read_embedding(ground.embeddings[alias])


def test_diffusers_itself_reads_the_same_tokens(ground: Ground) -> None:
    """Its own `maybe_convert_prompt` makes of a word what our blocks make of it."""
    if not ground.family.in_blocks:
        return
    pipeline = ground.model._pipeline
    plan = ground.decide("a cat, word0, " + ", ".join(ground.embeddings)).plan
    text = with_tokens(plan.images[0].prompt, plan.embeddings)
    for reader in ground.model._blocks._readers:  # type: ignore[union-attr]
        converted = pipeline.maybe_convert_prompt(text, reader._tokenizer)
        theirs = reader._tokenizer(converted, add_special_tokens=False).input_ids
        (ours,) = reader.blocks(((Piece(text),),))
        assert [token for token, _ in ours] == theirs


def test_what_a_text_means_as_a_whole_is_read_at_its_end_whatever_was_taught(ground: Ground) -> None:
    """Else all of a prompt behind the word would be left out of it."""
    if not hasattr(ground.model._pipeline, "text_encoder_2") or not ground.family.in_blocks:
        return
    said = [with_tokens(text, ground.decide(text).plan.embeddings) for text in ("word1, a cat", "word1, a dog")]
    cat, dog = (ground.model._pipeline.encode_prompt(text)[2] for text in said)
    assert not cat.equal(dog)


def test_a_picture_says_which_ones_it_has_by_their_hash(ground: Ground) -> None:
    plan = ground.decide("a cat, word0").plan
    pixels = ground.model.paint(plan, ground.model.read(plan), 0, lambda _step, _steps: None)
    text = a1111_parameters(plan, plan.images[0], pixels)
    (sha256,) = pixels.embedding_hashes.values()
    assert f'TI hashes: "Word0: {sha256}"' in text
    assert len(sha256) == 12


def test_a_file_that_has_come_or_changed_has_the_model_loaded_anew(tmp_path: Path) -> None:
    zoo.build("sd15", tmp_path / "model")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    files = [tmp_path / f"{name}.safetensors" for name in ("here", "later")]
    embeddings.build(files[0])
    read = Embeddings(pipeline, [EmbeddingSource(file.stem, (str(file),), file.stem) for file in files])
    assert (read.tokens, read.is_spent) == (("<here>",), False)
    embeddings.build(files[1])
    assert read.is_spent
    files[1].unlink()
    embeddings.build(files[0], count=2)
    assert read.is_spent
    files[0].unlink()
    assert not read.is_spent


def test_one_that_does_not_fit_is_told_and_read_as_a_word(tmp_path: Path) -> None:
    """As where nobody knew what the model is when the request was accepted."""
    ground = Ground("sdxl", tmp_path)
    embeddings.build(tmp_path / "wide.safetensors", width=40)
    wrong = {"wide": EmbeddingSource("wide", (str(tmp_path / "wide.safetensors"),), "wide")}
    rules = Rules(StyleBook({}, ""), {"sdxl": ground.source}, "sdxl", ("none",), 0, embeddings=wrong)
    asked = b'{"prompt": "a wide cat", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 7}'
    known = Known(ground.family)
    plan = decide(read(asked), rules, drawn_seed=0, known=lambda _: known).plan
    assert [each.name for each in plan.embeddings] == ["wide"]
    settings = RendererSettings(embeddings=wrong, device="cpu", offline=True)
    model = TorchDevice(settings).load(ground.source, lambda: None)
    reading = model.read(plan)
    assert (
        "`wide` is read as a word: the embedding wide can't be used with this model: "
        "it is for one text encoder (40 numbers), and the model has two (32 and 32)."
    ) in reading.warnings
    as_words = ground.decide("a wide cat").plan
    step = lambda _step, _steps: None  # noqa: E731 - two callers
    assert (
        model.paint(plan, reading, 0, step).rgb
        == ground.model.paint(as_words, ground.model.read(as_words), 0, step).rgb
    )
    model.close()
    ground.model.close()


@pytest.mark.parametrize("build", [narrow.sd15, narrow.sdxl])
def test_a_model_in_one_file_is_taught_what_its_folder_is(build: Any, tmp_path: Path) -> None:
    pipeline = narrow.alive(lambda: build(clip_tokenizer))
    pipeline.save_pretrained(tmp_path / "model")
    checkpoints.write(pipeline, tmp_path / "model.safetensors")
    sources = [ModelSource("it", str(tmp_path / name)) for name in ("model", "model.safetensors")]
    folder, file = (judge(source, tmp_path, offline=True) for source in sources)
    assert (file.folder, widths_of(file)) == (None, widths_of(folder))
    files = []
    for suffix, width in widths_of(file).items():
        files.append(str(tmp_path / f"{suffix}.safetensors"))
        embeddings.build(Path(files[-1]), count=2, width=width)
    taught = {"easy": EmbeddingSource("easy", tuple(files), "easy")}
    assert misfits(file, read_all(taught.values())) == {}
    device = TorchDevice(RendererSettings(embeddings=taught, device="cpu", offline=True))
    rules = Rules(StyleBook({}, ""), {"it": sources[0]}, "it", ("none",), 0, embeddings=taught)
    asked = b'{"prompt": "easy", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 7}'
    plan = decide(read(asked), rules, drawn_seed=0, known=lambda _: Known(folder.family)).plan
    models = [device.load(source, lambda: None) for source in sources]
    readings = [model.read(plan) for model in models]
    assert [reading.tokens.prompt for reading in readings] == [2, 2]
    pictures = [
        model.paint(plan, reading, 0, lambda *_: None).rgb for model, reading in zip(models, readings, strict=True)
    ]
    assert pictures[0] == pictures[1]
    for model in models:
        model.close()


def test_a_word_that_the_model_has_of_its_own_is_kept(tmp_path: Path) -> None:
    zoo.build("sd15", tmp_path / "model")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    pipeline.load_textual_inversion(torch.ones(1, 32), token="<mine>")
    embeddings.build(tmp_path / "mine.safetensors")
    read = Embeddings(pipeline, [EmbeddingSource("mine", (str(tmp_path / "mine.safetensors"),), "mine")])
    assert read.tokens == ()
    row = pipeline.tokenizer.convert_tokens_to_ids("<mine>")
    assert pipeline.text_encoder.get_input_embeddings().weight[row].eq(1).all()


def test_the_rows_say_which_classes_read_embeddings() -> None:
    rows = [row for row in BY_KEY.values() if row.embeddings]
    assert {row.pipeline for row in rows} == {zoo.class_of(zoo.BUILDERS[name]) for name in NAMES}
    ways = {row.key: {} if row.embeddings_alone else row.siblings for row in rows}
    classes = {kind for row in rows for kind in (row.pipeline, *ways[row.key].values())}
    assert all(hasattr(getattr(diffusers, kind), "maybe_convert_prompt") for kind in classes)
    alone = {kind for row in rows if row.embeddings_alone for kind in row.siblings.values()}
    assert not any(hasattr(getattr(diffusers, kind), "maybe_convert_prompt") for kind in alone)
