"""Where a queued session is to stand, as somebody asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from training.fields import check_object, option
from training.models import TrainingSession
from training.spec import InvalidConfig


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where a queued session is to stand: one of the two, or both."""

    priority: int | None = option(
        None, within=(-100, 100), help="Higher starts first; it comes behind those that have this priority already."
    )
    position: int | None = option(
        None,
        within=(1, None),
        help="The place in the whole queue, 1 starts next; beyond the end is the end. The priority follows if it must.",
    )

    @classmethod
    def read(cls, data: object) -> Self:
        """What a client sent. Raises InvalidConfig, which names every member that is wrong."""
        if not isinstance(data, Mapping):
            raise InvalidConfig({"non_field_errors": ["the body must be a JSON object"]})
        values, problems = check_object(cls, data)
        if not problems and set(values.values()) == {None}:
            problems = {"non_field_errors": ["send a priority, a position or both"]}
        if problems:
            raise InvalidConfig(problems)
        return cls(**values)


def move(session: TrainingSession, wanted: Move, by: str) -> str:
    """Move the session, and say where it stands then. Raises IllegalTransition when it is not queued."""
    session.move_in_queue(by, wanted.priority, wanted.position)
    return f"Session {session} is at position {session.queue_position()}, with priority {session.priority}."
