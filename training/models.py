"""What the server knows of sessions: the session itself, its metrics, its log and its transitions."""

import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from registry.models import Dataset, Model
from training import bell
from training.catalogue import misfits
from training.failures import REMEDIES
from training.hardware import device_problems
from training.installation import catalogue
from training.journal import SessionDirectory
from training.spec import InvalidConfig, TrainingConfig
from training.state import ENDED, TRANSITIONS, State


class IllegalTransition(Exception):
    """A session is not in a state that allows what was asked of it."""

    def __init__(self, session: "TrainingSession", wanted: str) -> None:
        self.state = session.state
        super().__init__(f"Session {session.session_id} is {session.state} and cannot be {wanted}.")


def new_session_id() -> str:
    return f"sess_{secrets.token_hex(6)}"


class TrainingSessionQuerySet(models.QuerySet["TrainingSession"]):
    def queued(self) -> "TrainingSessionQuerySet":
        """The queue, in the order in which its sessions will start."""
        return self.filter(state=State.QUEUED).order_by("-priority", "id")

    def running(self) -> "TrainingSessionQuerySet":
        return self.filter(state=State.RUNNING).order_by("id")

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
        with transaction.atomic():
            session = self.create(
                session_id=new_session_id(), config=config.as_dict(), priority=config.priority, dataset=dataset
            )
            session.transitions.create(from_state="", to_state=State.QUEUED, by=by, reason="submitted")
            transaction.on_commit(bell.ring)
        return session

    def has_promised(self, model_name: str) -> bool:
        """Whether a model is registered under this name, or a session will register one."""
        unended = self.exclude(state__in=ENDED)
        return Model.objects.filter(name=model_name).exists() or unended.filter(config__model_name=model_name).exists()

    def has_weights(self, reference: str) -> bool:
        """Whether this names a model, or a session that has weights or may have some when they are needed."""
        if Model.objects.filter(name=reference).exists():
            return True
        session = self.filter(session_id=reference).first()
        if session is None:
            return False
        checkpoints = session.directory.checkpoints.glob("step-*")
        return not session.has_ended or session.final_weights() is not None or any(checkpoints)

    def has_room(self) -> bool:
        """Whether one more session may run."""
        return self.running().count() < settings.MAX_CONCURRENT_SESSIONS

    def claim_next(self, by: str) -> "TrainingSession | None":
        """Move the first of the queue to running; None when nothing waits or nothing more may run."""
        # The transaction holds SQLite's write lock from its start, so nobody is counted twice.
        with transaction.atomic():
            if not self.has_room():
                return None
            session = self.queued().first()
            if session is not None:
                session.move_to(State.RUNNING, by=by, reason="a place is free", started_at=timezone.now())
            return session

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
    priority = models.SmallIntegerField(default=0)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    # Counts the lives of the trainer and fences: what belongs to an older attempt changes nothing any more.
    attempt = models.PositiveIntegerField(default=0)
    crashes_since_epoch = models.PositiveIntegerField(default=0)
    journal_offset = models.PositiveBigIntegerField(default=0)
    current_epoch = models.PositiveIntegerField(null=True)
    # A wish beside the state: the supervisor passes it on, and the state changes when it is true.
    stop_requested_at = models.DateTimeField(null=True)
    stop_requested_by = models.CharField(max_length=100, default="")
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
        indexes = (models.Index(fields=("state", "-priority", "id"), name="sessions_in_queue_order"),)

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
        earlier = Q(priority__gt=self.priority) | Q(priority=self.priority, id__lte=self.pk)
        return TrainingSession.objects.queued().filter(earlier).count()

    def move_to(self, target: State, *, by: str, reason: str, **changes: Any) -> None:
        """Make one transition, or none: whoever changes the row has won, the others find out what is true now.

        Raises IllegalTransition when the table of transitions forbids it, or when somebody else was faster.
        """
        origin = State(self.state)
        with transaction.atomic():
            row = TrainingSession.objects.filter(pk=self.pk, state=origin, attempt=self.attempt)
            if target not in TRANSITIONS[origin] or not row.update(state=target, **changes):
                self.refresh_from_db()
                raise IllegalTransition(self, target.label.lower())
            self.transitions.create(from_state=origin, to_state=target, by=by, reason=reason)
        self.refresh_from_db()

    def cancel(self, by: str) -> None:
        """Take the session out of the queue. Raises IllegalTransition when it is not queued."""
        if self.state != State.QUEUED:
            raise IllegalTransition(self, "cancelled")
        self.move_to(State.STOPPED, by=by, reason="cancelled while queued", ended_at=timezone.now())

    def request_stop(self, by: str) -> None:
        """Ask for the end: a queued session stops at once, a running one when its trainer has let go.

        Asking again changes nothing. Raises IllegalTransition when the session has ended.
        """
        if self.state == State.QUEUED:
            try:
                return self.cancel(by)
            except IllegalTransition:
                pass  # a worker was faster: it runs now
        running = TrainingSession.objects.filter(pk=self.pk, state=State.RUNNING)
        running.filter(stop_requested_at=None).update(stop_requested_at=timezone.now(), stop_requested_by=by)
        self.refresh_from_db()
        if self.has_ended:
            raise IllegalTransition(self, "stopped")
        return None

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
        self.log_entries.create(timestamp=timezone.now(), level=level, message=message)

    def complete(self, model: Model) -> None:
        self.move_to(State.COMPLETED, by="supervisor", reason="all epochs done", ended_at=timezone.now(), model=model)

    def stop(self) -> None:
        """The trainer has let go after a request to stop."""
        self.move_to(State.STOPPED, by=self.stop_requested_by, reason="stop requested", ended_at=timezone.now())

    def fail(self, code: str, message: str) -> None:
        self.move_to(
            State.FAILED,
            by="supervisor",
            reason=code,
            ended_at=timezone.now(),
            failure_code=code,
            error_message=message,
        )


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

    session = models.ForeignKey(TrainingSession, on_delete=models.CASCADE, related_name="log_entries")
    timestamp = models.DateTimeField(db_index=True)
    level = models.CharField(max_length=10)
    message = models.TextField()

    class Meta:
        db_table = "logs"
        ordering = ("id",)
        verbose_name_plural = "log entries"

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
