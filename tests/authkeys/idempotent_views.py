"""A urlconf of views that make an API key and then do what they are told to, at once or slowly."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, transaction
from django.urls import path
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from authkeys.changes import ChangingView
from authkeys.models import APIKey
from authkeys.permissions import NONE_NEEDED


class Conflict(Exception):
    """Of which the exception handler knows nothing: a 500."""


ERRORS: dict[str, Callable[[], Exception]] = {
    "400": lambda: exceptions.ValidationError({"name": ["is not good"]}),
    "403": exceptions.PermissionDenied,
    "404": exceptions.NotFound,
    "429": lambda: exceptions.Throttled(7),
    "500": Conflict,
    "503": OperationalError,
}


class MakingView(ChangingView):
    scope = NONE_NEEDED

    def post(self, request: Request) -> Response:
        """Make a key, then raise the error asked for, or answer with what cannot be rendered, or with what was made."""
        name = f"made {APIKey.objects.count()}"
        APIKey.objects.create_key(name)
        outcome = request.data.get("outcome", "200")
        if outcome in ERRORS:
            raise ERRORS[outcome]()
        return Response({"made": name, "value": float("nan") if outcome == "unrenderable" else 1.5})


class SlowView(MakingView):
    """Waits for its turn, then makes a key in a transaction that keeps the answer, too."""

    change_is_slow = True
    arrived = threading.Semaphore(0)
    may_go_on = threading.Event()

    def post(self, request: Request) -> Response:
        self.arrived.release()
        assert self.may_go_on.wait(60)
        with transaction.atomic():
            return self.conclude(super().post(request))


class ReadingView(ChangingView):
    """Has no POST."""

    scope = NONE_NEEDED

    def get(self, request: Request) -> Response:
        return Response([])


urlpatterns: list[Any] = [
    path("make", MakingView.as_view()),
    path("slow", SlowView.as_view()),
    path("read", ReadingView.as_view()),
]
handler400 = handler403 = handler404 = "servermgmt.errors.refusal"
handler500 = "servermgmt.errors.server_error"
