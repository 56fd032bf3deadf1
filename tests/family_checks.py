"""What holds of every family: a class of tests, for those that a file of tests names."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from darkroom.errors import ErrorCode, RequestRefused
from darkroom.executor.port import AttemptKey, Cancelled, Load, Loaded, Painted, Stepped
from darkroom.models.family import Family
from darkroom.models.files import Fate
from darkroom.models.judge import judge_folder
from darkroom.models.schedulers import SCHEDULERS
from darkroom.request import plan_json
from darkroom.testing import zoo
from tests.subject import PROMPT, SIDE_PX, Subject, saying, watched

#: Signs of several tokenizers' own.
SPECIALS = "<|endoftext|> </s> <|im_end|> [SEP] <pad> <eos> <|im_start|> <|image_pad|>"

ODD_PROMPTS = ("", "🦊🌙 ✨", "قطة حمراء على تل", "a cat\n\n\ta dog", SPECIALS, "((a cat:1.3)), {dog|fox} …")


def another_scheduler(subject: Subject) -> str:
    """One that is not for this family."""
    return next(name for name in SCHEDULERS if name not in (*subject.family.schedulers, "own"))


def takes_words_alone(pipeline: type) -> bool:
    """Whether a class of diffusers makes a picture of a text, and needs nothing else."""
    made_of = inspect.signature(pipeline).parameters
    asked = inspect.signature(pipeline.__call__).parameters
    return "controlnet" not in made_of and "control_image" not in asked and "num_frames" not in asked


class FamilyChecks:
    """Each asks one thing of one subject: whoever derives from it says which, by the parameter `builder`."""

    FAMILIES: ClassVar[Mapping[str, str]] = {}  #: builder → the family that its folder tells

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, builder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
        folder: Path = tmp_path_factory.mktemp(builder)
        zoo.build(builder, folder / "model")
        with watched(Subject(builder, folder / "model", folder / "work")) as watched_one:
            yield watched_one

    @pytest.fixture
    def family(self, builder: str) -> str:
        return self.FAMILIES[builder]

    def test_its_folder_tells_what_it_is(self, subject: Subject, family: str) -> None:
        found = judge_folder(subject.source, subject.model)
        assert (found.fate, found.message) == (Fate.USABLE, f"is in {subject.model}.")
        assert subject.family.key == family
        subject.bench.agenda.add(Load(subject.name))
        assert subject.bench.wait_for(Loaded, model=subject.name).revision == "local"

    def test_a_scheduler_that_is_not_for_it_is_told_of_its_configuration_and_refused(self, subject: Subject) -> None:
        scheduler = another_scheduler(subject)
        found = judge_folder(replace(subject.source, scheduler=scheduler), subject.model)
        assert found.fate is Fate.NEVER
        assert found.message == f"its `scheduler` {scheduler} is not for {subject.family.title}."
        assert "Leave `scheduler` out" in found.hint
        with pytest.raises(RequestRefused, match=f"can't be rendered with {scheduler}"):
            subject.decide(scheduler=scheduler)

    def test_a_prompt_alone_is_enough(self, subject: Subject) -> None:
        plan = subject.decide(prompt=PROMPT).plan
        assert (plan.scheduler, plan.num_images) == (subject.family.schedulers[0], 1)
        seen = subject.see(plan)
        assert (seen.width, seen.height) == (SIDE_PX, SIDE_PX)
        assert seen.steps == list(range(1, plan.num_inference_steps + 1))
        with Image.open(seen.file) as picture:
            assert picture.size == (SIDE_PX, SIDE_PX)

    def test_a_picture_has_the_size_and_the_steps_that_it_was_asked_for(self, subject: Subject) -> None:
        wide, high = SIDE_PX + subject.family.step_px, SIDE_PX
        for width, height in ((wide, high), (high, wide)):
            seen = subject.see(subject.plan(width=width, height=height, num_inference_steps=4))
            assert (seen.width, seen.height) == (width, height)
            assert seen.steps == [1, 2, 3, 4]

    def test_every_scheduler_of_it_tells_its_steps(self, subject: Subject) -> None:
        for scheduler in subject.family.schedulers:
            steps = subject.see(subject.plan(scheduler=scheduler, num_inference_steps=4)).steps
            assert steps == sorted(steps)
            assert {1, 2, 3, 4} >= set(steps) >= {2, 3, 4}, scheduler  # PNDM's first one takes two calls

    def test_the_same_seed_gives_the_same_picture_also_after_a_restart(self, subject: Subject, tmp_path: Path) -> None:
        plan = subject.plan(num_inference_steps=3)
        first = subject.numbers(plan)
        assert subject.numbers(subject.plan(seed=8, num_inference_steps=3)) != first
        assert subject.numbers(plan) == first
        with watched(Subject(subject.name, subject.model, tmp_path)) as anew:
            assert anew.numbers(plan) == first

    def test_a_cancelled_picture_leaves_within_a_step_and_nothing_behind(self, subject: Subject) -> None:
        plan, longer = subject.plan(num_inference_steps=3), subject.plan(num_inference_steps=5)
        before = subject.numbers(plan)
        with subject.at_each_step(lambda: subject.bench.agenda.cancel(AttemptKey(subject.last, 1))):
            name = subject.send(longer)
            subject.bench.wait_for(Cancelled, name)
        assert [each.progress.step for each in subject.bench.of(name, Stepped)] in ([], [1])
        assert subject.bench.of(name, Painted) == []
        assert subject.numbers(plan) == before

    def test_what_is_said_of_a_negative_prompt_is_true(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        family = subject.family
        if not family.negative:
            with pytest.raises(RequestRefused, match="takes no negative prompt"):
                subject.decide(negative_prompt="sea")
            return
        for scale in self._around_where_it_begins(subject):
            asked = {family.cfg: scale} if family.cfg else {}
            decision = subject.decide(negative_prompt="a blue sea", **asked)
            words = [saying(decision.plan, negative_prompt=words) for words in ("a blue sea", "golden castle")]
            is_kept = decision.plan.images[0].negative_prompt != ""
            assert is_kept == (not any("no effect" in warning for warning in decision.warnings))
            with monkeypatch.context() as patch:
                patch.setattr(Family, "is_guided", lambda *_: True)  # it is given in any case
                first, second = map(subject.numbers, words)
            assert (first != second) == is_kept, scale

    @staticmethod
    def _around_where_it_begins(subject: Subject) -> list[float]:
        family = subject.family
        return [family.cfg_above, family.cfg_above + 0.5, family.cfg_above + 3] if family.cfg else [0]

    def test_every_scale_of_it_changes_the_picture(self, subject: Subject) -> None:
        for key in subject.family.scales:
            low, high = (subject.numbers(subject.plan(**{key: scale})) for scale in (2.0, 5.0))
            assert low != high, key

    def test_a_long_prompt_is_read_as_far_as_it_is_told(self, subject: Subject) -> None:
        limit = subject.reader._limit
        ends = self._ends(subject, limit)
        inside, other_inside, beyond, other_beyond = (
            subject.see(saying(subject.plan(), prompt=text)).numbers for text in ends
        )
        assert inside != other_inside
        assert (beyond != other_beyond) == subject.reads_on

    @staticmethod
    def _ends(subject: Subject, limit: int) -> tuple[str, str, str, str]:
        """Two texts whose last token is the last one that is read; two longer ones that differ behind it."""
        count = subject.reader._count
        first, second = next(
            pair
            for pair in ((" dog", " cat"), ("x", "z"))
            if {count(f"red{end}") - count("red") for end in pair} == {1}
        )
        cost = count("a red fox fox") - count("a red fox")
        text = "a red" + " fox" * max(0, (limit - 20) // cost)
        while count(text + first) < limit:
            fillers = (" fox", " of", " a", "a", ",")
            text += next(
                each for each in fillers if count(text) < count(text + each) and count(text + each + first) <= limit
            )
        assert count(text + first) == count(text + second) == limit
        return text + first, text + second, text + first + first, text + first + second

    def test_a_prompt_of_800_words_renders_and_what_is_not_read_is_named(self, subject: Subject) -> None:
        seen = subject.see(subject.plan(prompt=" ".join(["cat"] * 799 + ["dog"])))
        tokens = seen.started.tokens
        assert tokens.prompt >= 800
        unread = [warning for warning in seen.started.warnings if "has no effect" in warning]
        if tokens.limit < tokens.prompt and not subject.reads_on:
            assert "dog" in unread[0]
        else:
            assert unread == []

    def test_odd_prompts_render(self, subject: Subject) -> None:
        for prompt in ODD_PROMPTS:
            seen = subject.see(saying(subject.plan(), prompt=prompt))
            own = [sign for sign in SPECIALS.split() if sign in subject.reader._specials]
            told = " ".join(seen.started.warnings)
            assert all(f"`{sign}`" in told for sign in own) or prompt != SPECIALS
            assert seen.width == SIDE_PX

    def test_weights_that_are_no_numbers_make_no_picture(self, subject: Subject) -> None:
        before = subject.numbers(subject.plan())
        with _weights_that_are_no_numbers(subject.denoiser):
            failed = subject.fail(subject.plan())
        assert failed.fault.code == ErrorCode.BROKEN_PICTURE
        assert "in float32 already" in failed.fault.hint
        assert subject.numbers(subject.plan()) == before

    def test_too_little_memory_is_told_and_the_next_picture_is_fine(self, subject: Subject) -> None:
        def ask_for_too_much() -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        before = subject.numbers(subject.plan())
        with subject.at_each_step(ask_for_too_much):
            failed = subject.fail(subject.plan())
        assert (failed.fault.code, failed.fault.can_retry) == (ErrorCode.OUT_OF_MEMORY, True)
        assert subject.numbers(subject.plan()) == before

    def test_a_decoder_that_overflows_in_half_precision_decodes_in_float32(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        with watched(Subject(subject.name, subject.model, tmp_path, dtype="bfloat16")) as half:
            plan = half.plan()
            fine = half.see(plan)
            assert fine.finished.warnings == ()
            if half.decoder is None:
                return
            half.decoder.register_forward_hook(_overflow)
            seen = half.see(plan)
            assert seen.finished.warnings == ("Half precision overflowed: the picture was decoded in float32.",)
            assert half.numbers(plan) == seen.numbers

    def test_a_picture_tells_what_was_asked_for(self, subject: Subject) -> None:
        plan = subject.plan(num_inference_steps=3)
        with Image.open(subject.see(plan).file) as picture:
            parameters, record = picture.info["parameters"], json.loads(picture.info["darkroom"])
        assert plan_json.load(record["plan"]) == plan
        told = parameters.splitlines()
        assert told[0] == PROMPT
        assert "Steps: 3, " in told[-1]
        assert f"Seed: 7, Size: {SIDE_PX}x{SIDE_PX}, Model: {subject.name}" in told[-1]
        own, choice = type(subject.pipeline.scheduler).__name__, SCHEDULERS[plan.scheduler]
        assert f"Sampler: {own if plan.scheduler == 'own' else choice.sampler}, " in told[-1]
        guides = plan.guidance_scale if plan.true_cfg_scale is None else plan.true_cfg_scale
        assert ("CFG scale: " in told[-1]) == (guides is not None)
        assert guides is None or f"CFG scale: {guides:g}, " in told[-1]
        is_distilled = {"guidance_scale", "true_cfg_scale"} <= subject.family.scales.keys()
        assert ("Distilled CFG Scale: " in told[-1]) == is_distilled


def _overflow(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output if output.dtype == torch.float32 else output * float("nan")


@contextmanager
def _weights_that_are_no_numbers(part: torch.nn.Module) -> Iterator[None]:
    kept = {name: weight.detach().clone() for name, weight in part.state_dict().items()}
    with torch.no_grad():
        for weight in part.parameters():
            weight.fill_(float("nan"))
    try:
        yield
    finally:
        part.load_state_dict(kept)
