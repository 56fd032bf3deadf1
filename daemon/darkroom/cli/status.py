"""status: the heartbeat or one answer, once or again and again."""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.configured import client_of, configuration, why_defaults
from darkroom.cli.exits import DONE, INTERRUPTED, REFUSED_OR_FAILED
from darkroom.cli.follow import LOOK_EVERY_S, conclude, explanation, follow, gaps, state_line
from darkroom.cli.seats import seat_lines
from darkroom.client.answers import FINAL_STATES, Ticket, pictures
from darkroom.client.heartbeat import SILENT_BEATS, START_HINT, Pulse, is_gone, rendering_of, seats_of
from darkroom.client.many import is_folder
from darkroom.client.requests import Client
from darkroom.config.settings import Config
from darkroom.hearsay import Json
from darkroom.printable import printable

WATCH_EVERY_S = 1.0
#: What of a heartbeat is worth another line as it stands.
_NEWS = ("state", "instance", "queued", "next", "waiting_for", "undelivered", "not_taken_more", "settled")
#: Older than this, what is shown is told to be old: no heartbeat is so slow unless somebody has chosen so.
STALE_S = 15.0


def status(args: argparse.Namespace) -> int:
    """Show the daemon, or one request. 1 when nothing is known of it, or when it did not come to pictures."""
    config = configuration(args)
    client = client_of(config)
    if args.name is not None:
        return _one_request(args, config, client)
    if args.watch:
        return _watch(config, client, as_json=args.json)
    health = client.health()
    if args.json:
        print(json.dumps(health, indent=1, ensure_ascii=True))
    else:
        terminal.out().print(overview(health, beats=_seems_alive(health, config.heartbeat_s)))
        if health is None:
            for line in (
                f"Its heartbeat was looked for in {config.state_dir} and {config.outbox}.",
                *why_defaults(args),
            ):
                terminal.complain(line)
    return DONE if health is not None and _seems_alive(health, config.heartbeat_s) else REFUSED_OR_FAILED


def _one_request(args: argparse.Namespace, config: Config, client: Client) -> int:
    answer = client.answer(args.name) if not args.name.endswith("/") else None
    if answer is None and is_folder(client, args.name):
        from darkroom.cli.folder_status import folder_status

        return folder_status(args, config, client)
    if answer is None:
        raise client.unknown(args.name)
    path = client.place_of(answer, args.name)
    if args.json and args.watch:
        return _answers(client, args.name)
    if args.json:
        print(json.dumps(answer, indent=1, ensure_ascii=True))
    elif answer.get("state") not in FINAL_STATES and args.watch:
        return follow(client, Ticket(args.name, path, path, older_id=None), heartbeat_s=config.heartbeat_s)
    elif answer.get("state") in FINAL_STATES and args.watch:
        return conclude(answer, path)
    else:
        terminal.out().print(_request(answer, path, client.health()))
    return REFUSED_OR_FAILED if answer.get("state") in FINAL_STATES - {"done"} else DONE


def _second_pass(plan: Json) -> str:
    hires = plan.get("hires")
    if not isinstance(hires, dict):
        return ""
    return f", then {hires.get('width')}×{hires.get('height')}, {hires.get('num_inference_steps')} steps"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "?"


def _decided(plan: Json) -> list[Text]:
    if isinstance(upscale := plan.get("upscale"), dict):
        larger = f"{plan.get('init_image')}, {_number(upscale.get('scale'))} times larger by {upscale.get('by')}"
        return [Text(printable(f"  {larger}"), style="italic")]
    size = f"{plan.get('width')}×{plan.get('height')}, {plan.get('num_inference_steps')} steps{_second_pass(plan)}"
    return [
        Text(printable(f"  {plan.get('prompt')}"), style="italic"),
        Text(printable(f"  {size}, style {_named(plan.get('style'))}, seed {plan.get('seed')}")),
    ]


def _request(answer: Json, path: Path, health: Json | None) -> RenderableType:
    lines = [Text.assemble((printable(str(answer.get("name"))), "bold"), "  ", state_line(answer, health))]
    if plan := answer.get("plan"):
        lines += _decided(plan)
    lines += [Text(printable(f"  warning: {warning}"), style="yellow") for warning in answer.get("warnings", ())]
    lines += [Text(f"  {line}", style="yellow") for line in gaps(answer)]
    if answer.get("state") in FINAL_STATES - {"done"}:
        lines += [Text(printable(line), style="red") for line in explanation(answer)]
    lines += [Text(printable(f"  {picture}")) for picture in pictures(answer, path)]
    return Group(*lines)


def _named(style: object) -> str:
    """One name, or several in their order."""
    return ", ".join(map(str, style)) if isinstance(style, list) else str(style)


def _watch(config: Config, client: Client, *, as_json: bool) -> int:
    """Draw it anew each second; where nothing can be drawn anew, print what has changed."""
    pulse = Pulse(heartbeat_s=config.heartbeat_s, now_s=time.monotonic())
    console = terminal.screen()
    try:
        if as_json or not console.is_terminal or console.is_dumb_terminal:
            return _print_changes(client, pulse, as_json=as_json)
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while True:
                health, beats = _look(client, pulse)
                live.update(overview(health, beats=beats), refresh=True)
                time.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:
        return DONE


def _look(client: Client, pulse: Pulse) -> tuple[Json | None, bool]:
    """The heartbeat, and whether it moves."""
    health = client.health()
    return health, pulse.look(health, time.monotonic()) and not (health is not None and is_gone(health))


def _print_changes(client: Client, pulse: Pulse, *, as_json: bool) -> int:
    """Until it is interrupted."""
    told: object = None
    while True:
        health, beats = _look(client, pulse)
        if (news := (_news(health or {}), beats)) != told:
            told = news
            if as_json:
                print(json.dumps(health, ensure_ascii=True), flush=True)
            else:
                terminal.out().print(overview(health, beats=beats))
        time.sleep(WATCH_EVERY_S)


def _news(health: Json) -> Json:
    """What is worth another line: not what only goes by, such as the counter, steps, free space and seconds."""
    return {key: health.get(key) for key in _NEWS} | {
        "folders": {role: (each.get("state"), each.get("why")) for role, each in health.get("folders", {}).items()},
        "seats": [(each.get("name"), each.get("state"), _models(each), each.get("why")) for each in seats_of(health)],
        "rendering": [each["name"] for each in rendering_of(health)],
        "held": [(each.get("model"), each.get("why")) for each in health.get("held", ())],
    }


def _answers(client: Client, name: str) -> int:
    """Each answer to a request as a line of JSON, until nothing follows."""
    told: Json | None = None
    try:
        while told is None or told.get("state") not in FINAL_STATES:
            answer = client.answer(name)
            if answer is not None and answer != told:
                told = answer
                print(json.dumps(answer, ensure_ascii=True), flush=True)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE if told.get("state") == "done" else REFUSED_OR_FAILED


def _seems_alive(health: Json | None, heartbeat_s: float) -> bool:
    """What one look can tell. Its time is the daemon's clock and may be wrong: `--watch` sees whether it moves."""
    if health is None or is_gone(health):
        return False
    age_s = _age_s(health.get("written_at"))
    return age_s is None or abs(age_s) < max(60.0, SILENT_BEATS * heartbeat_s)


def _age_s(when: object) -> float | None:
    try:
        written = datetime.fromisoformat(str(when))
    except ValueError:
        return None
    return (datetime.now(UTC) - written).total_seconds() if written.tzinfo else None


def overview(health: Json | None, *, beats: bool) -> RenderableType:
    """The heartbeat for people."""
    if health is None:
        return Text(f"No daemon has been seen here. {START_HINT}", style="yellow")
    parts: list[RenderableType] = [_headline(health, beats=beats), *_folders(health.get("folders", {}))]
    seats = seats_of(health)
    parts += seat_lines(seats) if len(seats) > 1 else [_rendering(each) for each in rendering_of(health)]
    parts += _queue(health)
    return Group(*parts)


def _headline(health: Json, *, beats: bool) -> Text:
    state = str(health.get("state", "unknown"))
    look = {"running": "green", "paused": "yellow", "starting": "yellow"}.get(state, "yellow")
    line = Text.assemble(
        ("Darkroom", "bold"), printable(f" {health.get('version', '')} on {health.get('host', '?')}: ")
    )
    if not beats:
        age_s = _age_s(health.get("written_at"))
        since = f", {terminal.duration(age_s)} ago" if age_s is not None else ""
        last = f"last heartbeat at {health.get('written_at')}{since}; what follows is as old"
        return line.append(printable(f"not running ({last}). {START_HINT}"), "red")
    line.append(printable(state), look)
    alive_s = _age_s(health.get("alive_since"))
    if alive_s is not None:
        line.append(f", up for {terminal.duration(alive_s)}")
    age_s = _age_s(health.get("written_at"))
    if age_s is not None and age_s > STALE_S:
        line.append(f" (as it was {terminal.duration(age_s)} ago)", "yellow")
    seats = seats_of(health)
    for seat in seats if len(seats) == 1 else ():
        where = seat.get("device_name") or seat.get("device")
        words = [seat.get("state"), f"on {where}" if where else None, _models(seat)]
        line.append(printable("; renderer " + ", ".join(str(word) for word in words if word)))
        if seat.get("why"):
            line.append(f" ({printable(str(seat['why']))})", "yellow")
    return line


def _models(seat: Json) -> str | None:
    """The one in use, how it is held, and what else is there."""
    model, others = seat.get("model"), [each for each in seat.get("resident") or () if each != seat.get("model")]
    held = f" ({seat['loaded_as']})" if seat.get("loaded_as") else ""
    also = f"{'beside ' if model else ''}{', '.join(map(str, others))}" if others else None
    return " ".join(filter(None, (f"{model}{held}" if model else None, also))) or None


def _folders(folders: dict[str, Json]) -> list[Text]:
    known = [name for name in ("inbox", "outbox", "state") if name in folders]
    rows = [
        (Text(name, style="bold"), Text(printable(str(folders[name].get("path", "")))), _how_it_is(folders[name]))
        for name in known
    ]
    return terminal.columns(*rows)


def _how_it_is(folder: Json) -> Text:
    if folder.get("state") == "away":
        return Text(f"away: {printable(str(folder.get('why', '')))}", style="red")
    facts = [printable(folder["kind"])] if folder.get("kind") else []
    if folder.get("network"):
        facts.append("listed, no file events")
    if folder.get("free_bytes") is not None:
        facts.append(f"{terminal.size(folder['free_bytes'])} free")
    return Text(", ".join(facts))


def _rendering(rendering: Json) -> RenderableType:
    line = _line("renders", str(rendering.get("name")))
    if rendering.get("eta_s") is not None:
        line.append(f", {terminal.duration(rendering['eta_s'])} left")
    progress = rendering.get("progress")
    if not progress:
        return line
    steps = max(1, progress["images"] * progress["steps"])
    done = (progress["image"] - 1) * progress["steps"] + progress["step"]
    bar = Table.grid(padding=(0, 1))
    bar.add_row(Text("       "), ProgressBar(total=steps, completed=done, width=40), Text(f"{done}/{steps} steps"))
    return Group(line, bar)


def _queue(health: Json) -> list[RenderableType]:
    queued = int(health.get("queued", 0))
    lines: list[RenderableType] = []
    names = ", ".join(str(name) for name in health.get("next", ()))
    more = ", …" if queued > len(health.get("next", ())) else ""
    if health.get("waiting_for"):
        lines.append(_line("waiting:", str(health["waiting_for"]), "yellow"))
    lines.append(_line("queued", f"{queued}" + (f": {names}{more}" if names else "")))
    if health.get("undelivered"):
        waiting = terminal.size(health.get("undelivered_bytes", 0))
        lines.append(_line("to deliver", f"{health['undelivered']} ({waiting})", "yellow"))
    lines += [_line("held", _hold(held), "red") for held in health.get("held", ())]
    lines += [
        _line("in trouble", f"{late.get('name')}: {late.get('why')}", "red") for late in health.get("troubled", ())
    ]
    not_taken = [left for left in health.get("not_taken", ()) if not _explains_the_folder(left)]
    lines += [_line("not taken", f"{left.get('name')}: {left.get('why')}", "yellow") for left in not_taken]
    if health.get("not_taken_more"):
        lines.append(_line("not taken", f"{health['not_taken_more']} more", "yellow"))
    settled: dict[str, Any] = health.get("settled") or {}
    if any(settled.values()):
        counts = ", ".join(f"{count} {state}" for state, count in settled.items() if count)
        lines.append(_line("settled", f"{counts}, since it was started"))
    return lines


def _hold(held: Json) -> str:
    """The cause first, then what to do, then when it is tried again."""
    model = str(held.get("model"))
    cause = str(held.get("why", "")).removeprefix(f"{model}: ")
    again = f"It is tried again in {terminal.duration(held['next_try_s'])}." if held.get("next_try_s") else ""
    return " ".join(part for part in (f"{model}: {cause}", str(held.get("hint", "")), again) if part)


def _explains_the_folder(left: Json) -> bool:
    """A README is there for people, as in a fresh checkout: nobody waits for it."""
    return str(left.get("name", "")).rpartition("/")[2].casefold().startswith("readme.")


def _line(name: str, text: str, look: str = "") -> Text:
    return Text.assemble((f"{name} ", "bold"), (printable(text), look))
