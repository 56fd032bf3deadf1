"""What lets shells complete the command for all people of a machine: where it lies, and whether that is ours.

`/usr/share` belongs to the system's packages. In `/usr/local/share` bash-completion looks by itself, and so does every
zsh, on Debian as on Fedora. fish looks there only where XDG_DATA_DIRS names it, which a log-in over SSH does not; for
what an administrator adds it has a folder in `/etc`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from darkroom.systemd.step import Step

PLACES = {
    "bash": Path("/usr/local/share/bash-completion/completions/darkroom"),
    "zsh": Path("/usr/local/share/zsh/site-functions/_darkroom"),
    "fish": Path("/etc/fish/completions/darkroom.fish"),
}
#: The last line of each script that was installed. One that lacks it was put there by somebody else, and stays.
MARK = "# Installed by `darkroom service install`, removed by `darkroom service remove`."


@dataclass(frozen=True, slots=True)
class Found:
    """What lies where a script belongs."""

    text: str | None = None  #: None: nothing
    is_strange: bool = False  #: a link, a folder, or no text
    has_folder: bool = False
    is_read_only: bool = False  #: nothing can be written there at all

    @property
    def is_ours(self) -> bool:
        """Whether it was installed by us."""
        return self.text is not None and self.text.endswith(f"\n{MARK}\n")

    @property
    def is_theirs(self) -> bool:
        """Whether somebody else has put it there."""
        return self.is_strange or (self.text is not None and not self.is_ours)


NOTHING = Found()


def as_installed(script: str) -> str:
    """A script as it is written there."""
    return f"{script.rstrip()}\n{MARK}\n"


def completions_to_install(scripts: Mapping[Path, str], found: Mapping[Path, Found]) -> Iterator[Step]:
    """Write what is missing or older. What is somebody else's stays."""
    for path, text in scripts.items():
        there = found.get(path, NOTHING)
        if there.is_theirs or there.is_read_only or there.text == text:
            continue
        if not there.has_folder:
            yield Step("Where a shell looks for completions.", ("install", "-d", "-m", "0755", str(path.parent)))
        yield Step("It completes what people type (`darkroom completion`).", file=path, content=text)


def completions_to_remove(found: Mapping[Path, Found]) -> Iterator[Step]:
    """Remove what was installed."""
    for path, there in found.items():
        if there.is_ours and not there.is_read_only:
            yield Step("It completed what people type.", ("rm", str(path)))


def completions_left_alone(found: Mapping[Path, Found]) -> Iterator[str]:
    """Why some of them are not installed, for the person who asks."""
    for path, there in found.items():
        if there.is_theirs:
            yield f"{path}, which somebody else has put there"
        elif there.is_read_only:
            yield f"{path}: nothing can be written there"
