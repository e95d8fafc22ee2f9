"""One trainer, start to end: spawns or adopts it, reads its journal, passes wishes on, and says how it ended."""

import logging
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from django.conf import settings
from django.db import DatabaseError

from registry.errors import NameTaken
from registry.files import read_chunks
from registry.models import Model
from training import leash, warm
from training.ingest import ingest
from training.initial_weights import WeightsGone, keep_initial_weights
from training.installation import engine_environment
from training.journal import AlreadyLocked, Lock, last_event
from training.models import IllegalTransition, TrainingSession
from training.resolution import resolve
from training.spec import SessionSpec
from training.state import State, Wish

POLL_SECONDS = 0.1
PAUSE_AFTER_ERROR_SECONDS = 1.0
BEAT_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Says in the supervisor's lock, as long as this process is not frozen, that it is not."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def beat(self) -> None:
        while True:
            self.lock.note_beat()
            if self.is_over.wait(BEAT_SECONDS):
                return

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self.thread.join()


class Supervisor:
    """Watches over one running session. Whoever holds the supervisor lock is the only one who does."""

    def __init__(self, session: TrainingSession, lock: Lock) -> None:
        self.session = session
        self.directory = session.directory
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None  # None while the trainer is an adopted one
        self.asked_to_stop_at: float | None = None

    @classmethod
    def take_up(cls, session: TrainingSession) -> Self:
        """Become the supervisor of a session. Raises AlreadyLocked when it has one."""
        directory = session.directory
        directory.create()
        return cls(session, Lock.acquire(directory.supervisor_lock))

    def run(self) -> None:
        """Supervise until the session has ended or this worker is to let go. The trainer lives on without us."""
        with self.lock, Heartbeat(self.lock):
            while not leash.is_cut() and self.poll_whatever_happens():
                time.sleep(POLL_SECONDS)

    def poll_whatever_happens(self) -> bool:
        """One turn, which a database or a disk that refuses does not end: the session waits until it does not."""
        try:
            return self.poll()
        except (DatabaseError, OSError):
            logger.exception("The supervisor of %s could not do its work; it tries again.", self.session)
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return True

    def poll(self) -> bool:
        """One turn; False once the session runs no more."""
        self.session.refresh_from_db()
        if self.session.state != State.RUNNING:
            return False
        # Asked before reading: what a trainer wrote before it died is then read in full.
        trainer_lives = self.directory.trainer_lives()
        while ingest(self.session):
            pass
        if trainer_lives:
            self.pass_on_wish()
        else:
            with suppress(IllegalTransition):  # somebody wished for something else meanwhile
                self.conclude_attempt()
        return self.session.state == State.RUNNING

    def pass_on_wish(self) -> None:
        """Ask the trainer to finish its step and save; after the grace, or to kill it, end it."""
        if self.session.wish == Wish.NONE:
            return
        if self.session.wish == Wish.KILL:
            self.directory.signal_trainer(signal.SIGKILL)
        elif self.asked_to_stop_at is None:
            self.directory.signal_trainer(signal.SIGTERM)
            self.asked_to_stop_at = time.monotonic()
        elif time.monotonic() - self.asked_to_stop_at > settings.STOP_GRACE_SECONDS:
            self.directory.signal_trainer(signal.SIGKILL)

    def conclude_attempt(self) -> None:
        """The trainer is gone: say what that means for the session, or start the next attempt."""
        if self.process is not None:
            self.process.wait()  # its lock is free a moment before its exit status can be read
        end = last_event(self.directory.events)
        if end is None or end["event"] != "end" or end["attempt"] != self.session.attempt:
            self.conclude_death()
        elif end["ending"] == "completed":
            self.session.complete(self.register_model(end["weights"]))
        elif end["ending"] == "failed":
            self.session.fail(end["failure_code"], end["error_message"])
        elif self.session.wish != Wish.NONE:
            self.session.fulfil_wish()
        else:
            self.start_attempt()

    def conclude_death(self) -> None:
        """The trainer died without a word, or was never started."""
        if self.session.wish != Wish.NONE:
            if self.session.attempt:
                self.directory.note_interruption(self.session.attempt)
            self.session.fulfil_wish()
        elif self.session.attempt == 0:
            self.start_attempt()
        else:
            self.session.count_crash()
            death = f"The trainer died in attempt {self.session.attempt}{self.exit_status()}"
            if self.session.crashes_since_epoch >= settings.CRASH_ATTEMPTS:
                message = f"{death}, {self.session.crashes_since_epoch} times without a new epoch."
                self.session.log("ERROR", f"{message}\n{self.end_of_console()}")
                self.session.fail("crash_loop", message)
            else:
                self.session.log("WARNING", f"{death}. It is started again from its newest good checkpoint.")
                self.start_attempt()

    def exit_status(self) -> str:
        """How the process ended, where it was ours to wait for."""
        code = self.process.returncode if self.process is not None else None
        if code is None:
            return ""
        return f" by {signal.Signals(-code).name}" if code < 0 else f" with exit status {code}"

    def end_of_console(self, size_bytes: int = 4000) -> str:
        """The last lines that the trainer printed."""
        try:
            with self.directory.console.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - size_bytes))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def register_model(self, weights: str) -> Model:
        """Put the trained weights into the registry; a second time finds them there."""
        registered = Model.objects.filter(session_id=self.session.session_id).first()
        if registered is not None:
            return registered
        name, session_id = self.session.model_name, self.session.session_id
        try:
            return Model.objects.store(name, read_chunks(self.directory.weights / weights), session_id=session_id)
        except NameTaken:
            other = f"{name}_{session_id.removeprefix('sess_')}"
            self.session.log("WARNING", f"A model {name} was registered meanwhile: this one is called {other}.")
            return Model.objects.store(other, read_chunks(self.directory.weights / weights), session_id=session_id)

    def start_attempt(self) -> None:
        """Start the trainer, with its lock already held for it."""
        if leash.is_cut():
            return
        try:
            lock = Lock.acquire(self.directory.lock)
        except AlreadyLocked:
            return
        with lock:
            self.session.begin_attempt()
            if not self.directory.spec.exists():
                try:
                    self.resolve_spec().write(self.directory.spec)
                except WeightsGone as error:
                    self.session.log("ERROR", str(error))
                    self.session.fail("bad_config", str(error))
                    return
            lock.write_pid(self.start_trainer(lock))
            self.asked_to_stop_at = None

    def start_trainer(self, lock: Lock) -> int:
        """Hand the session to a warm trainer, or spawn one where none waits; its pid. A warm one is as if adopted."""
        self.process = None
        pid = warm.hand_over(self.directory, self.session.attempt, lock) if settings.WARM_TRAINERS else None
        if pid is None:
            self.process = self.spawn(lock.descriptor)
            pid = self.process.pid
        return pid

    def spawn(self, lock_descriptor: int) -> subprocess.Popen[bytes]:
        command = [*settings.TRAINER_COMMAND, str(self.directory.root)]
        command += ["--attempt", str(self.session.attempt), "--lock-fd", str(lock_descriptor)]
        # A SIGTERM that comes before the trainer can handle it waits, blocked, until it can.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            with self.directory.console.open("ab") as console:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock_descriptor],
                    start_new_session=True,
                    cwd=settings.BASE_DIR,
                    env=engine_environment(),
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def resolve_spec(self) -> SessionSpec:
        """All that the trainer needs to know. Raises WeightsGone."""
        config = self.session.training_config
        name = config.initial_weights
        weights = keep_initial_weights(name, self.directory.root) if name else None
        running = TrainingSession.objects.running().count()
        return resolve(self.session.session_id, config, self.session.dataset, weights, running)
