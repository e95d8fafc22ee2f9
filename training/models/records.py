"""What is kept of a session beside its row: metrics, step series, log entries and transitions."""

from django.db import models
from django.utils import timezone

from training.models.sessions import TrainingSession


class Metric(models.Model):
    """What one epoch came to. Losses are null where they could not be computed."""

    session = models.ForeignKey(TrainingSession, on_delete=models.CASCADE, related_name="metrics")
    epoch = models.PositiveIntegerField()
    loss = models.FloatField(null=True)
    accuracy = models.FloatField(null=True)
    val_loss = models.FloatField(null=True)
    val_accuracy = models.FloatField(null=True)
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "metrics"
        ordering = ("session", "epoch")
        constraints = (models.UniqueConstraint(fields=("session", "epoch"), name="one_metric_per_epoch"),)

    def __str__(self) -> str:
        return f"{self.session_id} epoch {self.epoch}"


class SeriesPoint(models.Model):
    """One value of one series of a session, by the steps that were complete."""

    session = models.ForeignKey(TrainingSession, on_delete=models.CASCADE, related_name="points", db_index=False)
    name = models.CharField(max_length=100)
    step = models.PositiveBigIntegerField()
    value = models.FloatField(null=True)
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "points"
        ordering = ("session", "name", "step")
        constraints = (models.UniqueConstraint(fields=("session", "name", "step"), name="one_value_per_step"),)

    def __str__(self) -> str:
        return f"{self.name} at step {self.step}"


class LogEntry(models.Model):
    """One line of a session's log."""

    session = models.ForeignKey(TrainingSession, on_delete=models.CASCADE, related_name="log_entries", db_index=False)
    line = models.PositiveBigIntegerField()  # counts from 1 in each session, without gaps
    timestamp = models.DateTimeField(db_index=True)
    level = models.CharField(max_length=10)
    message = models.TextField()

    class Meta:
        db_table = "logs"
        ordering = ("id",)
        verbose_name_plural = "log entries"
        constraints = (models.UniqueConstraint(fields=("session", "line"), name="one_entry_per_line"),)
        # So that a rare level is found without reading the others.
        indexes = (models.Index(fields=("session", "level", "line"), name="logs_by_level"),)

    def __str__(self) -> str:
        return f"{self.level} {self.message[:80]}"


class Transition(models.Model):
    """One change of a session's state: from, to, when, by whom, why."""

    session = models.ForeignKey(TrainingSession, on_delete=models.CASCADE, related_name="transitions")
    from_state = models.CharField(max_length=9)
    to_state = models.CharField(max_length=9)
    at = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=100)
    reason = models.CharField(max_length=200)

    class Meta:
        db_table = "transitions"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"
