"""What Darkroom paints is what a few lines of diffusers paint, to the bit: `explain --as-python` is held against it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import numpy as np
import pytest

from darkroom.errors import ErrorCode, RenderFailed, RequestRefused
from darkroom.executor.settings import RendererSettings
from darkroom.explain.files import ControlFiles, ModelFiles
from darkroom.models.families import PRESETS
from darkroom.models.family import WEIGHTS, Family
from darkroom.models.files import Fate
from darkroom.models.judge import judge_folder
from darkroom.models.source import ControlSource, ModelSource
from darkroom.render.device import TorchDevice
from darkroom.render.engine import Model
from darkroom.request.decide import Decision, Known, Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import StyleBook
from darkroom.testing import zoo
from tests.zoo.lines import Picture, files_of, lines_for, painted_by, picture_in

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

#: These paint about a million pixels whatever they are asked for; the second is not rendered: see `test_matrix`.
SLOW = {"hidream", "kandinsky5"}

#: These paint nothing without a picture: see `test_pictures_in`.
EDITORS = {"qwen_image_edit", "qwen_image_edit_plus"}

NAMES = [name for name in zoo.BUILDERS if name not in SLOW | EDITORS]
Changed = Callable[[Path], None]


class Ground:
    """One tiny model: as Darkroom has it, and as a script has it."""

    controls: Mapping[str, ControlSource] = MappingProxyType({})
    inputs: Path | None = None  #: the folder with the files that requests name

    def __init__(self, name: str, folder: Path, changed: Changed = lambda _: None, **chosen: Any) -> None:
        zoo.build(name, folder)
        changed(folder)
        self.folder = folder
        self.source = ModelSource(name, str(folder), **chosen)
        found = judge_folder(self.source, folder)
        assert found.fate is Fate.USABLE, f"{found.message} {found.hint}"
        assert found.family is not None
        self.family, self.variant = found.family, found.variant
        self.rules = Rules(StyleBook({}, ""), {name: self.source}, name, ("none",), 0)
        self.rules = replace(self.rules, controls=self.controls)
        settings = RendererSettings(device="cpu", offline=True, controls=dict(self.controls))
        self.model: Model = TorchDevice(settings).load(self.source, lambda: None)
        self.loaded: dict[str, Any] = {}
        self.paint = cache(self._paint)

    def decide(self, **asked: Any) -> Decision:
        side = max(64, self.family.step_px)
        given: dict[str, Any] = {"prompt": "a red cat", "width": side, "height": side, "seed": 7}
        given["num_inference_steps"] = max(2, self.family.fewest_steps)
        reading = read(json.dumps(given | asked).encode())
        return decide(reading, self.rules, drawn_seed=0, known=lambda _: Known(self.family))

    def _paint(self, plan: Plan) -> tuple[Picture, tuple[str, ...]]:
        reading = self.model.read(plan, self.inputs)
        pixels = self.model.paint(plan, reading, 0, lambda _step, _steps: None)
        shape = (pixels.height, pixels.width, 3)
        return np.frombuffer(pixels.rgb, np.uint8).reshape(shape), reading.warnings

    def files(self) -> ModelFiles:
        return files_of(
            self.folder,
            self.family.pipeline,
            variant=self.variant,
            preset=self.source.preset,
            controls={alias: ControlFiles(each.source, mode=each.mode) for alias, each in self.controls.items()},
        )

    def script(self, plan: Plan) -> str:
        return lines_for(plan, self.files())

    def run(self, plan: Plan, folder: Path) -> Picture:
        """What its script paints, run in this process: the pipeline's files are read once."""
        with self._loading_once():
            return painted_by(self.script(plan), folder)

    @contextmanager
    def _loading_once(self) -> Iterator[None]:
        stock: Any = diffusers.DiffusionPipeline.from_pretrained

        def once(kind: Any, *arguments: Any, **options: Any) -> Any:
            name = kind.__name__
            if name not in self.loaded or "controlnet" in options:
                self.loaded[name] = stock.__func__(kind, *arguments, **options)
                self.loaded[name].set_progress_bar_config(disable=True)
            return self.loaded[name]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(diffusers.DiffusionPipeline, "from_pretrained", classmethod(once))
            yield


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ground]:
    """Each tiny model, made and loaded once; the last one is kept."""
    kept: dict[str, Ground] = {}

    def ground(name: str) -> Ground:
        if name not in kept:
            kept.clear()
            kept[name] = Ground(name, tmp_path_factory.mktemp(name))
        return kept[name]

    return ground


def asked_of(ground: Ground) -> Iterator[dict[str, Any]]:
    """What a picture may be asked with, one thing after another."""
    family = ground.family
    side = max(64, family.step_px)
    fewest = family.fewest_steps
    yield {}
    yield {"seed": 8}
    yield {"prompt": "a blue fox in the house"}
    yield {"num_inference_steps": fewest}
    yield {"num_inference_steps": fewest + 2}
    yield {"width": side + family.step_px}
    for key in family.scales:
        yield from ({key: 2.5}, {key: 1.0}, {key: 0.0})
    if family.negative:
        yield from asked_with_a_negative_prompt(family.cfg)
    if family.in_blocks:
        yield from asked_in_blocks(family)
    if family.clip_skip:
        yield {"clip_skip": 1}
    for scheduler in family.schedulers:
        yield from ({"scheduler": scheduler, "num_inference_steps": steps} for steps in (1, 3, 4) if steps >= fewest)


def asked_with_a_negative_prompt(guide: str | None) -> Iterator[dict[str, Any]]:
    yield {"negative_prompt": "blurry"}
    if guide is not None:
        yield {guide: 3.0}
        yield from ({"negative_prompt": "blurry", guide: scale} for scale in (3.0, 1.0, 0.0))


LONG = ", ".join(["a red cat on the hill by the house"] * 15)


def asked_in_blocks(family: Family) -> Iterator[dict[str, Any]]:
    yield {"prompt": LONG}
    yield {"prompt": "a (red:1.4) cat BREAK [hill], (house)", "prompt_syntax": "weighted"}
    yield {"prompt": "a (red:1.4) cat BREAK [hill]", "prompt_syntax": "weighted", "weights": "without-1"}
    yield from (
        {"prompt": f"(a fox:0), {LONG} (red:1.4)", "prompt_syntax": "weighted", "weights": each} for each in WEIGHTS
    )
    yield {"prompt": r"a red cat \(on a hill\)", "prompt_syntax": "weighted"}
    if family.negative:
        yield {"prompt": LONG, "negative_prompt": "blurry (ugly:1.2)", "prompt_syntax": "weighted"}
        yield {"negative_prompt": LONG, "clip_skip": 1}


def difference(ground: Ground, plan: Plan, folder: Path) -> str | None:
    """How far apart the two pictures are; None where they are the same, or both cannot be."""
    try:
        ours, _ = ground.paint(plan)
    except RenderFailed as refused:
        return None if refused.code is ErrorCode.UNSUPPORTED and is_impossible(ground, plan, folder) else str(refused)
    theirs = ground.run(plan, folder)
    if ours.shape != theirs.shape:
        return f"{ours.shape} and {theirs.shape}"
    return None if np.array_equal(ours, theirs) else f"{np.abs(ours.astype(int) - theirs).max()} of 255"


def is_impossible(ground: Ground, plan: Plan, folder: Path) -> bool:
    """Whether diffusers cannot do it either."""
    try:
        ground.run(plan, folder)
    except Exception:  # noqa: BLE001 - how it says so differs with every class
        return True
    return False


def differences(ground: Ground, folder: Path) -> dict[str, str]:
    plans = {str(asked): ground.decide(**asked).plan for asked in asked_of(ground)}
    found = {asked: difference(ground, plan, folder) for asked, plan in plans.items()}
    return {asked: wrong for asked, wrong in found.items() if wrong is not None}


@pytest.mark.parametrize("name", NAMES)
def test_what_darkroom_paints_is_what_a_few_lines_of_diffusers_paint(
    name: str, grounds: Callable[[str], Ground], tmp_path: Path
) -> None:
    assert differences(grounds(name), tmp_path) == {}


# Whether each key does what it says ----------------------------------------------------------------------------------

#: Key → two values that have to give two pictures. None: it is left out.
KEYS: dict[str, tuple[Any, Any]] = {
    "prompt": ("a red cat", "a blue fox"),
    "seed": (7, 8),
    "num_inference_steps": (2, 3),
    "negative_prompt": (None, "blurry"),
    "guidance_scale": (2.5, 6.0),
    "true_cfg_scale": (2.5, 6.0),
}


def pairs_of(ground: Ground) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for key, (one, other) in KEYS.items():
        yield key, {} if one is None else {key: one}, {key: other}
    first, *others = ground.family.schedulers
    for other in others:
        yield (
            "scheduler",
            {"scheduler": first, "num_inference_steps": 4},
            {"scheduler": other, "num_inference_steps": 4},
        )


def without_effect(ground: Ground, key: str, one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """What is wrong with a key: it is accepted, changes nothing, and nobody says so."""
    try:
        first, second = ground.decide(**one), ground.decide(**other)
        before, (after, told) = ground.paint(first.plan)[0], ground.paint(second.plan)
    except (RequestRefused, RenderFailed):
        return None
    is_told = any(key.partition("_")[0] in warning.lower() for warning in (*second.warnings, *told))
    return None if is_told or not np.array_equal(before, after) else f"{one} and {other} give one picture"


@pytest.mark.parametrize("name", NAMES)
def test_each_key_changes_the_picture_or_it_is_told_that_it_does_not(
    name: str, grounds: Callable[[str], Ground]
) -> None:
    ground = grounds(name)
    found = [without_effect(ground, *pair) for pair in pairs_of(ground)]
    assert list(filter(None, found)) == []


@pytest.mark.parametrize("name", ["hidream"])
def test_a_model_that_paints_another_size_than_it_is_asked_for_is_refused(name: str, tmp_path: Path) -> None:
    ground = Ground(name, tmp_path / "model")
    plan = ground.decide().plan
    with pytest.raises(RenderFailed, match="paints"):
        ground.model.paint(plan, ground.model.read(plan), 0, lambda _step, _steps: None)


# Models as they come -------------------------------------------------------------------------------------------------


def rewritten(file: str, **changes: Any) -> Changed:
    """Of a model's JSON file; None takes a key out."""

    def change(folder: Path) -> None:
        data = json.loads((folder / file).read_text()) | changes
        (folder / file).write_text(json.dumps({key: value for key, value in data.items() if value is not None}))

    return change


SCHEDULER, INDEX = "scheduler/scheduler_config.json", "model_index.json"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("sd15", rewritten(SCHEDULER, steps_offset=None)),  # as the oldest folders
        ("sd15", rewritten(SCHEDULER, steps_offset=0, timestep_spacing="leading")),
        ("sd15", rewritten(SCHEDULER, prediction_type="v_prediction", timestep_spacing="trailing")),
        (
            "sdxl",
            rewritten(
                SCHEDULER,
                prediction_type="v_prediction",
                rescale_betas_zero_snr=True,
                timestep_spacing="trailing",
            ),
        ),
        ("sd15", rewritten(SCHEDULER, use_karras_sigmas=True, solver_order=3, clip_sample=True)),
        ("sd15", rewritten(SCHEDULER, _class_name="DPMSolverSDEScheduler", timestep_spacing="trailing")),
        ("sdxl", rewritten(INDEX, force_zeros_for_empty_prompt=False)),
        ("sdxl", rewritten(SCHEDULER, steps_offset=None, timestep_spacing=None)),
        ("flux2_klein", rewritten(INDEX, is_distilled=True)),
        ("sd3", rewritten(SCHEDULER, use_dynamic_shifting=False, shift=1.0)),
        ("flux_dev", rewritten(SCHEDULER, max_shift=1.3, base_image_seq_len=16)),
        ("sana", rewritten(SCHEDULER, flow_shift=1.5)),
    ],
)
def test_a_model_that_was_saved_otherwise_is_painted_as_it_was_saved(
    name: str, changed: Changed, tmp_path: Path
) -> None:
    assert differences(Ground(name, tmp_path / "model", changed), tmp_path) == {}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_few_step_model_is_painted_as_its_authors_say(name: str, preset: str, tmp_path: Path) -> None:
    assert differences(Ground(name, tmp_path / "model", preset=preset), tmp_path) == {}


@pytest.mark.parametrize("name", ["sd15", "sd3_no_t5", "flux_dev", "qwen_image", "hunyuan_dit"])
def test_the_lines_run_as_they_stand_without_darkroom(
    name: str, grounds: Callable[[str], Ground], tmp_path: Path
) -> None:
    ground = grounds(name)
    plan = ground.decide().plan
    text = f"import sys\nsys.modules['darkroom'] = None\n{ground.script(plan)}"
    subprocess.run([sys.executable, "-"], input=text, text=True, check=True, cwd=tmp_path, capture_output=True)
    assert np.array_equal(picture_in(tmp_path), ground.paint(plan)[0])
