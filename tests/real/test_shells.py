"""Completion in Debian's bash, zsh and fish."""

import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.cli.completion import script
from darkroom.systemd import host
from darkroom.systemd.completions import PLACES, as_installed, completions_to_install

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


# As the installer puts it there --------------------------------------------------------------------------------------

#: What each shell is asked in a log-in without a desktop, which sets no XDG_DATA_DIRS.
ASKED = {
    "bash": """. /usr/share/bash-completion/bash_completion
COMP_WORDS=(darkroom st); COMP_CWORD=1; COMP_LINE="darkroom st"; COMP_POINT=11
_completion_loader darkroom
complete -p darkroom""",
    "zsh": f"{ZSH.format(folder='$HOME')}\nprint $_comps[darkroom]",
    "fish": "complete -C 'darkroom st'",
}
SAID = {"bash": "-F _shtab_darkroom darkroom", "zsh": "_darkroom\n", "fish": "status\t"}
#: Where nothing but what the test puts there lies, for this process alone.
ALONE = """
mount -t tmpfs tmpfs /usr/local/share && mkdir -p /etc/fish && mount -t tmpfs tmpfs /etc/fish || exit 9
cp -a "$STAGED"/. / && exec env -i HOME="$HOME" PATH="$BIN":/usr/bin:/bin "$@"
"""


@pytest.mark.parametrize("shell", PLACES)
def test_a_shell_finds_what_the_installer_puts_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    staged = {
        tmp_path / "staged" / str(place).lstrip("/"): as_installed(script(each)) for each, place in PLACES.items()
    }
    for step in completions_to_install(staged, {}):
        host.carry_out(step)
    monkeypatch.setenv("STAGED", str(tmp_path / "staged"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BIN", str(Path(sys.executable).parent))  # fish asks whether there is such a command
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": []}[shell]
    alone = ("unshare", "--mount", "--propagation=private", "bash", "-c", ALONE, "alone")
    assert SAID[shell] in run(*alone, shell, *options, "-c", ASKED[shell])
