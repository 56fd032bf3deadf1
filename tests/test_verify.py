"""Is a picture still what its plan makes?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom.cli.verify import changes, compared
from darkroom.errors import DarkroomError
from darkroom.explain import made
from darkroom.models.source import ModelSource
from darkroom.request.again import request_of
from darkroom.request.decide import Rules, decide
from darkroom.request.plan import Plan
from darkroom.request.shape import read
from darkroom.request.styles import Style, StyleBook
from darkroom.testing.process import DaemonProcess

INK = Style("ink", "ink of {prompt}", "", "colour", scheduler="heun")
BOOK = StyleBook(styles={"ink": INK}, default_negative_prompt="blurry")
FAMILIES = ("stable-diffusion", "flux", "z-image", "sana-sprint")
MODELS = {key: ModelSource(key, f"/models/{key}", family=key) for key in FAMILIES}
RULES = Rules(BOOK, MODELS, "stable-diffusion", ("ink",), 0)


def planned(**asked: Any) -> Plan:
    return decide(read(json.dumps({"prompt": "a cat"} | asked).encode()), RULES, drawn_seed=5).plan


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"negative_prompt": "dogs", "num_images": 3},
        {"prompt": "a {red|green} (cat)", "prompt_syntax": "dynamic", "num_images": 5},
        {"format": "jpeg", "quality": 50, "seed": 2**63 - 9},
        {"prompt": "odd \n\t “quotes” \\ (a:1.2) Negative prompt: x"},
    ],
)
def test_the_request_of_a_picture_is_planned_as_that_picture_was(model: str, asked: dict[str, Any]) -> None:
    if model == "sana-sprint" and "negative_prompt" in asked:
        return  # which it takes none of
    plan = planned(model=model, **asked)
    for image in plan.images:
        again = decide(read(json.dumps(request_of(plan, image)).encode()), RULES, drawn_seed=99).plan
        assert again.images == (image,)
        for field in Plan.__slots__:
            if field not in ("images", "style"):
                assert getattr(again, field) == getattr(plan, field), field


def picture(file: Path, colour: tuple[int, int, int], *, odd: int = 0, size: tuple[int, int] = (8, 8)) -> Path:
    image = Image.new("RGB", size, colour)
    image.putpixel((0, 0), (colour[0] + odd, colour[1], colour[2]))
    image.save(file)
    return file


@pytest.mark.parametrize(
    ("odd", "size", "near", "says"),
    [
        (0, (8, 8), True, "identical."),
        (3, (8, 8), True, "close: the largest difference is 3 of 255"),
        (90, (8, 8), False, "different: the largest difference is 90 of 255"),
        (0, (8, 16), False, "different: it was 8×8, and is 8×16 now."),
    ],
)
def test_two_pictures_are_identical_close_or_different(
    tmp_path: Path, odd: int, size: tuple[int, int], near: bool, says: str
) -> None:
    before = picture(tmp_path / "a.png", (10, 20, 30))
    found = compared(before, picture(tmp_path / "b.png", (10, 20, 30), odd=odd, size=size))
    assert found[0] == near
    assert found[1].startswith(says)


def test_a_picture_that_is_not_there_gets_a_word(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="cannot be read"):
        compared(tmp_path / "gone.png", tmp_path / "gone.png")


def test_what_has_changed_since_is_named() -> None:
    before = made.Made(name="cat", stem="cat-1", plan=planned(), device="A", software={"torch": "1", "x": "2"})
    after = replace(before, device="B", software={"torch": "2", "x": "2"})
    assert list(changes(before, after)) == ["  the device was A, and is B now", "  torch was 1, and is 2 now"]


def test_a_result_is_verified_through_the_daemon(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.drop("cat.json", {"prompt": "a cat", "num_images": 2})
        daemon.wait_for_state("cat", "done")
        same = daemon.command("verify", "cat")
        spoilt = daemon.outbox / "cat" / "cat-2.png"
        picture(spoilt, (200, 0, 0), size=(512, 512))
        changed = daemon.command("verify", str(daemon.outbox / "cat"))
        one = daemon.command("verify", "cat", "--image", "1")
    assert (same.returncode, changed.returncode, one.returncode) == (0, 1, 0)
    assert same.stdout.count("identical.") == 2
    assert [line.split(": ")[1].partition(".")[0] for line in changed.stdout.splitlines()] == ["identical", "different"]
    assert one.stdout.count("identical.") == 1
