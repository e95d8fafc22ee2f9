"""What the start of a session must not wait for."""

import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.engine.conftest import MakeSession, classes, rows
from training.engine.architectures import catalogue

ROOT = Path(__file__).parents[2]

# Trains to the end of the first epoch, as the trainer process does, and tells what is imported by then.
SCRIPT = """
import os, sys
from training.engine.__main__ import main
from training.journal import JournalWriter

def tell(*_):
    print(*(name for name in sys.argv[2:] if name in sys.modules))
    sys.stdout.flush()
    os._exit(0)

JournalWriter.epoch = tell
main([sys.argv[1]])
"""
# Each takes from a tenth of a second to two seconds, and belongs to what few sessions do, or to their end.
LATER = ("torch._dynamo", "torch._inductor", "torchvision", "jsonschema", "django")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_first_epoch_needs_nothing_slow(make_session: MakeSession, optimizer: str) -> None:
    directory = make_session(x=rows(), y=classes(), optimizer=optimizer)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(directory.root), *LATER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def test_the_defaults_of_our_architectures_fit_their_schemas() -> None:
    """At the start of a session nobody checks them."""
    checked = 0
    for architecture in catalogue().values():
        for schema in architecture.arguments["properties"].values():
            Draft202012Validator(schema).validate(schema["default"])
            checked += 1
    assert checked
