from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import audit, keys
from authkeys.models import APIKey, AuthLog

CLOSED = "/api/v1/nothing"


def only_row() -> AuthLog:
    return AuthLog.objects.get()


def test_a_good_attempt_is_recorded_with_all_that_is_known(client: APIClient, key: str) -> None:
    before = timezone.now()

    response = client.delete(CLOSED, REMOTE_ADDR="192.0.2.7")

    row = only_row()
    assert (row.success, row.reason, row.key_name) == (True, "ok", "tests")
    assert (row.key_hash, row.key_prefix) == (keys.digest(key.encode()), key[:8])
    assert (row.method, row.endpoint, row.client_address) == ("DELETE", CLOSED, "192.0.2.7")
    assert row.request_id == response["X-Request-ID"]
    assert before <= row.timestamp <= timezone.now()


def test_an_attempt_without_a_key_is_recorded(stranger: APIClient) -> None:
    stranger.get(CLOSED)

    row = only_row()
    assert (row.success, row.reason, row.key_hash, row.key_prefix, row.key_name) == (False, "missing", "", "", "")


def test_a_password_sent_as_a_key_leaves_nothing_but_its_hash(stranger: APIClient) -> None:
    stranger.get(CLOSED, HTTP_X_API_KEY="hunter2")

    row = only_row()
    assert (row.reason, row.key_hash, row.key_prefix) == ("malformed", keys.digest(b"hunter2"), "")


def test_an_unknown_key_is_recorded_with_its_prefix(stranger: APIClient) -> None:
    unknown = keys.make()

    stranger.get(CLOSED, HTTP_X_API_KEY=unknown)

    row = only_row()
    assert (row.success, row.reason, row.key_prefix, row.key_name) == (False, "unknown", unknown[:8], "")


@pytest.mark.parametrize(("column", "reason"), [("revoked_at", "revoked"), ("expires_at", "expired")])
def test_a_key_that_was_good_is_recorded_by_name(client: APIClient, column: str, reason: str) -> None:
    APIKey.objects.update(**{column: timezone.now()})

    client.get(CLOSED)

    row = only_row()
    assert (row.success, row.reason, row.key_name) == (False, reason, "tests")


def test_a_key_of_the_environment_is_recorded_by_number(stranger: APIClient, settings: Settings) -> None:
    settings.API_KEYS = ["first", "second"]

    stranger.get(CLOSED, HTTP_X_API_KEY="second")

    row = only_row()
    assert (row.success, row.key_name, row.key_prefix) == (True, "env-2", "")


def test_a_session_is_recorded_by_user(stranger: APIClient) -> None:
    stranger.force_login(User.objects.create(username="ada", is_staff=True))

    stranger.get(CLOSED)

    assert (only_row().success, only_row().key_name) == (True, "user:ada")


def test_a_forged_form_is_recorded(db: None) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(User.objects.create(username="ada", is_staff=True))

    browser.post(CLOSED)

    assert (only_row().success, only_row().reason, only_row().key_name) == (False, "csrf", "user:ada")


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/redoc", "/openapi.json"])
def test_an_open_path_leaves_no_row(client: APIClient, path: str) -> None:
    assert client.get(path).status_code == 200
    assert not AuthLog.objects.exists()


@given(st.text(min_size=1), st.text())
def test_whatever_is_asked_for_leaves_one_row(stranger: APIClient, path: str, key: str) -> None:
    AuthLog.objects.all().delete()

    assert stranger.get("/api/" + path, HTTP_X_API_KEY=key).status_code == 401

    row = only_row()
    assert len(row.endpoint) <= 500
    assert row.endpoint.isascii()
    assert row.endpoint.isprintable()


def test_a_long_path_is_recorded_in_part(stranger: APIClient) -> None:
    stranger.get("/api/" + "x" * 5000)

    assert only_row().endpoint == "/api/" + "x" * 495


@pytest.fixture
def broken_log(transactional_db: None) -> Iterator[None]:
    """A database in which the log cannot be written."""
    rename = "ALTER TABLE {} RENAME TO {}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format("auth_logs", "elsewhere"))
        yield
        cursor.execute(rename.format("elsewhere", "auth_logs"))


@pytest.mark.parametrize("with_key", [True, False])
def test_what_cannot_be_recorded_is_not_done(broken_log: None, with_key: bool) -> None:
    row, clear = APIKey.objects.create_key("careful")
    sent: dict[str, Any] = {"HTTP_X_API_KEY": clear} if with_key else {}

    response = APIClient().get(CLOSED, **sent)

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "AUDIT_UNAVAILABLE"
    assert "auth_logs" not in response.content.decode()
    row.refresh_from_db()
    assert row.last_used_at is None


def test_what_cannot_be_recorded_is_tried_once(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is waited for; the answer that says so must not wait for it again, nor record an attempt."""
    attempts = []

    def fail(*_: object, **__: object) -> None:
        attempts.append(1)
        raise audit.AuditUnavailable("not recorded")

    monkeypatch.setattr(audit, "record", fail)
    for path in (CLOSED, "/api/v1/models", "/api/v1/training/queue"):
        attempts.clear()
        assert client.get(path).status_code == 503
        assert len(attempts) == 1
