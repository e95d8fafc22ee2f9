"""What a client may ask of a session, and what is true once it has asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from training.fields import check_object, option
from training.models import TrainingSession
from training.spec import InvalidConfig
from training.state import Action, State, Wish

ASK: dict[Action, Callable[[TrainingSession, str], None]] = {
    Action.PAUSE: TrainingSession.request_pause,
    Action.RESUME: TrainingSession.resume,
    Action.STOP: TrainingSession.request_stop,
    Action.KILL: TrainingSession.request_kill,
    Action.CANCEL: TrainingSession.cancel,
}

# What becomes of a running session.
OUTLOOK: dict[Wish, str] = {
    Wish.NONE: "runs on",
    Wish.REQUEUE: "goes back into the queue after its step",
    Wish.PAUSE: "pauses after its step and saves a checkpoint",
    Wish.STOP: "stops after its step and saves its weights",
    Wish.KILL: "is ended now, without anything being saved",
}


def steer(session: TrainingSession, action: Action, by: str) -> str:
    """Ask this of the session, and say what is true then. Raises IllegalTransition, as the model does."""
    ASK[action](session, by)
    return f"Session {session} {outlook(session)}."


def outlook(session: TrainingSession) -> str:
    """What is true of a session, in the words that follow its name."""
    if session.state == State.RUNNING:
        return OUTLOOK[Wish(session.wish)]
    if session.state == State.QUEUED:
        return f"is queued at position {session.queue_position()}"
    return f"is {session.state}"


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """The same asked of many sessions."""

    action: str = option(choices=tuple(map(str, ASK)), help="What is asked of each.")
    session_ids: tuple[str, ...] = option(length=1000, help="1 to 1000 ids. Each is answered once, in this order.")

    @classmethod
    def read(cls, data: object) -> Self:
        """What a client sent. Raises InvalidConfig, which names every member that is wrong."""
        if not isinstance(data, Mapping):
            raise InvalidConfig({"non_field_errors": ["the body must be a JSON object"]})
        values, problems = check_object(cls, data)
        if values.get("session_ids") == ():
            problems["session_ids"] = ["session_ids must name a session"]
        if problems:
            raise InvalidConfig(problems)
        return cls(**values)
