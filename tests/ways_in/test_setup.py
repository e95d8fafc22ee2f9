"""setup.sh, on machines that lack something. Nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ways_in.conftest import REPOSITORY

TOOLS = ["mkdir", "sleep", "tail"]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout on a machine that has a few tools and no Python."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path
        (tmp_path / "bin" / tool).symlink_to(path)
    shutil.copy(REPOSITORY / "setup.sh", tmp_path)
    (tmp_path / "requirements.txt").write_text("nothing\n")
    return tmp_path


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def set_up(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "./setup.sh", "requirements.txt"],
        cwd=machine,
        env=os.environ | {"PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_without_python_one_sentence_says_what_to_install(machine: Path) -> None:
    result = set_up(machine)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Python 3.11 or newer is needed")
    assert result.stderr.count("\n") == 1


def test_a_python_that_is_too_old_counts_as_none(machine: Path) -> None:
    program(machine / "bin" / "python3", "exit 1")
    assert set_up(machine).stderr.startswith("Python 3.11 or newer is needed")


def test_a_python_without_venv_is_named_with_the_remedy(machine: Path) -> None:
    program(machine / "bin" / "python3.12", 'case "$2" in *venv*) exit 1 ;; esac')
    result = set_up(machine)
    assert result.returncode == 1
    assert result.stderr.startswith("The venv module of python3.12 is missing: install it")
    assert result.stderr.count("\n") == 1


def test_a_directory_that_cannot_be_written_is_named(machine: Path) -> None:
    (machine / ".venv").touch()  # permissions would not hold root back
    result = set_up(machine)
    assert result.returncode == 1
    assert result.stderr.startswith(f"This directory cannot be written to: {machine}.")
    assert result.stderr.count("\n") == 1


def test_what_pip_says_is_shown_when_it_fails(machine: Path) -> None:
    program(machine / ".venv" / "bin" / "python", 'case "$3" in install) echo "no such package"; exit 1 ;; esac')
    result = set_up(machine)
    assert result.returncode == 1
    assert "no such package" in result.stderr
    assert "pip could not install requirements.txt" in result.stderr


def test_what_pip_says_is_not_shown_when_it_succeeds(machine: Path) -> None:
    program(machine / ".venv" / "bin" / "python", "echo chatter")
    result = set_up(machine)
    assert result.returncode == 0
    assert "chatter" not in result.stdout + result.stderr
    assert "Installing what requirements.txt lists" in result.stdout
