"""What the words of a request do to the picture: the starter model, drawn by a real daemon, looked at by its pixels."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageStat

from darkroom.starter.drawings import HUES
from darkroom.starter.measures import colour_of
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
Measure = Callable[[Path], float]
THINGS = ("apple", "castle", "fish")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("starter")
    with DaemonProcess(folder, models={"starter": STARTER}, settings={"default_model": "starter"}) as daemon:
        yield daemon


def drawn(daemon: DaemonProcess, name: str, **request: Any) -> list[Path]:
    """The pictures of a request, with the shipped style book in force."""
    daemon.drop(f"{name}.json", {"default_negative": False, "style": "none", "seed": 11, **request})
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
        plain = corner(drawn(daemon, f"{thing}-plain", prompt=f"a {thing}")[0])
        fantasy = corner(drawn(daemon, f"{thing}-fantasy", prompt=f"a {thing}", style="fantasy")[0])
        without = corner(
            drawn(
                daemon,
                f"{thing}-without",
                prompt=f"a {thing}",
                style="fantasy",
                negative_prompt="purple background",
            )[0]
        )
        assert min(plain) > 200, "plain pictures stand on white"
        assert fantasy[2] - fantasy[1] > 40, "purple: much blue, little green"
        assert sum(without) > sum(fantasy) or without[2] - without[1] < fantasy[2] - fantasy[1]


def test_ink_has_no_colour_and_a_negative_monochrome_gives_it_back(daemon: DaemonProcess) -> None:
    for thing in THINGS:
        plain = saturation(drawn(daemon, f"{thing}-colour", prompt=f"a {thing}")[0])
        ink = saturation(drawn(daemon, f"{thing}-ink", prompt=f"a {thing}", style="ink")[0])
        back = saturation(
            drawn(
                daemon,
                f"{thing}-back",
                prompt=f"black and white, a {thing}",
                negative_prompt="monochrome, black and white",
            )[0]
        )
        grey = saturation(drawn(daemon, f"{thing}-grey", prompt=f"black and white, a {thing}")[0])
        assert ink < plain / 2
        assert back > grey


#: What a word's weight is told by: a thing, the colour that it is asked for, and how much each channel tells of that.
COLOURED = (
    ("umbrella", "green", (-0.5, 1.0, -0.5)),
    ("house", "red", (1.0, -0.5, -0.5)),
)


def much(path: Path, channels: tuple[float, ...]) -> float:
    """Of a colour, as the mean of the whole picture, from 0 to 255."""
    return sum(share * mean for share, mean in zip(channels, ImageStat.Stat(picture(path)).mean, strict=True))


@pytest.mark.parametrize(("thing", "colour", "channels"), COLOURED)
def test_a_word_that_weighs_more_is_seen_more(
    daemon: DaemonProcess, thing: str, colour: str, channels: tuple[float, ...]
) -> None:
    half, once, more = (
        [
            much(each, channels)
            for each in drawn(
                daemon,
                f"{colour}-{weight * 10:g}",
                prompt=f"a ({colour}:{weight}) {thing}",
                prompt_syntax="weighted",
                default_negative=True,
                num_images=2,
            )
        ]
        for weight in (0.5, 1.0, 1.5)
    )
    assert sum(half) < sum(once) - 2
    assert sum(more) > sum(once) + 2


def test_each_picture_shows_the_colour_that_was_chosen_for_it(daemon: DaemonProcess) -> None:
    asked = {
        "prompt": "a {red|green|blue} house",
        "prompt_syntax": "dynamic",
        "num_images": 6,
        "default_negative": True,
    }
    pictures = drawn(daemon, "many", **asked)
    images = daemon.wait_for_state("many", "done")["plan"]["images"]
    chosen = [next(word for word in HUES if word in image["prompt"]) for image in images]
    assert len(set(chosen)) > 1
    assert [colour_of(np.asarray(picture(each))) for each in pictures] == chosen


def warmth(path: Path) -> float:
    """How far the corners' red stands above their blue."""
    red, _, blue = corner(path)
    return red - blue


def purple(path: Path) -> float:
    """How far the corners' red and blue stand above their green."""
    red, green, blue = corner(path)
    return (red + blue) / 2 - green


def paleness(path: Path) -> float:
    """Without any colour 255."""
    return 255 - saturation(path)


def squares(path: Path) -> float:
    """How much more the picture changes between every four pixels than between others, in hundredths."""
    steps = np.abs(np.diff(np.asarray(picture(path)).mean(2), axis=1))
    return float(100 * steps[:, 3::4].mean() / steps.mean())


@pytest.fixture(scope="module")
def styled(daemon: DaemonProcess) -> Callable[..., Path]:
    """A fish in these styles; each chain is drawn once."""

    @cache
    def in_styles(*style: str) -> Path:
        return drawn(daemon, "-".join(style), prompt="a fish", style=list(style), default_negative=True)[0]

    return in_styles


#: Two styles, and what each is seen by, which the other does not have.
CHAINS = (
    ("golden-hour", warmth, "ink", paleness),  # lines on warm paper
    ("fantasy", purple, "ink", paleness),  # lines on a purple ground
    ("golden-hour", warmth, "pixel-art", squares),
)


@pytest.mark.parametrize(("one", "seen_by", "other", "other_seen_by"), CHAINS)
def test_both_of_two_styles_are_seen(
    styled: Callable[..., Path], one: str, seen_by: Measure, other: str, other_seen_by: Measure
) -> None:
    both = styled(one, other)
    assert seen_by(both) > seen_by(styled(other)) + 20
    assert other_seen_by(both) > other_seen_by(styled(one)) + 20


def test_a_prompt_with_no_word_that_it_knows_is_warned_of(daemon: DaemonProcess) -> None:
    daemon.drop("odd.json", {"prompt": "quantum finance", "style": "none", "num_inference_steps": 1})
    answer = daemon.wait_for_state("odd", "done", deadline_s=DEADLINE_S)
    assert any("apple" in warning or "such as" in warning for warning in answer["warnings"])


def test_another_size_is_refused_with_the_reason(daemon: DaemonProcess) -> None:
    daemon.drop("large.json", {"prompt": "an apple", "width": 512, "height": 512})
    answer = daemon.wait_for_state("large", "refused")
    assert "96" in answer["error"]["problems"][0]["message"]
