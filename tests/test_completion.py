"""Completion, as bash does it; the other shells are in tests/real/test_shells.py."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

import pytest

from darkroom.cli import main
from darkroom.cli.arguments import parser
from darkroom.cli.completion import script

BASH = """
source {script}
spec=($(complete -p darkroom))
for ((i = 0; i < ${{#spec[@]}}; i++)); do [ "${{spec[i]}}" = -F ] && function=${{spec[i + 1]}}; done
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
COMP_LINE="${{COMP_WORDS[*]}}" COMP_POINT=${{#COMP_LINE}}
"$function" darkroom "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers in place of the last word."""
    file = folder / "darkroom.bash"
    file.write_text(script("bash"))
    told = BASH.format(script=shlex.quote(str(file)), words=shlex.join(["darkroom", *words]))
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", told], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return sorted(filter(None, map(str.strip, done.stdout.splitlines())))


def commands() -> list[str]:
    (action,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return sorted(action.choices)


def test_bash_completes_commands(tmp_path: Path) -> None:
    assert completed(tmp_path, "") == commands()
    assert completed(tmp_path, "st") == ["status", "styles"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["submit", "--neg"], ["--negative-prompt"]),
        (["status", "--"], ["--config", "--help", "--inbox", "--json", "--outbox", "--state-dir", "--watch"]),
        (["submit", "--format", ""], ["jpeg", "png", "webp"]),
        (["find", "--state", "re"], ["refused", "rendering"]),
        (["service", "inst"], ["install"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["--inbox", "x", "pau"], ["pause"]),
    ],
)
def test_bash_completes_options_and_what_they_take(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    assert completed(tmp_path, *words) == offered


def test_bash_completes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").touch()
    (tmp_path / "prompts").mkdir()
    assert "prompts.txt" in completed(tmp_path, "submit", "--from", "pro")
    assert completed(tmp_path, "adopt", "pro") == ["prompts"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert [name for name in commands() if name not in said] == []


def test_the_grammar_itself_stays_as_it_is() -> None:
    script("bash")
    assert parser().parse_args(["submit", "x", "--format", "gif"]).format == "gif"
