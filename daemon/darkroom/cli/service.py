"""service show, install, remove."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import time
from pathlib import Path

from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.completion import script
from darkroom.cli.configured import config_file, configuration
from darkroom.cli.exits import DONE
from darkroom.config.load import find_file, relative_values
from darkroom.config.settings import Config
from darkroom.errors import DarkroomError
from darkroom.hearsay import Json
from darkroom.printable import printable
from darkroom.systemd import host
from darkroom.systemd.completions import PLACES, as_installed
from darkroom.systemd.install import (
    START_AGAIN,
    STOP,
    Facts,
    Wish,
    configuration_of,
    is_absent,
    left,
    not_installed,
    option_of,
    setting_of,
    to_install,
    to_remove,
    variable_of,
)
from darkroom.systemd.ray_install import TOKEN, RayWish, to_join, to_leave
from darkroom.systemd.ray_unit import PORT, Role, network_of, ray_unit
from darkroom.systemd.step import Step
from darkroom.systemd.unit import model_folder, needed, python, resolved, service_unit, state_folder

#: How long a service that has just started may take to tell how its folders are.
PATIENCE_S = 5.0
LOOK_EVERY_S = 0.1
#: What a first installation may have been told on the command line, and the unit keeps.
KEPT = {"inbox": "--inbox", "outbox": "--outbox"}
KEPT_IN_ENVIRONMENT = {"state_dir": "DARKROOM_STATE_DIR", "model_cache": "DARKROOM_MODEL_CACHE"}


def service(args: argparse.Namespace) -> int:
    """Show the unit, install the service, or remove it."""
    if args.ray_worker is not None or args.ray_head is not None:
        return _ray(args)
    if args.ray_network is not None:
        raise DarkroomError(
            "--ray-network is for a machine of a Ray cluster.", hint="Say --ray-head or --ray-worker, too."
        )
    wish = _wish(args, host.installed_unit() or "")
    if args.action == "show":
        print(wish.unit, end="")
        return DONE
    if not args.dry_run:
        host.require_rights()
    return _install(args, wish) if args.action == "install" else _remove(args, wish)


def _ray(args: argparse.Namespace) -> int:
    """The same for a machine of a Ray cluster."""
    role: Role = "worker" if args.ray_worker is not None else "head"
    address = args.ray_worker if role == "worker" else args.ray_head
    user = args.user or "darkroom"
    group = args.group or user
    network = network_of(host.installed_ray_unit(role)) if args.ray_network is None else args.ray_network
    unit = "" if args.action == "remove" else ray_unit(role, address, user=user, group=group, network=network)
    if args.action == "show":
        print(unit, end="")
        return DONE
    if not args.dry_run:
        host.require_rights()
    wish = RayWish(role, user, group, unit, new_token=secrets.token_hex(32))
    facts = host.look_for_ray(wish)
    _tell_and_do(to_join(wish, facts) if args.action == "install" else to_leave(wish, facts), dry_run=args.dry_run)
    if args.action == "install" and not args.dry_run:
        terminal.out().print(f"What it does:  systemctl status {wish.service}; journalctl --unit {wish.service}")
        if role == "head":
            port = f"{address}:{PORT}"
            terminal.out().print(f"On each other machine, once {TOKEN} is there:")
            also = f" --ray-network {shlex.quote(network)}" if network else ""
            terminal.out().print(f"  darkroom service install --ray-worker {port}{also}")
            keys = f'executor = "ray", ray_address = "{port}", ray_token_file = "{TOKEN}"'
            terminal.out().print(Text(f"In Darkroom's configuration:  {keys}"))
    return DONE


def _wish(args: argparse.Namespace, installed: str) -> Wish:
    """What was said now; else what was said when it was installed."""
    is_named = config_file(args) is not None
    file = find_file(config_file(args))
    file = Path(os.path.abspath(file)) if file is not None else None
    is_same = bool(installed) and configuration_of(installed) == file
    start = _start(args, file, setting_of(installed, "WorkingDirectory") if is_same else "")
    said = _kept(configuration(args), installed if is_same else "")
    config = resolved(said)
    user = args.user or setting_of(installed, "User") or "darkroom"
    group = args.group or (setting_of(installed, "Group") if user == setting_of(installed, "User") else user)
    return Wish(
        user=user,
        group=group,
        inbox=config.inbox,
        outbox=config.outbox,
        state_dir=state_folder(config),
        model_cache=model_folder(config),
        unit=service_unit(config, file=file, user=user, group=group, start=start),
        needed=(*needed(config, file), *([start] if start != Path("/") else [])),
        config=file,
        config_is_named=is_named,
        said=(said.inbox, said.outbox),
        python=python(),
        completions={path: as_installed(script(shell)) for shell, path in PLACES.items()},
    )


def _start(args: argparse.Namespace, file: Path | None, before: str) -> Path:
    """Where the configuration's relative paths start, for this command as for the service: where it was installed."""
    if not relative_values(file):
        return Path("/")
    for key in ("config", "inbox", "outbox", "state_dir"):
        if key in vars(args):
            setattr(args, key, os.path.abspath(os.path.expanduser(getattr(args, key))))
    if before not in ("", "/") and Path(before).is_dir():
        args.config = str(file)
        os.chdir(before)
    return Path.cwd()


def _kept(config: Config, installed: str) -> Config:
    """Folders that nobody names now are those of the installed unit, and not the defaults of this working directory."""
    told: dict[str, str | None] = {key: option_of(installed, option) for key, option in KEPT.items()}
    told |= {key: variable_of(installed, name) for key, name in KEPT_IN_ENVIRONMENT.items()}
    kept = {key: Path(value) for key, value in told.items() if value and key not in config.model_fields_set}
    return config.model_copy(update=kept)


def _install(args: argparse.Namespace, wish: Wish) -> int:
    facts = host.look(wish)
    _tell_and_do(to_install(wish, facts), dry_run=args.dry_run)
    for line in not_installed(facts):
        terminal.out().print(Text(printable(f"stays  {line}")))
    if not args.dry_run:
        say = terminal.out().print
        say(f"Darkroom runs as {wish.user}: requests go to {wish.inbox}, pictures come to {wish.outbox}.")
        say(f"Whoever is to use them:  usermod --append --groups {wish.group} NAME  (counts from their next log-in)")
        say("What it does:            systemctl status darkroom; journalctl --unit darkroom")
        for line in _troubles(_first_heartbeat(wish), wish):
            terminal.complain(line)
    return DONE


def _first_heartbeat(wish: Wish) -> Json:
    """What the service tells once it has looked at both folders; what there is when that takes too long."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        health = host.heartbeat(wish) or {}
        is_ours = health.get("pid") == host.main_pid()
        folders = health.get("folders", {}) if is_ours else {}
        if all("state" in folders.get(role, {}) for role in ("inbox", "outbox")) or time.monotonic() > deadline_s:
            return health if is_ours else {}
        time.sleep(LOOK_EVERY_S)


def _troubles(health: Json, wish: Wish) -> list[str]:
    """What a person should know before they walk away."""
    if not health:
        return ["it has not said yet how it is: see `systemctl status darkroom`."]
    folders = [(role, health.get("folders", {}).get(role, {})) for role in ("inbox", "outbox")]
    away = [f"the {role} is away: {folder.get('why')}" for role, folder in folders if folder.get("state") == "away"]
    if away:
        config = f" --config {shlex.quote(str(wish.config))}" if wish.config is not None else ""
        away.append(f"`darkroom doctor{config}` says more; the service goes on by itself once that is put right.")
    return away


def _remove(args: argparse.Namespace, wish: Wish) -> int:
    facts = host.look(wish)
    if is_absent(facts):
        terminal.out().print("No Darkroom service is installed on this machine: there is nothing to remove.")
        return DONE
    if args.dry_run or not facts.active:
        _tell_and_do(to_remove(wish, facts, discard=args.discard_requests), dry_run=args.dry_run)
    else:
        _stop_and_remove(args, wish, facts)
    for line in left(wish, facts):
        terminal.out().print(Text(printable(f"stays  {line}")))
    return DONE


def _stop_and_remove(args: argparse.Namespace, wish: Wish, facts: Facts) -> None:
    """All that it has in its keeping can be read once it has stopped. If that must not go, it is started again."""
    to_remove(wish, facts, discard=args.discard_requests)  # raises what can be told without stopping it
    _tell_and_do([STOP], dry_run=False)
    try:
        steps = to_remove(wish, host.look(wish), discard=args.discard_requests)
    except DarkroomError:
        _tell_and_do([START_AGAIN], dry_run=False)
        raise
    _tell_and_do(steps, dry_run=False)


def _tell_and_do(steps: list[Step], *, dry_run: bool) -> None:
    console = terminal.out()
    if not steps:
        console.print("Nothing is left to do.")
    for step in steps:
        console.print(Text(f"# {step.why}", style="dim"))
        console.print(Text(str(step), style="bold"))
        if not dry_run:
            host.carry_out(step)
    if dry_run and steps:
        console.print("Nothing of this was done (--dry-run).")
