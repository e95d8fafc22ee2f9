"""The queue: in which order sessions start, what keeps them from it, and whether they may start at all."""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Max, Q
from django.utils import timezone

from training import bell
from training.journal import Lock
from training.obstacles import Waiting, WaitingReason, low_disk, taken_gpus
from training.state import ENDED, State, Wish

if TYPE_CHECKING:
    from training.models.sessions import TrainingSession


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


class QueueQuerySet(models.QuerySet["TrainingSession"]):
    """Sessions as the queue sees them: those that wait, and those that hold the places."""

    def queued(self) -> Self:
        """The queue, in the order in which its sessions will start."""
        return self.filter(state=State.QUEUED).order_by("-priority", "rank", "id")

    def running(self) -> Self:
        return self.filter(state=State.RUNNING).order_by("id")

    def draining(self) -> Self:
        """The running ones that are about to go back into the queue."""
        return self.running().filter(wish=Wish.REQUEUE)

    def before(self, session: "TrainingSession") -> Self:
        """Those that start before this one."""
        same = Q(priority=session.priority)
        earlier = Q(priority__gt=session.priority) | same & Q(rank__lt=session.rank)
        return self.filter(earlier | same & Q(rank=session.rank, pk__lt=session.pk))

    def no_place(self) -> Waiting | None:
        """Why nobody may start, as far as the rows tell: the queue is paused, or as many run as may."""
        if QueueControl.objects.current().is_paused:
            return Waiting(WaitingReason.QUEUE_PAUSED)
        running = tuple(self.running().values_list("session_id", flat=True))
        return Waiting(WaitingReason.PLACE_TAKEN, running) if len(running) >= settings.MAX_CONCURRENT_SESSIONS else None

    def obstacle(self, first: "TrainingSession") -> Waiting | None:
        """What keeps the first of the queue from starting now, the cheapest to find out before the others."""
        return self.no_place() or low_disk() or taken_gpus(first.config, self.trainer_pids)

    def trainer_pids(self) -> set[int]:
        """The process ids of all trainers that live, without the processes that they started."""
        directories = [session.directory for session in self.running() if session.directory.trainer_lives()]
        return {pid for directory in directories if (pid := Lock.read_pid(directory.lock)) is not None}

    def queue_moves(self) -> bool:
        """Whether somebody who claims the next session would get one."""
        first = self.queued().first()
        return first is not None and self.obstacle(first) is None

    def claim_next(self, by: str) -> "TrainingSession | None":
        """Move the first of the queue to running; None when nothing waits, or something is in the way of the first."""
        while (first := self.queued().first()) is not None and self.obstacle(first) is None:
            # The machine was asked before the transaction, which holds SQLite's write lock from its start. What the
            # rows say is asked again inside, so nobody is counted twice, and whoever is first now waits for its own.
            with transaction.atomic():
                if self.no_place() is not None:
                    return None
                session = self.queued().first()
                if session == first:
                    now = timezone.now()
                    times = {"started_at": session.started_at or now, "heard_at": now}
                    session.move_to(State.RUNNING, by=by, reason="a place is free", **times)
                    return session
        return None

    def drain(self, by: str) -> None:
        """Pause the queue, and have what runs save and go back into it, to the places that it came from."""
        with transaction.atomic():
            QueueControl.objects.pause(by)
            self.running().filter(wish__in=Wish.REQUEUE.weaker).update(
                wish=Wish.REQUEUE, wished_at=timezone.now(), wished_by=by
            )

    def find_place(self, session: "TrainingSession", priority: int | None, position: int | None) -> tuple[int, float]:
        """The priority and the rank with which a queued session stands where it is wanted."""
        others = self.queued().exclude(pk=session.pk)
        wanted = session.priority if priority is None else priority
        if position is None:
            if wanted == session.priority:
                return wanted, session.rank
            position = others.filter(priority__gte=wanted).count() + 1
        place = min(position, others.count() + 1)
        neighbours = list(others.only("priority", "rank")[max(place - 2, 0) : place])
        before = neighbours.pop(0) if place > 1 else None
        after = neighbours.pop() if neighbours else None
        wanted = max(wanted, after.priority) if after is not None else wanted
        wanted = min(wanted, before.priority) if before is not None else wanted
        lower = before.rank if before is not None and before.priority == wanted else None
        upper = after.rank if after is not None and after.priority == wanted else None
        rank = self.rank_between(lower, upper, session.rank)
        if rank is None:
            self.renumber(wanted)
            return self.find_place(session, priority, position)
        return wanted, rank

    def rank_between(self, lower: float | None, upper: float | None, only: float) -> float | None:
        """A rank between two neighbours of one priority, `only` where there are none; None when floats run out."""
        if lower is None:
            return only if upper is None else upper - 1
        if upper is None:
            # Behind all that wait and before all that come: a new session's rank is its key.
            upper = (self.aggregate(newest=Max("pk"))["newest"] or 0) + 1
        rank = (lower + upper) / 2
        return rank if lower < rank < upper else None

    def renumber(self, priority: int) -> None:
        """Give those of one priority that have not ended whole ranks again, in the order that they have."""
        unended = self.filter(state__in=set(State) - ENDED, priority=priority).order_by("rank", "pk")
        ranks = dict(unended.values_list("pk", "rank"))
        for key, rank in zip(ranks, sorted(ranks), strict=True):
            if ranks[key] != rank:
                self.filter(pk=key).update(rank=rank)
