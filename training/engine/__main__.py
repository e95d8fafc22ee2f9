"""The trainer process: python -m training.engine SESSION_DIR.

It says in the journal that it lives before it imports torch, which takes seconds.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from training.engine.attempt import train_share
from training.engine.checkpoint import find_newest
from training.engine.failures import TrainingFailure, as_failure
from training.engine.journal_log import send_logs_to
from training.engine.ranks import Meeting, RankDied, train_in_ranks
from training.journal import AlreadyLocked, JournalWriter, Lock, SessionDirectory
from training.spec import SessionSpec

logger = logging.getLogger("training.engine")


class StopSignals:
    """SIGTERM and SIGINT only raise a flag; the loop looks at it after each step, in other processes too."""

    def __init__(self, tell_others: Callable[[], None]) -> None:
        self.asked = False
        self._tell_others = tell_others
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)
        # The supervisor starts a trainer with SIGTERM blocked, so that one that comes too early waits until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._tell_others()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the session of a directory to its end; 0 when it completed or was interrupted, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m training.engine", description="Train one session.")
    parser.add_argument("session_dir", type=Path, help="the session's directory, with its spec.json")
    parser.add_argument("--attempt", type=int, default=1, help="which life of the session's trainer this is")
    parser.add_argument("--lock-fd", type=int, help="an open descriptor that holds the session's lock")
    options = parser.parse_args(arguments)

    directory = SessionDirectory(options.session_dir)
    stop = StopSignals(tell_others=Meeting.of(directory).ask_to_stop)
    directory.create()
    _hold_lock(directory, options.lock_fd).write_pid(os.getpid())
    journal = JournalWriter(directory.events, options.attempt)
    send_logs_to(journal)
    try:
        train(directory, journal, lambda: stop.asked)
    except RankDied as error:
        logger.error("%s", error)
        return 1
    except Exception as error:
        failure = as_failure(error)
        logger.error("%s", failure, exc_info=error)
        journal.end("failed", failure_code=failure.code, error_message=str(failure))
        return 1
    return 0


def train(directory: SessionDirectory, journal: JournalWriter, should_stop: Callable[[], bool]) -> None:
    """Train on from the newest good checkpoint to the end, in this process or in one for each GPU."""
    resume_from, damaged = find_newest(directory.checkpoints)
    journal.start(os.getpid(), resume_from.name if resume_from else None)
    for problem in damaged:
        logger.warning("checkpoint skipped: %s", problem)
    if damaged and not resume_from:
        raise TrainingFailure(
            "no_valid_checkpoint",
            "No checkpoint of the session can be read, so it cannot go on: check the disk and start a new session.",
        )
    spec = SessionSpec.read(directory.spec)
    if spec.config.gpus == 1:
        from training.engine.world import World

        train_share(spec, directory, journal, should_stop, resume_from, World.alone())
    else:
        train_in_ranks(spec, directory, journal.attempt, should_stop, resume_from)


def _hold_lock(directory: SessionDirectory, descriptor: int | None) -> Lock:
    """The session's lock: the one that was handed down, or taken now."""
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
        return Lock(descriptor)
    try:
        return Lock.acquire(directory.lock)
    except AlreadyLocked:
        sys.exit(f"Another trainer is at work in {directory.root}: its lock is held.")


if __name__ == "__main__":
    sys.exit(main())
