"""Debian's exiftool reads what pictures say of themselves, and can take it out again."""

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom.executor.settings import PictureMetadata
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.marks import Origin
from darkroom.render.parameters import Provenance, a1111_parameters
from darkroom.request.plan import ImagePlan, Plan
from darkroom.testing.plans import plan as plan_of

FROM = Provenance("local", "CPU", {}, "6ce0161689")
PIXELS = Pixels(16, 8, bytes(range(128)) * 3)
PLAN = plan_of(prompt='a "näive" 城,\n🦊', negative_prompt="blurry", width=16, height=8)
PLANS = {"png": PLAN, "jpg": replace(PLAN, format="jpeg", quality=90), "webp": replace(PLAN, format="webp", quality=80)}
FORMATS = pytest.mark.parametrize("extension", PLANS)


def made(
    folder: Path, extension: str, metadata: PictureMetadata = "full", *, plan: Plan | None = None, **more: Any
) -> Path:
    plan = plan or PLANS[extension]
    file = folder / f"cat-1.{extension}"
    file.write_bytes(encode(PIXELS, plan, plan.images[0], FROM, metadata=metadata, **more))
    return file


def exiftool(*arguments: str | Path) -> str:
    return subprocess.run(["exiftool", *arguments], capture_output=True, text=True, check=True).stdout


def told(file: Path) -> dict[str, Any]:
    """What it finds, by the names that it gives, with the values as they are."""
    (found,) = json.loads(exiftool("-json", "-n", file))
    return dict(found)


def faults(file: Path) -> list[str]:
    """What is wrong with the file. That it lacks what only a camera knows is not."""
    said = exiftool("-validate", "-warning", "-error", "-a", "-s3", file).splitlines()[1:]
    return [line for line in said if not line.startswith("Missing required JPEG ")]


def pixels(file: Path) -> bytes:
    with Image.open(file) as image:
        return image.tobytes()


@pytest.mark.parametrize("metadata", ["full", "mark"])
@FORMATS
def test_it_reads_that_a_machine_has_made_a_picture(tmp_path: Path, extension: str, metadata: PictureMetadata) -> None:
    file = made(tmp_path, extension, metadata)
    found = told(file)

    assert found["DigitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert found["CreatorTool"].startswith("Darkroom ")
    assert faults(file) == []


@FORMATS
def test_it_reads_that_a_picture_was_made_from_another(tmp_path: Path, extension: str) -> None:
    found = told(made(tmp_path, extension, origin=Origin.PICTURE))

    assert found["DigitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")


@FORMATS
def test_it_reads_the_parameters(tmp_path: Path, extension: str) -> None:
    plan = PLANS[extension]
    found = told(made(tmp_path, extension))

    parameters = found["Parameters"] if extension == "png" else found["UserComment"]
    record = found["Darkroom"] if extension == "png" else found["ImageDescription"]
    assert parameters == a1111_parameters(plan, plan.images[0], PIXELS, FROM.model_hash)
    assert (record if isinstance(record, dict) else json.loads(record))["seed"] == 7


@FORMATS
def test_it_reads_the_longest_prompts(tmp_path: Path, extension: str) -> None:
    plan = replace(PLANS[extension], images=(ImagePlan(7, "城" * 4_000, "🦊" * 4_000),))
    found = told(made(tmp_path, extension, plan=plan))

    assert ("城" * 4_000) in (found["Parameters"] if extension == "png" else found["UserComment"])
    assert "DigitalSourceType" in found


@FORMATS
def test_it_finds_nothing_in_a_picture_that_tells_nothing(tmp_path: Path, extension: str) -> None:
    found = told(made(tmp_path, extension, "none"))

    assert not {"DigitalSourceType", "CreatorTool", "Software", "Parameters", "UserComment", "Darkroom"} & set(found)


def as_the_page_says(file: Path, *, keeps_mark: bool) -> None:
    """Run the page's own command."""
    page = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("    exiftool ")]
    (command,) = (line for line in lines if ("-xmp:all" in line) == keeps_mark)
    exiftool(*shlex.split(command.replace("cat-1.png", str(file)))[1:])


@FORMATS
def test_it_takes_everything_out_and_leaves_the_picture(tmp_path: Path, extension: str) -> None:
    file = made(tmp_path, extension)
    before = pixels(file)
    as_the_page_says(file, keeps_mark=False)

    assert pixels(file) == before
    assert "DigitalSourceType" not in told(file)
    assert b"Steps" not in file.read_bytes()


@FORMATS
def test_it_takes_the_parameters_out_and_leaves_the_mark(tmp_path: Path, extension: str) -> None:
    file = made(tmp_path, extension)
    before = pixels(file)
    as_the_page_says(file, keeps_mark=True)

    assert pixels(file) == before
    assert "DigitalSourceType" in told(file)
    assert b"Steps" not in file.read_bytes()
