"""What every answer tells a browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from servermgmt.views import openapi_document

NOTHING = {"default-src": ["'none'"], "frame-ancestors": ["'none'"]}
KNOWN = {"'none'", "'self'", "'unsafe-eval'", "data:", "blob:"}
FOREIGN = {"Origin": "https://evil.example"}
PREFLIGHT = FOREIGN | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


def policy(answer: Any) -> dict[str, list[str]]:
    directives = (directive.split() for directive in answer["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in directives}


@pytest.fixture
def staff(db: None) -> Client:
    staff = Client()
    staff.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    return staff


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 200),
        ("/health", {}, 200),
        ("/openapi.json", {}, 200),
        ("/docs?script=", {}, 200),
        ("/static/admin/css/base.css", {}, 200),
        ("/api/v1/models", {}, 401),
        ("/nothing", {}, 401),
        ("/health", {"Host": "elsewhere.example"}, 400),
    ],
)
def test_what_is_no_page_may_do_nothing(stranger: APIClient, path: str, headers: dict[str, str], status: int) -> None:
    answer = stranger.get(path, headers=headers)
    answer.close()

    assert answer.status_code == status
    assert policy(answer) == NOTHING
    check_the_others(answer)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/admin/login/", "/admin/", "/api/v1/models", "/api/v1/nothing"])
def test_pages_use_what_is_here_and_nothing_inline(staff: Client, path: str) -> None:
    answer = staff.get(path, headers={"Accept": "text/html"})

    assert answer["Content-Security-Policy"].count("unsafe") == path.startswith("/admin/")
    sources = policy(answer)
    assert sources["default-src"] == sources["base-uri"] == sources["frame-ancestors"] == ["'none'"]
    assert sources["script-src"] == ["'self'", *["'unsafe-eval'"] * path.startswith("/admin/")]
    nonces = {source for named in sources.values() for source in named} - KNOWN
    assert nonces == set(sources["style-src"]) - KNOWN
    assert {f"'nonce-{nonce}'" for nonce in re.findall(r'<style nonce="([^"]+)">', answer.text)} == nonces
    assert answer.text.count("<style") == len(nonces)
    assert not re.findall(r"<[^>]* style=|<script(?![^>]* (?:src=|type=\"application/json))", answer.text)
    check_the_others(answer)


def test_a_nonce_serves_once(stranger: APIClient) -> None:
    first, second = (policy(stranger.get("/docs"))["style-src"] for _ in range(2))
    assert first != second


def check_the_others(answer: Any) -> None:
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


def operations() -> Iterator[tuple[str, str]]:
    for path, methods in openapi_document()["paths"].items():
        yield from ((method, path) for method in methods)


def test_no_other_origin_is_let_in(client: APIClient, stranger: APIClient, staff: Client) -> None:
    asked = [*operations(), ("get", "/docs"), ("get", "/admin/login/"), ("post", "/admin/login/"), ("get", "/nothing")]
    for method, path in asked:
        for who in (client, stranger, staff):
            for answer in (
                who.generic(method.upper(), path, headers=FOREIGN),
                who.generic("OPTIONS", path, headers=PREFLIGHT),
            ):
                assert not [name for name in answer.headers if name.lower().startswith("access-control-")], path
