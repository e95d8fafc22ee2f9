"""The commands that a newcomer is told of."""

import re
import subprocess

import pytest
from django.core.management import get_commands

from tests.ways_in.conftest import REPOSITORY

TARGETS = ["demo", "run", "test", "faults", "fuzz", "screenshots", "check"]


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_command_and_lists_it(target: str) -> None:
    planned = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    assert f"make {target} " in subprocess.check_output(["make"], cwd=REPOSITORY, text=True)


def test_the_readme_begins_with_demo_and_test_and_names_no_command_that_is_not_there() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    commands = re.findall(r"^make (\w+)", readme, flags=re.MULTILINE)
    assert commands[:3] == ["demo", "test", "run"]
    assert set(re.findall(r"\bmake (\w+)`", readme)) <= set(TARGETS)
    assert set(re.findall(r"manage\.py (\w+)", readme)) <= get_commands().keys()


def test_ci_runs_the_same_commands() -> None:
    script = (REPOSITORY / ".ci/run").read_text()
    assert "make test" in script
    assert "make check" in script
