"""What can be said on the command line, with an example for each. Imports nothing slow."""

from __future__ import annotations

import argparse
from typing import Any

from darkroom import __version__
from darkroom.cli.arguments_many import clean_command, find_command
from darkroom.cli.parsing import Parser, add, common

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


def parser() -> argparse.ArgumentParser:
    """The whole grammar. Each command names the function that carries it out, as `module:function` below `cli`."""
    top = Parser(
        prog="darkroom",
        usage="darkroom [options] COMMAND …",
        allow_abbrev=False,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
    )
    top.add_argument("--version", action="version", version=f"darkroom {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _daemon_commands(commands)
    _request_commands(commands)
    _queue_commands(commands)
    _reference_commands(commands)
    return top


def _daemon_commands(commands: Any) -> None:
    run = add(
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
        ("--device", "DEVICE", "auto, cpu, cuda:N, or several: cuda:0,cuda:1"),
        ("--model-cache", "FOLDER", "where models from the hub are kept"),
        ("--http", "HOST:PORT", "where to show health, metrics and pictures"),
        ("--log-level", "LEVEL", "debug, info, warning or error"),
        ("--log-format", "FORMAT", "auto, console or json"),
    ):
        run.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    run.add_argument(
        "--offline", action="store_true", default=argparse.SUPPRESS, help="never ask the network for a model"
    )
    add(
        commands,
        "demo",
        "demo:demo",
        "start the daemon, drop three requests, show what comes of them",
        "demo                   makes inbox/, outbox/ and state/ here",
    )
    _service_command(commands)


def _service_command(commands: Any) -> None:
    service = add(
        commands,
        "service show|install|remove [options]",
        "service:service",
        "run Darkroom as a system service: show its unit, install it, or remove it",
        "service install --dry-run",
        "service install --config /etc/darkroom/darkroom.toml",
        "service show > darkroom.service",
        "service install --ray-worker 10.0.0.1:6379",
        "service remove           leaves inbox, outbox and results",
    )
    service.add_argument("action", choices=["show", "install", "remove"])
    service.add_argument("--user", help="the user that the service runs as (default: as it is installed, or darkroom)")
    service.add_argument(
        "--group", help="the group that may use inbox and outbox (default: as it is installed, or darkroom)"
    )
    role = service.add_mutually_exclusive_group()
    for each, help_text in (
        (
            "worker",
            "instead of the daemon: what lets this machine render for the Ray cluster whose head is at HOST:PORT",
        ),
        ("head", "instead of the daemon: the head of a Ray cluster, which its machines reach at this address"),
    ):
        metavar = "HOST:PORT" if each == "worker" else "ADDRESS"
        role.add_argument(f"--ray-{each}", metavar=metavar, nargs="?", const="", help=help_text)
    service.add_argument(
        "--ray-network",
        metavar="NETWORK",
        help="with these two: who may reach Ray on this machine at all, as 10.0.0.0/24 (default: as it is installed, "
        "or everybody who has the token); nothing else can be reached from there, either",
    )
    service.add_argument("--dry-run", action="store_true", help="only say what would be done")
    service.add_argument(
        "--discard-requests", action="store_true", help="remove: also requests that were taken and are not delivered"
    )


def _request_commands(commands: Any) -> None:
    submit = add(
        commands,
        "submit PROMPT|--from FILE [options]",
        "requests:submit",
        "drop a request into the inbox, or many from a file",
        'submit "a castle on a hill"',
        'submit "a castle" --style watercolor --num-images 4 --wait',
        'submit "a red fox" --model sd15 --width 768 --seed 7 --name alice/fox',
        'submit "in autumn" --init-image house.jpg --strength 0.5',
        "submit house.jpg --upscale sharp --scale 4",
        "submit --from prompts.txt --style ink --wait",
        "submit --from table.csv --name {seed}-{words} --folder fairs/spring",
    )
    what = submit.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        help='what it should show; "-" reads it from stdin; with --upscale a file',
    )
    what.add_argument(
        "--from", dest="rows", metavar="FILE", help="one request a line of a .txt or .jsonl, or a row of a .csv"
    )
    _plan_options(submit)
    submit.add_argument(
        "--name", help="what to call it; may begin with a sub-folder (default: from the prompt, or {n}-{words})"
    )
    submit.add_argument(
        "--folder", metavar="SUBFOLDER", help="with --from: the sub-folder for all (default: as the file)"
    )
    submit.add_argument("--skip-wrong", action="store_true", help="with --from: drop the right ones, tell the others")
    submit.add_argument("--wait", action="store_true", help="show progress, end when the picture is there")
    check = add(
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
    convert = add(
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
    reproduce = add(
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
        (["--weights"], str, "WAY", "how parentheses weigh: norm-1 or without-1"),
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
    _picture_options(submit)
    group.add_argument(
        "--style",
        action="append",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="a style of the style book, or none; say it again for more, which apply in this order",
    )
    group.add_argument(
        "--lora",
        dest="loras",
        type=_lora,
        action="append",
        metavar="ALIAS[:WEIGHT]",
        default=argparse.SUPPRESS,
        help="a LoRA of the configuration, and how much of it; say it again for more",
    )
    group.add_argument(
        "--hires",
        type=_hires,
        metavar="SCALE[:UPSCALER]",
        default=argparse.SUPPRESS,
        help="a second pass over the picture, so many times larger: 1.25 to 4; by an upscaler of the configuration",
    )
    group.add_argument(
        "--upscale",
        metavar="UPSCALER",
        default=argparse.SUPPRESS,
        help="make the file in the place of PROMPT larger, by an upscaler of the configuration, and paint nothing",
    )
    group.add_argument(
        "--scale", type=float, metavar="X", default=argparse.SUPPRESS, help="with --upscale: 1.25 to 8 (default: 4)"
    )
    group.add_argument(
        "--no-default-negative",
        dest="default_negative",
        action="store_false",
        default=argparse.SUPPRESS,
        help="only this request's own negative prompt applies",
    )


def _hires(said: str) -> dict[str, object]:
    """As a request has it; a scale that is no number is told as any wrong value."""
    scale, colon, upscaler = said.partition(":")
    enlarged_by: dict[str, object] = {"upscaler": upscaler} if colon else {}
    try:
        return {"scale": float(scale), **enlarged_by}
    except ValueError:
        return {"scale": scale, **enlarged_by}


def _lora(said: str) -> dict[str, object]:
    """As a request has it; a weight that is no number is told as any wrong value."""
    name, colon, weight = said.partition(":")
    try:
        return {"name": name} | ({"weight": float(weight)} if colon else {})
    except ValueError:
        return {"name": name, "weight": weight}


def _picture_options(submit: argparse.ArgumentParser) -> None:
    """Files that are brought with a request."""
    group = submit.add_argument_group("pictures", "files of this machine, which are copied beside the request")
    for flag, kind, metavar, text in (
        ("--init-image", str, "FILE", "the picture that it begins with"),
        ("--strength", float, "X", "0 to 1: how much of it is repainted"),
        ("--mask-image", str, "FILE", "which part of it is repainted, in white"),
        ("--mask-channel", str, "CHANNEL", "alpha: what is transparent is repainted, in the mask or in the picture"),
        ("--fit", str, "HOW", "crop, pad or stretch a picture of another size"),
    ):
        group.add_argument(flag, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)
    for flag, key, metavar, text in (
        ("--reference-image", "reference_images", "FILE", "one that a model edits by; say it again for more"),
        ("--control", "control", "NAME=FILE", "one that leads the composition; say it again for more"),
    ):
        group.add_argument(flag, dest=key, action="append", metavar=metavar, default=argparse.SUPPRESS, help=text)


def _queue_commands(commands: Any) -> None:
    status = add(
        commands,
        "status [NAME|FOLDER/] [--watch] [--json]",
        "status:status",
        "show what the daemon does, or how a request or a folder of them is getting on",
        "status",
        "status alice/cat",
        "status prompts/",
        "status --watch",
        "status --json | jq .queued",
    )
    status.add_argument("name", metavar="NAME|FOLDER/", nargs="?", help="of a request, or all below a folder")
    status.add_argument("--watch", action="store_true", help="keep showing it, until Ctrl-C or the end")
    status.add_argument(
        "--json",
        action="store_true",
        help="the heartbeat or the answer as JSON; with --watch, one line for each change",
    )
    explain = add(
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
    verify = add(
        commands,
        "verify NAME|FOLDER [--image N]",
        "verify:verify",
        "render a result again, and say whether its pictures come out the same",
        "verify cat",
        "verify outbox/cat --image 2",
    )
    verify.add_argument("of", metavar="NAME|FOLDER", help="a request that is done, or a result's folder")
    verify.add_argument("--image", type=int, metavar="N", help="the Nth picture alone, from 1")
    find_command(commands)
    clean_command(commands)
    cancel = add(
        commands,
        "cancel NAME|FOLDER/…",
        "requests:cancel",
        "cancel a request, or all that are live below a folder",
        "cancel alice/cat",
        "cancel prompts/",
    )
    cancel.add_argument("name", metavar="NAME|FOLDER/", nargs="+", help="of a request, or all below a folder")
    priority = add(
        commands,
        "priority NAME|FOLDER/ N",
        "requests:priority",
        "give a request that waits, or all below a folder, another priority",
        "priority alice/cat 5",
        "priority prompts/ -10   let everybody else go first",
    )
    priority.add_argument("name", metavar="NAME|FOLDER/", help="of a request, or all below a folder")
    priority.add_argument(
        "priority", type=int, metavar="N", help="-10 to 10; higher goes first, up to the configured max_priority"
    )
    retry = add(
        commands,
        "retry NAME|--failed [FOLDER] [--wait]",
        "requests:retry",
        "ask again for a settled request, or for all that failed",
        "retry alice/cat",
        "retry cat --wait",
        "retry --failed",
        "retry --failed prompts/ --wait",
    )
    retry.add_argument("name", metavar="NAME|FOLDER", nargs="?", help="of a request; with --failed, of a folder")
    retry.add_argument("--failed", action="store_true", help="all that failed and were not asked for again")
    retry.add_argument("--wait", action="store_true", help="show progress, end when the picture is there")
    add(commands, "pause", "daemon:pause", "hold the queue and free the device", "pause")
    add(commands, "resume", "daemon:resume", "let the queue go on", "resume")
    adopt = add(
        commands,
        "adopt FOLDER",
        "daemon:adopt",
        "use this inbox or outbox from now on, though another was there before",
        "adopt /mnt/nas/inbox",
    )
    adopt.add_argument("folder", metavar="FOLDER", help="the inbox or the outbox, as it is configured")


def _reference_commands(commands: Any) -> None:
    styles = add(commands, "styles [NAME]", "reference:styles", "list the styles", "styles", "styles fantasy")
    styles.add_argument("name", metavar="NAME", nargs="?", help="show all of this one")
    add(
        commands,
        "schema",
        "reference:schema",
        "print the JSON Schema of a request",
        "schema > request.schema.json",
    )
    models = add(
        commands,
        "models [ALIAS | pull ALIAS | try ALIAS] [--json]",
        "models:models",
        "list the models and what they take, download one, or try one",
        "models",
        "models sd15",
        "models pull sd15                  download it, or check what is here",
        "models try sd15                   one small picture: what it takes",
        "models --json",
    )
    models.add_argument("alias", metavar="ALIAS", nargs="?", help="show all of this one; or pull, or try")
    models.add_argument("of", metavar="ALIAS", nargs="?", help="which one to pull or to try")
    models.add_argument("--json", action="store_true", help="as a list, for programs")
    completion = add(
        commands,
        "completion bash|zsh|fish",
        "completion:completion",
        "print what lets a shell complete this command",
        "completion bash > ~/.local/share/bash-completion/completions/darkroom",
        "completion zsh > ~/.zfunc/_darkroom",
        "completion fish > ~/.config/fish/completions/darkroom.fish",
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    gallery = add(
        commands,
        "gallery [--rebuild]",
        "gallery:gallery",
        "say where the page with all results is, or make it again",
        "gallery",
        "gallery --rebuild                 after results were moved or deleted",
        "gallery --rebuild --outbox /mnt/nas/pictures",
    )
    gallery.add_argument(
        "--rebuild", action="store_true", help="make it from the results that lie in the outbox, wherever in it"
    )
    add(commands, "doctor", "reference:doctor", "check everything, and say what to do", "doctor")
