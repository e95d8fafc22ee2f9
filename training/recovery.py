"""What the rows say, held against the locks: finds the running sessions that nobody supervises."""

from collections.abc import Iterator

from training.journal import Lock
from training.models import TrainingSession


def unsupervised_sessions() -> Iterator[TrainingSession]:
    """Running sessions without a living supervisor: their worker died or let go, their trainer may live."""
    for session in TrainingSession.objects.running():
        if not Lock.is_held(session.directory.supervisor_lock):
            yield session


def work_waits() -> bool:
    """Whether a free worker would find something to do."""
    queue_moves = TrainingSession.objects.queued().exists() and TrainingSession.objects.has_room()
    return queue_moves or any(True for _ in unsupervised_sessions())
