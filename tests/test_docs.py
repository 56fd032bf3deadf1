"""What the pages say is held to what the program does."""

import argparse
import io
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli.arguments import parser
from darkroom.config.load import load
from darkroom.config.models import LoraSettings
from darkroom.config.settings import Config
from darkroom.errors import ErrorCode, Problem
from darkroom.facts import Artefact, Progress, RenderedBy, Tokens
from darkroom.foreign.programs import recognised
from darkroom.models.families import BY_KEY, PRESETS, ROWS, STABLE_DIFFUSION_XL, VARIATIONS, with_preset
from darkroom.models.source import ControlSource, ModelSource, UpscalerSource
from darkroom.names import why_ignored
from darkroom.report import snapshot as report
from darkroom.report.snapshot import FolderReport, HoldReport, Life, NotTaken, RenderingReport, SeatReport, Snapshot
from darkroom.request.decide import DEFAULT_QUALITY, Known, Rules, decide
from darkroom.request.inputs import InputFile
from darkroom.request.schema import schema
from darkroom.request.shape import MAX_BYTES, MAX_DEPTH, MAX_METADATA_BYTES, read
from darkroom.request.style_files import read_styles, together
from darkroom.request.style_lint import LONG_CHARACTERS, LONG_WORDS, MOST_CHARACTERS
from darkroom.request.styles import MOST_STYLES, StyleBook, chain
from darkroom.service.seats import Doing
from darkroom.spool import answer_json
from darkroom.spool.answer import FORMAT, MOVES, Answer, Error, State, Timing
from darkroom.testing.plans import plan

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pattern in ("*.md", "docs/*.md", "docs/monitoring/*.md", "inbox/README.md", "outbox/README.md")
    for path in sorted(ROOT.glob(pattern))
}
CONTRACT = PAGES["docs/contract.md"]


#: An answer in which every field says something; no real one does.
WHOLE = Answer(
    "A",
    "cat",
    "cat.json",
    State.FAILED,
    rev=1,
    request_sha256="00",
    accepted_at="2025",
    started_at="2025",
    finished_at="2025",
    in_inbox=False,
    ahead=0,
    waiting_for="x",
    progress=Progress(1, 1, 1, 1),
    eta_s=1.0,
    plan=plan(),
    tokens=Tokens(1, 1, 75),
    result="cat",
    inputs=(InputFile("photo.png", "00", 3),),
    images=(Artefact("cat-1.png", 7, 64, 64, 3, "00"),),
    withheld=(2,),
    timing=Timing(1.0, 1.0, 1.0, 1.0),
    warnings=("w",),
    error=Error("render_error", "m", "h", (Problem("/x", "m", "h"),)),
    attempt=1,
    resent=1,
    retry_of="B",
    rendered_by=RenderedBy("h", "d", "m", "r", {"torch": "2"}, "s", "int8"),
    metadata={"a": 1},
)


def loras_shown() -> dict[str, Any]:
    """The tables of docs/loras.md."""
    (shown,) = re.findall(r"^```toml\n(.*?)^```", PAGES["docs/loras.md"], re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = tomllib.loads(shown)["loras"]
    return found


@pytest.fixture(scope="module")
def rules() -> Rules:
    """As without a configuration file, but for the LoRAs that a page shows."""
    return Config.model_validate({"loras": loras_shown()}).rules()


def code_of(page: str) -> Iterator[str]:
    """Every line of code: fenced, indented, or between backticks."""
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    yield from (line for block in fenced for line in block.splitlines())
    yield from re.findall(r"^ {4}(.*)$", rest, re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", rest))


def objects_in(page: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that stands in a page, wherever."""
    at = 0
    while (at := page.find('{"', at)) >= 0:
        try:
            data, end = json.JSONDecoder().raw_decode(page, at)
        except ValueError:
            at += 1
        else:
            yield data
            at = end


# Examples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_json_block_is_json(name: str) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", PAGES[name], re.DOTALL | re.MULTILINE):
        json.loads(block)


def requests_of(page: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    found = [json.loads(block) for block in blocks] + list(objects_in(page))
    asking = [data for data in found if "prompt" in data or "upscale" in data]
    return [data for data in asking if "limit" not in data and not recognised(data)]


def with_what_pages_name(rules: Rules) -> Rules:
    """The shipped configuration, with the tables that the pages show."""
    klein = ModelSource("klein", "owner/name", family="flux2-klein")
    edges = ControlSource("edges", "owner/name", "stable-diffusion")
    sharp = {"sharp": UpscalerSource("sharp", "/srv/models/4x-sharp.safetensors")}
    return replace(rules, models={**rules.models, "klein": klein}, controls={"edges": edges}, upscalers=sharp)


@pytest.mark.parametrize("name", [name for name in PAGES if requests_of(PAGES[name])])
def test_every_request_that_is_shown_would_be_accepted(name: str, rules: Rules) -> None:
    known = with_what_pages_name(rules)
    for request in requests_of(PAGES[name]):
        decide(read(json.dumps(request).encode()), known, drawn_seed=0)


def test_the_pages_show_requests() -> None:
    assert [name for name in ("README.md", "docs/contract.md", "inbox/README.md") if not requests_of(PAGES[name])] == []


COMMAND = re.compile(r"(?:^|&& |\| |sudo )(?:\.venv/bin/)?darkroom (\S.*?)(?= {2}| && | \| | > | # |$)")
COMMANDS = [(name, found) for name in PAGES for code in code_of(PAGES[name]) for found in COMMAND.findall(code)]


def complaint_about(words: list[str]) -> str | None:
    """What the command says when it is given so."""
    complaint = io.StringIO()
    with redirect_stderr(complaint), redirect_stdout(io.StringIO()), suppress(SystemExit):
        parser().parse_args(words)
    return complaint.getvalue() or None


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_command_that_is_shown_can_be_given(name: str, command: str) -> None:
    words = shlex.split(command.replace("…", "x"))
    if len(words) == 1:
        words.append("--help")  # a page may just name it
    assert complaint_about(words) is None, f"{name} shows `darkroom {command}`"


def test_the_front_page_lists_every_command() -> None:
    said = PAGES["README.md"].partition("## The command\n")[2].partition("\n## ")[0]
    (action,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    assert {word.split()[0] for word in re.findall(r"`([^`]+)`", said)} - {"darkroom"} == set(action.choices)


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 15


# Links, and what pages should not do ---------------------------------------------------------------------------------


def anchors_of(page: str) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [(name, link) for name in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[name])]


@pytest.mark.parametrize(("name", "link"), [pair for pair in LINKS if "://" not in pair[1]])
def test_every_link_leads_somewhere(name: str, link: str) -> None:
    target, _, anchor = link.partition("#")
    path = (ROOT / name).parent / target if target else ROOT / name
    assert path.exists(), f"{name} links to {link}"
    if anchor:
        assert anchor in anchors_of(path.read_text(encoding="utf-8")), f"{name} links to {link}"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_cites_lines_of_code(name: str) -> None:
    assert re.findall(r"\w\.(?:py|toml|service|md):\d+|\blines? \d", PAGES[name]) == []


@pytest.mark.parametrize("name", PAGES)
def test_numbers_of_the_configuration_are_those_of_the_code(name: str) -> None:
    """`settle_s` (10): the default stands in brackets."""
    defaults = Config()
    for key, number in re.findall(r"`([a-z_]+)` \((\d+)\)", PAGES[name]):
        assert float(number) == float(getattr(defaults, key)), f"{name} says {key} ({number})"


# The contract: what may be asked -------------------------------------------------------------------------------------


def table(after: str, page: str = CONTRACT) -> list[list[str]]:
    """The cells of the first table behind a heading, without its head."""
    part = page.partition(f"\n## {after}\n")[2]
    rows = re.search(r"((?:^\|.*\n)+)", part, re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in rows[1].splitlines()[2:]]


def number(text: str) -> int:
    return int(text.replace(",", "").replace("−", "-"))


#: How the page says what a JSON Schema calls so.
KINDS = {
    "string": "text|name|alias|`",
    "integer": "whole number",
    "number": "number",
    "boolean": "`",
    "object": "JSON",
    "array": "list",
}
REQUEST_ROWS = {row[0].strip("`"): row[1:] for row in table("What may be asked")}


@pytest.fixture(scope="module")
def keys(rules: Rules) -> dict[str, dict[str, Any]]:
    """What `darkroom schema` prints of each key."""
    found: dict[str, dict[str, Any]] = schema(rules)["properties"]
    return found


def test_the_page_names_every_key_in_the_order_of_the_schema(keys: dict[str, Any]) -> None:
    assert list(REQUEST_ROWS) == list(keys)


@pytest.mark.parametrize("key", REQUEST_ROWS)
def test_the_page_says_of_a_key_what_the_schema_says(key: str, keys: dict[str, dict[str, Any]]) -> None:
    words, default = REQUEST_ROWS[key]
    said = keys[key]
    assert re.search(KINDS[said.get("type", "string")], words)
    bounds = re.search(r"(?:from|of) ([−\d,]+) to ([−\d,]+)", words)
    for least, most in (("minLength", "maxLength"), ("minimum", "maximum")):
        if {least, most} <= said.keys() and key not in ("width", "height"):
            assert bounds is not None
            assert [number(each) for each in bounds.groups()] == [said[least], said[most]]
    if key in ("scheduler", "format"):
        assert re.findall(r"`(\w+)`", words) == said["enum"]
    if default.startswith(("`", "0", "1")):
        assert json.loads(default.strip("`")) == said["default"]
    elif "configured" not in default:
        assert "default" not in said


def test_the_page_says_of_sizes_what_the_schema_says(keys: dict[str, dict[str, Any]]) -> None:
    for key in ("width", "height"):
        assert f"from {keys[key]['minimum']}," in REQUEST_ROWS[key][0]


def test_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"at most {MAX_BYTES >> 20} MiB, nested at most {MAX_DEPTH} deep" in CONTRACT
    assert f"at most {MAX_METADATA_BYTES:,} bytes" in REQUEST_ROWS["metadata"][0]
    assert REQUEST_ROWS["quality"][1] == str(DEFAULT_QUALITY)


def test_what_the_page_calls_left_alone_is_left_alone() -> None:
    part = CONTRACT.partition("**Left alone")[2].partition("\n\n")[0]
    endings = [word for word in re.findall(r"`(\.\w+)`", part) if word != ".json"]
    assert len(endings) == 6
    for name in (*(f"cat{ending}" for ending in endings), ".x", "~x", "x~", "Thumbs.db", "desktop.ini", "@eaDir"):
        assert why_ignored(name), name


def test_the_page_lists_the_style_book(rules: Rules) -> None:
    part = CONTRACT.partition("`config/styles.toml`, has ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", part)) == set(rules.book.styles)


def test_the_request_that_says_everything_does() -> None:
    (request,) = [each for each in requests_of(CONTRACT) if "metadata" in each]
    elsewhere = (
        "true_cfg_scale",
        "reference_images",
        "control",
        "loras",
        "hires",
        "upscale",
        "mask_channel",
    )  # which that model, or configuration, has not, or not with a mask
    assert list(request) == [key for key in REQUEST_ROWS if key not in elsewhere]


# LoRAs ---------------------------------------------------------------------------------------------------------------


def test_the_page_of_loras_names_every_key_of_a_table_and_every_family_that_takes_them() -> None:
    page = PAGES["docs/loras.md"]
    named = {key for row in table("The table", page) for key in re.findall(r"`(\w+)`", row[0])}
    assert named == set(LoraSettings.model_fields)
    families = [
        key for row in table("Which LoRA is for which model", page) for key in re.findall(r"`([\w-]+)`", row[0])
    ]
    assert sorted(families) == sorted(key for key, family in BY_KEY.items() if family.loras)


# Styles --------------------------------------------------------------------------------------------------------------

STYLES = PAGES["docs/styles.md"]


def styles_of_the_page() -> StyleBook:
    """The example of each format, as one book."""
    blocks = re.findall(r"^```(toml|csv|json)\n(.*?)^```", STYLES, re.DOTALL | re.MULTILINE)
    texts = [(kind, text) for kind, text in blocks if "name" in text or "[styles." in text]
    assert {kind for kind, _ in texts} == {"toml", "csv", "json"}
    return together([(kind, read_styles(text.encode(), f"x.{kind}")) for kind, text in texts])


def test_the_styles_that_the_page_shows_can_be_read() -> None:
    book = styles_of_the_page()
    assert book.notes == ()
    assert len(book.styles) == 7


def test_the_page_says_what_becomes_of_a_prompt() -> None:
    book = styles_of_the_page()
    rows = table("Several styles", STYLES)
    assert len(rows) > 5
    for names, becomes in rows:
        style = chain(book.chosen(re.findall(r"`([^`]+)`", names)))
        assert style.around("a cat") == becomes.strip("`")


def test_the_configuration_that_the_page_of_styles_shows_is_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```toml\n(styles = .*?)^```", STYLES, re.DOTALL | re.MULTILINE)
    (tmp_path / "darkroom.toml").write_text(re.sub(r"/srv/styles/\w+", str(tmp_path / "mine"), shown))
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "mine.csv").write_text("name,prompt\n")
    (tmp_path / "mine.json").write_text("[]")
    config = load(tmp_path / "darkroom.toml")
    assert (len(config.styles), config.default_style) == (4, ("photographic", "golden-hour"))


def test_limits_of_styles_on_the_page_are_those_of_the_code() -> None:
    assert f"a list of up to {MOST_STYLES}," in STYLES
    assert f"a list of 1 to {MOST_STYLES} names" in REQUEST_ROWS["style"][0]
    assert " ".join(STYLES.split()).count(f"{MOST_CHARACTERS:,} characters") == 2
    assert f"more than {LONG_CHARACTERS:,} characters" in STYLES
    assert f"more than about {LONG_WORDS} words" in " ".join(STYLES.split())


# Models --------------------------------------------------------------------------------------------------------------

MODELS = PAGES["docs/models.md"]


def test_the_page_of_models_has_a_row_for_every_family() -> None:
    variations = [row for each in VARIATIONS.values() for _, row in each]
    rows = {row[1].strip("`"): row for row in table("What each can do", MODELS)}
    assert set(rows) == {family.key for family in (*ROWS, *variations)}
    for family in (*ROWS, *variations):
        title, _, side, step, steps, scales, negative, schedulers, pictures = rows[family.key]
        numbers = (int(side), int(step), int(steps), int(schedulers))
        assert (title, *numbers) == (
            family.title, family.side_px, family.step_px, family.steps, len(family.schedulers)
        )  # fmt: skip
        assert re.findall(r"`(\w+)` ([\d.]+)", scales) == [(key, f"{value:g}") for key, value in family.scales.items()]
        assert (negative != "no") == family.negative
        ways = [way for way in ("init", "mask", "control") if way in family.siblings]
        references = f"{family.references} reference{'s' * (family.references > 1)}" if family.references else ""
        needed = "needed" if family.fewest_references else ""
        assert pictures == (", ".join(filter(None, (*ways, references, needed))) or "none")


def test_the_page_of_models_has_a_row_for_every_preset() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table("Few-step models", MODELS)}
    assert set(rows) == set(PRESETS)
    for preset, (_, scheduler, steps, scale) in rows.items():
        family = with_preset(STABLE_DIFFUSION_XL, preset)
        assert scheduler.startswith(f"`{family.schedulers[0]}`")
        assert ("trailing" in scheduler) == (family.spacing == "trailing")
        assert (int(steps), float(scale)) == (family.steps, family.scales["guidance_scale"])


def test_the_tables_of_the_page_of_models_are_a_configuration(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", MODELS, flags=re.DOTALL)
    (tmp_path / "darkroom.toml").write_text("\n".join(blocks))
    rules = load(tmp_path / "darkroom.toml").rules()
    assert len(rules.models) > len(blocks)
    for alias, source in rules.models.items():
        assert not rules.is_assumed(alias, Known()) or source.source.startswith("/srv/"), alias


# The contract: what is answered --------------------------------------------------------------------------------------


def test_the_page_lists_every_field_of_an_answer_in_their_order() -> None:
    said = [name for row in table("The answer") for name in re.findall(r"`(\w+)`", row[0])]
    assert said == list(answer_json.dump(WHOLE))


def test_the_page_names_what_is_in_each_part_of_an_answer() -> None:
    says = {name: row[1] for row in table("The answer") for name in re.findall(r"`(\w+)`", row[0])}
    data = answer_json.dump(WHOLE)
    for field in ("progress", "timing", "error", "rendered_by"):
        assert set(data[field]) <= set(re.findall(r"`(\w+)`", says[field])) | {"images", "steps"}, field
    assert set(data["inputs"][0]) <= set(re.findall(r"`(\w+)`", says["inputs"]))
    assert set(data["images"][0]) <= set(re.findall(r"`(\w+)`", says["images"]))


def test_the_page_lists_every_field_of_a_heartbeat_in_their_order() -> None:
    says = {tuple(re.findall(r"`(\w+)`", row[0])): row[1] for row in table("Is anybody there?")}
    life = Life("1", "i", "h", 1, "2025")
    seat = SeatReport(
        "cpu",
        "ready",
        "cpu",
        "CPU",
        "sd15",
        "int8",
        ("sd15",),
        "why",
        (RenderingReport("cat", "A", Progress(1, 1, 1, 1), 1.0),),
    )
    folder = FolderReport("/x", "ext4", False, "present", True, "why", 1)
    snapshot = Snapshot(
        "running",
        folders={"inbox": folder},
        seats=(seat,),
        held=(HoldReport("sd15", "why", "hint", 1, "cpu"),),
        waiting_for="x",
        not_taken=(NotTaken("a", "b"),),
        troubled=(NotTaken("a", "b"),),
    )
    data = report.dump(life, snapshot)
    assert [name for names in says for name in names if name not in ("counter", "written_at")] == list(data)
    words = {name: set(re.findall(r"`(\w+)`", text)) for names, text in says.items() for name in names}
    assert f"of this format: {data['darkroom']}" in says["darkroom",]
    assert set(data["folders"]["inbox"]) <= words["folders"]
    assert set(data["seats"][0]) | set(data["seats"][0]["rendering"][0]) <= words["seats"]
    assert set(data["held"][0]) <= words["held"]
    assert {doing.value for doing in Doing} | {"held", "unloaded"} <= words["seats"]


def test_the_example_of_an_answer_has_fields_of_an_answer() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```", CONTRACT, re.DOTALL | re.MULTILINE)
    (example,) = [data for data in map(json.loads, blocks) if "darkroom" in data]
    assert example["darkroom"] == FORMAT
    assert [*answer_json.dump(answer_json.load(example))] == [*example]


def test_the_page_says_what_a_state_may_become() -> None:
    rows = CONTRACT.partition("| state | meaning | may become |\n")[2].partition("\n\n")[0].splitlines()[1:]
    said = {}
    for row in rows:
        state, _, becomes = (cell.strip() for cell in row.strip("|").split("|"))
        said[State(state.strip("`"))] = {State(word) for word in re.findall(r"`(\w+)`", becomes)}
    assert said == {state: set(moves) for state, moves in MOVES.items()}


def test_the_page_lists_every_error() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("Errors")}
    assert list(rows) == list(ErrorCode)
    assert set(rows.values()) == {State.REFUSED.value, State.FAILED.value}


def test_the_state_of_an_answer_stands_on_a_line_where_grep_finds_it() -> None:
    content = answer_json.to_bytes(
        Answer("1", "a", "a.json", State.DONE, result="a-2", metadata={"state": "queued"})
    ).decode()
    assert re.findall(r'^ "state": "(\w+)"', content, re.MULTILINE) == ["done"]
    assert re.findall(r'^ "result": "(\S+)"', content, re.MULTILINE) == ["a-2"]
