"""`make` renews the virtual environment when it has to, and says what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment was made with Python 3.12, and is ready."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(CHECKOUT / name, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.7\n")
    runs_on(tmp_path, "3.12")
    (tmp_path / ".venv/.ready").touch()
    return tmp_path


def a_python(path: Path, version: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def runs_on(checkout: Path, version: str) -> None:
    a_python(checkout / ".venv/bin/python", version)


def would(checkout: Path, *words: str, make: tuple[str, ...] = ("--dry-run",)) -> str:
    """What `make venv` would do, or does."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHON", "MAKEFLAGS")}
    command = ["make", *make, "venv", *words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment, check=False)
    return done.stdout + done.stderr


def test_an_environment_is_left_alone_while_nothing_has_changed(checkout: Path) -> None:
    assert "pip install" not in would(checkout)
    same = a_python(checkout / "python3.12", "3.12")
    assert "pip install" not in would(checkout, f"PYTHON={same}")


@pytest.mark.parametrize("now", ["3.13", "gone"])
def test_an_environment_that_has_outlived_its_python_is_made_anew(checkout: Path, now: str) -> None:
    if now == "gone":
        (checkout / ".venv/bin/python").unlink()
    else:
        runs_on(checkout, now)
    assert "-m venv --clear .venv" in would(checkout)


def test_another_python_makes_another_environment(checkout: Path) -> None:
    other = a_python(checkout / "python3.13", "3.13")
    assert f"{other} -m venv --clear .venv" in would(checkout, f"PYTHON={other}")


def test_new_dependencies_are_installed_into_the_same_environment(checkout: Path) -> None:
    later = (checkout / ".venv/.ready").stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (later, later))
    assert "-m venv  .venv" in would(checkout)


def test_a_python_that_is_not_there_or_too_old_is_told(checkout: Path) -> None:
    assert "There is no python9 here. Try: make PYTHON=" in would(checkout, "PYTHON=python9", "-B", make=())
    old = checkout / "python3.4"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.4.10;; *) exit 1;; esac\n')
    old.chmod(0o755)
    assert "needs Python 3.11 or newer, and this is Python 3.4.10." in would(checkout, f"PYTHON={old}", "-B", make=())
