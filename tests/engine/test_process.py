"""The trainer as a process: killed, stopped, failed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.conftest import DIGITS, MakeSession, classes, rows
from tests.engine.test_trainer import events, metrics
from training.journal import Lock, SessionDirectory

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def start(directory: SessionDirectory, attempt: int = 1, **environment: str) -> subprocess.Popen[bytes]:
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
                env={**os.environ, **environment},
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


ALL_TOGETHER = {  # the network normalises batches
    "model_architecture": "cnn",
    "model_args": {"width": 8, "dropout": 0.3},
    "optimizer": "sgd",
    "momentum": 0.9,
    "scheduler": "cosine",
    "warmup_steps": 20,
    "gradient_accumulation": 3,
    "batch_size": 32,
    "epochs": 8,
}


@pytest.mark.parametrize("options", [ALL_TOGETHER, {"batch_size": 64, "epochs": 15}])
def test_killed_at_any_moment_it_ends_with_the_same_bytes_and_metrics(
    make_session: MakeSession, options: dict[str, Any]
) -> None:
    def session(name: str) -> SessionDirectory:
        return make_session(name, file=DIGITS, learning_rate=0.01, checkpoint_every_seconds=0.02, **options)

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
    assert list(metrics(killed)) == list(range(1, options["epochs"] + 1))
    assert (killed.weights / "model.pt").read_bytes() == (whole.weights / "model.pt").read_bytes()


def test_a_signal_ends_it_in_order_and_it_goes_on_later(make_session: MakeSession) -> None:
    directory = make_session(file=DIGITS, batch_size=4, epochs=1000, compile="off")
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


def test_a_stop_while_it_starts_is_followed_at_once_and_it_goes_on_later(make_session: MakeSession) -> None:
    whole, stopped = (make_session(name, file=DIGITS, epochs=2, batch_size=64) for name in ("whole", "stopped"))
    undisturbed = start(whole)
    moments = random.Random(3)
    for attempt in range(1, 6):
        trainer = start(stopped, attempt)
        time.sleep(moments.uniform(0, 2.5))
        trainer.send_signal(moments.choice([signal.SIGTERM, signal.SIGINT]))
        status = trainer.wait(timeout=30)
        end = events(stopped, "end")[-1]
        assert (end["attempt"], end["failure_code"]) == (attempt, None)
        if end["ending"] == "completed":
            break  # on a fast machine the signal may find nothing but an interpreter that is being taken down
        assert status == 0
    else:
        assert start(stopped, attempt=6).wait() == 0
    assert undisturbed.wait() == 0
    assert events(stopped, "end")[-1]["sha256"] == events(whole, "end")[-1]["sha256"]
    assert metrics(stopped) == metrics(whole)


def compiler_runs(trainer: int) -> bool:
    """Whether one of the trainer's processes compiles C++; any of them may end while it is looked at."""
    with suppress(psutil.NoSuchProcess):
        return any("cc1plus" in child.name() for child in psutil.Process(trainer).children(recursive=True))
    return False


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_stop_does_not_wait_for_the_compiler(make_session: MakeSession, tmp_path: Path) -> None:
    directory = make_session(file=DIGITS, epochs=1000, compile="on")
    trainer = start(directory, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    deadline = time.monotonic() + 120
    while not compiler_runs(trainer.pid):
        assert trainer.poll() is None, directory.console.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(events(directory, "progress")) >= 3
    trainer.terminate()
    assert trainer.wait(timeout=60) == 0
    (end,) = events(directory, "end")
    assert (end["ending"], end["weights"]) == ("interrupted", None)
    assert events(directory, "checkpoint") == []  # which it would have saved after compiling
    assert directory.half_written() == []
    assert "Traceback" not in directory.console.read_text()


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
