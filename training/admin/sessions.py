"""The sessions in the admin."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from authkeys.authentication import actor
from authkeys.permissions import ReadOnlyAdmin
from training.admin.start import StartView
from training.models import IllegalTransition, TrainingSession
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
    actions_list = ("start",)

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

    def has_start_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(StartView.permission_required)

    @action(description="Start a session", icon="play_circle", variant=ActionVariant.PRIMARY, permissions=["start"])
    def start(self, request: HttpRequest) -> HttpResponseBase:
        """The page with the form, at start/."""
        return StartView.as_view(model_admin=self)(request)

    start.change_is_slow = True  # a fork hashes the dataset and copies a checkpoint

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
