"""What a flood of output costs: an epoch of a trainer whose console is kept, beside one that prints to /dev/null.

    .venv/bin/python -m benchmarks.flood [ROUNDS]

A small network prints in each step for about as long as the step takes. Three ways: short lines; one line without an
end; bytes that are no text, each write a system call of its own. In each round both trainers run, turn by turn; a ratio
is the median of those of the rounds. The limits: 1.2 times the time, 50 MB kept.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from training.console import MARK
from training.journal import Lock, SessionDirectory
from training.spec import DatasetFile, SessionSpec, TrainingConfig

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples" / "digits.npz"
MAX_BYTES = 50_000_000
LIMIT = 1.2
EPOCHS = 40
# How often each is said in a step.
FLOODS = {"lines": 1000, "no end": 1000, "no text": 500}


def make_session(folder: Path, what: str) -> SessionDirectory:
    config = TrainingConfig(
        model_architecture="loud",
        dataset_name="digits",
        learning_rate=0.001,
        batch_size=32,
        epochs=EPOCHS,
        model_args={"what": what, "times": FLOODS[what]},
        seed=0,
        num_threads=1,
        device="cpu",
        checkpoint_every_seconds=60.0,
    )
    sha256 = hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    directory = SessionDirectory(folder)
    directory.create()
    SessionSpec(
        session_id="sess_000000000000",
        config=config,
        dataset=DatasetFile(name="digits", path=str(DIGITS), sha256=sha256, format="npz"),
    ).write(directory.spec)
    return directory


@contextmanager
def kept_console(path: Path) -> Iterator[int]:
    """A pipe to print to, with our process at its other end; leaves when that has written all."""
    command = [sys.executable, "-S", "-m", "training.console", str(path), str(MAX_BYTES)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        yield process.stdin.fileno()


@contextmanager
def nowhere(path: Path) -> Iterator[int]:
    with Path(os.devnull).open("wb") as file:
        yield file.fileno()


def seconds_of_an_epoch(directory: SessionDirectory, is_kept: bool) -> float:
    """Train; the time between the first epoch and the last, by the journal."""
    environment = os.environ | {"ARCHITECTURE_MODULES": "tests.processes.loud"}
    environment.pop("PYTHONUNBUFFERED", None)
    with Lock.acquire(directory.lock) as lock, (kept_console if is_kept else nowhere)(directory.console) as output:
        command = [sys.executable, "-m", "training.engine", str(directory.root), "--lock-fd", str(lock.descriptor)]
        subprocess.run(
            command, cwd=ROOT, env=environment, pass_fds=[lock.descriptor], stdout=output, stderr=output, check=True
        )
    events = [json.loads(line) for line in directory.events.read_text().splitlines()]
    ends = [datetime.fromisoformat(event["at"]).timestamp() for event in events if event["event"] == "epoch"]
    assert len(ends) == EPOCHS
    return (ends[-1] - ends[0]) / (EPOCHS - 1)


def bytes_of(console: Path) -> tuple[int, int]:
    """What is kept of a console, and what was printed in all."""
    content = console.read_bytes()
    mark = MARK.search(content)
    return len(content), len(content) + (int(mark[1].replace(b",", b"")) - len(mark[0]) if mark else 0)


def measure(what: str, rounds: int) -> None:
    kept_seconds, plain_seconds = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            plain_seconds.append(seconds_of_an_epoch(make_session(Path(folder) / "plain", what), is_kept=False))
            directory = make_session(Path(folder) / "kept", what)
            kept_seconds.append(seconds_of_an_epoch(directory, is_kept=True))
            kept_bytes, printed_bytes = bytes_of(directory.console)
    ratio = statistics.median(kept / plain for kept, plain in zip(kept_seconds, plain_seconds, strict=True))
    seconds = statistics.median(kept_seconds)
    print(f"{what:8} an epoch {1000 * seconds:6.1f} ms, {ratio:.2f} times as long as to /dev/null (limit {LIMIT})")
    printed = f"{printed_bytes / 1e6:.1f} MB printed, {printed_bytes / EPOCHS / seconds / 1e6:.1f} MB/s"
    print(f"{'':8} {printed}, {kept_bytes / 1e6:.1f} MB kept (limit {MAX_BYTES / 1e6:.0f})")


if __name__ == "__main__":
    for flood in FLOODS:
        measure(flood, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
