"""The states of a session, the moves between them, and what may be asked of it in each, as data."""

from django.db.models import TextChoices


class State(TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class Health(TextChoices):
    """Whether the trainer of a running session is heard of. It stands beside the state."""

    OK = "ok"
    STALE = "stale"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.STOPPED})

# From each state, the states it may move to. What is not here is refused by IllegalTransition.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.STOPPED}),
    State.RUNNING: frozenset({State.QUEUED, State.PAUSED}) | ENDED,
    State.PAUSED: frozenset({State.QUEUED, State.STOPPED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.STOPPED: frozenset(),
}


class Wish(TextChoices):
    """What is asked of a running session. It stands beside the state, which changes when the trainer has let go."""

    NONE = ""
    REQUEUE = "requeue"
    PAUSE = "pause"
    STOP = "stop"
    KILL = "kill"

    @property
    def weaker(self) -> list[str]:
        """The wishes that this one takes the place of."""
        order = list(Wish)
        return [str(wish) for wish in order[: order.index(self)]]


# Where a session goes when its trainer has let go.
FULFILLED: dict[Wish, State] = {
    Wish.REQUEUE: State.QUEUED,
    Wish.PAUSE: State.PAUSED,
    Wish.STOP: State.STOPPED,
    Wish.KILL: State.STOPPED,
}


class Action(TextChoices):
    """What a client may ask of a session."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    KILL = "kill"
    CANCEL = "cancel"
    RESTART = "restart"


# What changes something in each state, and while it runs with each wish. A refusal names these.
ALLOWED_ACTIONS: dict[tuple[State, Wish], tuple[Action, ...]] = {
    (State.QUEUED, Wish.NONE): (Action.PAUSE, Action.STOP, Action.KILL, Action.CANCEL, Action.RESTART),
    (State.RUNNING, Wish.NONE): (Action.PAUSE, Action.STOP, Action.KILL, Action.RESTART),
    (State.RUNNING, Wish.REQUEUE): (Action.PAUSE, Action.STOP, Action.KILL, Action.RESTART),
    (State.RUNNING, Wish.PAUSE): (Action.RESUME, Action.STOP, Action.KILL, Action.RESTART),
    (State.RUNNING, Wish.STOP): (Action.KILL, Action.RESTART),
    (State.RUNNING, Wish.KILL): (Action.RESTART,),
    (State.PAUSED, Wish.NONE): (Action.RESUME, Action.STOP, Action.KILL, Action.RESTART),
    (State.COMPLETED, Wish.NONE): (Action.RESTART,),
    (State.FAILED, Wish.NONE): (Action.RESTART,),
    (State.STOPPED, Wish.NONE): (Action.RESTART,),
}
