"""A session: the request to train, and its life."""

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
from training.models.queue import QueueControl
from training.spec import InvalidConfig, TrainingConfig
from training.state import ALLOWED_ACTIONS, ENDED, FULFILLED, TRANSITIONS, Action, State, Wish

if TYPE_CHECKING:
    from training.models.records import LogEntry, Metric, SeriesPoint, Transition


class IllegalTransition(Exception):
    """A session is not in a state that allows what was asked of it."""

    def __init__(self, session: "TrainingSession", wanted: str) -> None:
        self.details = {"state": session.state, "allowed_actions": session.allowed_actions}
        super().__init__(f"Session {session.session_id} is {session.state} and cannot be {wanted}.")


def new_session_id() -> str:
    return f"sess_{secrets.token_hex(6)}"


class TrainingSessionQuerySet(models.QuerySet["TrainingSession"]):
    def queued(self) -> "TrainingSessionQuerySet":
        """The queue, in the order in which its sessions will start."""
        return self.filter(state=State.QUEUED).order_by("-priority", "rank", "id")

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
            self.filter(pk=session.pk).update(rank=session.pk)
            session.rank = session.pk
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

    def queue_moves(self) -> bool:
        """Whether somebody who claims the next session would get one."""
        return not QueueControl.objects.current().is_paused and self.has_room() and self.queued().exists()

    def claim_next(self, by: str) -> "TrainingSession | None":
        """Move the first of the queue to running; None when nothing waits or nothing more may run."""
        # The transaction holds SQLite's write lock from its start, so nobody is counted twice.
        with transaction.atomic():
            session = self.queued().first() if self.queue_moves() else None
            if session is not None:
                session.move_to(State.RUNNING, by=by, reason="a place is free", started_at=timezone.now())
            return session

    def drain(self, by: str) -> None:
        """Pause the queue, and have what runs save and go back into it, to the places that it came from."""
        with transaction.atomic():
            QueueControl.objects.pause(by)
            self.running().filter(wish__in=Wish.REQUEUE.weaker).update(
                wish=Wish.REQUEUE, wished_at=timezone.now(), wished_by=by
            )

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
    # What the trainer said of itself last, and when that was read.
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
        """What changes something in the state that it is in."""
        allowed = ALLOWED_ACTIONS[State(self.state)]
        return [action for action in allowed if action != Action.PAUSE or not self._is_bound_for(State.STOPPED)]

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
        earlier = Q(priority__gt=self.priority) | Q(priority=self.priority, rank__lt=self.rank)
        earlier |= Q(priority=self.priority, rank=self.rank, id__lte=self.pk)
        return TrainingSession.objects.queued().filter(earlier).count()

    def move_to(self, target: State, *, by: str, reason: str, **changes: Any) -> None:
        """Make one transition, or none: whoever changes the row has won, the others find out what is true now.

        Raises IllegalTransition when the table of transitions forbids it, or when somebody else was faster. A wish
        that came meanwhile is another truth, too.
        """
        origin = State(self.state)
        with transaction.atomic():
            row = TrainingSession.objects.filter(pk=self.pk, state=origin, attempt=self.attempt, wish=self.wish)
            fulfilled = {"wish": Wish.NONE, "wished_at": None, "wished_by": ""}
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
        self._request(Wish.STOP, "stopped", by, ended_at=timezone.now())

    def request_kill(self, by: str) -> None:
        """Ask for the end without anything being saved; nothing to do once it is stopped.

        Raises IllegalTransition when the session has ended in another way.
        """
        if self.state != State.STOPPED:
            self._request(Wish.KILL, "killed", by, ended_at=timezone.now())

    def request_pause(self, by: str) -> None:
        """Ask that it waits for resume(): at once where no trainer runs, otherwise when it has saved and let go.

        Asking again changes nothing. Raises IllegalTransition when the session has ended or is about to.
        """
        if self.state != State.PAUSED:
            self._request(Wish.PAUSE, "paused", by)

    def resume(self, by: str) -> None:
        """Put a paused session back into the queue, to the place that it had; nothing to do if it is not paused.

        Raises IllegalTransition when the session has ended.
        """
        TrainingSession.objects.filter(pk=self.pk, state=State.RUNNING, wish=Wish.PAUSE).update(
            wish=Wish.NONE, wished_at=None, wished_by=""
        )
        self.refresh_from_db()
        if self.has_ended:
            raise IllegalTransition(self, "resumed")
        if self.state == State.PAUSED:
            self.move_to(State.QUEUED, by=by, reason="resumed")

    def _request(self, wish: Wish, participle: str, by: str, **changes: Any) -> None:
        """Pass a wish on to the trainer, or make it true at once where there is none."""
        aim = FULFILLED[wish]
        while self.state in (State.QUEUED, State.PAUSED):
            try:
                return self.move_to(aim, by=by, reason=f"{participle} while {self.state}", **changes)
            except IllegalTransition:
                continue  # somebody was faster, and now it is something else
        row = TrainingSession.objects.filter(pk=self.pk, state=State.RUNNING, wish__in=wish.weaker)
        is_passed_on = row.update(wish=wish, wished_at=timezone.now(), wished_by=by)
        self.refresh_from_db()
        if not is_passed_on and not self._is_bound_for(aim):
            raise IllegalTransition(self, participle)
        return None

    def _is_bound_for(self, aim: State) -> bool:
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
        self.log_entries.create(timestamp=timezone.now(), level=level, message=message)

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
