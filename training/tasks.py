"""What django-q2 calls."""

import os
import shutil

from django.utils import timezone

from training import initial_weights, leash
from training.journal import AlreadyLocked
from training.models import SeriesPoint, TrainingSession
from training.recovery import unsupervised_sessions
from training.supervisor import Supervisor

# In one transaction; a fraction of a second.
DELETED_POINTS = 20_000


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
