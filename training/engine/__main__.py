"""The trainer process: python -m training.engine SESSION_DIR.

It says in the journal that it lives before it imports torch, which takes seconds.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from training.engine.attempt import train_share
from training.engine.checkpoint import find_newest, finish_replacing, remove_newer
from training.engine.failures import TrainingFailure, as_failure
from training.engine.journal_log import console_is_gone, send_logs_to
from training.engine.ranks import Meeting, RankDied, train_in_ranks
from training.journal import AlreadyLocked, JournalWriter, Lock, SessionDirectory
from training.spec import SessionSpec

# From -1000, never, to 1000, always first.
OOM_SCORE = 500

logger = logging.getLogger("training.engine")


class StoppedEarly(BaseException):
    """A stop came before anything was trained. No Exception: whoever deals with what went wrong lets it pass."""


class StopSignals:
    """SIGTERM and SIGINT raise a flag; the loop looks at it after each batch, in other processes too.

    Until it looks for the first time, there is nothing to save and much that takes long: data, imports, a compiler.
    One that comes then raises StoppedEarly, wherever the trainer is.
    """

    def __init__(self, tell_others: Callable[[], None]) -> None:
        self._asked = self._is_looked_at = False
        self._tell_others = tell_others

    def listen(self) -> None:
        """Take the signals from now on. Raises StoppedEarly if one waits already."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)
        # The supervisor starts a trainer with SIGTERM blocked, so that one that comes too early waits until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def look(self) -> bool:
        """Whether a stop was asked for."""
        self._is_looked_at = True
        return self._asked

    @property
    def came_early(self) -> bool:
        """Whether one came before anybody looked."""
        return self._asked and not self._is_looked_at

    def _ask(self, number: int, frame: FrameType | None) -> None:
        is_first, self._asked = not self._asked, True
        self._tell_others()
        if is_first and not self._is_looked_at:
            raise StoppedEarly


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the session of a directory to its end; 0 when it completed or was interrupted, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m training.engine", description="Train one session.")
    parser.add_argument("session_dir", type=Path, help="the session's directory, with its spec.json")
    parser.add_argument("--attempt", type=int, default=1, help="which life of the session's trainer this is")
    parser.add_argument("--lock-fd", type=int, help="an open descriptor that holds the session's lock")
    options = parser.parse_args(arguments)

    go_first()
    try:
        directory = SessionDirectory(options.session_dir)
        directory.create()
        _hold_lock(directory, options.lock_fd).write_pid(os.getpid())
        return train_to_an_end(directory, JournalWriter(directory.events, options.attempt))
    except OSError as error:
        # Where nothing can be written, the supervisor has to find out by itself; a person finds this.
        print(f"The trainer ends, since it cannot write its journal: {error}.", file=sys.stderr)
        return os.EX_IOERR


def train_to_an_end(directory: SessionDirectory, journal: JournalWriter) -> int:
    """Train, and say in the journal how it ended; gives the exit status. Raises OSError where that cannot be said."""
    send_logs_to(journal)
    stop = StopSignals(tell_others=Meeting.of(directory).ask_to_stop)
    try:
        stop.listen()
        train(directory, journal, stop.look)
    except RankDied as error:
        logger.error("%s", error)
        return 128 + signal.SIGKILL if error.was_killed else 1
    except (Exception, StoppedEarly) as error:
        # Code that was interrupted may have made an error of its own out of that.
        if stop.came_early or isinstance(error, StoppedEarly):
            logger.info("stopped before the training began")
            journal.end("interrupted")
            return 0
        if console_is_gone():
            # Whoever printed met that, and what became of it here may be anything. Another attempt has a console again.
            logger.warning("the process that keeps this trainer's console is gone", exc_info=error)
            return 1
        failure = as_failure(error)
        logger.error("%s", failure, exc_info=error)
        journal.end("failed", failure_code=failure.code, error_message=str(failure))
        return 1
    return 0


def train(directory: SessionDirectory, journal: JournalWriter, should_stop: Callable[[], bool]) -> None:
    """Train on from the newest good checkpoint to the end, in this process or in one for each GPU."""
    directory.remove_half_written()
    finish_replacing(directory.checkpoints)
    resume_from, damaged = find_newest(directory.checkpoints)
    journal.start(os.getpid(), resume_from.name if resume_from else None)
    for problem in damaged:
        logger.warning("checkpoint skipped: %s", problem)
    if damaged and resume_from:
        remove_newer(resume_from)
    elif damaged:
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


def go_first() -> None:
    """Where memory runs out, have the kernel take this process before the server's, or somebody's database."""
    with contextlib.suppress(OSError, ValueError):
        path = Path("/proc/self/oom_score_adj")
        path.write_text(str(max(OOM_SCORE, int(path.read_text()))))


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
