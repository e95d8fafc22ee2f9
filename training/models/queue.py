"""Whether sessions may start at all."""

from django.db import models, transaction
from django.utils import timezone

from training import bell


class QueueControlManager(models.Manager["QueueControl"]):
    def current(self) -> "QueueControl":
        """The queue's control; open until somebody pauses it."""
        return self.first() or QueueControl(pk=QueueControl.ONLY)

    def pause(self, by: str) -> None:
        """Let no session start any more; those that run go on. A second time changes nothing."""
        with transaction.atomic():
            self.get_or_create(pk=QueueControl.ONLY)
            self.filter(paused_at=None).update(paused_at=timezone.now(), paused_by=by)

    def resume(self) -> None:
        """Let sessions start again."""
        with transaction.atomic():
            self.exclude(paused_at=None).update(paused_at=None, paused_by="")
            transaction.on_commit(bell.ring)


class QueueControl(models.Model):
    """One row at most: who paused the queue, and when."""

    ONLY = 1

    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=100, default="")

    objects = QueueControlManager()

    class Meta:
        db_table = "queue_control"

    def __str__(self) -> str:
        return f"paused by {self.paused_by}" if self.is_paused else "open"

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None
