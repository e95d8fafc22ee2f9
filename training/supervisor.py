"""One trainer, start to end: spawns or adopts it, reads its journal, passes wishes on, and says how it ended."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import connection, transaction

from registry.errors import NameTaken
from registry.files import read_chunks
from registry.models import Model
from training import death, leash, warm
from training.death import Death, KernelsTale
from training.ingest import ingest, text
from training.initial_weights import WeightsGone, keep_initial_weights
from training.installation import engine_environment
from training.journal import AlreadyLocked, Lock
from training.last_word import LastWord
from training.models import IllegalTransition, TrainingSession
from training.resolution import resolve
from training.spec import SessionSpec
from training.state import State, Wish

POLL_SECONDS = 0.1
PAUSE_AFTER_ERROR_SECONDS = 1.0
BEAT_SECONDS = 1.0
# A process that has let go of its lock ends within this.
END_SECONDS = 2.0
# What still holds the trainer's end of the console's pipe so long after its death is none of the session's business.
CONSOLE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Says in the supervisor's lock, as long as this process is not frozen, that it is not."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def beat(self) -> None:
        while True:
            with suppress(OSError):  # a full disk is no reason to be taken for frozen for good
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
        self.console: subprocess.Popen[bytes] | None = None  # which keeps what the trainer prints
        self.started_attempt = 0  # the newest in which this supervisor has started a trainer
        self.asked_to_stop_at: float | None = None
        self.death: Death | None = None  # of the attempt's trainer, once it was looked into
        self.trouble = ""  # what the session's log was told last of what keeps us from our work

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
            goes_on = self.poll()
        except (DatabaseTrouble, OSError) as error:
            logger.exception("The supervisor of %s could not do its work; it tries again.", self.session)
            self.tell_of(error)
            connection.close_if_unusable_or_obsolete()
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return True
        self.trouble = ""
        return goes_on

    def tell_of(self, error: Exception) -> None:
        """Say once in the session's log what its disk or the operating system refuses."""
        if isinstance(error, OSError) and str(error) != self.trouble:
            with suppress(DatabaseTrouble):
                self.session.log("WARNING", f"The supervisor could not do its work, and tries again: {error}")
                self.trouble = str(error)

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
        self.see_processes_end()
        with suppress(OSError):
            self.directory.remove_half_written()
        word = LastWord.of(self.directory, self.session.attempt)
        if word is None:
            self.conclude_death()
        elif word.weights is not None:
            self.session.complete(self.register_model(word.weights))
        elif word.ending == "failed":
            self.session.fail(word.failure_code, word.error_message)
        elif self.session.wish != Wish.NONE:
            self.session.fulfil_wish()
        else:
            self.start_attempt()

    def see_processes_end(self) -> None:
        """Wait for the trainer's exit status, and until all that it printed is in its console.log."""
        if self.process is not None:
            see_end(self.process)  # its lock is free a moment before its exit status can be read
        deadline = time.monotonic() + CONSOLE_SECONDS
        while self.directory.console_is_kept() and time.monotonic() < deadline:
            time.sleep(0.002)
        # Somebody whom the trainer has started may print on.
        Lock.signal_holder(self.directory.console_lock, signal.SIGKILL)
        if self.console is not None:
            see_end(self.console)
            self.console = None

    def conclude_death(self) -> None:
        """The trainer died without a word, or was never started."""
        attempt = self.session.attempt
        if self.session.wish != Wish.NONE:
            if attempt:
                with suppress(OSError):  # on a full disk it counts as a crash, should the session go on later
                    self.directory.note_interruption(attempt)
            self.session.fulfil_wish()
        elif not self.a_trainer_lived():
            self.start_attempt()
        elif death.has_restarted(self.kept_tale(), KernelsTale.now()):
            self.start_attempt(f"The machine was started again in attempt {attempt}.")
        else:
            self.conclude_crash(self.examine())

    def a_trainer_lived(self) -> bool:
        """Whether this attempt came so far: a worker may die between counting an attempt and starting its trainer."""
        attempt = self.session.attempt
        return attempt > 0 and (self.started_attempt == attempt or Lock.read_pid(self.directory.lock) is not None)

    def conclude_crash(self, cause: Death) -> None:
        """Give the session up after too many deaths, or let it go on."""
        message = cause.in_words(self.session.attempt)
        crashes = self.session.crashes_since_epoch + 1
        if crashes < settings.CRASH_ATTEMPTS:
            self.start_attempt(f"{message}.", is_crash=True)
            return
        message = f"{message}, {crashes} times without a new epoch."
        with transaction.atomic():
            self.session.count_crash()
            self.session.log("ERROR", f"{message}\n{self.end_of_console()}")
            self.session.fail(cause.code, message)

    def examine(self) -> Death:
        """What the trainer died of, as it was at the first look."""
        if self.death is None:
            status = self.process.returncode if self.process is not None else None
            disk_is_full = death.is_full(self.directory.root)
            self.death = Death.of(status, self.kept_tale(), KernelsTale.now(), disk_is_full=disk_is_full)
        return self.death

    def kept_tale(self) -> KernelsTale | None:
        """What the kernel told before the attempt."""
        return KernelsTale.read(self.directory.root / death.KEPT_AS)

    def end_of_console(self, size_bytes: int = 4000) -> str:
        """The last lines that the trainer printed."""
        try:
            with self.directory.console.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - size_bytes))
                return text("console.log", file.read().decode(errors="replace"))
        except OSError:
            return ""

    def register_model(self, weights: Path) -> Model:
        """Put the trained weights into the registry; a second time finds them there."""
        registered = Model.objects.filter(session_id=self.session.session_id).first()
        if registered is not None:
            return registered
        name, session_id = self.session.model_name, self.session.session_id
        try:
            return Model.objects.store(name, read_chunks(weights), session_id=session_id)
        except NameTaken:
            other = f"{name}_{session_id.removeprefix('sess_')}"
            self.session.log("WARNING", f"A model {name} was registered meanwhile: this one is called {other}.")
            return Model.objects.store(other, read_chunks(weights), session_id=session_id)

    def start_attempt(self, why: str = "", *, is_crash: bool = False) -> None:
        """Start the trainer, with its lock already held for it. `why` another one is needed, is for the log."""
        if leash.is_cut():
            return
        try:
            with Lock.acquire(self.directory.lock) as lock, Lock.acquire(self.directory.console_lock) as console_lock:
                self.make_sure_of_spec()
                if (tale := KernelsTale.now()) is not None:
                    with suppress(OSError):
                        tale.write(self.directory.root / death.KEPT_AS)
                # In one piece: a death that is noted twice would count twice.
                with transaction.atomic():
                    if is_crash:
                        self.session.count_crash()
                    if why:
                        self.session.log("WARNING", f"{why} It is started again from its newest good checkpoint.")
                    self.session.begin_attempt()
                self.start_trainer(lock, console_lock)
        except AlreadyLocked:
            return
        except WeightsGone as error:
            self.session.log("ERROR", str(error))
            self.session.fail("bad_config", str(error))

    def make_sure_of_spec(self) -> None:
        """Leave a spec that can be read: the first time, and when the disk has damaged it. Raises WeightsGone."""
        try:
            SessionSpec.read(self.directory.spec)
        except FileNotFoundError:
            self.resolve_spec().write(self.directory.spec)
        except (ValueError, LookupError, TypeError, AttributeError):
            self.resolve_spec().write(self.directory.spec)
            self.session.log("WARNING", "spec.json could not be read and was made again from the configuration.")

    def start_trainer(self, lock: Lock, console_lock: Lock) -> None:
        """Hand the session to a warm trainer, or spawn one where none waits. A warm one is as if adopted."""
        self.process, self.death, self.asked_to_stop_at = None, None, None
        with self.start_console(console_lock) as pipe:
            attempt = self.session.attempt
            pid = warm.hand_over(self.directory, attempt, lock, pipe) if settings.WARM_TRAINERS else None
            if pid is None:
                self.process = self.spawn(lock.descriptor, pipe)
                pid = self.process.pid
            self.started_attempt = attempt
        with suppress(OSError):  # where the disk is full; the trainer will say so, or die of it
            lock.write_pid(pid)

    @contextmanager
    def start_console(self, lock: Lock) -> Iterator[int]:
        """The end of a pipe to print to, with a process at the other that keeps what comes, as long as anything can."""
        reading_end, writing_end = os.pipe()
        try:
            try:
                command = (sys.executable, "-S", "-m", "training.console", str(self.directory.console))
                self.console = subprocess.Popen(
                    [*command, str(settings.MAX_CONSOLE_BYTES)],
                    stdin=reading_end,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[lock.descriptor],
                    start_new_session=True,
                    cwd=settings.BASE_DIR,
                    env=engine_environment(),
                )
            finally:
                os.close(reading_end)
            with suppress(OSError):
                lock.write_pid(self.console.pid)
            yield writing_end
        finally:
            os.close(writing_end)

    def spawn(self, lock_descriptor: int, console: int) -> subprocess.Popen[bytes]:
        command = [*settings.TRAINER_COMMAND, str(self.directory.root)]
        command += ["--attempt", str(self.session.attempt), "--lock-fd", str(lock_descriptor)]
        # A SIGTERM that comes before the trainer can handle it waits, blocked, until it can.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
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


def see_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the exit status of a child that has let go of its lock; one that lives on without it is ended."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
