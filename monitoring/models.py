"""The samples: what the machine was doing, kept for some days."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from monitoring import probes


class SampleQuerySet(models.QuerySet["Sample"]):
    def fresh(self) -> "Sample | None":
        """The newest sample, unless the sampler has missed a turn since."""
        now = timezone.now()
        return self.filter(
            timestamp__gt=now - timedelta(seconds=2 * settings.SAMPLE_EVERY_SECONDS), timestamp__lte=now
        ).first()

    def between(self, start: datetime, end: datetime, at_most: int) -> "list[Sample]":
        """The samples of this time, the oldest first; of more than `at_most` every second, third… one."""
        samples = self.filter(timestamp__gte=start, timestamp__lte=end)
        turn = -(-samples.count() // at_most)
        if turn > 1:
            samples = samples.alias(turn=F("id") % turn).filter(turn=0)
        return list(samples.order_by("timestamp"))

    def newest(self, count: int) -> "list[Sample]":
        """So many of the newest samples, the oldest of them first."""
        return list(self.order_by("-timestamp")[:count])[::-1]

    def prune(self) -> int:
        """Delete what is older than the retention; returns how many went."""
        oldest = timezone.now() - timedelta(days=settings.SAMPLE_RETENTION_DAYS)
        return self.filter(timestamp__lt=oldest).delete()[0]


class Sample(models.Model):
    """One reading of the hardware."""

    timestamp = models.DateTimeField(db_index=True, default=timezone.now)
    cpu_usage_percent = models.FloatField()
    memory_used_bytes = models.BigIntegerField()
    memory_total_bytes = models.BigIntegerField()
    disk_free_bytes = models.BigIntegerField()
    disk_total_bytes = models.BigIntegerField()
    gpus = models.JSONField(default=list, help_text="One entry a GPU, each with the fields of probes.GpuReading.")

    objects = SampleQuerySet.as_manager()

    class Meta:
        db_table = "samples"
        ordering = ["-timestamp"]

    def __str__(self) -> str:
        return f"{self.timestamp:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def measure(cls, cpu_over_seconds: float | None = None) -> Self:
        """Read the hardware now; the sample is not saved. See probes.read_host for `cpu_over_seconds`."""
        return cls(
            **asdict(probes.read_host(settings.DATA_DIR, cpu_over_seconds)),
            gpus=[asdict(gpu) for gpu in probes.read_gpus()],
        )

    @property
    def memory_percent(self) -> float:
        return 100 * self.memory_used_bytes / self.memory_total_bytes

    @property
    def gpu_available(self) -> bool:
        return bool(self.gpus)

    @property
    def gpu_usage_percent(self) -> float | None:
        """The mean over the GPUs that answered."""
        figures = self._gpu_figures("usage_percent")
        return sum(figures) / len(figures) if figures else None

    @property
    def gpu_memory_used_bytes(self) -> float | None:
        """The sum over the GPUs that answered."""
        figures = self._gpu_figures("memory_used_bytes")
        return sum(figures) if figures else None

    @property
    def gpu_memory_total_bytes(self) -> float | None:
        """The sum over the GPUs that answered."""
        figures = self._gpu_figures("memory_total_bytes")
        return sum(figures) if figures else None

    def _gpu_figures(self, name: str) -> list[float]:
        return [gpu[name] for gpu in self.gpus if gpu[name] is not None]
