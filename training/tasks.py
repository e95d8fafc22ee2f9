"""What django-q2 calls."""

import logging
import os
import shutil

from django.db import DatabaseError
from django.utils import timezone

from registry.tasks import remove_unfinished_uploads
from training import initial_weights, leash
from training.journal import AlreadyLocked
from training.models import SeriesPoint, TrainingSession
from training.recovery import directories_of_nobody, remove_leftovers, unsupervised_sessions
from training.supervisor import Supervisor

# In one transaction; a fraction of a second.
DELETED_POINTS = 20_000

logger = logging.getLogger(__name__)


def answer_bell() -> None:
    """Supervise sessions as long as there are any: first those that lost their supervisor, then the queue's."""
    worker = f"worker {os.getpid()}"
    while not leash.is_cut():
        session = next(unsupervised_sessions(), None) or TrainingSession.objects.claim_next(by=worker)
        if session is None:
            return
        try:
            Supervisor.take_up(session).run()
        except AlreadyLocked:
            continue  # another worker was faster


def clean_up_ended_sessions() -> int:
    """Free what ended sessions no longer need: checkpoints and step series. Logs, metrics, weights and models stay."""
    cleaned = 0
    for session in TrainingSession.objects.to_clean_up():
        shutil.rmtree(session.directory.checkpoints, ignore_errors=True)
        session.directory.events.unlink(missing_ok=True)
        (session.directory.root / initial_weights.KEPT_AS).unlink(missing_ok=True)
        delete_points(session)
        session.cleaned_up_at = timezone.now()
        session.save(update_fields=["cleaned_up_at"])
        cleaned += 1
    return cleaned


def delete_points(session: TrainingSession) -> None:
    """Delete a session's step series in portions, so that nobody waits long for the database meanwhile."""
    portion = session.points.order_by().values("pk")[:DELETED_POINTS]
    while SeriesPoint.objects.filter(pk__in=portion).delete()[0]:
        pass


def remove_unfinished_sessions() -> int:
    """Free what was left of sessions whose making or writing was cut off, and say which directories no row names."""
    removed = remove_leftovers()
    for path in directories_of_nobody():
        logger.warning("%s belongs to no session; delete it if it is not wanted.", path)
    return removed


def sweep() -> None:
    """Free everything that killed processes left behind. A disk that refuses is logged; the hourly chores try again."""
    for chore in (remove_unfinished_uploads, remove_unfinished_sessions):
        try:
            chore()
        except (DatabaseError, OSError):
            logger.exception("What killed processes left behind could not be removed; it is tried again every hour.")
