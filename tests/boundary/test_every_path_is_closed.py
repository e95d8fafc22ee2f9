"""Walks the resolver, so that a later endpoint cannot be born open."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.utils.regex_helper import normalize
from django.views import View
from rest_framework.test import APIClient

from authkeys import keys
from authkeys.models import AuthLog

OPEN = {"/", "/health", "/docs", "/redoc", "/openapi.json"}
# Has a login of its own, to which these paths lead and nowhere else.
ADMIN = ("/admin", "/admin/")
METHODS = [*(name.upper() for name in View.http_method_names), "BREW"]
# Where no pattern of ours leads; a stranger must not learn that.
UNKNOWN = [
    "/nothing",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/nothing",
    "/api/v1//models",
    "//api/v1/models",
    "/api/v2/models",
    "/api/v1/models/x/y/z",
    "/api/v1/\n",
    "/api/v1/%00",
    "/api/v1/%ff%fe",
    "/api/v1/../../etc/passwd",
    "/static/nothing.js",
    "/favicon.ico",
    "/health/nothing",
    "/openapi.yaml",
    "/administration",
]


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every pattern outside the admin, as one regular expression, with its view."""
    for entry in resolver.url_patterns:
        expression = before + entry.pattern.regex.pattern.removeprefix("^")
        if isinstance(entry, URLPattern):
            yield expression, entry.callback
        elif entry.namespace != "admin":
            yield from patterns(entry, expression)


def sample(expression: str, view: Any) -> str:
    """A path that leads to this view."""
    for value in ("x", "1", "sess_0123456789ab"):
        for form, names in normalize(expression):
            path = "/" + form % dict.fromkeys(names, value)
            if resolve(path).func is view:
                return path
    raise AssertionError(f"no path found that leads to {expression}; teach this test one")


CATCH_ALL = r"[\s\S]*$"
PATHS = sorted({sample(*pattern) for pattern in patterns(get_resolver()) if pattern[0] != CATCH_ALL})
CLOSED = [path for path in PATHS if path not in OPEN and not path.startswith(ADMIN)]


def test_the_walk_finds_the_endpoints_of_the_contract() -> None:
    assert {
        "/api/v1/training/start",
        "/api/v1/training/x/stop",
        "/api/v1/training/x/status",
        "/api/v1/training/x/metrics",
        "/api/v1/training/x/history",
        "/api/v1/training/x/logs",
        "/api/v1/training/sessions",
        "/api/v1/training/queue",
        "/api/v1/training/queue/x",
        "/api/v1/system/info",
        "/api/v1/models",
        "/api/v1/models/x",
        "/api/v1/datasets",
        "/api/v1/datasets/x",
    } <= set(CLOSED)


def test_nothing_is_open_but_what_the_contract_opens() -> None:
    assert {path for path in PATHS if path not in CLOSED} == {*OPEN, "/admin"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [*CLOSED, *UNKNOWN])
def test_a_stranger_is_answered_401_and_learns_nothing(stranger: APIClient, path: str, method: str) -> None:
    strange: dict[str, Any] = {"content_type": "text/strange", "HTTP_ACCEPT": "image/png"}

    answers = [
        stranger.generic(method, path),
        stranger.generic(method, path, HTTP_X_API_KEY=keys.make()),
        stranger.generic(method, path, HTTP_AUTHORIZATION="Bearer made-up"),
        stranger.generic(method, path, data="{", **strange),
        stranger.generic(method, path + "?limit=x&cursor=x&format=x"),
    ]

    for answer in answers:
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert answer["Content-Type"] == "application/json"
        assert method == "HEAD" or answer.json()["error"]["code"] == "UNAUTHENTICATED"
    reasons = list(AuthLog.objects.order_by("id").values_list("reason", flat=True))
    assert reasons == ["missing", "unknown", "malformed", "missing", "missing"]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", METHODS)
def test_a_key_holder_learns_that_nothing_is_there(client: APIClient, path: str, method: str) -> None:
    answer = client.generic(method, path)

    assert answer.status_code == 404
    assert method == "HEAD" or answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", METHODS)
def test_a_good_key_is_never_answered_401(client: APIClient, path: str, method: str) -> None:
    assert client.generic(method, path).status_code not in (401, 403)


@pytest.mark.parametrize("path", sorted(OPEN))
def test_what_is_open_is_open(stranger: APIClient, path: str) -> None:
    assert stranger.get(path).status_code == 200
    assert stranger.get(path, HTTP_X_API_KEY="made-up").status_code == 200


@pytest.mark.parametrize("path", ["/admin/", "/admin/authkeys/apikey/", "/admin/auth/user/", "/admin/nothing/"])
def test_the_admin_asks_for_its_own_login(stranger: APIClient, path: str) -> None:
    answer = stranger.get(path)

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_a_key_does_not_open_the_admin(client: APIClient) -> None:
    assert client.get("/admin/").status_code == 302
