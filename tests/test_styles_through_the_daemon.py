"""Styles of several files, chained, from the drop to the picture's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from darkroom.testing.process import DaemonProcess, check_complete


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    home = tmp_path_factory.mktemp("styles")
    (home / "styles.csv").write_text('name,prompt,negative_prompt\nSoft Anime,"anime, {prompt}",photo\nGrain,grain,\n')
    (home / "more.json").write_text('[{"name": "Grain", "prompt": "film grain {x}"}, {"name": "Empty"}]')
    (home / "own.toml").write_text('[styles.flux-look]\nprompt = "sharp"\nfamilies = ["flux"]\n')
    files = [str(home / name) for name in ("styles.csv", "more.json", "own.toml")]
    settings = {"styles": ["", *files], "default_style": ["ink", "flux-look"]}
    with DaemonProcess(home, settings=settings) as daemon:
        yield daemon


def test_a_chain_stands_in_the_answer_in_the_picture_and_in_status(daemon: DaemonProcess) -> None:
    style = ["watercolor", "Soft Anime", "Grain"]
    daemon.drop("cat.json", {"prompt": "a cat", "style": style})
    answer = daemon.wait_for_state("cat", "done")
    folder = daemon.outbox / str(answer["result"])
    check_complete(folder, answer)
    plan = answer["plan"]
    words = "anime, watercolor painting, soft washes, paper texture, a cat, film grain {x}"
    assert (plan["style"], plan["prompt"]) == (style, words)
    assert plan["negative_prompt"].startswith("photograph, 3d render, hard edges, photo, blurry")
    assert json.loads((folder / "answer.json").read_bytes())["plan"] == plan
    with Image.open(folder / "cat-1.png") as picture:
        texts = picture.text  # type: ignore[attr-defined]
    assert json.loads(texts["darkroom"])["plan"]["style"] == style
    assert texts["parameters"].startswith(words)
    assert "style watercolor, Soft Anime, Grain" in daemon.command("status", "cat").stdout


def test_default_styles_that_are_for_other_models_do_not_apply(daemon: DaemonProcess) -> None:
    daemon.drop("plain.json", {"prompt": "a cat"})
    assert daemon.wait_for_state("plain", "done")["plan"]["style"] == "ink"


def test_what_is_wrong_with_a_chain_is_told_name_by_name(daemon: DaemonProcess) -> None:
    daemon.drop("wrong.json", {"style": ["ink", "Grian", "flux-look"]})
    error = daemon.wait_for_state("wrong", "refused")["error"]
    assert [problem["where"] for problem in error.get("problems", [])] in ([], ["/style/1"])
    assert error["code"] == "unknown_style"
    daemon.drop("flux.json", {"style": ["ink", "flux-look"]})
    assert daemon.wait_for_state("flux", "refused")["error"]["code"] == "unsupported_key"


def test_what_could_be_better_about_the_book_is_logged_once_and_told_by_doctor(daemon: DaemonProcess) -> None:
    logged = [Path(each["where"]).name for each in daemon.log.find("style_book")]
    assert logged == ["more.json: Grain", "more.json: Empty", "more.json: Grain"]
    said = daemon.command("doctor").stdout
    assert "takes the place of the one in" in said
    assert "left out" in said
