"""Several processes that train one session: the same training as by one, and the same promises."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.conftest import DIGITS, MakeSession, classes, rows
from tests.engine.test_process import start, wait_for
from tests.engine.test_trainer import events
from training.journal import Lock, SessionDirectory

pytestmark = pytest.mark.slow

Launch = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts trainers; what is left of them ends with the test."""
    trainers: list[subprocess.Popen[bytes]] = []

    def start_one(directory: SessionDirectory, attempt: int = 1) -> subprocess.Popen[bytes]:
        trainers.append(start(directory, attempt))
        return trainers[-1]

    yield start_one
    for trainer in trainers:
        trainer.kill()
        trainer.wait()


def make_digits(make_session: MakeSession, name: str, **options: Any) -> SessionDirectory:
    config = {"learning_rate": 0.01, "batch_size": 60, "epochs": 3, "compile": "off", "num_threads": 2}
    return make_session(name, file=DIGITS, **config | options)


def ranks_of(directory: SessionDirectory) -> list[psutil.Process]:
    """The living ranks of a session, whoever is their parent by now."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        is_rank = "training.engine.ranks" in command and str(directory.root) in command
        if is_rank and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def curves(directory: SessionDirectory) -> list[float]:
    return [
        event[name] for event in events(directory, "epoch") for name in ("loss", "accuracy", "val_loss", "val_accuracy")
    ]


def test_two_processes_learn_what_one_learns(make_session: MakeSession, launch: Launch) -> None:
    """60 of 1,438 samples in a batch leave 58 in the last one, and 29 for each rank."""
    options = {"model_args": {"dropout": 0.0}, "gradient_accumulation": 3, "optimizer": "sgd"}
    one = make_digits(make_session, "one", **options)
    two = make_digits(make_session, "two", gpus=2, **options)
    assert launch(one).wait() == 0
    assert launch(two).wait() == 0, two.console.read_text()
    assert len(events(two, "end")) == len(events(two, "start")) == 1
    assert [event["epoch"] for event in events(two, "epoch")] == [1, 2, 3]
    assert curves(two) == pytest.approx(curves(one), abs=1e-5)
    assert events(two, "end")[0]["sha256"] is not None
    assert not ranks_of(two)


@pytest.mark.parametrize("victim", ["trainer", "rank"])
def test_killed_nothing_is_left_and_it_ends_with_the_same_bytes(
    make_session: MakeSession, launch: Launch, victim: str
) -> None:
    options = {"gpus": 2, "epochs": 8, "checkpoint_every_seconds": 0.05}
    whole, killed = (make_digits(make_session, name, **options) for name in ("whole", "killed"))
    assert launch(whole).wait() == 0

    trainer = launch(killed)
    wait_for(killed, "checkpoint", 1, 3)
    ranks = ranks_of(killed)
    assert len(ranks) == 2
    (trainer if victim == "trainer" else ranks[1]).send_signal(signal.SIGKILL)
    # Shells count from 128, and the trainer passes on that a rank was killed.
    assert trainer.wait(timeout=40) == (-signal.SIGKILL if victim == "trainer" else 128 + signal.SIGKILL)
    psutil.wait_procs(ranks, timeout=2)
    assert not ranks_of(killed)
    assert not Lock.is_held(killed.lock)
    assert not events(killed, "end")  # so that the supervisor starts another attempt

    assert launch(killed, attempt=2).wait() == 0
    assert events(killed, "start")[1]["resumed_from"]
    assert curves(killed) == curves(whole)
    assert (killed.weights / "model.pt").read_bytes() == (whole.weights / "model.pt").read_bytes()


def test_a_signal_ends_all_of_them_in_order(make_session: MakeSession, launch: Launch) -> None:
    directory = make_digits(make_session, "session", gpus=2, epochs=1000)
    trainer = launch(directory)
    wait_for(directory, "epoch", 1)
    trainer.terminate()
    assert trainer.wait(timeout=30) == 0
    (end,) = events(directory, "end")
    assert end["ending"] == "interrupted"
    newest = events(directory, "checkpoint")[-1]
    assert (directory.checkpoints / newest["name"]).is_dir()
    assert not ranks_of(directory)


def test_a_signal_before_there_are_ranks_is_not_lost(make_session: MakeSession, launch: Launch) -> None:
    directory = make_digits(make_session, "session", gpus=2, epochs=1000)
    trainer = launch(directory)
    wait_for(directory, "start", 1)
    trainer.terminate()
    assert trainer.wait(timeout=60) == 0
    assert events(directory, "end")[0]["ending"] == "interrupted"
    assert events(directory, "epoch") == []


def test_a_failure_reaches_the_journal_once(make_session: MakeSession, launch: Launch, tmp_path: Path) -> None:
    directory = make_session(x=rows(), y=classes(), gpus=2)
    (tmp_path / "session.npz").write_bytes(b"another file")
    began = time.monotonic()
    assert launch(directory).wait() == 1
    assert time.monotonic() - began < 60
    (end,) = events(directory, "end")
    assert (end["ending"], end["failure_code"]) == ("failed", "bad_dataset")
    assert "not the one that was registered" in end["error_message"]
    (entry,) = [event for event in events(directory, "log") if event["level"] == "ERROR"]
    assert "In rank" in entry["message"]
