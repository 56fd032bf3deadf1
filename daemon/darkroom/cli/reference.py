"""styles, schema, models, doctor."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from collections.abc import Collection

from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.configured import config_file, configuration, known_of
from darkroom.cli.exits import CONFIG_UNUSABLE, DONE
from darkroom.errors import DarkroomError
from darkroom.models.card import ModelCard
from darkroom.models.family import Family
from darkroom.printable import printable
from darkroom.request.decide import Known
from darkroom.request.styles import NO_STYLE
from darkroom.spelling import suggestion
from darkroom.systemd.unit import program

NO_STYLE_IS = "No style: the prompt as it is"


def styles(args: argparse.Namespace) -> int:
    """List the style book, or show one style whole."""
    config = configuration(args)
    book = config.style_book()
    if args.name is None:
        rows = [(name, style.description or textwrap.shorten(style.prompt, 80)) for name, style in book.styles.items()]
        return _print_list([*rows, (NO_STYLE, NO_STYLE_IS)], default=config.default_style)
    if args.name == NO_STYLE:
        return _print_fields({"description": NO_STYLE_IS})
    if args.name not in book.styles:
        raise DarkroomError(f"There is no style {args.name}.", hint=suggestion(args.name, book.names))
    style = book.styles[args.name]
    fields = ("description", "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "scheduler")
    said = {field: getattr(style, field) for field in fields} | {"families": ", ".join(style.families)}
    return _print_fields({field: value for field, value in said.items() if value not in ("", None)})


def models(args: argparse.Namespace) -> int:
    """List the models, or show one whole; of the starter model also what it can draw."""
    from darkroom.models.files import Fate
    from darkroom.models.judge import judge

    config = configuration(args)
    hub_cache, rules = config.model_cache / "hub", config.rules()
    judgements = {alias: judge(source, hub_cache, offline=config.offline) for alias, source in config.sources().items()}
    cards = {alias: rules.card(alias, Known(found.family)) for alias, found in judgements.items()}
    if args.alias is None:
        rows = [
            (alias, f"{card.width}×{card.height}, {card.family.title}, {config.models[alias].source}")
            for alias, card in cards.items()
        ]
        status = _print_list(rows, default=(config.default_model,))
        for alias, judgement in judgements.items():
            if judgement.fate in (Fate.HELD, Fate.NEVER):
                terminal.out().print(f"\n{alias} can't be rendered: {judgement.message} {judgement.hint}")
        return status
    if args.alias not in config.models:
        raise DarkroomError(f"There is no model {args.alias}.", hint=suggestion(args.alias, config.models))
    model, judgement = config.models[args.alias], judgements[args.alias]
    loading = {key: getattr(model, key) for key in ("source", "revision", "variant", "dtype", "safety_checker")}
    its_files = {"its files": f"{judgement.message} {judgement.hint}".strip()}
    status = _print_fields(loading | _can_do(cards[args.alias]) | its_files)
    if config.sources()[args.alias].is_starter:
        from darkroom.starter.vocabulary import concepts

        print("\nIt draws these things, in the styles and colours that the prompt names:\n")
        print(textwrap.fill(", ".join(concepts()) + ".", 100))
    return status


def _can_do(card: ModelCard) -> dict[str, object]:
    """What requests can ask of a model, in the words of their keys; the defaults first."""
    family = card.family
    sides = f"{card.min_px} to {card.max_px}, multiples of {family.step_px}"
    others = [name for name in family.schedulers if name != card.scheduler]
    negative = "none"
    if family.negative:
        negative = f"where {family.cfg} is above {family.cfg_above:g}" if family.cfg else "yes"
    return {
        "family": family.title,
        "width": f"{card.width} ({sides})",
        "height": f"{card.height} ({sides})",
        "num_inference_steps": f"{card.num_inference_steps}"
        + (f" (made for few: {family.made_for} at most)" if family.made_for else ""),
        **{key: f"{value:g}" for key, value in card.scales.items()},
        "scheduler": card.scheduler + (f" (or {', '.join(others)})" if others else ""),
        "negative_prompt": negative,
        "pictures": _pictures(family),
        "default_style": ", ".join(card.default_style or ()),
    }


def _pictures(family: Family) -> str:
    """The keys of a request that bring pictures."""
    keys = {"init": "init_image", "mask": "mask_image", "control": "control"}
    can = [key for way, key in keys.items() if way in family.siblings]
    if family.references:
        must = ", required" if family.fewest_references else ""
        can.append(f"reference_images ({family.references} at most{must})")
    return ", ".join(can) or "none"


def schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema of a request."""
    from darkroom.request.schema import schema as request_schema

    config = configuration(args)
    print(json.dumps(request_schema(config.rules(), known_of(config)), indent=2, ensure_ascii=False))
    return DONE


def doctor(args: argparse.Namespace) -> int:
    """Check everything. A configuration that cannot be read is the first thing that it tells."""
    from darkroom.cli.doctor import Verdict, examine, service_config, service_user
    from darkroom.config.load import find_file
    from darkroom.rights import who

    config, file = configuration(args), find_file(config_file(args))
    console = terminal.out()
    console.print(f"Configuration: {file or f'defaults only ({_looked_for()})'}")
    console.print(f"Checked as {who()}, with the rights of {who()}.")
    if (user := service_user()) not in (None, who()):
        theirs = service_config() or (file.absolute() if file is not None else None)
        words = ["sudo", "-u", str(user), str(program()), "doctor", *(["--config", str(theirs)] if theirs else [])]
        console.print(f"The service runs as {user}. To check as the service: {shlex.join(words)}")
    looks = {Verdict.OK: ("ok  ", "green"), Verdict.WARN: ("warn", "yellow"), Verdict.FAIL: ("FAIL", "bold red")}
    counts = dict.fromkeys(Verdict, 0)
    for finding in examine(config, file):
        mark, look = looks[finding.verdict]
        line = Text.assemble((mark, look), "  ", (finding.what, "bold"), ": ", printable(finding.says))
        console.print(line)
        if finding.do:
            console.print(Text(printable(f"      → {finding.do}")))
        counts[finding.verdict] += 1
    console.print(_sum(counts[Verdict.OK], counts[Verdict.WARN], counts[Verdict.FAIL]))
    return CONFIG_UNUSABLE if counts[Verdict.FAIL] else DONE


def _sum(good: int, warned: int, failed: int) -> str:
    if not warned and not failed:
        return f"All {good} checks are fine."
    parts = [f"{good} fine", f"{warned} could be better" if warned else "", f"{failed} failed" if failed else ""]
    return ", ".join(part for part in parts if part) + "."


def _looked_for() -> str:
    from darkroom.config.load import USUAL_FILES

    return f"there is neither {' nor '.join(str(path.absolute()) for path in USUAL_FILES)}"


def _print_list(rows: list[tuple[str, str]], *, default: Collection[str]) -> int:
    cells = [(Text(name, style="bold"), Text(text + ("  (default)" if name in default else ""))) for name, text in rows]
    terminal.out().print(*terminal.columns(*cells), sep="\n")
    return DONE


def _in_a_file(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print_fields(fields: dict[str, object]) -> int:
    cells = [(Text(name, style="bold"), Text(_in_a_file(value))) for name, value in fields.items()]
    terminal.out().print(*terminal.columns(*cells), sep="\n")
    return DONE
