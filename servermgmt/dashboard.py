"""The dashboard, the admin's first page: what runs, what waits and why, the machine, and what went wrong last.

Each part is shown to whoever may see the rows that it is made of. The page is whole when it is loaded; what changes
meanwhile comes over the event stream (static/servermgmt/dashboard.js).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from django.conf import settings
from django.http import HttpRequest

from authkeys import scopes
from monitoring.models import Sample
from training.admission import Overview, Waiting
from training.models import QueueControl, TrainingSession

# What a page shows at most; the listings have the rest.
RUNNING_SHOWN = 20
QUEUED_SHOWN = 10
FAILURES_SHOWN = 5
DAYS = 14
SAMPLES = 120


@dataclass(frozen=True)
class Day:
    """How the sessions of one day ended."""

    date: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class Queued:
    """A session of the queue, its place in it, and why it waits."""

    session: TrainingSession
    position: int | None
    waiting: Waiting | None


@dataclass(frozen=True)
class Sessions:
    """What the dashboard says of sessions."""

    running: list[TrainingSession]
    running_count: int
    places: int
    queue: list[Queued]
    queued_count: int
    control: QueueControl
    failures: list[TrainingSession]
    days: list[Day]

    @classmethod
    def now(cls) -> Self:
        sessions, overview = TrainingSession.objects.for_answers(), Overview.now()
        queued = list(sessions.queued()[:QUEUED_SHOWN])
        return cls(
            running=list(sessions.running().select_related("dataset")[:RUNNING_SHOWN]),
            running_count=TrainingSession.objects.running().count(),
            places=settings.MAX_CONCURRENT_SESSIONS,
            queue=[Queued(session, overview.position(session), overview.waiting(session)) for session in queued],
            queued_count=TrainingSession.objects.queued().count(),
            control=QueueControl.objects.current(),
            failures=list(sessions.failed()[:FAILURES_SHOWN]),
            days=[Day(date, counts) for date, counts in TrainingSession.objects.ended_by_day(DAYS).items()],
        )

    @property
    def today(self) -> Day:
        return self.days[-1]

    @property
    def most_in_a_day(self) -> int:
        return max(day.total for day in self.days)


@dataclass(frozen=True)
class Gauge:
    """One figure of the machine over the newest samples. `name` says to the script where it stands in a new one."""

    name: str
    title: str
    values: list[float | None]  # in percent
    detail: str = ""

    @property
    def now(self) -> float | None:
        return self.values[-1]

    @property
    def listed(self) -> str:
        """The values as the script reads them; nothing stands for what is not known."""
        return ",".join("" if value is None else f"{value:.1f}" for value in self.values)


@dataclass(frozen=True)
class Machine:
    """What the dashboard says of the machine."""

    gauges: list[Gauge]
    newest: Sample | None
    is_fresh: bool

    @classmethod
    def now(cls) -> Self:
        samples = Sample.objects.newest(SAMPLES)
        newest = samples[-1] if samples else None
        return cls(gauges=gauges_of(samples), newest=newest, is_fresh=Sample.objects.fresh() is not None)


def gauges_of(samples: list[Sample]) -> list[Gauge]:
    """CPU, memory, and each GPU that the newest sample has."""
    if not samples:
        return []
    newest = samples[-1]
    return [
        Gauge("cpu", "CPU", [sample.cpu_usage_percent for sample in samples]),
        Gauge(
            "memory",
            "Memory",
            [sample.memory_percent for sample in samples],
            in_gib(newest.memory_used_bytes, newest.memory_total_bytes),
        ),
        *(
            Gauge(
                f"gpu-{gpu['index']}",
                f"GPU {gpu['index']}",
                [usage_of_gpu(sample, gpu["index"]) for sample in samples],
                in_gib(gpu["memory_used_bytes"], gpu["memory_total_bytes"]),
            )
            for gpu in newest.gpus
        ),
    ]


def usage_of_gpu(sample: Sample, index: int) -> float | None:
    return next((gpu["usage_percent"] for gpu in sample.gpus if gpu["index"] == index), None)


def in_gib(used: float | None, total: float | None) -> str:
    return "" if used is None or total is None else f"{used / 2**30:.1f} of {total / 2**30:.1f} GiB"


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the admin's first page, with what the one who asks may see (UNFOLD's DASHBOARD_CALLBACK)."""
    may = request.user.has_perm
    sees_sessions, sees_machine = may("training.view_trainingsession"), may("monitoring.view_sample")
    return context | {
        "title": "Dashboard",
        "sessions": Sessions.now() if sees_sessions else None,
        "machine": Machine.now() if sees_machine else None,
        "shows_disk": sees_machine,
        "hears_events": scopes.holds(scopes.of_staff(request.user), "sessions:read"),
    }
