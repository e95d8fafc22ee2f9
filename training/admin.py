"""Sessions under manual oversight: everything can be looked at, and sessions can be stopped and cancelled."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from authkeys.permissions import ReadOnlyAdmin
from training.models import IllegalTransition, LogEntry, Metric, SeriesPoint, TrainingSession, Transition
from training.state import State


@admin.register(TrainingSession)
class TrainingSessionAdmin(ReadOnlyAdmin):
    list_display = (
        "session_id",
        "shown_state",
        "architecture",
        "dataset",
        "progress",
        "created_at",
        "started_at",
        "ended_at",
    )
    list_filter = ("state", "failure_code", "dataset", "created_at")
    list_select_related = ("dataset",)
    search_fields = ("session_id", "dataset__name", "error_message")
    actions = ("stop", "cancel")

    @display(
        description="State",
        ordering="state",
        label={
            State.QUEUED: "info",
            State.RUNNING: "primary",
            State.COMPLETED: "success",
            State.FAILED: "danger",
            State.STOPPED: "warning",
        },
    )
    def shown_state(self, session: TrainingSession) -> str:
        return session.state

    @display(description="Architecture")
    def architecture(self, session: TrainingSession) -> str:
        name: str = session.config["model_architecture"]
        return name

    @display(description="Epochs")
    def progress(self, session: TrainingSession) -> str:
        return f"{session.current_epoch or 0} / {session.total_epochs}"

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Stopping and cancelling is for those who may change sessions, though no hand writes a row."""
        return request.user.has_perm("training.change_trainingsession")

    @admin.action(description="Stop the chosen sessions", permissions=["stop"])
    def stop(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, TrainingSession.request_stop, "asked to stop")

    @admin.action(description="Cancel the chosen queued sessions", permissions=["stop"])
    def cancel(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> None:
        self.ask_each(request, sessions, TrainingSession.cancel, "cancelled")

    def ask_each(
        self,
        request: HttpRequest,
        sessions: QuerySet[TrainingSession],
        wish: Callable[[TrainingSession, str], Any],
        done: str,
    ) -> None:
        """Pass one wish on to each session, and say of each what came of it."""
        for session in sessions:
            try:
                wish(session, f"user {request.user}")
            except IllegalTransition as refusal:
                self.message_user(request, str(refusal), messages.WARNING)
            else:
                self.message_user(request, f"Session {session} was {done}.", messages.SUCCESS)


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
    list_display = ("timestamp", "session", "level", "message")
    list_filter = ("level", "timestamp")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "message")
    ordering = ("-id",)


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    list_display = ("at", "session", "from_state", "to_state", "by", "reason")
    list_filter = ("to_state", "at")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "by", "reason")
    ordering = ("-id",)
