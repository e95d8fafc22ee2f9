"""The queue's control in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from authkeys.authentication import actor
from authkeys.permissions import ReadOnlyAdmin
from training.models import QueueControl, TrainingSession


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
