"""service show, install, remove."""

from __future__ import annotations

import argparse

from rich.text import Text

from darkroom.cli import terminal
from darkroom.cli.configured import config_file, configuration
from darkroom.cli.exits import DONE
from darkroom.config.load import Config, find_file
from darkroom.errors import DarkroomError
from darkroom.systemd import host
from darkroom.systemd.install import START_AGAIN, STOP, Step, Wish, left, to_install, to_remove
from darkroom.systemd.unit import model_folder, needed, service_unit, state_folder


def service(args: argparse.Namespace) -> int:
    """Show the unit, install the service, or remove it."""
    config = configuration(args)
    wish = _wish(args, config)
    if args.action == "show":
        print(wish.unit, end="")
        return DONE
    if not args.dry_run:
        host.require_rights()
    return _install(args, wish) if args.action == "install" else _remove(args, wish)


def _wish(args: argparse.Namespace, config: Config) -> Wish:
    file = find_file(config_file(args))
    group = args.group or args.user
    return Wish(
        user=args.user,
        group=group,
        inbox=config.inbox,
        outbox=config.outbox,
        state_dir=state_folder(config),
        model_cache=model_folder(config),
        unit=service_unit(config, file=file, user=args.user, group=group),
        needed=tuple(needed(config, file)),
        config=file.absolute() if file is not None else None,
        config_is_named=config_file(args) is not None,
    )


def _install(args: argparse.Namespace, wish: Wish) -> int:
    _tell_and_do(to_install(wish, host.look(wish)), dry_run=args.dry_run)
    if not args.dry_run:
        say = terminal.out().print
        say(f"Darkroom runs as {wish.user}: requests go to {wish.inbox}, pictures come to {wish.outbox}.")
        say(f"Whoever is to use them:  usermod --append --groups {wish.group} NAME  (counts from their next log-in)")
        say("What it does:            systemctl status darkroom; journalctl --unit darkroom")
    return DONE


def _remove(args: argparse.Namespace, wish: Wish) -> int:
    facts = host.look(wish)
    if args.dry_run or not facts.active:
        _tell_and_do(to_remove(wish, facts, discard=args.discard_requests), dry_run=args.dry_run)
    else:
        _stop_and_remove(args, wish)
    for line in left(wish, facts):
        terminal.out().print(Text(f"stays  {line}"))
    return DONE


def _stop_and_remove(args: argparse.Namespace, wish: Wish) -> None:
    """What it has in its keeping can be read once it has stopped. If that must not go, it is started again."""
    to_remove(wish, host.look(wish), discard=True)  # raises what has nothing to do with its keeping
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
