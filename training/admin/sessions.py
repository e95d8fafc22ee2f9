"""The sessions in the admin: their list, the page of each, some of them side by side, and a new one."""

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from authkeys.authentication import actor
from authkeys.permissions import ReadOnlyAdmin
from training.admin.compare_page import WrongChoice, compare_page, compared_sessions, require_number
from training.admin.session_page import HEALTH_LOOKS, STATE_LOOKS, session_page
from training.admin.start import StartView
from training.models import IllegalTransition, TrainingSession
from training.recovery import SESSION_ID
from training.state import Action, Wish
from training.steering import ASK, steer


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
    actions = ("compare", "pause", "resume", "stop", "kill", "cancel")
    actions_list = ("start",)
    fields = ("session_id",)  # the page has a template of its own

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "training_trainingsession"
        urls: list[URLPattern] = super().get_urls()
        return [
            path("compare/", view(self.compare_view), name=f"{name}_compare"),
            path("<path:object_id>/steer/", view(self.steer_view), name=f"{name}_steer"),
            path("<path:object_id>/parts/", view(self.parts_view), name=f"{name}_parts"),
            *urls,
        ]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """A session by the number of its row, or by the id by which everybody else knows it."""
        by_id = re.fullmatch(SESSION_ID, object_id) is not None
        return super().get_object(request, object_id, "session_id" if by_id else from_field)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        context = extra_context or {}
        if session is not None and self.has_view_permission(request, session):
            context = {"title": session.session_id} | self.page_of(session, request) | context
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def parts_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The parts of the page that change with what happens, as they are now."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        session = self.get_object(request, object_id)
        if session is None:
            raise Http404
        return TemplateResponse(request, "admin/training/trainingsession/parts.html", self.page_of(session, request))

    def page_of(self, session: TrainingSession, request: HttpRequest) -> dict[str, Any]:
        """What the templates of the page need."""
        return session_page(session) | {"may_steer": self.has_steer_permission(request)}

    def steer_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The buttons of the page: one thing asked of one session."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_steer_permission(request):
            raise PermissionDenied
        session, action = self.get_object(request, object_id), request.POST.get("action", "")
        if session is None:
            raise Http404
        if action in ASK:
            self.ask_each(request, [session], Action(action))
        else:
            self.message_user(request, f"What can be asked of a session: {', '.join(ASK)}.", messages.WARNING)
        return redirect("admin:training_trainingsession_change", session.session_id)

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """Some sessions side by side, by their ids in the query."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            sessions = compared_sessions(request.GET.get("sessions", ""))
        except WrongChoice as error:
            self.message_user(request, str(error), messages.WARNING)
            return redirect("admin:training_trainingsession_changelist")
        context = self.admin_site.each_context(request) | {"title": "Compare", "opts": self.opts}
        return TemplateResponse(
            request, "admin/training/trainingsession/compare.html", context | compare_page(sessions)
        )

    @admin.action(description="Compare the chosen sessions", permissions=["view"])
    def compare(self, request: HttpRequest, sessions: QuerySet[TrainingSession]) -> HttpResponse | None:
        try:
            require_number(sessions.count())
        except WrongChoice as error:
            self.message_user(request, str(error), messages.WARNING)
            return None
        ids = ",".join(sessions.order_by("id").values_list("session_id", flat=True))
        return redirect(f"{reverse('admin:training_trainingsession_compare')}?sessions={ids}")

    @display(description="State", ordering="state", label=STATE_LOOKS)
    def shown_state(self, session: TrainingSession) -> str:
        return session.state

    @display(description="Health", label=HEALTH_LOOKS)
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

    def ask_each(self, request: HttpRequest, sessions: Iterable[TrainingSession], action: Action) -> None:
        """Ask this of each session, and say of each what came of it."""
        for session in sessions:
            try:
                self.message_user(request, steer(session, action, actor(request)), messages.SUCCESS)
            except IllegalTransition as refusal:
                self.message_user(request, str(refusal), messages.WARNING)
