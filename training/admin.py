"""Sessions and their queue under manual oversight: everything can be looked at, and sessions and queue be steered."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from authkeys.authentication import actor
from authkeys.permissions import ReadOnlyAdmin
from training.models import (
    IllegalTransition,
    LogEntry,
    Metric,
    QueueControl,
    SeriesPoint,
    TrainingSession,
    Transition,
)
from training.state import Action, Health, State, Wish
from training.steering import steer


@admin.register(TrainingSession)
class TrainingSessionAdmin(ReadOnlyAdmin):
    list_display = (
        "session_id",
        "shown_state",
        "shown_health",
        "shown_wish",
        "priority",
        "architecture",
        "dataset",
        "progress",
        "created_at",
        "started_at",
        "ended_at",
    )
    list_filter = ("state", "wish", "failure_code", "dataset", "created_at")
    list_select_related = ("dataset",)
    search_fields = ("session_id", "dataset__name", "error_message")
    actions = ("pause", "resume", "stop", "kill", "cancel")

    @display(
        description="State",
        ordering="state",
        label={
            State.QUEUED: "info",
            State.RUNNING: "primary",
            State.PAUSED: "warning",
            State.COMPLETED: "success",
            State.FAILED: "danger",
            State.STOPPED: "warning",
        },
    )
    def shown_state(self, session: TrainingSession) -> str:
        return session.state

    @display(description="Health", label={Health.OK: "success", Health.STALE: "danger"})
    def shown_health(self, session: TrainingSession) -> str | None:
        return session.health

    @display(description="Wish", ordering="wish")
    def shown_wish(self, session: TrainingSession) -> str:
        return Wish(session.wish).label if session.wish else ""

    @display(description="Architecture")
    def architecture(self, session: TrainingSession) -> str:
        name: str = session.config["model_architecture"]
        return name

    @display(description="Epochs")
    def progress(self, session: TrainingSession) -> str:
        return f"{session.current_epoch or 0} / {session.total_epochs}"

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Steering is for those who may change sessions, though no hand writes a row."""
        return request.user.has_perm("training.change_trainingsession")

    @admin.action(description="Pause the chosen sessions", permissions=["steer"])
    def pause(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, Action.PAUSE)

    @admin.action(description="Resume the chosen paused sessions", permissions=["steer"])
    def resume(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, Action.RESUME)

    @admin.action(description="Stop the chosen sessions", permissions=["steer"])
    def stop(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, Action.STOP)

    @admin.action(description="Kill the chosen sessions: nothing is saved", permissions=["steer"])
    def kill(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, Action.KILL)

    @admin.action(description="Cancel the chosen queued sessions", permissions=["steer"])
    def cancel(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, Action.CANCEL)

    def ask_each(self, request: HttpRequest, sessions: QuerySet[TrainingSession], action: Action) -> None:
        """Ask this of each session, and say of each what came of it."""
        for session in sessions:
            try:
                self.message_user(request, steer(session, action, actor(request)), messages.SUCCESS)
            except IllegalTransition as refusal:
                self.message_user(request, str(refusal), messages.WARNING)


@admin.register(QueueControl)
class QueueControlAdmin(ReadOnlyAdmin):
    """One row, chosen to pause, drain or resume the queue."""

    list_display = ("shown_state", "paused_at", "paused_by", "running", "draining", "queued")
    actions = ("pause", "drain", "resume")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        QueueControl.objects.get_or_create(pk=QueueControl.ONLY)  # there is none until somebody pauses the queue
        page: HttpResponse = super().changelist_view(request, extra_context)
        return page

    @display(description="Queue", label={"open": "success", "paused": "warning"})
    def shown_state(self, control: QueueControl) -> str:
        return "paused" if control.is_paused else "open"

    @display(description="Running")
    def running(self, control: QueueControl) -> int:
        return TrainingSession.objects.running().count()

    @display(description="Going back into the queue")
    def draining(self, control: QueueControl) -> int:
        return TrainingSession.objects.draining().count()

    @display(description="Queued")
    def queued(self, control: QueueControl) -> int:
        return TrainingSession.objects.queued().count()

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """As for sessions: no hand writes the row."""
        return request.user.has_perm("training.change_queuecontrol")

    @admin.action(description="Pause: no session starts, those that run go on", permissions=["steer"])
    def pause(self, request: HttpRequest, controls: QuerySet[QueueControl]) -> None:
        QueueControl.objects.pause(by=actor(request))
        self.message_user(request, "The queue is paused.", messages.SUCCESS)

    @admin.action(description="Drain: pause, and have what runs save and go back", permissions=["steer"])
    def drain(self, request: HttpRequest, controls: QuerySet[QueueControl]) -> None:
        TrainingSession.objects.drain(by=actor(request))
        self.message_user(request, "The queue is paused, and what runs goes back into it.", messages.SUCCESS)

    @admin.action(description="Resume: sessions start again", permissions=["steer"])
    def resume(self, request: HttpRequest, controls: QuerySet[QueueControl]) -> None:
        QueueControl.objects.resume()
        self.message_user(request, "The queue is open.", messages.SUCCESS)


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    list_display = ("session", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")
    list_filter = ("timestamp",)
    list_select_related = ("session",)
    search_fields = ("session__session_id",)


@admin.register(SeriesPoint)
class SeriesPointAdmin(ReadOnlyAdmin):
    list_display = ("session", "name", "step", "value", "timestamp")
    list_select_related = ("session",)
    search_fields = ("=session__session_id",)
    show_full_result_count = False  # there may be millions
    ordering = ("-id",)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    list_display = ("timestamp", "session", "line", "level", "message")
    list_filter = ("level", "timestamp")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "message")
    ordering = ("-id",)


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    list_display = ("at", "session", "from_state", "to_state", "shown_actor", "reason")
    list_filter = ("to_state", "at")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "by", "reason")
    ordering = ("-id",)

    @display(description="Actor", ordering="by")
    def shown_actor(self, transition: Transition) -> str:
        return transition.by
