"""What django-q2 calls."""

import os
import shutil

from django.utils import timezone

from training import leash
from training.journal import AlreadyLocked
from training.models import TrainingSession
from training.recovery import unsupervised_sessions
from training.supervisor import Supervisor


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
    """Free what ended sessions no longer need: their checkpoints. Logs, metrics, weights and models stay."""
    cleaned = 0
    for session in TrainingSession.objects.to_clean_up():
        shutil.rmtree(session.directory.checkpoints, ignore_errors=True)
        session.directory.events.unlink(missing_ok=True)
        session.cleaned_up_at = timezone.now()
        session.save(update_fields=["cleaned_up_at"])
        cleaned += 1
    return cleaned
