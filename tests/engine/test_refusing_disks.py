"""Disks that are full, out of inodes, or read-only while a session trains: it fails with its reason, and can go on."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.engine.conftest import DIGITS, MakeSession, classes, rows
from tests.engine.test_exactness import SMALL_MLP, result
from tests.engine.test_process import ROOT, wait_for
from tests.engine.test_trainer import events, run
from tests.processes.disks import Disk, mounted
from training.engine.checkpoint import find_newest
from training.engine.failures import as_failure
from training.failures import REMEDIES
from training.journal import SessionDirectory, read_events

REFUSALS: dict[str, tuple[Callable[[Disk], None], str]] = {
    "full": (Disk.fill, "disk_full"),
    "nearly full": (lambda disk: disk.fill(leave_bytes=1 << 13), "disk_full"),
    "out of inodes": (Disk.fill_inodes, "disk_full"),
    "read-only": (Disk.make_read_only, "disk_error"),
}
STEPS_BEFORE = 5


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_session_whose_checkpoint_is_refused_fails_and_goes_on_later(make_session: MakeSession, refusal: str) -> None:
    refuse, code = REFUSALS[refusal]
    options = {"x": rows(), "y": classes(), "model_args": SMALL_MLP, "epochs": 3, "checkpoint_every_seconds": 0.0}
    whole, broken = make_session("whole", **options), make_session("broken", **options)
    run(whole)
    with mounted(broken.checkpoints, "1m", inodes=64) as disk:
        looks = itertools.count(1)

        def refuse_after_some() -> bool:
            if next(looks) == STEPS_BEFORE:
                refuse(disk)
            return False

        with pytest.raises(Exception, match="then start the session again") as caught:
            run(broken, refuse_after_some)
        failure = as_failure(caught.value)
        assert failure.code == code
        assert code in REMEDIES
        checkpoint, damaged = find_newest(broken.checkpoints)
        assert checkpoint is not None
        assert (checkpoint.step, damaged) == (STEPS_BEFORE - 1, [])
        assert checkpoint.load()["progress"]["step"] == STEPS_BEFORE - 1
        assert broken.half_written() == []
        disk.mend()
        run(broken, attempt=2)
        assert result(broken) == result(whole)


OPTIONS = {"file": DIGITS, "batch_size": 32, "epochs": 20, "compile": "off"}


@pytest.fixture
def session_on_a_disk(make_session: MakeSession, tmp_path: Path) -> Iterator[tuple[SessionDirectory, Disk]]:
    """A session whose directory is a file system of its own."""
    made = make_session(**OPTIONS, checkpoint_every_seconds=0.05)
    with mounted(tmp_path / "disk", "8m") as disk:
        shutil.copytree(made.root, disk.path, dirs_exist_ok=True)
        yield SessionDirectory(disk.path), disk


@contextmanager
def trainer(directory: SessionDirectory, attempt: int) -> Iterator[subprocess.Popen[str]]:
    """A trainer whose console lies on another disk. It has ended when the block is left."""
    command = [sys.executable, "-m", "training.engine", str(directory.root), "--attempt", str(attempt)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        yield process


@pytest.mark.slow
def test_a_trainer_that_cannot_write_its_journal_says_so_and_ends(
    make_session: MakeSession, session_on_a_disk: tuple[SessionDirectory, Disk]
) -> None:
    directory, disk = session_on_a_disk
    whole = make_session("whole", **OPTIONS)
    with trainer(whole, 1) as undisturbed, trainer(directory, 1) as process:
        wait_for(directory, "epoch", 1, 3)
        disk.fill()
        _, console = process.communicate()
        undisturbed.communicate()
    assert "No space left" in console or "no room" in console
    # Where a checkpoint was refused, what was written of it gives the journal room to say so.
    end = read_events(directory.events, 0, limit=1 << 30).events[-1]
    if end["event"] == "end":
        assert (process.returncode, end["ending"], end["failure_code"]) == (1, "failed", "disk_full")
    else:
        assert process.returncode == os.EX_IOERR

    disk.mend()
    disk.fill()
    size = directory.journal_size_bytes()
    with directory.events.open("ab", buffering=0) as journal, suppress(OSError):
        while True:  # the rest of its last block
            journal.write(b"\n")
    with trainer(directory, 2) as process:
        _, console = process.communicate()
    assert process.returncode == os.EX_IOERR
    assert console.splitlines()[-1].startswith("The trainer ends, since it cannot write its journal: [Errno 28]")
    os.truncate(directory.events, size)

    disk.mend()
    with trainer(directory, 3) as process:
        process.communicate()
    assert events(directory, "start")[-1]["resumed_from"]
    endings = [events(session, "end")[-1] for session in (directory, whole)]
    assert endings[0]["ending"] == "completed"
    assert endings[0]["sha256"] == endings[1]["sha256"]
