"""What the rows say, held against the locks: finds the running sessions that nobody supervises."""

from collections.abc import Iterator

from training.journal import Lock
from training.models import TrainingSession

# A supervisor says every second that it is at work.
FROZEN_AFTER_SECONDS = 15.0


def unsupervised_sessions() -> Iterator[TrainingSession]:
    """Running sessions without a living supervisor: their worker died or let go, their trainer may live."""
    for session in TrainingSession.objects.running():
        if not Lock.is_held(session.directory.supervisor_lock):
            yield session


def frozen_supervisors() -> list[TrainingSession]:
    """Running sessions whose supervisor holds its lock and does nothing: somebody stopped its process."""
    return [
        session
        for session in TrainingSession.objects.running()
        if Lock.is_held(lock := session.directory.supervisor_lock)
        and (Lock.seconds_since_beat(lock) or 0.0) > FROZEN_AFTER_SECONDS
    ]


def work_waits() -> bool:
    """Whether a free worker would find something to do."""
    return TrainingSession.objects.queue_moves() or any(True for _ in unsupervised_sessions())
