"""Completion in Debian's zsh and fish."""

import subprocess
from pathlib import Path

import pytest

from darkroom.cli.completion import script

ZSH = """
autoload -Uz compinit && compinit -u -d {folder}/dump
(( $+_comps[darkroom] )) && [ "$_comps[darkroom]" = _darkroom ] || exit 7
autoload +X _darkroom || exit 8
"""


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("shell", "name"), [("bash", "darkroom"), ("zsh", "_darkroom"), ("fish", "darkroom.fish")])
def test_the_script_is_one_of_its_shell(tmp_path: Path, shell: str, name: str) -> None:
    (tmp_path / name).write_text(script(shell))
    run(shell, "-n", str(tmp_path / name))


def test_zsh_finds_and_loads_it(tmp_path: Path) -> None:
    (tmp_path / "_darkroom").write_text(script("zsh"))
    run("zsh", "-f", "-c", f"fpath=({tmp_path} $fpath)\n{ZSH.format(folder=tmp_path)}")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("darkroom st", {"status", "styles"}),
        ("darkroom completion ", {"bash", "zsh", "fish"}),
        ("darkroom submit --format ", {"png", "jpeg", "webp"}),
        ("darkroom submit --neg", {"--negative-prompt"}),
    ],
)
def test_fish_completes(tmp_path: Path, line: str, offered: set[str]) -> None:
    (tmp_path / "darkroom.fish").write_text(script("fish"))
    said = run("fish", "--no-config", "-c", f"source {tmp_path}/darkroom.fish; complete -C '{line}'")
    assert offered <= {each.partition("\t")[0] for each in said.splitlines()}
