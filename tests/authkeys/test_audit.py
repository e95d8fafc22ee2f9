from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import chain, keys
from authkeys.models import APIKey, AuthLog, KeptAnswer
from registry.models import Dataset, Model
from training.models import TrainingSession

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
    assert row.status == response.status_code == 404
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


def test_a_key_sent_twice_in_different_forms_is_ambiguous(client: APIClient, key: str) -> None:
    other = APIKey.objects.create_key("other")[1]

    assert client.get(CLOSED, HTTP_X_API_KEY=other).status_code == 401
    assert (only_row().success, only_row().reason, only_row().key_name) == (False, "ambiguous", "")
    assert client.get(CLOSED, HTTP_X_API_KEY=key).status_code == 404


LOGIN = "/admin/login/"


def test_logins_to_the_admin_are_recorded(db: None) -> None:
    User.objects.create_superuser("ada", password="right")
    browser = Client()
    tried = [("ada", "wrong"), ("my password by mistake", "x"), ("ada", "right")]
    answers = [browser.post(LOGIN, {"username": name, "password": word}) for name, word in tried]

    rows = AuthLog.objects.order_by("id")
    assert [(row.success, row.reason, row.key_name, row.method, row.endpoint, row.status) for row in rows] == [
        (False, "password", "user:ada", "POST", LOGIN, 200),
        (False, "password", "", "POST", LOGIN, 200),
        (True, "ok", "user:ada", "POST", LOGIN, 302),
    ]
    assert [row.request_id for row in rows] == [answer["X-Request-ID"] for answer in answers]
    assert not any("mistake" in str(value) for row in rows.values() for value in row.values())


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "a\nb", "\U0001f600"])
def test_a_strange_name_at_the_login_is_recorded_without_it(db: None, name: str) -> None:
    answer = Client().post(LOGIN, {"username": name, "password": "x"})

    assert answer.status_code == 200
    assert AuthLog.objects.filter(success=True).count() == 0


def test_what_staff_change_in_the_admin_is_recorded(admin_client: Client, key: str) -> None:
    row = APIKey.objects.get()
    sent = {"action": "revoke", "_selected_action": [row.pk]}

    admin_client.get("/admin/authkeys/apikey/")
    assert not AuthLog.objects.exists()  # who looks changes nothing
    admin_client.post("/admin/authkeys/apikey/", sent)

    attempt = only_row()
    assert (attempt.success, attempt.key_name, attempt.method) == (True, "user:admin", "POST")
    assert (attempt.endpoint, attempt.status) == ("/admin/authkeys/apikey/", 302)


def test_a_forged_form_of_the_admin_is_recorded_as_such(db: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("ada"))

    assert browser.post("/admin/authkeys/apikey/", {"action": "revoke"}).status_code == 403
    assert (only_row().success, only_row().reason, only_row().status) == (False, "csrf", 403)


def test_every_row_is_a_link_of_the_chain(client: APIClient, stranger: APIClient) -> None:
    for number in range(3):
        client.get(CLOSED)
        stranger.get(f"/api/v1/{number}/é?x=1")
        client.post("/api/v1/training/start", {"é": "\U0001f600"}, format="json")

    findings = chain.verify()
    assert (findings.rows, findings.faults) == (9, [])


@pytest.fixture
def broken_log(transactional_db: None) -> Iterator[None]:
    """A database in which the log cannot be written."""
    rename = "ALTER TABLE {} RENAME TO {}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format("auth_logs", "elsewhere"))
        yield
        cursor.execute(rename.format("elsewhere", "auth_logs"))


@pytest.mark.parametrize("with_key", [True, False])
def test_what_cannot_be_recorded_is_not_answered(broken_log: None, with_key: bool) -> None:
    row, clear = APIKey.objects.create_key("careful")
    sent: dict[str, Any] = {"HTTP_X_API_KEY": clear} if with_key else {}

    response = APIClient().get(CLOSED, **sent)

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "AUDIT_UNAVAILABLE"
    assert "auth_logs" not in response.content.decode()
    row.refresh_from_db()
    assert row.last_used_at is None


CONFIG = {"model_architecture": "mlp", "dataset_name": "rows", "learning_rate": 0.1, "batch_size": 2, "epochs": 1}


@pytest.mark.parametrize("kept", [True, False])
def test_what_cannot_be_recorded_is_not_done(broken_log: None, kept: bool, data_dir: Path) -> None:
    """Neither quickly nor slowly, in the API or in the admin; no row, no file."""
    Dataset.objects.store("rows", [b"1,2,0\n3,4,1\n" * 8])
    key, clear = APIKey.objects.create_key("careful", scopes=["admin"])
    headers: dict[str, Any] = {"HTTP_X_API_KEY": clear} | ({"HTTP_IDEMPOTENCY_KEY": "one"} if kept else {})
    client = APIClient(**headers)
    file = SimpleUploadedFile("m", b"weights")

    answers = [
        client.post("/api/v1/training/start", CONFIG, format="json"),
        client.post("/api/v1/models?model_name=m", {"file": file}, format="multipart"),
        client.post("/api/v1/keys", {"name": "robot", "scopes": ["admin"]}, format="json"),
        client.delete(f"/api/v1/keys/{key.pk}"),
    ]

    assert [answer.status_code for answer in answers] == [503] * 4
    assert {answer.json()["error"]["code"] for answer in answers} == {"AUDIT_UNAVAILABLE"}
    browser = Client()
    browser.force_login(User.objects.create_superuser("ada"))
    revoke = {"action": "revoke", "_selected_action": [key.pk]}
    assert browser.post("/admin/authkeys/apikey/", revoke).status_code == 503
    assert not TrainingSession.objects.exists()
    assert not Model.objects.exists()
    assert not KeptAnswer.objects.exists()
    assert list(APIKey.objects.values_list("revoked_at", flat=True)) == [None]
    assert list((data_dir / "models").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_change_and_its_row_are_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the change cannot be committed, the row does not say that it was done; another says what was answered."""
    clear = APIKey.objects.create_key("careful", scopes=["admin"])[1]
    client = APIClient(HTTP_X_API_KEY=clear)
    commit = BaseDatabaseWrapper.commit
    failures = [OperationalError("disk I/O error")]

    def fail_once(self: BaseDatabaseWrapper) -> None:
        if failures and AuthLog.objects.exists():
            raise failures.pop()
        commit(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "commit", fail_once)
    answer = client.post("/api/v1/keys", {"name": "robot", "scopes": ["admin"]}, format="json")

    assert answer.status_code == 503
    assert APIKey.objects.count() == 1
    assert (only_row().request_id, only_row().status) == (answer["X-Request-ID"], 503)
    assert chain.verify().faults == []


def test_what_cannot_be_recorded_is_tried_once(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is waited for; the answer that says so must not wait for it again, nor record an attempt."""
    attempts = []

    def fail(*_: object, **__: object) -> None:
        attempts.append(1)
        raise OperationalError("locked")

    monkeypatch.setattr(chain, "append", fail)
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", CLOSED, {}),
        ("GET", "/api/v1/models", {}),
        ("POST", "/api/v1/training/queue/pause", {}),
        ("POST", "/api/v1/training/start", {"HTTP_IDEMPOTENCY_KEY": "one"}),
        ("DELETE", "/api/v1/models/nothing", {}),
    ]
    for method, path, headers in requests:
        attempts.clear()
        assert client.generic(method, path, **headers).status_code == 503
        assert len(attempts) == 1
