"""A urlconf of views that raise what they are told to, and of one that echoes its body."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

raised: Exception = Exception()


class FailingView(APIView):
    def get(self, request: Request) -> Response:
        raise raised


class EchoView(APIView):
    def post(self, request: Request) -> Response:
        return Response(request.data)


def fail_outside_of_rest_framework(request: HttpRequest) -> HttpResponse:
    raise raised


urlpatterns: list[Any] = [
    path("fail", FailingView.as_view()),
    path("echo", EchoView.as_view()),
    path("plain", fail_outside_of_rest_framework),
]
handler400 = handler403 = handler404 = "servermgmt.errors.refusal"
handler500 = "servermgmt.errors.server_error"
