"""Warm trainers: the watch keeps one waiting for each free place, and supervisors hand sessions to them."""

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from django.conf import settings

from training import handover
from training.installation import engine_environment
from training.journal import Lock, SessionDirectory

# After one was taken: the session that just started has the processors to itself for the moment.
PAUSE_SECONDS = 5.0
# After one died waiting: what killed it will do so again.
PAUSE_AFTER_DEATH_SECONDS = 30.0

logger = logging.getLogger(__name__)


def folder() -> Path:
    """Where the sockets of warm trainers lie, for nobody but the server's own user."""
    return settings.DATA_DIR / "warm"


def hand_over(directory: SessionDirectory, attempt: int, lock: Lock, console: int) -> int | None:
    """Give a session to a warm trainer, and the pipe that it is to print to; its pid, or None where none waits."""
    order = handover.Order(str(directory.root), attempt)
    for path in sorted(folder().glob("*.sock")):
        pid = handover.give(path, order, [lock.descriptor, console])
        if pid is not None:
            return pid
    return None


@dataclass(frozen=True)
class WarmTrainer:
    """One that was started. Its socket is there until a session is handed to it."""

    process: subprocess.Popen[bytes]
    socket: Path

    @property
    def waits(self) -> bool:
        return self.socket.exists()


class WarmTrainers:
    """Starts trainers that wait, and reaps them when they are done. There is one of it, in the watch."""

    def __init__(self) -> None:
        self.trainers: list[WarmTrainer] = []
        self.waiting_count = 0  # at the last turn
        self.start_at = 0.0
        self.numbers = count(1)
        folder().mkdir(mode=0o700, exist_ok=True)
        for leftover in folder().iterdir():
            leftover.unlink()

    def keep(self, free_places: int) -> None:
        """One turn: start what is missing."""
        for trainer in [trainer for trainer in self.trainers if trainer.process.poll() is not None]:
            self.bury(trainer)
        waiting_count = sum(trainer.waits for trainer in self.trainers)
        if waiting_count < self.waiting_count:
            self.pause(PAUSE_SECONDS)
        if waiting_count < free_places and time.monotonic() >= self.start_at:
            self.start()
            waiting_count += 1
        self.waiting_count = waiting_count

    def start(self) -> None:
        path = folder() / f"{next(self.numbers)}.sock"
        with handover.bind(path) as listener:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "training.engine.warm", str(path)),
                    *("--listener-fd", str(listener.fileno()), "--parent", str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,
                cwd=settings.BASE_DIR,
                env=engine_environment(),
            )
        self.trainers.append(WarmTrainer(process, path))

    def bury(self, trainer: WarmTrainer) -> None:
        """Forget one that has ended; the supervisor has read of its session what there is to know."""
        self.trainers.remove(trainer)
        if trainer.waits:
            trainer.socket.unlink()
            logger.warning("A warm trainer ended with status %s before it got a session.", trainer.process.returncode)
            self.pause(PAUSE_AFTER_DEATH_SECONDS)

    def pause(self, seconds: float) -> None:
        self.start_at = max(self.start_at, time.monotonic() + seconds)

    def end(self) -> None:
        """End those that wait. Those that train are none of the watch's business any more."""
        for trainer in self.trainers:
            if trainer.waits:
                trainer.process.kill()
                trainer.process.wait()
                trainer.socket.unlink(missing_ok=True)
