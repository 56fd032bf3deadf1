"""What can be said on the command line, with an example for each. Imports nothing slow."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import Any, NoReturn

from darkroom import __version__
from darkroom.printable import printable

_DESCRIPTION = "Darkroom renders the requests that people drop into a folder."
_EXAMPLES = """\
A request is a JSON file in the inbox; its answer and its pictures appear in the
outbox.

examples:
  darkroom run                                  keep the daemon running
  darkroom submit "a castle on a hill" --wait   ask for a picture, watch it come
  darkroom status --watch                       see the queue
  darkroom doctor                               find out what is wrong

exit status:
  0 done, 1 refused or failed, 2 wrong usage,
  3 configuration or folders unusable
"""
_COMMON = {
    "--config": ("FILE", "configuration file (default: $DARKROOM_CONFIG, config/darkroom.toml, /etc/darkroom/…)"),
    "--inbox": ("FOLDER", "where requests are dropped"),
    "--outbox": ("FOLDER", "where answers and pictures appear"),
    "--state-dir": ("FOLDER", "where the daemon keeps what it must not forget"),
}

#: What of the command line is configuration: named like the keys.
OVERRIDES = (
    "inbox",
    "outbox",
    "state_dir",
    "model_cache",
    "default_model",
    "device",
    "offline",
    "http",
    "log_level",
    "log_format",
)


class _Parser(argparse.ArgumentParser):
    """Tells the nearest word that it knows, and the usage of the command that was meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Like argparse, but what is left over is told by its command."""
        given, rest = self.parse_known_args(args, namespace)
        if rest:
            grammar: _Parser = getattr(given, "grammar", self)
            grammar.error(f"{rest[0]} is not known here.{grammar.suggestion(rest[0])}")
        return given

    def error(self, message: str) -> NoReturn:
        """Usage and message on stderr; exit status 2."""
        wrong = re.search(r"invalid choice: '([^']*)'", message)
        if wrong is not None:
            message = f"there is no command {wrong[1]}.{_near(wrong[1], self._choices())}"
        super().error(printable(message))

    def suggestion(self, word: str) -> str:
        """The nearest option."""
        if not word.startswith("-"):
            return " Put several words in quotes." if self.takes_text else ""
        return _near(word.partition("=")[0], list(self._option_string_actions))

    @property
    def takes_text(self) -> bool:
        """Whether a person may have forgotten quotes."""
        return any(action.dest == "prompt" for action in self._actions)

    def _choices(self) -> list[str]:
        positional = (action.choices for action in self._actions if not action.option_strings and action.choices)
        return [str(choice) for choices in positional for choice in choices]


def _near(word: str, known: Collection[str]) -> str:
    from darkroom.spelling import nearest

    begin = sorted((name for name in known if len(word) > 2 and name.startswith(word)), key=len)
    near = begin or nearest(word, known, count=1)
    return f" Did you mean {near[0]}?" if near else ""


def parser() -> argparse.ArgumentParser:
    """The whole grammar. Each command names the function that carries it out, as `module:function` below `cli`."""
    top = _Parser(
        prog="darkroom",
        usage="darkroom [options] COMMAND …",
        allow_abbrev=False,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    top.add_argument("--version", action="version", version=f"darkroom {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _daemon_commands(commands)
    _request_commands(commands)
    _queue_commands(commands)
    _reference_commands(commands)
    return top


def _common() -> argparse.ArgumentParser:
    """Options that every command has; they may stand before or after it."""
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("configuration")
    for flag, (metavar, text) in _COMMON.items():
        group.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    return options


def _add(commands: Any, usage: str, command: str, text: str, *examples: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        usage.partition(" ")[0],
        prog=f"darkroom {usage.partition(' ')[0]}",
        usage=f"darkroom {usage}",
        allow_abbrev=False,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog="examples:\n" + "\n".join(f"  darkroom {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    made.set_defaults(command=command, grammar=made)
    return made


def _daemon_commands(commands: Any) -> None:
    run = _add(
        commands,
        "run [--once] [options]",
        "run:run",
        "run the daemon until it is told to stop",
        "run",
        "run --once                         render what is there, then end",
        "run --default-model sd15 --device cuda:0",
    )
    run.add_argument("--once", action="store_true", help="end when nothing is queued or arriving")
    for flag, metavar, text in (
        ("--default-model", "ALIAS", "the model of requests that name none"),
        ("--device", "DEVICE", "auto, cpu, cuda or cuda:N"),
        ("--model-cache", "FOLDER", "where models from the hub are kept"),
        ("--http", "HOST:PORT", "where to show health, metrics and pictures"),
        ("--log-level", "LEVEL", "debug, info, warning or error"),
        ("--log-format", "FORMAT", "auto, console or json"),
    ):
        run.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    run.add_argument(
        "--offline", action="store_true", default=argparse.SUPPRESS, help="never ask the network for a model"
    )
    _service_command(commands)


def _service_command(commands: Any) -> None:
    service = _add(
        commands,
        "service show|install|remove [options]",
        "service:service",
        "run Darkroom as a system service: show its unit, install it, or remove it",
        "service install --dry-run",
        "service install --config /etc/darkroom/darkroom.toml",
        "service show > darkroom.service",
        "service remove           leaves inbox, outbox and results",
    )
    service.add_argument("action", choices=["show", "install", "remove"])
    service.add_argument("--user", help="the user that the service runs as (default: as it is installed, or darkroom)")
    service.add_argument("--group", help="the group that may use inbox and outbox (default: likewise)")
    service.add_argument("--dry-run", action="store_true", help="only say what would be done")
    service.add_argument(
        "--discard-requests", action="store_true", help="remove: also requests that were taken and are not delivered"
    )


def _request_commands(commands: Any) -> None:
    submit = _add(
        commands,
        "submit PROMPT [options]",
        "requests:submit",
        "drop a request into the inbox",
        'submit "a castle on a hill"',
        'submit "a castle" --style watercolor --num-images 4 --wait',
        'submit "a red fox" --model sd15 --width 768 --seed 7 --name alice/fox',
    )
    submit.add_argument("prompt", metavar="PROMPT", help='what the picture should show; "-" reads it from stdin')
    _plan_options(submit)
    submit.add_argument("--name", help="what to call it; may begin with a sub-folder (default: from the prompt)")
    submit.add_argument("--wait", action="store_true", help="show progress, end when the picture is there")
    check = _add(
        commands,
        "check FILE…",
        "requests:check",
        "say what is wrong with requests (not dropped) or style books",
        "check cat.json",
        "check *.json && cp *.json inbox/",
    )
    check.add_argument(
        "files", metavar="FILE", nargs="+", help='a request, or a style book; "-" reads a request from stdin'
    )
    _conversion_commands(commands)


def _conversion_commands(commands: Any) -> None:
    convert = _add(
        commands,
        "convert FILE [options]",
        "convert:convert",
        "print the request that a file of another program means",
        "convert workflow.json",
        "convert payload.json --model sd15 --output cat.json",
        "convert payload.json --from a1111 > cat.json",
    )
    convert.add_argument("file", metavar="FILE", help='of A1111, ComfyUI, InvokeAI, Fooocus or OpenAI; "-" reads stdin')
    programs = ("a1111", "comfyui", "fooocus", "invokeai", "openai")
    convert.add_argument("--from", dest="of", choices=programs, help=f"who wrote it: {', '.join(programs)}")
    reproduce = _add(
        commands,
        "reproduce PICTURE [options]",
        "convert:reproduce",
        "print the request that makes a picture again, by what it says of itself",
        "reproduce cat-1.png",
        "reproduce cat-1.jpg --output inbox/cat-again.json",
    )
    reproduce.add_argument("picture", metavar="PICTURE", help='PNG, JPEG or WebP; "-" reads stdin')
    for each in (convert, reproduce):
        each.add_argument("--prompt", metavar="TEXT", help="what the picture should show, whatever is said there")
        each.add_argument("--model", metavar="ALIAS", help="which model of the configuration is to be asked")
        each.add_argument("--output", "-o", metavar="FILE", help="write it into a new file (default: print it)")


def _plan_options(submit: argparse.ArgumentParser) -> None:
    """Options named like the keys of a request; what is not given is not in the request."""
    group = submit.add_argument_group("request", "what is not given is decided by the style, the model, or chance")
    for flags, kind, metavar, text in (
        (["--negative-prompt"], str, "TEXT", "what it should not show"),
        (["--prompt-syntax"], str, "SYNTAX", "plain, weighted: (red:1.3), or dynamic: {red|green}"),
        (["--on-overflow"], str, "WHAT", "encode or refuse what the model cannot read"),
        (["--clip-skip"], int, "N", "0 to 11, of models that can"),
        (["--model"], str, "ALIAS", "a model of the configuration"),
        (["--width"], int, "PX", "within the model's limits"),
        (["--height"], int, "PX", "within the model's limits"),
        (["--num-inference-steps", "--steps"], int, "N", "1 to 150"),
        (["--guidance-scale"], float, "X", "0 to 30"),
        (["--true-cfg-scale"], float, "X", "0 to 30, of models that have it"),
        (["--scheduler"], str, "NAME", "see `darkroom schema`"),
        (["--seed"], int, "N", "picture i uses seed + i"),
        (["--num-images", "-n"], int, "N", "1 to 256"),
        (["--format"], str, "FORMAT", "png, jpeg or webp"),
        (["--quality"], int, "N", "1 to 100, for jpeg and webp"),
        (["--priority"], int, "N", "-10 to 10; higher goes first, up to the configured max_priority"),
    ):
        group.add_argument(*flags, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)
    group.add_argument(
        "--style",
        action="append",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="a style of the style book, or none; say it again for more, which apply in this order",
    )
    group.add_argument(
        "--no-default-negative",
        dest="default_negative",
        action="store_false",
        default=argparse.SUPPRESS,
        help="only this request's own negative prompt applies",
    )


def _queue_commands(commands: Any) -> None:
    status = _add(
        commands,
        "status [NAME] [--watch] [--json]",
        "status:status",
        "show what the daemon does, or how a request is getting on",
        "status",
        "status alice/cat",
        "status --watch",
        "status --json | jq .queued",
    )
    status.add_argument("name", metavar="NAME", nargs="?", help="of a request")
    status.add_argument("--watch", action="store_true", help="keep showing it, until Ctrl-C or the end")
    status.add_argument(
        "--json",
        action="store_true",
        help="the heartbeat or the answer as JSON; with --watch, one line for each change",
    )
    explain = _add(
        commands,
        "explain NAME|FOLDER|PICTURE [--image N] [--as-python]",
        "explain:explain",
        "say what was decided for a picture, or print the Python that makes it again",
        "explain alice/cat",
        "explain outbox/cat/cat-2.png --as-python",
        "explain cat --image 2 --as-python | python -",
    )
    explain.add_argument(
        "of", metavar="NAME|FOLDER|PICTURE", help="a request, a result's folder, or a picture from one"
    )
    explain.add_argument("--image", type=int, metavar="N", help="the Nth picture alone, from 1")
    explain.add_argument(
        "--as-python", action="store_true", help="a few lines of diffusers, for the environment that Darkroom runs in"
    )
    verify = _add(
        commands,
        "verify NAME|FOLDER [--image N]",
        "verify:verify",
        "render a result again, and say whether its pictures come out the same",
        "verify cat",
        "verify outbox/cat --image 2",
    )
    verify.add_argument("of", metavar="NAME|FOLDER", help="a request that is done, or a result's folder")
    verify.add_argument("--image", type=int, metavar="N", help="the Nth picture alone, from 1")
    cancel = _add(commands, "cancel NAME…", "requests:cancel", "cancel a request", "cancel alice/cat")
    cancel.add_argument("name", metavar="NAME", nargs="+")
    retry = _add(
        commands,
        "retry NAME [--wait]",
        "requests:retry",
        "ask again for a settled request",
        "retry alice/cat",
        "retry cat --wait",
    )
    retry.add_argument("name", metavar="NAME")
    retry.add_argument("--wait", action="store_true", help="show progress, end when the picture is there")
    _add(commands, "pause", "daemon:pause", "hold the queue and free the device", "pause")
    _add(commands, "resume", "daemon:resume", "let the queue go on", "resume")
    adopt = _add(
        commands,
        "adopt FOLDER",
        "daemon:adopt",
        "use this inbox or outbox from now on, though another was there before",
        "adopt /mnt/nas/inbox",
    )
    adopt.add_argument("folder", metavar="FOLDER")


def _reference_commands(commands: Any) -> None:
    styles = _add(commands, "styles [NAME]", "reference:styles", "list the styles", "styles", "styles fantasy")
    styles.add_argument("name", metavar="NAME", nargs="?", help="show all of this one")
    _add(
        commands,
        "schema",
        "reference:schema",
        "print the JSON Schema of a request",
        "schema > request.schema.json",
    )
    models = _add(commands, "models [ALIAS]", "reference:models", "list the models", "models", "models sd15")
    models.add_argument("alias", metavar="ALIAS", nargs="?", help="show all of this one")
    gallery = _add(
        commands,
        "gallery [--rebuild]",
        "gallery:gallery",
        "say where the page with all results is, or make it anew",
        "gallery",
        "gallery --rebuild                 after results were moved or deleted",
        "gallery --rebuild --outbox /mnt/nas/pictures",
    )
    gallery.add_argument(
        "--rebuild", action="store_true", help="make it from the results that lie in the outbox, wherever in it"
    )
    _add(commands, "doctor", "reference:doctor", "check everything, and say what to do", "doctor")
