"""A session: the request to train, and its life."""

import secrets
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, F, Max
from django.db.models.functions import TruncDate
from django.utils import timezone

from registry.models import Dataset, Model
from training import bell
from training.catalogue import misfits
from training.failures import REMEDIES
from training.hardware import device_problems
from training.installation import catalogue
from training.journal import SessionDirectory
from training.models.queue import QueueQuerySet
from training.spec import InvalidConfig, TrainingConfig
from training.state import ALLOWED_ACTIONS, ENDED, FULFILLED, TRANSITIONS, Action, Health, State, Wish
from training.terminal import as_shown

if TYPE_CHECKING:
    from training.models.records import LogEntry, Metric, SeriesPoint, Transition


# How a session can end; the order in which pages name these.
OUTCOMES: tuple[str, ...] = (State.COMPLETED, State.STOPPED, State.FAILED)
# Who wished for something, and when, while nobody does.
NOBODYS_WISH: dict[str, Any] = {"wished_at": None, "wished_by": ""}


class IllegalTransition(Exception):
    """A session is not in a state that allows what was asked of it."""

    def __init__(self, session: "TrainingSession", wanted: str) -> None:
        self.details = {"state": session.state, "allowed_actions": session.allowed_actions}
        condition = "about to stop" if session.is_bound_for(State.STOPPED) else session.state
        super().__init__(f"Session {session.session_id} is {condition} and cannot be {wanted}.")


def new_session_id() -> str:
    return f"sess_{secrets.token_hex(6)}"


class TrainingSessionQuerySet(QueueQuerySet):
    def accept(self, data: object) -> tuple[TrainingConfig, Dataset]:
        """The configuration that somebody sent, and its dataset, if a session with it can be trained here.

        Raises InvalidConfig, which names every field that is wrong or does not fit the dataset or the machine.
        """
        values, errors = TrainingConfig.check(data, settings.TRAINING_LIMITS)
        dataset = None
        if name := values.get("dataset_name"):
            dataset = Dataset.objects.filter(name=name).first()
            if dataset is None:
                errors["dataset_name"] = [f"dataset_name: no dataset is registered as {name!r}"]
        errors |= misfits(values, dataset, catalogue()) | device_problems(values)
        if (name := values.get("model_name")) and self.has_promised(name):
            errors["model_name"] = [f"model_name: {name} is taken, or will be by a session that has not ended yet"]
        if (name := values.get("initial_weights")) and not self.has_weights(name):
            errors["initial_weights"] = [
                f"initial_weights: {name!r} is neither a registered model nor a session with weights or a checkpoint"
            ]
        if errors or dataset is None:
            raise InvalidConfig(errors)
        return TrainingConfig(**values), dataset

    def submit(self, data: object, by: str) -> "TrainingSession":
        """Queue a session with the configuration that somebody sent. Raises InvalidConfig, as accept() does."""
        config, dataset = self.accept(data)
        return self.enqueue(new_session_id(), config, dataset, by=by, reason="submitted")

    def enqueue(
        self, session_id: str, config: TrainingConfig, dataset: Dataset, *, by: str, reason: str, **columns: Any
    ) -> "TrainingSession":
        """Queue a session whose configuration was accepted."""
        with transaction.atomic():
            session = self.create(
                session_id=session_id,
                config=config.as_dict(),
                promised_name=config.model_name,
                priority=config.priority,
                dataset=dataset,
                **columns,
            )
            self.filter(pk=session.pk).update(rank=session.pk)
            session.rank = session.pk
            session.transitions.create(from_state="", to_state=State.QUEUED, by=by, reason=reason)
            transaction.on_commit(bell.ring)
        return session

    def for_answers(self) -> Self:
        """With the names of what an answer names, and without the documents, which are long."""
        parents = (f"parent__{name}" for name in ("config", "record", "report", "error_message"))
        return self.select_related("model", "parent").defer("record", "report", *parents)

    def has_promised(self, model_name: str) -> bool:
        """Whether a model is registered under this name, or a session will register one."""
        promised = self.exclude(state__in=ENDED).filter(promised_name=model_name)
        return Model.objects.filter(name=model_name).exists() or promised.exists()

    def has_weights(self, reference: str) -> bool:
        """Whether this names a model, or a session that has weights or may have some when they are needed."""
        if Model.objects.filter(name=reference).exists():
            return True
        session = self.filter(session_id=reference).first()
        if session is None:
            return False
        checkpoints = session.directory.checkpoints.glob("step-*")
        return not session.has_ended or session.final_weights() is not None or any(checkpoints)

    def ended_by_day(self, days: int) -> dict[date, dict[str, int]]:
        """How many ended in each way on each of the last days, the oldest first and today last."""
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight - timedelta(days=days - 1)
        counts = {(first + timedelta(days=ahead)).date(): dict.fromkeys(OUTCOMES, 0) for ahead in range(days)}
        ended = self.filter(state__in=ENDED, ended_at__gte=first)
        by_day = ended.annotate(day=TruncDate("ended_at")).values_list("day", "state").order_by()
        for day, state, count in by_day.annotate(count=Count("pk")):
            if day in counts:  # a clock that was wrong may have said any day
                counts[day][state] = count
        return counts

    def failed(self) -> "TrainingSessionQuerySet":
        """Those that failed, the last one first."""
        return self.filter(state=State.FAILED).order_by("-ended_at", "-id")

    def to_clean_up(self) -> "TrainingSessionQuerySet":
        """The sessions that ended longer ago than they are kept."""
        days = settings.SESSION_RETENTION_DAYS
        if not days:
            return self.none()
        return self.filter(state__in=ENDED, cleaned_up_at=None, ended_at__lt=timezone.now() - timedelta(days=days))


class TrainingSession(models.Model):
    """One request to train, and its life."""

    session_id = models.CharField(max_length=17, unique=True)
    config = models.JSONField()
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="sessions")
    model = models.ForeignKey(Model, null=True, on_delete=models.SET_NULL, related_name="sessions")
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="restarts")
    parent_checkpoint = models.CharField(max_length=50, default="")  # that it went on from; empty: from the start
    promised_name = models.CharField(max_length=100, null=True, db_index=True)  # noqa: DJ001 - most promise none
    priority = models.SmallIntegerField(default=0)
    # The place among those of one priority. Whole when a session comes, between two others once it is moved.
    rank = models.FloatField(default=0.0)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    # Counts the lives of the trainer and fences: what belongs to an older attempt changes nothing any more.
    attempt = models.PositiveIntegerField(default=0)
    crashes_since_epoch = models.PositiveIntegerField(default=0)
    journal_offset = models.PositiveBigIntegerField(default=0)
    current_epoch = models.PositiveIntegerField(null=True)
    # The supervisor passes a wish on, and the state changes when it is true.
    wish = models.CharField(max_length=7, choices=Wish.choices, default=Wish.NONE)
    wished_at = models.DateTimeField(null=True)
    wished_by = models.CharField(max_length=100, default="")
    # What the trainer said of itself last, and when that was read; a place that is found counts as the first word.
    heard_at = models.DateTimeField(null=True)
    resumed_from = models.CharField(max_length=50, default="")  # the checkpoint that its attempt went on from
    steps_done = models.PositiveBigIntegerField(default=0)
    steps_planned = models.PositiveBigIntegerField(null=True)
    samples_per_second = models.FloatField(null=True)
    seconds_left = models.FloatField(null=True)  # at heard_at
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cleaned_up_at = models.DateTimeField(null=True)
    failure_code = models.CharField(max_length=20, default="")
    error_message = models.TextField(null=True)  # noqa: DJ001 - the contract tells null from empty
    record = models.JSONField(null=True)  # what reproducing the session takes, as the trainer found it
    report = models.JSONField(null=True)  # how the final weights do on the validation split

    objects = TrainingSessionQuerySet.as_manager()

    if TYPE_CHECKING:
        transitions: models.Manager["Transition"]
        metrics: models.Manager["Metric"]
        log_entries: models.Manager["LogEntry"]
        points: models.Manager["SeriesPoint"]

    class Meta:
        db_table = "sessions"
        ordering = ("-id",)
        indexes = (models.Index(fields=("state", "-priority", "rank", "id"), name="sessions_in_queue_order"),)

    def __str__(self) -> str:
        return self.session_id

    @property
    def directory(self) -> SessionDirectory:
        return SessionDirectory(Path(settings.SESSIONS_DIR) / self.session_id)

    @property
    def training_config(self) -> TrainingConfig:
        return TrainingConfig.from_json(self.config)

    @property
    def total_epochs(self) -> int:
        epochs: int = self.config["epochs"]
        return epochs

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def allowed_actions(self) -> list[Action]:
        """What changes something as it is now."""
        return list(ALLOWED_ACTIONS[State(self.state), Wish(self.wish)])

    @property
    def health(self) -> Health | None:
        """Whether a running session's trainer is heard of; None while it does not run."""
        if self.state != State.RUNNING:
            return None
        patience = timedelta(seconds=settings.STALE_AFTER_SECONDS)
        is_fresh = self.heard_at is not None and timezone.now() - self.heard_at <= patience
        return Health.OK if is_fresh else Health.STALE

    @property
    def progress(self) -> float:
        """How far it is, from 0 to 1: by its steps, or by its epochs while the trainer has not counted those."""
        if self.state == State.COMPLETED:
            return 1.0
        done, planned = self.steps_done, self.steps_planned
        if not planned:
            done, planned = self.current_epoch or 0, self.total_epochs
        return min(1.0, done / planned)

    @property
    def eta(self) -> datetime | None:
        """When it will have ended, as its trainer thinks; None while it does not run or cannot know."""
        if self.state != State.RUNNING or self.heard_at is None or self.seconds_left is None:
            return None
        try:
            return self.heard_at + timedelta(seconds=self.seconds_left)
        except OverflowError:  # no calendar goes so far
            return None

    @property
    def remedy(self) -> str | None:
        """What the owner of a failed session can do."""
        return REMEDIES.get(self.failure_code)

    @property
    def model_name(self) -> str:
        """The name under which the trained model is registered."""
        config = self.training_config
        unique = self.session_id.removeprefix("sess_")
        return config.model_name or f"{config.model_architecture}_{config.dataset_name}_{unique}"

    def final_weights(self) -> Path | None:
        """The weights that the trainer left when it ended, if it did."""
        return next(iter(sorted(self.directory.weights.glob("*.pt"))), None)

    def queue_position(self) -> int:
        """1 for the session that starts next."""
        return TrainingSession.objects.queued().before(self).count() + 1

    def move_in_queue(self, by: str, priority: int | None = None, position: int | None = None) -> None:
        """Give it another place among those that wait; beyond the end is the end.

        A priority alone puts it behind those that have that priority already. A position is that in the whole queue,
        and decides the priority where another one could not stand there. Raises IllegalTransition when it is not
        queued.
        """
        with transaction.atomic():
            self.refresh_from_db()
            if self.state != State.QUEUED:
                raise IllegalTransition(self, "moved in the queue")
            earlier = self.queue_position()
            self.priority, self.rank = TrainingSession.objects.find_place(self, priority, position)
            self.config["priority"] = self.priority
            self.save(update_fields=["priority", "rank", "config"])
            if (now := self.queue_position()) != earlier:
                self.log("INFO", f"Moved from position {earlier} of the queue to {now} by {by}.")

    def move_to(self, target: State, *, by: str, reason: str, **changes: Any) -> None:
        """Make one transition, or none: whoever changes the row has won, the others find out what is true now.

        Raises IllegalTransition when the table of transitions forbids it, or when somebody else was faster. A wish
        that came meanwhile is another truth, too.
        """
        origin = State(self.state)
        with transaction.atomic():
            row = TrainingSession.objects.filter(pk=self.pk, state=origin, attempt=self.attempt, wish=self.wish)
            fulfilled = {"wish": Wish.NONE, **NOBODYS_WISH}
            if target not in TRANSITIONS[origin] or not row.update(state=target, **fulfilled, **changes):
                self.refresh_from_db()
                raise IllegalTransition(self, target.label.lower())
            self.transitions.create(from_state=origin, to_state=target, by=by, reason=reason)
            if target == State.QUEUED:
                transaction.on_commit(bell.ring)
        self.refresh_from_db()

    def cancel(self, by: str) -> None:
        """Take the session out of the queue. Raises IllegalTransition when it is not queued."""
        if self.state != State.QUEUED:
            raise IllegalTransition(self, "cancelled")
        self.move_to(State.STOPPED, by=by, reason="cancelled while queued", ended_at=timezone.now())

    def request_stop(self, by: str) -> None:
        """Ask for the end: at once where no trainer runs, otherwise when it has saved and let go.

        Asking again changes nothing. Raises IllegalTransition when the session has ended.
        """
        if self.has_ended:
            raise IllegalTransition(self, "stopped")
        self._request(Wish.STOP, "stopped", by, ended_at=timezone.now())

    def request_kill(self, by: str) -> None:
        """Ask for the end without anything being saved; nothing to do once it is stopped.

        Raises IllegalTransition when the session has ended in another way.
        """
        self._request(Wish.KILL, "killed", by, ended_at=timezone.now())

    def request_pause(self, by: str) -> None:
        """Ask that it waits for resume(): at once where no trainer runs, otherwise when it has saved and let go.

        Asking again changes nothing. Raises IllegalTransition when the session has ended or is about to.
        """
        self._request(Wish.PAUSE, "paused", by)

    def resume(self, by: str) -> None:
        """Put a paused session back into the queue, to the place that it had, or take the wish to pause it back.

        There is nothing to do if it is not paused. Raises IllegalTransition when it has ended or is about to.
        """
        while self.state == State.PAUSED or self.is_bound_for(State.PAUSED):
            if self.state == State.RUNNING:
                self._change_wish(Wish.NONE, by)
            else:
                with suppress(IllegalTransition):  # somebody was faster, and now it is something else
                    self.move_to(State.QUEUED, by=by, reason="resumed")
        if self.has_ended or self.is_bound_for(State.STOPPED):
            raise IllegalTransition(self, "resumed")

    def _request(self, wish: Wish, participle: str, by: str, **changes: Any) -> None:
        """Pass a wish on to the trainer, or make it true at once where there is none."""
        aim = FULFILLED[wish]
        while not self.has_ended and self.state != aim and self.wish in wish.weaker:
            if self.state == State.RUNNING:
                self._change_wish(wish, by)
            else:
                with suppress(IllegalTransition):  # somebody was faster, and now it is something else
                    self.move_to(aim, by=by, reason=f"{participle} while {self.state}", **changes)
        if self.state != aim and not self.is_bound_for(aim):
            raise IllegalTransition(self, participle)

    def _change_wish(self, wish: Wish, by: str) -> None:
        """Wish for something else, unless somebody has done so since this row was read; then find out what is true."""
        row = TrainingSession.objects.filter(pk=self.pk, state=State.RUNNING, wish=self.wish)
        row.update(wish=wish, **({"wished_at": timezone.now(), "wished_by": by} if wish else NOBODYS_WISH))
        self.refresh_from_db()

    def is_bound_for(self, aim: State) -> bool:
        """Whether the session runs, and somebody wished for this already."""
        return self.state == State.RUNNING and FULFILLED.get(Wish(self.wish)) == aim

    def begin_attempt(self) -> None:
        """Count a new life of the trainer. Raises IllegalTransition when the session is not this caller's any more."""
        row = TrainingSession.objects.filter(pk=self.pk, state=State.RUNNING, attempt=self.attempt)
        # A machine that lost its power may have lost the end of a journal that was read already. All that is left of
        # it is stored then, and what the new attempt writes is read from there.
        offset = min(self.journal_offset, self.directory.journal_size_bytes())
        if not row.update(attempt=F("attempt") + 1, journal_offset=offset):
            self.refresh_from_db()
            raise IllegalTransition(self, "started")
        self.refresh_from_db()

    def count_crash(self) -> None:
        """One more death of the trainer without a new epoch since."""
        TrainingSession.objects.filter(pk=self.pk).update(crashes_since_epoch=F("crashes_since_epoch") + 1)
        self.refresh_from_db(fields=["crashes_since_epoch"])

    def log(self, level: str, message: str) -> None:
        """An entry that the server itself adds to the session's log."""
        with transaction.atomic():  # one at a time, so that lines and ids come in their order
            line = self.next_line()
            self.log_entries.create(line=line, timestamp=timezone.now(), level=level, message=as_shown(message))

    def next_line(self) -> int:
        """The number of the line that comes next into the log; the caller's transaction keeps it free for him."""
        newest: int | None = self.log_entries.aggregate(newest=Max("line"))["newest"]
        return (newest or 0) + 1

    def complete(self, model: Model) -> None:
        self.move_to(State.COMPLETED, by="supervisor", reason="all epochs done", ended_at=timezone.now(), model=model)

    def fulfil_wish(self) -> None:
        """The trainer has let go: make true what was wished for. Raises IllegalTransition when the wish has changed."""
        wish = Wish(self.wish)
        target = FULFILLED[wish]
        changes = {"ended_at": timezone.now()} if target in ENDED else {}
        self.move_to(target, by=self.wished_by, reason=f"{wish} requested", **changes)

    def fail(self, code: str, message: str) -> None:
        self.move_to(
            State.FAILED,
            by="supervisor",
            reason=code,
            ended_at=timezone.now(),
            failure_code=code,
            error_message=message,
        )
