"""The statuses of the sessions that somebody watches, written anew when something of them has changed."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from training.admission import Overview
from training.events import as_json
from training.models import TrainingSession
from training.serializers import StatusSerializer
from training.state import State

# What these are told of themselves changes by time alone, or by what becomes of others.
MOVING = frozenset({State.QUEUED, State.RUNNING})
FINGERPRINT = ("pk", "state", "wish", "attempt", "model_id", "heard_at")


class StatusBoard:
    """One for all who listen to a process: however many watch a session, its status is written once."""

    def __init__(self) -> None:
        self._written: dict[int, str] = {}
        self._fingerprints: dict[int, tuple[Any, ...]] = {}
        self._running: set[int] = set()

    def update(self, watched: Iterable[int]) -> None:
        """Look again at these sessions, at all that run, and at those that did at the last look."""
        running = set(TrainingSession.objects.running().values_list("pk", flat=True))
        shown = {*watched, *running, *self._running}
        found = {row[0]: row for row in TrainingSession.objects.filter(pk__in=shown).values_list(*FINGERPRINT)}
        changed = [pk for pk, row in found.items() if row != self._fingerprints.get(pk) or row[1] in MOVING]
        self._written.update(written(TrainingSession.objects.filter(pk__in=changed)))
        self._written = {pk: status for pk, status in self._written.items() if pk in found}
        self._fingerprints, self._running = found, running | {pk for pk in self._running if pk in changed}

    def of(self, session: int | None) -> dict[int, str]:
        """The status of this session as JSON, by its number; without one, those of all that run or have just ended."""
        shown = self._running if session is None else {session}
        return {pk: self._written[pk] for pk in shown if pk in self._written}


def written(sessions: QuerySet[TrainingSession]) -> dict[int, str]:
    """The statuses of these sessions as they are now, as JSON, by their numbers."""
    context = {"overview": Overview.now()}
    rows: Iterable[TrainingSession] = sessions.for_answers()  # type: ignore[attr-defined]
    return {session.pk: as_json(StatusSerializer(session, context=context).data) for session in rows}
