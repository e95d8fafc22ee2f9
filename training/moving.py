"""Where a queued session is to stand, as somebody asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.bodies import Body
from training.fields import Problems, option
from training.models import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Move(Body):
    """Where a queued session is to stand: one of the two, or both."""

    FURTHER = {
        "anyOf": [
            {"required": ["priority"], "properties": {"priority": {"not": {"type": "null"}}}},
            {"required": ["position"], "properties": {"position": {"not": {"type": "null"}}}},
        ]
    }

    priority: int | None = option(
        None, within=(-100, 100), help="Higher starts first; it comes behind those that have this priority already."
    )
    position: int | None = option(
        None,
        within=(1, None),
        help="The place in the whole queue, 1 starts next; beyond the end is the end. The priority follows if it must.",
    )

    @classmethod
    def further_problems(cls, values: Mapping[str, Any], problems: Problems) -> Problems:
        says_nothing = not problems and set(values.values()) == {None}
        return {"non_field_errors": ["send a priority, a position or both"]} if says_nothing else {}


def move(session: TrainingSession, wanted: Move, by: str) -> str:
    """Move the session, and say where it stands then. Raises IllegalTransition when it is not queued."""
    session.move_in_queue(by, wanted.priority, wanted.position)
    return f"Session {session} is at position {session.queue_position()}, with priority {session.priority}."
