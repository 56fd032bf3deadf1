"""The clients of docs/contract.md and docs/clients.md, as they stand there, against a real daemon."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess

DOCS = Path(__file__).parents[1] / "docs"
PAGE = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("contract.md", "clients.md"))
#: What runs each, by what the pages call its language.
INTERPRETERS = {"bash": "bash", "python": sys.executable, "js": shutil.which("node")}
#: All that the shell client may use; PATH holds nothing else.
COMMANDS = ("bash", "cat", "cut", "date", "grep", "ls", "mv", "sleep")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture(params=INTERPRETERS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command that runs a client of the pages."""
    blocks = re.findall(rf"^```{request.param}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    interpreter = INTERPRETERS[request.param]
    if interpreter is None:
        pytest.skip("there is no Node")
    file = tmp_path / "client.mjs"  # the ending tells Node that it is a module
    file.write_text(blocks[0], encoding="utf-8")
    return [interpreter, str(file)]


def ask(daemon: DaemonProcess, client: list[str], prompt: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*client, str(daemon.inbox), str(daemon.outbox), prompt],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": path},
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with nothing but what the page says that a client needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for command in COMMANDS:
        found = subprocess.run(["sh", "-c", f"command -v {command}"], capture_output=True, text=True, check=True)
        (folder / command).symlink_to(found.stdout.strip())
    return str(folder)


@pytest.mark.parametrize("prompt", ["a castle on a hill", 'a "quoted" \\ word', "ein Schloß, 城"])
def test_a_client_asks_and_gets_its_pictures(daemon: DaemonProcess, client: list[str], prompt: str, path: str) -> None:
    done = ask(daemon, client, prompt, path)
    assert (done.returncode, done.stderr) == (0, "")
    pictures = [Path(line) for line in done.stdout.splitlines()]
    assert pictures
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.is_relative_to(daemon.outbox)
    answer = daemon.answer(pictures[0].parent.name)
    assert answer["plan"]["prompt"] == prompt
    assert [each.name for each in pictures] == [image["file"] for image in answer["images"]]


def test_a_client_is_told_what_is_wrong(daemon: DaemonProcess, client: list[str], path: str) -> None:
    refused = ask(daemon, client, "", path)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "prompt" in refused.stderr


def test_the_clients_are_about_ten_lines_long() -> None:
    for block in re.findall(r"^```(?:bash|python|js|powershell)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        assert len([line for line in block.splitlines() if line.strip()]) <= 15
