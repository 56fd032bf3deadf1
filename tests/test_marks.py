"""A picture says that a machine has made it, and no more than the operator wants it to say."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from darkroom.config.load import load
from darkroom.executor.settings import PictureMetadata
from darkroom.foreign.carried import record_in, texts_of
from darkroom.render.encode import encode
from darkroom.render.engine import Pixels
from darkroom.render.marks import Origin
from darkroom.render.parameters import Provenance, a1111_parameters
from darkroom.request.plan import ImagePlan, Plan
from darkroom.testing.plans import plan as plan_of

FROM = Provenance("451f4fe16113bff5a5d2269ed5ad43b0592e9a14", "Zweihänder GPU", {"torch": "2.13.0"}, "6ce0161689")
PIXELS = Pixels(48, 32, bytes(channel for y in range(32) for x in range(48) for channel in (x * 5, y * 7, 90)))
PLAN = plan_of(
    model="aardvark",
    width=48,
    height=32,
    seed=918273645,
    prompt="bumblebee über kaleidoscope",
    negative_prompt="gargoyle",
    style=("watercolour",),
)
PLANS = [PLAN, replace(PLAN, format="jpeg", quality=90), replace(PLAN, format="webp", quality=80)]
FORMATS = pytest.mark.parametrize("plan", PLANS, ids=["png", "jpeg", "webp"])

#: What only somebody who has seen the request or the machine can know.
PRIVATE = [
    "bumblebee",
    "kaleidoscope",
    "gargoyle",
    "watercolour",
    "918273645",
    "aardvark",
    "Zweih",
    "451f4fe1",
    "euler",
]
EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def made(plan: Plan, metadata: PictureMetadata = "full", origin: Origin = Origin.WORDS) -> bytes:
    return encode(PIXELS, plan, plan.images[0], FROM, metadata=metadata, origin=origin)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def mark_of(data: bytes) -> ET.Element:
    """The one description in the XMP of a picture, as any other program finds it."""
    packet = opened(data).info["xmp"]
    root = ET.fromstring(packet.decode() if isinstance(packet, bytes) else packet)
    (description,) = root.iter(f"{RDF}Description")
    return description


def spellings(word: str) -> list[bytes]:
    return [word.encode(), word.encode("utf-16-be"), word.encode("utf-16-le")]


def told(data: bytes) -> set[str]:
    """Which private words are anywhere in the bytes."""
    return {word for word in PRIVATE if any(spelling in data for spelling in spellings(word))}


# The mark ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", ["full", "mark"])
@FORMATS
def test_a_picture_says_that_a_machine_has_made_it(plan: Plan, metadata: PictureMetadata) -> None:
    description = mark_of(made(plan, metadata))

    expected = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.findtext(f"{EXT}DigitalSourceType") == expected
    assert (description.findtext("{http://ns.adobe.com/xap/1.0/}CreatorTool") or "").startswith("Darkroom ")


@FORMATS
def test_a_picture_that_was_made_from_another_says_so(plan: Plan) -> None:
    description = mark_of(made(plan, origin=Origin.PICTURE))

    expected = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert description.findtext(f"{EXT}DigitalSourceType") == expected


@FORMATS
def test_the_mark_is_small(plan: Plan) -> None:
    assert len(made(plan, "mark")) - len(made(plan, "none")) <= 1_500


@FORMATS
def test_what_a_picture_says_does_not_change_it(plan: Plan) -> None:
    full, mark, none = (opened(made(plan, metadata)).tobytes() for metadata in ("full", "mark", "none"))

    assert full == mark == none


def test_the_mark_of_a_png_is_a_text_that_is_not_compressed() -> None:
    data = made(PLAN)
    key, flags = b"iTXtXML:com.adobe.xmp\0", b"\0\0\0\0"  # neither compressed, nor in a language

    assert key + flags + b"<?xpacket" in data
    assert data.index(key) < data.index(b"IDAT")


def test_a_jpeg_has_its_exif_before_its_mark() -> None:
    data = made(PLANS[1])

    assert data.index(b"Exif\0\0") < data.index(b"http://ns.adobe.com/xap/1.0/\0<?xpacket")


@FORMATS
def test_the_longest_prompts_leave_room_for_the_mark(plan: Plan) -> None:
    long = replace(plan, images=(ImagePlan(7, "城" * 4_000, "🦊" * 4_000),))

    assert mark_of(made(long)).findtext(f"{EXT}DigitalSourceType")


# What is told -----------------------------------------------------------------------------------------------------


@FORMATS
def test_by_default_a_picture_tells_of_everything(plan: Plan) -> None:
    assert told(made(plan)) == set(PRIVATE)


@FORMATS
def test_a_marked_picture_tells_of_the_mark_alone(plan: Plan) -> None:
    data = made(plan, "mark")

    assert told(data) == set()
    assert set(opened(data).info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"} <= {
        "xmp", "XML:com.adobe.xmp", "loop", "background", "timestamp", "duration"
    }  # fmt: skip
    assert not opened(data).getexif()


@FORMATS
def test_a_picture_that_tells_nothing_tells_nothing(plan: Plan) -> None:
    data = made(plan, "none")

    assert told(data) == set()
    assert b"Darkroom" not in data
    assert b"Algorithmic" not in data
    assert "xmp" not in opened(data).info
    assert not opened(data).getexif()


def test_what_pictures_tell_is_configured(tmp_path: Path) -> None:
    file = tmp_path / "darkroom.toml"
    for value in ("full", "mark", "none"):
        file.write_text(f'picture_metadata = "{value}"\n')
        assert load(file).renderer_settings().picture_metadata == value
    file.write_text("")
    assert load(file).renderer_settings().picture_metadata == "full"


# The page ---------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "pictures.md").read_text(encoding="utf-8")


def test_the_page_has_a_row_for_every_value_of_the_setting() -> None:
    rows = re.findall(r'^\| `"(\w+)"`.* \| (yes|no) \| (yes|no) \|$', PAGE, re.MULTILINE)

    assert [value for value, *_ in rows] == list(get_args(PictureMetadata))
    for value, marked, tells in rows:
        data = made(PLAN, value)
        assert (b"trainedAlgorithmicMedia" in data, bool(told(data))) == (marked == "yes", tells == "yes")


def test_the_page_shows_the_parameters_as_they_are() -> None:
    shown = plan_of(
        model="sd15",
        prompt="a castle on a hill",
        negative_prompt="blurry, ugly",
        width=512,
        height=512,
        num_inference_steps=25,
        scheduler="dpmsolver_multistep_karras",
    )
    text = a1111_parameters(shown, shown.images[0], Pixels(512, 512, b""))

    assert "".join(f"    {line}\n" for line in text.splitlines()) in PAGE


def test_the_page_shows_the_mark_as_it_is() -> None:
    assert f"    {mark_of(made(PLAN)).findtext(f'{EXT}DigitalSourceType')}\n" in PAGE


# What Darkroom itself reads ---------------------------------------------------------------------------------------


@FORMATS
def test_darkroom_reads_its_own_record_where_there_is_one(plan: Plan) -> None:
    assert (record_in(texts_of(made(plan))) or {})["seed"] == 918273645
    assert record_in(texts_of(made(plan, "mark"))) is record_in(texts_of(made(plan, "none"))) is None
