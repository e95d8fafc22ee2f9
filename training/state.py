"""The states of a session and the moves between them, as data."""

from django.db.models import TextChoices


class State(TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.STOPPED})

# From each state, the states it may move to. What is not here is refused by IllegalTransition.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.STOPPED}),
    State.RUNNING: ENDED,
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.STOPPED: frozenset(),
}
