"""The trainer as a process: killed, stopped, failed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import DIGITS, MakeSession, classes, rows
from tests.engine.test_trainer import events, metrics
from training.journal import Lock, SessionDirectory

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def start(directory: SessionDirectory, attempt: int = 1) -> subprocess.Popen[bytes]:
    """Start a trainer as the supervisor does: it inherits the lock, and ignores SIGINT at first."""
    with Lock.acquire(directory.lock) as lock, directory.console.open("ab") as console:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "training.engine", str(directory.root)),
                    *("--attempt", str(attempt), "--lock-fd", str(lock.descriptor)),
                ],
                cwd=ROOT,
                pass_fds=[lock.descriptor],
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)


def wait_for(directory: SessionDirectory, kind: str, attempt: int, count: int = 1) -> list[dict[str, Any]]:
    """Wait until an attempt has written so many events of a kind, or ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [event for event in events(directory, kind) if event["attempt"] == attempt]
        if len(found) >= count or any(event["attempt"] == attempt for event in events(directory, "end")):
            return found
        time.sleep(0.005)
    raise AssertionError(directory.console.read_text())


@pytest.mark.parametrize(("architecture", "optimizer"), [("cnn", "sgd"), ("mlp", "adam")])
def test_killed_at_any_moment_it_ends_with_the_same_bytes_and_metrics(
    make_session: MakeSession, architecture: str, optimizer: str
) -> None:
    def session(name: str) -> SessionDirectory:
        return make_session(
            name,
            file=DIGITS,
            model_architecture=architecture,
            optimizer=optimizer,
            learning_rate=0.01,
            batch_size=64,
            epochs=15,
            checkpoint_every_seconds=0.02,
        )

    whole, killed = session("whole"), session("killed")
    undisturbed = start(whole)
    moments = random.Random(5)
    for attempt in (1, 2, 3):
        trainer = start(killed, attempt)
        wait_for(killed, "checkpoint", attempt, moments.randint(1, 6))
        time.sleep(moments.uniform(0, 0.1))
        trainer.kill()
        assert trainer.wait() == -signal.SIGKILL
        assert not Lock.is_held(killed.lock)
    assert not events(killed, "end")
    assert start(killed, attempt=4).wait() == 0
    assert undisturbed.wait() == 0
    assert all(event["resumed_from"] for event in events(killed, "start")[1:])
    assert metrics(killed) == metrics(whole)
    assert list(metrics(killed)) == list(range(1, 16))
    assert (killed.weights / "model.pt").read_bytes() == (whole.weights / "model.pt").read_bytes()


def test_a_signal_ends_it_in_order_and_it_goes_on_later(make_session: MakeSession) -> None:
    directory = make_session(file=DIGITS, batch_size=4, epochs=1000)
    for attempt, number in ((1, signal.SIGTERM), (2, signal.SIGINT)):
        trainer = start(directory, attempt)
        wait_for(directory, "start", attempt)
        assert Lock.is_held(directory.lock)
        assert Lock.read_pid(directory.lock) == trainer.pid
        wait_for(directory, "epoch", attempt)
        os.kill(trainer.pid, number)
        assert trainer.wait(timeout=30) == 0
        assert not Lock.is_held(directory.lock)
        assert events(directory, "end")[-1]["ending"] == "interrupted"
        assert (directory.weights / "model.pt").is_file()
    first, second = events(directory, "start")
    assert first["resumed_from"] is None
    assert second["resumed_from"].startswith("step-")
    epochs = [event["epoch"] for event in events(directory, "epoch")]
    assert epochs == list(range(1, len(epochs) + 1))


def test_a_signal_while_torch_is_imported_is_not_lost(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=1000)
    trainer = start(directory)
    wait_for(directory, "start", 1)
    trainer.terminate()
    assert trainer.wait(timeout=30) == 0
    assert events(directory, "end")[0]["ending"] == "interrupted"
    assert events(directory, "epoch") == []


def test_a_failure_has_a_code_a_sentence_and_a_traceback(make_session: MakeSession, tmp_path: Path) -> None:
    directory = make_session(x=rows(), y=classes())
    (tmp_path / "session.npz").write_bytes(b"another file")
    assert start(directory).wait() == 1
    (end,) = events(directory, "end")
    assert (end["ending"], end["failure_code"], end["weights"]) == ("failed", "bad_dataset", None)
    assert "not the one that was registered" in end["error_message"]
    (entry,) = [event for event in events(directory, "log") if event["level"] == "ERROR"]
    assert "Traceback" in entry["message"]


def test_a_second_trainer_refuses_the_session(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes())
    with Lock.acquire(directory.lock):
        second = subprocess.run(
            [sys.executable, "-m", "training.engine", str(directory.root)], cwd=ROOT, capture_output=True, check=False
        )
    assert second.returncode != 0
    assert b"lock is held" in second.stderr
    assert not directory.events.exists()
