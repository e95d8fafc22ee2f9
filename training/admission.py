"""Why each session of the queue waits, and at which place: what one request finds, each thing looked up once."""

from functools import cached_property
from typing import Self

from training.models import TrainingSession
from training.models.queue import QueueControl
from training.obstacles import Waiting, WaitingReason, low_disk
from training.state import State

__all__ = ["Overview", "Waiting"]

# So many of the sessions that start before another one are named to it; its position says how many there are.
NAMED_AHEAD = 5


class Overview:
    """The queue as it is now. Made for one request: what was looked up once is not looked up again."""

    def __init__(self) -> None:
        self._counted: dict[int, int] = {}

    @classmethod
    def now(cls) -> Self:
        return cls()

    def position(self, session: TrainingSession) -> int | None:
        """1 for the session that starts next; None for one that is not queued."""
        if session.state != State.QUEUED:
            return None
        if not self._counted:
            self._counted[session.pk] = session.queue_position()
        # One is soon counted. Whoever asks for a second one will ask for many, and all are read at once.
        return self._counted[session.pk] if session.pk in self._counted else self._positions.get(session.pk)

    def waiting(self, session: TrainingSession) -> Waiting | None:
        """Why a session waits, and what for; None for one that is not queued."""
        if session.state != State.QUEUED:
            return None
        if self._nobody_starts is not None:
            return self._nobody_starts
        if ahead := self._ahead_of(session):
            return Waiting(WaitingReason.BEHIND_OTHERS, ahead)
        return self._first_waits or Waiting(WaitingReason.STARTING)

    def _ahead_of(self, session: TrainingSession) -> tuple[str, ...]:
        """The ids of those that start before it, the first few of them."""
        ids = [first.session_id for first in self._first]
        ahead = ids.index(session.session_id) if session.session_id in ids else NAMED_AHEAD
        return tuple(ids[: min(ahead, NAMED_AHEAD)])

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {
            key: place for place, key in enumerate(TrainingSession.objects.queued().values_list("pk", flat=True), 1)
        }

    @cached_property
    def _first(self) -> list[TrainingSession]:
        return list(TrainingSession.objects.queued().only("session_id", "config")[: NAMED_AHEAD + 1])

    @cached_property
    def _nobody_starts(self) -> Waiting | None:
        """What keeps everybody waiting, whatever their place."""
        paused = QueueControl.objects.current().is_paused
        return Waiting(WaitingReason.QUEUE_PAUSED) if paused else low_disk()

    @cached_property
    def _first_waits(self) -> Waiting | None:
        """What keeps the first of the queue waiting."""
        return TrainingSession.objects.obstacle(self._first[0]) if self._first else None
