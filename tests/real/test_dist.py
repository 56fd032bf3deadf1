"""What is built for others to install works in an empty environment, from another folder, with no checkout around."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.config.settings import shipped

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
#: Each brings gigabytes, and there is no small build of torch for every Python.
HEAVY = ("accelerate", "diffusers", "scipy", "torch", "transformers")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder], cwd=CHECKOUT, check=True, capture_output=True)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def wheel_of(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


def clean_environment(**more: str) -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "PYTHON", "VIRTUAL_ENV"))
    } | more


def said(words: list[object], folder: Path, **more: str) -> str:
    command = [str(word) for word in words]
    environment = clean_environment(**more)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def python_of(version: str) -> str | None:
    """An interpreter of this version: on the PATH, or of pyenv."""
    candidates = [
        shutil.which(f"python{version}"),
        *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"),
    ]
    for each in filter(None, candidates):
        if (
            subprocess.run([str(each), "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode
            == 0
        ):
            return str(each)
    return None


def test_both_archives_hold_all_that_the_program_needs(dist: Path) -> None:
    in_wheel = set(zipfile.ZipFile(wheel_of(dist)).namelist())
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        in_source = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files", "daemon/darkroom"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.removeprefix("daemon/") for name in tracked} <= in_wheel
    assert {
        f"darkroom/data/{name}" for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    } <= in_wheel
    assert {*tracked, "LICENSE", "NOTICE", "Containerfile", "compose.yaml", "Makefile", "constraints.txt"} <= in_source
    for name in ("config/darkroom.toml", "config/styles.toml", "systemd/darkroom.service"):
        assert shipped(name).is_file()


def by_pipx(wheel: Path, folder: Path) -> tuple[list[object], dict[str, str]]:
    """How it runs a program of a wheel, and where it puts things."""
    pipx = shutil.which("pipx")
    if pipx is None:
        pytest.skip("there is no pipx")
    constraint = f"--pip-args=--constraint={CHECKOUT}/constraints.txt"
    return [pipx, "run", constraint, "--spec", wheel], {"PIPX_HOME": f"{folder}/pipx", "PIPX_BIN_DIR": f"{folder}/bin"}


def by_uvx(wheel: Path, folder: Path) -> tuple[list[object], dict[str, str]]:
    """Likewise; it looks for packages where pip is told to."""
    uvx = shutil.which("uvx", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uvx is None:
        pytest.skip("there is no uvx")
    places = {"UV_CACHE_DIR": f"{folder}/uv", "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    return [uvx, "--constraints", f"{CHECKOUT}/constraints.txt", "--from", wheel], places


@pytest.mark.parametrize("by", [by_pipx, by_uvx])
def test_a_whole_installation_shows_the_demo_from_another_folder(
    by: Callable[[Path, Path], tuple[list[object], dict[str, str]]],
    dist: Path,
    elsewhere: Path,
    tmp_path: Path,
    figures: list[str],
) -> None:
    """As somebody tries it who has nothing but the wheel."""
    words, places = by(wheel_of(dist), tmp_path)
    told = said([*words, "darkroom", "demo"], elsewhere, **places)
    assert "outbox/index.html" in told
    answer = json.loads((elsewhere / "outbox/parrot.json").read_bytes())
    assert (answer["state"], answer["rendered_by"]["model"]) == ("done", "starter")
    assert (elsewhere / "outbox/parrot/parrot-2.png").stat().st_size > 1000
    assert str(CHECKOUT) not in told
    assert "failed" not in said([*words, "darkroom", "doctor"], elsewhere, **places)
    figures.append(f"wheel: {wheel_of(dist).stat().st_size / 1e6:.1f} MB")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_command_works_in_an_empty_environment_of_each_python(
    version: str, dist: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Without what paints: the command, which has to work on machines that have no use for that."""
    python = python_of(version)
    if python is None:
        pytest.skip(f"there is no Python {version}")
    said([python, "-m", "venv", tmp_path / "venv"], elsewhere)
    program = tmp_path / "venv/bin/darkroom"
    light = [each for each in PROJECT["project"]["dependencies"] if not each.startswith(HEAVY)]
    pip: list[object] = [tmp_path / "venv/bin/pip", "install", "--quiet", f"--constraint={CHECKOUT}/constraints.txt"]
    said([*pip, *light], elsewhere)
    said([*pip, "--no-deps", wheel_of(dist)], elsewhere)
    for name in ("inbox", "outbox"):
        (elsewhere / name).mkdir()
    (elsewhere / "cat.json").write_text('{"prompt": "a cat", "style": "ink"}')
    assert "fine" in said([program, "check", "cat.json"], elsewhere)
    assert "fantasy" in said([program, "styles"], elsewhere)
    assert json.loads(said([program, "schema"], elsewhere))["type"] == "object"
    assert "starter" in said([program, "models"], elsewhere)
    assert "ExecStart=" in said([program, "service", "show"], elsewhere)
    said([program, "submit", "a cat", "--name", "cat"], elsewhere)
    assert (elsewhere / "inbox/cat.json").is_file()
