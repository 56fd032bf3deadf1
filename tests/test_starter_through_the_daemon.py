"""What the words of a request do to the picture: the starter model, drawn by a real daemon, looked at by its pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

from darkroom.testing.process import DaemonProcess

STARTER = {
    "source": "starter",
    "width": 96,
    "height": 96,
    "min_px": 96,
    "max_px": 96,
    "num_inference_steps": 20,
    "guidance_scale": 5.0,
    "scheduler": "dpmsolver_multistep",
}
DEADLINE_S = 120.0
THINGS = ("apple", "castle", "fish")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("starter")
    with DaemonProcess(folder, models={"starter": STARTER}, settings={"default_model": "starter"}) as daemon:
        yield daemon


def drawn(daemon: DaemonProcess, name: str, **request: Any) -> list[Path]:
    """The pictures of a request, with the shipped style book in force, its default negative prompt included."""
    daemon.drop(f"{name}.json", {"style": "none", "seed": 11, **request})
    answer = daemon.wait_for_state(name, "done", deadline_s=DEADLINE_S)
    folder = (daemon.outbox / name).parent / answer["result"]
    return [folder / image["file"] for image in answer["images"]]


def picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def saturation(path: Path) -> float:
    """Mean saturation, 0 to 255."""
    return ImageStat.Stat(picture(path).convert("HSV")).mean[1]


def corner(path: Path) -> tuple[float, ...]:
    """Mean colour of the four corners, red, green, blue from 0 to 255."""
    image = picture(path)
    corners = [image.crop(box) for box in ((0, 0, 8, 8), (88, 0, 96, 8), (0, 88, 8, 96), (88, 88, 96, 96))]
    means = [ImageStat.Stat(each).mean for each in corners]
    return tuple(sum(values) / 4 for values in zip(*means, strict=True))


def purple(colour: tuple[float, ...]) -> float:
    """How far red and blue stand above green."""
    red, green, blue = colour
    return (red + blue) / 2 - green


def test_the_same_seed_gives_the_same_bytes_and_another_another_picture(daemon: DaemonProcess) -> None:
    first, again = drawn(daemon, "first", prompt="an apple"), drawn(daemon, "again", prompt="an apple")
    other = drawn(daemon, "other", prompt="an apple", seed=12)
    assert first[0].read_bytes() == again[0].read_bytes()
    assert picture(first[0]).tobytes() != picture(other[0]).tobytes()


def test_several_pictures_of_one_request_differ_and_each_is_that_of_its_own_seed(daemon: DaemonProcess) -> None:
    pictures = drawn(daemon, "three", prompt="a fish", num_images=3, seed=5)
    assert len({picture(each).tobytes() for each in pictures}) == 3
    alone = drawn(daemon, "third", prompt="a fish", seed=7)
    assert picture(alone[0]).tobytes() == picture(pictures[2]).tobytes()


def test_the_fantasy_style_glows_purple_and_a_negative_prompt_takes_that_away(daemon: DaemonProcess) -> None:
    for thing in THINGS:
        asked = {"prompt": f"a {thing}", "style": "fantasy"}
        plain = corner(drawn(daemon, f"{thing}-plain", prompt=f"a {thing}")[0])
        fantasy = corner(drawn(daemon, f"{thing}-fantasy", **asked)[0])
        without = corner(drawn(daemon, f"{thing}-without", **asked, negative_prompt="purple background")[0])
        assert min(plain) > 200, "plain pictures stand on white"
        assert purple(fantasy) > 40
        assert purple(without) < purple(fantasy) - 20, "beside the default negative prompt"


def test_a_ground_that_is_not_wanted_goes_although_the_negative_prompt_is_long(daemon: DaemonProcess) -> None:
    many = "people, hands, boring, green background, grainy, lowres, logo, cluttered, amateur"
    for thing in THINGS:
        asked = {"prompt": f"a {thing} on a green background"}
        green = corner(drawn(daemon, f"{thing}-green", **asked)[0])
        without = corner(drawn(daemon, f"{thing}-not-green", **asked, negative_prompt=many)[0])
        assert green[1] > max(green[0], green[2]) + 20
        assert without[1] - max(without[0], without[2]) < green[1] - max(green[0], green[2]) - 20


def test_ink_has_no_colour_and_a_negative_monochrome_gives_more_of_it(daemon: DaemonProcess) -> None:
    for thing in THINGS:
        plain = saturation(drawn(daemon, f"{thing}-colour", prompt=f"a {thing}")[0])
        ink = saturation(drawn(daemon, f"{thing}-ink", prompt=f"a {thing}", style="ink")[0])
        more = drawn(daemon, f"{thing}-more", prompt=f"a {thing}", negative_prompt="monochrome, black and white")
        assert ink < plain / 2
        assert saturation(more[0]) > plain + 3


def test_the_thing_has_the_one_colour_and_the_ground_the_other(daemon: DaemonProcess) -> None:
    blue_car = picture(drawn(daemon, "car", prompt="a blue car on a yellow background", seed=3)[0])
    red, green, blue = ImageStat.Stat(blue_car.crop((36, 44, 60, 60))).mean
    assert blue > red + 20
    assert blue > green
    ground = corner(drawn(daemon, "car-again", prompt="a blue car on a yellow background", seed=3)[0])
    assert min(ground[:2]) > ground[2] + 60


def test_a_prompt_with_no_word_that_it_knows_is_warned_of(daemon: DaemonProcess) -> None:
    daemon.drop("odd.json", {"prompt": "quantum finance", "style": "none", "num_inference_steps": 1})
    answer = daemon.wait_for_state("odd", "done", deadline_s=DEADLINE_S)
    assert any("apple" in warning or "such as" in warning for warning in answer["warnings"])


def test_another_size_is_refused_with_the_reason(daemon: DaemonProcess) -> None:
    daemon.drop("large.json", {"prompt": "an apple", "width": 512, "height": 512})
    answer = daemon.wait_for_state("large", "refused")
    assert "96" in answer["error"]["problems"][0]["message"]
