"""What a client may ask of a session, and what is true once it has asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from training.bodies import Body
from training.fields import Problems, option
from training.models import TrainingSession
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
class Bulk(Body):
    """The same asked of many sessions."""

    FURTHER = {"allOf": [{"properties": {"session_ids": {"minItems": 1}}}]}

    action: str = option(choices=tuple(map(str, ASK)), help="What is asked of each.")
    session_ids: tuple[str, ...] = option(length=1000, help="1 to 1000 ids. Each is answered once, in this order.")

    @classmethod
    def further_problems(cls, values: Mapping[str, Any], problems: Problems) -> Problems:
        return {"session_ids": ["session_ids must name a session"]} if values.get("session_ids") == () else {}
