import errno
import logging
from typing import Any

import pytest
from django.core import exceptions as django_exceptions
from django.db import OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions
from rest_framework.test import APIClient

from authkeys.audit import AuditUnavailable
from registry.errors import InvalidName, NameTaken, TooLarge
from registry.formats import InvalidDataset
from servermgmt.errors import printable
from tests.boundary import views_that_fail
from training.models import IllegalTransition, TrainingSession
from training.spec import InvalidConfig

pytestmark = pytest.mark.urls("tests.boundary.views_that_fail")

CONFIG_ERRORS = {"epochs": ["epochs is required"], "lr": ["lr is not a known field"]}


def answer(client: APIClient, error: Exception, path: str = "/fail") -> Any:
    views_that_fail.raised = error
    client.raise_request_exception = False
    return client.get(path)


def check_shape(body: dict[str, Any]) -> None:
    assert set(body) == {"error", "detail"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert isinstance(body["detail"], str)
    assert body["detail"] == body["error"]["message"] != ""


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (InvalidConfig(CONFIG_ERRORS), 400, "INVALID_CONFIG", "epochs is required; lr is not a known field"),
        (InvalidName("the name is empty"), 400, "INVALID_NAME", "the name is empty"),
        (InvalidDataset("row 3 is short"), 400, "INVALID_DATASET", "row 3 is short"),
        (
            IllegalTransition(TrainingSession(session_id="sess_1", state="completed"), "stopped"),
            409,
            "ILLEGAL_STATE",
            "completed",
        ),
        (NameTaken("the name is taken"), 409, "NAME_TAKEN", "the name is taken"),
        (TooLarge("more than 8 bytes"), 413, "TOO_LARGE", "more than 8 bytes"),
        (exceptions.ParseError("broken"), 400, "INVALID_REQUEST", "broken"),
        (exceptions.NotFound("no session x"), 404, "NOT_FOUND", "no session x"),
        (exceptions.PermissionDenied("no scope"), 403, "FORBIDDEN", "no scope"),
        (exceptions.NotAcceptable(), 406, "NOT_ACCEPTABLE", "Accept"),
        (exceptions.UnsupportedMediaType("text/x"), 415, "UNSUPPORTED_MEDIA_TYPE", "text/x"),
        (exceptions.MethodNotAllowed("PUT"), 405, "METHOD_NOT_ALLOWED", "PUT"),
        (exceptions.Throttled(30), 429, "THROTTLED", "30"),
        (Http404("No Row matches the given query."), 404, "NOT_FOUND", "/docs"),
        (django_exceptions.PermissionDenied("inner words"), 403, "FORBIDDEN", "not allowed"),
        (django_exceptions.RequestDataTooBig("inner words"), 413, "TOO_LARGE", "too large"),
        (django_exceptions.TooManyFilesSent("inner words"), 400, "INVALID_REQUEST", "too many files"),
        (django_exceptions.TooManyFieldsSent("inner words"), 400, "INVALID_REQUEST", "too many fields"),
        (django_exceptions.DisallowedHost("inner words"), 400, "INVALID_REQUEST", "ALLOWED_HOSTS"),
        (django_exceptions.SuspiciousOperation("inner words"), 400, "INVALID_REQUEST", "malformed"),
        (MultiPartParserError("inner words"), 400, "INVALID_REQUEST", "multipart"),
        (UnreadablePostError("inner words"), 400, "INVALID_REQUEST", "ended early"),
        (OperationalError("inner words"), 503, "DATABASE_UNAVAILABLE", "Try again"),
        (OSError(errno.ENOSPC, "inner words", "/inner words"), 507, "STORAGE_FULL", "nothing was kept"),
        (OSError(errno.EDQUOT, "inner words"), 507, "STORAGE_FULL", "nothing was kept"),
        (OSError(errno.EROFS, "inner words"), 503, "STORAGE_UNAVAILABLE", "nothing was kept"),
        (PermissionError(errno.EACCES, "inner words"), 503, "STORAGE_UNAVAILABLE", "nothing was kept"),
        (OSError(errno.EIO, "inner words"), 503, "STORAGE_UNAVAILABLE", "nothing was kept"),
        (ConnectionResetError(errno.ECONNRESET, "inner words"), 500, "INTERNAL_ERROR", "request id"),
        (FileNotFoundError(errno.ENOENT, "inner words"), 500, "INTERNAL_ERROR", "request id"),
        (OSError("inner words"), 500, "INTERNAL_ERROR", "request id"),
        (AuditUnavailable("not recorded"), 503, "AUDIT_UNAVAILABLE", "not recorded"),
        (RuntimeError("inner words"), 500, "INTERNAL_ERROR", "request id"),
        (exceptions.APIException("inner words"), 500, "INTERNAL_ERROR", "request id"),
    ],
)
def test_every_error_has_the_one_shape(
    client: APIClient, error: Exception, status: int, code: str, message: str
) -> None:
    response = answer(client, error)

    assert response.status_code == status
    check_shape(response.json())
    assert response.json()["error"]["code"] == code
    assert message in response.json()["detail"]
    assert "inner words" not in response.content.decode()


@pytest.mark.parametrize(
    ("detail", "details", "message"),
    [
        ({"limit": ["is not a number"]}, {"limit": ["is not a number"]}, "limit: is not a number"),
        ("wrong", {"non_field_errors": ["wrong"]}, "wrong"),
        (["wrong", "and bad"], {"non_field_errors": ["wrong", "and bad"]}, "wrong; and bad"),
        ({"": ["wrong"]}, {"": ["wrong"]}, ": wrong"),
        ({"a": {"b": ["wrong"]}}, {"a.b": ["wrong"]}, "a.b: wrong"),
        ({"a": [{}, {"b": "wrong"}]}, {"a.b": ["wrong"]}, "a.b: wrong"),
        ({"a": "1\x1b[31m2"}, {"a": ["1�[31m2"]}, "a: 1�[31m2"),
    ],
)
def test_a_wrong_field_is_named(client: APIClient, detail: Any, details: dict[str, list[str]], message: str) -> None:
    response = answer(client, exceptions.ValidationError(detail))

    assert response.status_code == 400
    assert response.json()["error"]["details"] == details
    assert response.json()["detail"] == message


def test_of_many_wrong_fields_some_are_named_and_the_others_counted(client: APIClient) -> None:
    many = {f"field_{number}": [f"field_{number} is not a known field"] for number in range(10_000)}

    for error in (InvalidConfig(many), exceptions.ValidationError(many)):
        response = answer(client, error)
        assert len(response.json()["error"]["details"]) == 20
        assert response.json()["detail"].endswith("field_19 is not a known field; and 9980 more")


def test_of_a_long_text_the_beginning_and_the_end_are_shown(client: APIClient) -> None:
    name = "n" * 100_000

    response = answer(client, InvalidConfig({name: [f"{name} is not a known field"]}))

    assert len(response.content) < 3000
    assert response.json()["detail"].startswith("nnn")
    assert response.json()["detail"].endswith("nnn is not a known field")


def test_names_of_fields_are_printable_too(client: APIClient) -> None:
    response = answer(client, InvalidConfig({"\u202ea\x1b": ["wrong"]}))

    assert response.json()["error"]["details"] == {"�a�": ["wrong"]}


def test_a_configuration_names_each_wrong_field(client: APIClient) -> None:
    assert answer(client, InvalidConfig(CONFIG_ERRORS)).json()["error"]["details"] == CONFIG_ERRORS


def test_a_throttled_client_is_told_when_to_come_back(client: APIClient) -> None:
    assert answer(client, exceptions.Throttled(12.3))["Retry-After"] == "13"


@pytest.mark.parametrize("path", ["/fail", "/plain"])
def test_a_500_names_the_request_and_the_log_has_the_rest(
    client: APIClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.ERROR):
        response = answer(client, RuntimeError("inner words"), path)

    assert response.status_code == 500
    check_shape(response.json())
    request_id = response["X-Request-ID"]
    assert response.json()["error"]["details"] == {"request_id": request_id}
    assert request_id in response.json()["detail"]
    assert "inner words" not in response.content.decode()
    assert f"request {request_id} failed" in caplog.text
    assert "inner words" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Http404("inner words"), 404),
        (django_exceptions.PermissionDenied("inner words"), 403),
        (django_exceptions.SuspiciousOperation("inner words"), 400),
        (MultiPartParserError("inner words"), 400),
        (OperationalError("inner words"), 503),
        (OSError(errno.EIO, "inner words"), 503),
        (OSError(errno.ENOSPC, "inner words"), 507),
        (NameTaken("inner words"), 500),  # whose message is for a client of the API
    ],
)
def test_errors_outside_of_the_api_have_the_same_shape(client: APIClient, error: Exception, status: int) -> None:
    response = answer(client, error, "/plain")

    assert response.status_code == status
    check_shape(response.json())
    assert "inner words" not in response.content.decode()


def test_a_forged_form_gets_the_same_shape(db: None) -> None:
    response = APIClient(enforce_csrf_checks=True).post("/plain")

    assert response.status_code == 403
    check_shape(response.json())


@pytest.mark.parametrize("host", ["elsewhere.example", "10.9.8.7", "testserver.evil", "a b", "\x1b[31m", "x\x00", ""])
def test_another_host_is_a_400_that_says_what_to_do(client: APIClient, host: str) -> None:
    response = client.get("/echo", HTTP_HOST=host)

    assert response.status_code == 400
    check_shape(response.json())
    assert "ALLOWED_HOSTS" in response.json()["detail"]
    assert not host or host not in response.content.decode()


def test_a_405_says_what_is_allowed(client: APIClient) -> None:
    response = client.put("/echo")

    assert response.status_code == 405
    assert "POST" in response["Allow"]
    check_shape(response.json())


def test_control_characters_are_not_passed_on() -> None:
    assert printable("a\x00b\x1b[31m\u202e\ud800é\n\u2028") == "a�b�[31m��é��"
