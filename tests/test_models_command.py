"""models, models try and models pull, as a person says them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.cli import main
from darkroom.testing import tiny_pipeline

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.build(folder)
    return folder


@pytest.fixture
def say(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    config = tmp_path / "darkroom.toml"
    config.write_text(
        f'device = "cpu"\noffline = true\nmodel_cache = "{tmp_path}"\n'
        f'[models.tiny]\nsource = "{folder}"\n[models.small]\nsource = "{folder}"\nquantize = "fp8"\n'
        '[models.lost]\nsource = "/nowhere"\n[models.broken]\nsource = "testcard:fail_load=1"\n'
    )

    def said(*words: str) -> tuple[int, str, str]:
        status = main(["models", *words, "--config", str(config)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return said


def test_the_list_tells_what_each_takes_and_what_is_wrong(say: Say) -> None:
    status, out, _ = say()
    assert status == 0
    assert re.search(r"^tiny +64×64, .*MiB on disk, 1\.4 MiB as float32$", out, re.MULTILINE)
    assert re.search(r"^small +64×64, .*MiB on disk, 56\d\.\d KiB as fp8$", out, re.MULTILINE)
    assert re.search(r"^lost .*held$", out, re.MULTILINE)
    assert "lost can't be rendered: there is no folder /nowhere." in out


def test_programs_get_the_same_as_a_list(say: Say, folder: Path) -> None:
    _, out, _ = say("--json")
    told = {row["alias"]: row for row in json.loads(out)}
    tiny = told["tiny"]
    assert (tiny["state"], tiny["lacks"], tiny["family"], tiny["folder"]) == (
        "usable", "", "stable-diffusion", str(folder),
    )  # fmt: skip
    assert tiny["disk_bytes"] == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert told["small"]["memory_bytes"] < tiny["memory_bytes"]
    assert (told["lost"]["state"], told["lost"]["memory_bytes"]) == ("held", None)
    _, out, _ = say("tiny", "--json")
    assert json.loads(out) == [tiny]


def test_one_is_shown_with_its_parts(say: Say) -> None:
    _, out, _ = say("small")
    assert re.search(r"^quantize +fp8$", out, re.MULTILINE)
    assert re.search(r"^in memory .* as fp8: vae .*, unet .*, text_encoder ", out, re.MULTILINE)


def test_a_try_tells_time_and_memory(say: Say) -> None:
    status, out, err = say("try", "testcard")
    assert status == 0
    assert re.search(r"^loaded in \d+\.\d s, revision local$", out, re.MULTILINE)
    assert re.search(r"^painted 256×256 in 4 steps: \d+\.\d s, [\d.]+ MiB of memory at most$", out, re.MULTILINE)
    assert "loading testcard" in err
    status, _, err = say("try", "broken")
    assert status == 1
    assert "broken cannot be loaded: its source says so. Remove `fail_load`." in err


@pytest.mark.parametrize(
    ("words", "status", "words_back"),
    [
        (("pull",), 1, "`models pull` needs a model. darkroom models pull ALIAS"),
        (("fetch", "tiny"), 1, "There is no `models fetch`. Say pull or try, and which model."),
        (("pull", "tyni"), 1, "There is no model tyni."),
        (("pull", "testcard"), 0, "testcard is not from the hub, so there is nothing to download: it has no files."),
        (("pull", "tiny"), 0, "tiny is not from the hub, so there is nothing to download: it is in "),
    ],
)
def test_what_cannot_be_meant_is_told(say: Say, words: tuple[str, ...], status: int, words_back: str) -> None:
    done, out, err = say(*words)
    assert done == status
    assert words_back in out + err
