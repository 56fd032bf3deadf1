"""The pages for people who drop files, as they follow them: each command, in the order in which it stands there.

What a page shows as a file lies where its commands look for it. `ARGUMENTS` says what else they name.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.test_pages import blocks_of

ROOT = Path(__file__).parents[2]
CONFIG = """\
heartbeat_s = 0.5
default_model = "card"
[models.card]
source = "testcard"
width = 64
height = 64
num_inference_steps = 2
[models.sd15]
source = "testcard"
variant = ""
"""
#: What a page shows as a file, by its kind, is called so in its commands.
CALLED = {"txt": "prompts.txt", "csv": "table.csv"}
#: These tell by their exit status that there is nothing of the kind.
MAY_FIND_NOTHING = ("darkroom find", "darkroom priority", "darkroom cancel", "darkroom status", "darkroom retry")
SAY_NO = 1


class Person:
    """Somebody with a folder of their own, a daemon beside it, and `darkroom` on the PATH."""

    def __init__(self, home: Path) -> None:
        self.home = home
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
        self.environment = {**kept, "HOME": str(home), "PATH": path}

    def type(self, line: str) -> str:
        """Returns what was said on stdout. Fails where the line does."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.home, env=self.environment, capture_output=True, text=True, check=False
        )
        fine = (0, SAY_NO) if line.startswith(MAY_FIND_NOTHING) else (0,)
        assert done.returncode in fine, f"{line}\n{done.stdout}{done.stderr}"
        assert "usage:" not in done.stderr, line
        return done.stdout

    def follow(self, page: str) -> list[str]:
        """Type what stands on a page; returns the lines."""
        typed = []
        for kind, text in blocks_of((ROOT / page).read_text(encoding="utf-8")):
            if kind in CALLED:
                (self.home / CALLED[kind]).write_text(text)
            lines = text.splitlines() if kind == "" else []
            for line in [line for line in lines if line.startswith("darkroom ")]:
                self.type(line)
                typed.append(line)
        return typed


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    for folder in ("inbox", "outbox", "config"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config" / "darkroom.toml").write_text(CONFIG)
    found = Person(tmp_path)
    with subprocess.Popen(["darkroom", "run"], cwd=tmp_path, env=found.environment) as daemon:
        try:
            yield found
        finally:
            daemon.send_signal(signal.SIGTERM)


def answer(person: Person, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((person.home / "outbox" / f"{name}.json").read_text())
    return found


def test_many_md(person: Person) -> None:
    for folder in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (person.home / folder).mkdir(parents=True)
    typed = person.follow("docs/many.md")
    assert len(typed) == 19
    assert answer(person, "prompts/0001-a-red-fox")["state"] == "done"
    assert "prompts/0001-a-red-fox" in person.type("darkroom find red fox")
    assert (person.home / ".zfunc" / "_darkroom").stat().st_size > 0


def test_gallery_md(person: Person) -> None:
    person.type('darkroom submit "a red fox" --name fox --wait')
    assert person.follow("docs/gallery.md") == ["darkroom gallery --rebuild"]
    assert (person.home / "outbox" / "index.html").exists()


def test_styles_md(person: Person) -> None:
    shutil.copy(ROOT / "config" / "styles.toml", person.home)
    (person.home / "styles.csv").write_text("name,prompt,negative_prompt\nInk,ink drawing of {prompt},colour\n")
    (person.home / "sdxl_styles.json").write_text('[{"name": "Ink", "prompt": "ink drawing of {prompt}"}]')
    assert len(person.follow("docs/styles.md")) == 2
    assert "watercolor" in person.type("darkroom submit castle --style watercolor --name c --wait && cat outbox/c.json")


def test_from_other_programs_md(person: Person) -> None:
    person.type('darkroom submit "a cat" --name cat --wait && cp outbox/cat/cat-1.png .')
    page = (ROOT / "docs/from-other-programs.md").read_text(encoding="utf-8")
    shown = re.search(r"`payload.json`:\n\n```json\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    (person.home / "payload.json").write_text(shown[1])
    assert len(person.follow("docs/from-other-programs.md")) == 3
    person.type("darkroom status fox --watch")
    assert answer(person, "fox")["state"] == "done"


def test_clients_md(person: Person) -> None:
    assert person.follow("docs/clients.md") == ["darkroom schema > request.schema.json"]
    assert "prompt" in json.loads((person.home / "request.schema.json").read_text())["properties"]
