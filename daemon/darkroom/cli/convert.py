"""convert and reproduce: what others wrote, as requests."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom.cli import terminal
from darkroom.cli.asking import problems_of
from darkroom.cli.configured import config_file, configuration, known_of
from darkroom.cli.exits import DONE
from darkroom.client.answers import INPUTS
from darkroom.config.load import find_file
from darkroom.config.reading import read_begin
from darkroom.config.settings import Config
from darkroom.disk.files import Disk
from darkroom.errors import DarkroomError
from darkroom.foreign import carried, infotext
from darkroom.foreign.programs import INFOTEXT, PROGRAMS, THEIR_WORDS_ALONE, Program, program_of, recognised, translated
from darkroom.foreign.sheet import Fate, Note, Sheet, Target
from darkroom.models.families import STABLE_DIFFUSION_XL
from darkroom.models.schedulers import SCHEDULERS
from darkroom.names import files_folder
from darkroom.printable import printable
from darkroom.request import again

MAX_BYTES = 64 << 20  #: bodies of calls hold whole pictures
MAX_DEPTH = 100
_KNOWN = "Darkroom knows A1111's web UI, ComfyUI, InvokeAI, Fooocus and OpenAI's images API."
_OURS = Program(lambda data: "a picture of Darkroom's" if "plan" in data else None, again.translate)
#: What a JSON text may hold as it is, and a terminal may not get.
_UNSEEN = re.compile("[\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def convert(args: argparse.Namespace) -> int:
    """Print the request that a file of another program means; on stderr, what became of each of its keys."""
    from darkroom.request.json_text import TextProblem, load

    try:
        data = load(_read(args.file, MAX_BYTES), max_depth=MAX_DEPTH)
    except TextProblem as error:
        raise DarkroomError(f"{args.file}: {error.problem}") from None
    program = PROGRAMS[args.of] if args.of else program_of(data)
    if program is None:
        raise DarkroomError(
            f"{args.file} is not a file of another program that Darkroom knows.", hint=_what_to_do(data)
        )
    return _translate(args, data, program, recognised(data) or f"a file of {args.of}")


def _what_to_do(data: dict[str, Any]) -> str:
    if "prompt" in data:
        return f"Is it a request already? `darkroom check FILE` says so. {_KNOWN} --from names the one that is meant."
    return f"{_KNOWN} --from names the one that is meant."


def reproduce(args: argparse.Namespace) -> int:
    """Print the request that makes a picture again; on stderr, what became of what it says of itself."""
    texts = carried.texts_of(_read(args.picture, carried.MAX_BYTES))
    for program, data in _readings(texts):
        if what := program.recognise(data):
            return _translate(args, data, program, what, Path(args.picture).parent / INPUTS)
    told = f"Its texts are called {', '.join(sorted(texts))}: none is known." if texts else "It carries no text at all."
    hint = "Programs that send or edit pictures often take it out; for one of Darkroom's, see `answer.json` beside it."
    raise DarkroomError(f"{args.picture} does not say how it was made. {told}", hint=hint)


def _readings(texts: dict[str, str]) -> list[tuple[Program, dict[str, Any]]]:
    """What a picture says of itself, the most exact first."""
    found: list[tuple[Program, dict[str, Any]]] = []
    for name, program in (
        ("darkroom", _OURS),
        ("invokeai_metadata", PROGRAMS["invokeai"]),
        ("prompt", PROGRAMS["comfyui"]),
        ("workflow", PROGRAMS["comfyui"]),
        ("invokeai_graph", PROGRAMS["invokeai"]),
    ):
        if (data := carried.object_in(texts.get(name, ""))) is not None:
            found.append((program, data))
    parameters = texts.get("parameters", "")
    if (data := carried.object_in(parameters)) is not None:
        return [*found, (PROGRAMS["fooocus"], data)]
    return [*found, (INFOTEXT, infotext.parse(parameters))] if parameters else found


def _translate(
    args: argparse.Namespace, data: dict[str, Any], program: Program, what: str, inputs: Path | None = None
) -> int:
    config = configuration(args)
    here = find_file(config_file(args)) is not None
    problems: Callable[[dict[str, Any]], Any] = lambda request: problems_of(request, config, here=here)  # noqa: E731
    chosen = {key: getattr(args, key) for key in ("prompt", "model") if getattr(args, key) is not None}
    sheet = translated(data, program, _target(config, args.model, here=here), problems, chosen=chosen)
    named = _named(sheet.request) if inputs is not None else []
    there = [inputs / name for name in named if inputs is not None and (inputs / name).is_file()]
    if args.output is not None:
        _bring(there, Path(args.output).absolute())
    _write(args.output, _text_of(sheet.request))
    _tell(sheet, what)
    _tell_files(named, there, args.output)
    if not here:
        terminal.complain("there is no configuration here: only the daemon knows which models and styles there are")
    return DONE


def _target(config: Config, alias: str | None, *, here: bool) -> Target:
    from darkroom.request.shape import KEYS

    rules, known = config.rules(), known_of(config)
    model = alias or rules.default_model
    family = rules.card(model, known(model)).family if here and model in rules.models else None
    return Target(
        KEYS,
        SCHEDULERS if family is None else family.schedulers,
        {name: style.negative_prompt for name, style in rules.book.styles.items()},
        tuple(rules.models),
        tuple(rules.loras),
        tuple(rules.upscalers),
        own_layer=2 if family is not None and family.key == STABLE_DIFFUSION_XL.key else 1,
    )


def _text_of(request: dict[str, Any]) -> str:
    text = json.dumps(request, ensure_ascii=not re.match("utf", sys.stdout.encoding, re.IGNORECASE), indent=1)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _read(file: str, limit: int) -> bytes:
    data = sys.stdin.buffer.read(limit + 1) if file == "-" else read_begin(Path(file), limit)
    if len(data) > limit:
        raise DarkroomError(f"{file} is larger than {limit >> 20} MiB.")
    return data


def _write(output: str | None, text: str) -> None:
    """On stdout, or into a new file: nothing is written over."""
    if output is None:
        sys.stdout.write(text)
        return
    try:
        Disk().create_exclusive(Path(output).absolute(), text.encode())
    except FileExistsError:
        raise DarkroomError(f"{output} is there already.", hint="Give another name, or remove it.") from None


def _named(request: dict[str, Any]) -> list[str]:
    """The files that it names. What a picture says of itself may be anything."""
    from darkroom.request.shape import read

    return list(read(json.dumps({"prompt": "a prompt", **request}).encode()).request.files)


def _bring(files: list[Path], request: Path) -> None:
    """Copy them where the request finds them: nothing is written over."""
    disk, folder = Disk(), request.with_name(files_folder(request.name))
    for file in files:
        disk.make_folder(folder, shared=True)
        target = folder / file.name
        if target.exists():
            raise DarkroomError(f"{target} is there already.", hint="Give another name, or remove it.")
        disk.copy_new(file, target)


def _tell_files(named: list[str], there: list[Path], output: str | None) -> None:
    say = terminal.err().print
    found = {each.name for each in there}
    for file in there:
        if output is None:
            say(printable(f"It names {file.name}, which is {file}: put it beside the request."))
    for name in named:
        if name not in found:
            say(printable(f"It names {name}, which does not lie beside the picture: put it beside the request."))


def _tell(sheet: Sheet, what: str) -> None:
    """What became of each key, on stderr."""
    say = terminal.err().print
    say(f"This is {what}. Of what it says,")
    for note in sorted(sheet.notes.values(), key=lambda note: list(Fate).index(note.fate)):
        say(printable(f"  {_line(note, sheet)}"))
    added = {key: value for key, value in THEIR_WORDS_ALONE.items() if sheet.request.get(key) == value}
    if added:
        say(f"Added, since its own words alone counted there: {_pairs(added)}")
    lost = sum(note.fate is Fate.LOST for note in sheet.notes.values())
    if lost:
        say(f"{lost} of {len(sheet.notes)} have no counterpart: the picture will differ in that.")


def _line(note: Note, sheet: Sheet) -> str:
    if note.fate is Fate.BECOMES:
        became = _pairs({key: sheet.request[key] for key in note.keys})
        return f"{note.where} becomes {became}" + (f" ({note.words})" if note.words else "")
    return f"{note.where} {note.fate.value}: {note.words}"


def _pairs(said: dict[str, Any]) -> str:
    return ", ".join(f'"{key}": {_short(json.dumps(value, ensure_ascii=False))}' for key, value in said.items())


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
