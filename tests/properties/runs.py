"""A running session in this process: the supervisor is the real one, the trainer is played."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from hypothesis import strategies as st

from training.journal import JournalWriter, Lock
from training.models import TrainingSession
from training.supervisor import Supervisor

# Larger than the kernel gives out: the played trainer has a pid, and no signal finds it.
PID_OF_NOBODY = 2**22 + 1


class Run:
    """The first session of the queue, claimed and begun.

    The one who plays the trainer does to the session directory what a trainer's process does: holds the lock,
    writes the journal, leaves weights. The supervisor takes its turn when `poll` is called.
    """

    def __init__(self) -> None:
        session = TrainingSession.objects.claim_next(by="worker")
        assert session is not None, "nothing could be claimed"
        self.supervisor = Supervisor.take_up(session)
        self.begin_attempt()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.trainer.close()
        self.supervisor.lock.release()

    @property
    def session(self) -> TrainingSession:
        return self.supervisor.session

    @property
    def session_id(self) -> str:
        return self.session.session_id

    def begin_attempt(self) -> None:
        """A trainer comes to life."""
        self.session.begin_attempt()
        lock = Lock.acquire(self.session.directory.lock)
        lock.write_pid(PID_OF_NOBODY)
        self.journal = JournalWriter(self.session.directory.events, self.session.attempt)
        self.journal.start(os.getpid(), None)
        self.trainer = ExitStack()  # what its process holds
        self.trainer.callback(lock.release)
        self.trainer.callback(self.journal.close)

    def poll(self) -> None:
        """One turn of the supervisor."""
        self.supervisor.poll()

    def replace_supervisor(self) -> None:
        """The worker dies; another one takes the session up, knowing only what is stored."""
        self.supervisor.lock.release()
        self.supervisor = Supervisor.take_up(TrainingSession.objects.get(pk=self.session.pk))

    def crash(self, half_a_line: bytes = b"") -> None:
        """The trainer dies in the middle of a line, and its successor lives before anybody has looked."""
        self.trainer.close()
        with self.session.directory.events.open("ab") as file:
            file.write(half_a_line)
        self.begin_attempt()

    def die(self) -> None:
        """The trainer dies for good."""
        self.trainer.close()
        self.poll()

    def complete(self, weights: bytes = b"weights") -> None:
        self._end("completed", weights)

    def obey_stop(self, weights: bytes = b"weights") -> None:
        """The trainer has heard that it is to stop."""
        self._end("interrupted", weights)

    def fail(self, failure_code: str, error_message: str, traceback: str = "Traceback (most recent call last)") -> None:
        self.journal.log("ERROR", traceback)
        self.journal.end("failed", failure_code=failure_code, error_message=error_message)
        self.die()

    def _end(self, ending: Any, weights: bytes) -> None:
        (self.session.directory.weights / "model.pt").write_bytes(weights)
        self.journal.end(ending, weights="model.pt", sha256=hashlib.sha256(weights).hexdigest())
        self.die()


@contextmanager
def supervised(session: TrainingSession) -> Iterator[Supervisor]:
    """A supervisor whose trainer is a process; at the end of the block that is gone."""
    supervisor = Supervisor.take_up(session)
    with supervisor.lock:
        try:
            yield supervisor
        finally:
            if supervisor.process is not None:
                supervisor.process.kill()
                supervisor.process.wait()


@dataclass(frozen=True)
class Epoch:
    """The trainer completes an epoch."""

    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Crash:
    """The trainer dies in the middle of a line; the next one does the last epochs again."""

    half_a_line: bytes
    epochs_lost: int


@dataclass(frozen=True)
class Poll:
    """The supervisor takes a turn."""


@dataclass(frozen=True)
class SupervisorDeath:
    """The supervisor dies, and another one takes over."""


Act = Epoch | Crash | Poll | SupervisorDeath


def epochs() -> st.SearchStrategy[Epoch]:
    loss = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    accuracy = st.none() | st.floats(0, 1)
    metrics = st.fixed_dictionaries({"loss": loss, "accuracy": accuracy, "val_loss": loss, "val_accuracy": accuracy})
    return metrics.map(Epoch)


def stories(max_size: int = 20) -> st.SearchStrategy[list[Act]]:
    """What happens while a session runs."""
    lines = (b"", b"{", b'{"event":"epoch","attempt":1,"epoch":7,"lo', b"\xff\x00")
    crashes = st.builds(Crash, half_a_line=st.sampled_from(lines), epochs_lost=st.integers(0, 3))
    others: st.SearchStrategy[Act] = crashes | st.just(Poll()) | st.just(SupervisorDeath())
    return st.lists(epochs() | others, max_size=max_size)


def play(run: Run, story: Iterable[Act]) -> dict[int, dict[str, float | None]]:
    """Let a story happen, and the supervisor look once more; returns what each epoch came to at last."""
    epoch = 0
    outcome: dict[int, dict[str, float | None]] = {}
    for act in story:
        match act:
            case Epoch(metrics) if epoch < run.session.total_epochs:
                epoch += 1
                run.journal.epoch(epoch, **metrics)
                outcome[epoch] = metrics
            case Crash(half_a_line, epochs_lost):
                run.crash(half_a_line)
                epoch = max(0, epoch - epochs_lost)
            case Poll():
                run.poll()
            case SupervisorDeath():
                run.replace_supervisor()
    run.poll()
    return outcome
