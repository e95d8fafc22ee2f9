from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import keys
from authkeys.models import APIKey

# Answers 401 to a stranger and 404 to a holder of a key, and needs no other app.
CLOSED = "/api/v1/nothing"


@pytest.mark.parametrize(
    "header",
    [
        {"HTTP_AUTHORIZATION": "Bearer {}"},
        {"HTTP_AUTHORIZATION": "bearer {}"},
        {"HTTP_AUTHORIZATION": "BEARER   {}  "},
        {"HTTP_X_API_KEY": "{}"},
        {"HTTP_X_API_KEY": " {} "},
        {"HTTP_X_API_KEY": "{}", "HTTP_AUTHORIZATION": "Basic dXNlcjpwYXNz"},  # a proxy may want its own password
        {"HTTP_X_API_KEY": "{}", "HTTP_AUTHORIZATION": "Bearer"},
    ],
)
def test_a_good_key_opens_however_it_is_sent(stranger: APIClient, key: str, header: dict[str, Any]) -> None:
    sent: dict[str, Any] = {name: value.format(key) for name, value in header.items()}

    response = stranger.get(CLOSED, **sent)

    assert response.status_code == 404


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "Bearer"},
        {"HTTP_AUTHORIZATION": "Bearer "},
        {"HTTP_AUTHORIZATION": "{}"},
        {"HTTP_AUTHORIZATION": "Token {}"},
        {"HTTP_AUTHORIZATION": "Basic {}"},
        {"HTTP_AUTHORIZATION": "Bearer{}"},
        {"HTTP_AUTHORIZATION": "Bearer Bearer {}"},
        {"HTTP_AUTHORIZATION": "Bearer {} {}"},
        {"HTTP_AUTHORIZATION": "Bearer {}\x00"},
        {"HTTP_AUTHORIZATION": "Bearer {}é"},
        {"HTTP_AUTHORIZATION": "Bearer \xff\xfe"},
        {"HTTP_AUTHORIZATION": "Bearer €"},
        {"HTTP_AUTHORIZATION": "Bearer " + "x" * 1_000_000},
        {"HTTP_AUTHORIZATION": "Bearer wrong", "HTTP_X_API_KEY": "{}"},  # one of the two is wrong: nobody's key
        {"HTTP_X_API_KEY": "Bearer {}"},
        {"HTTP_X_API_KEY": "\udcff"},
        {"HTTP_API_KEY": "{}"},
        {"HTTP_COOKIE": "api_key={}"},
    ],
)
def test_anything_else_is_answered_401(stranger: APIClient, key: str, header: dict[str, Any]) -> None:
    sent: dict[str, Any] = {name: value.replace("{}", key) for name, value in header.items()}

    response = stranger.get(CLOSED, **sent)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "UNAUTHENTICATED"


def test_a_key_in_the_query_does_not_count(stranger: APIClient, key: str) -> None:
    assert stranger.get(CLOSED, {"api_key": key, "X-API-Key": key}).status_code == 401


@given(st.text(), st.sampled_from(["Bearer {}", "{}"]), st.sampled_from(["HTTP_AUTHORIZATION", "HTTP_X_API_KEY"]))
def test_no_made_up_key_opens(stranger: APIClient, text: str, form: str, header: str) -> None:
    sent: dict[str, Any] = {header: form.format(text)}

    assert stranger.get(CLOSED, **sent).status_code == 401


def test_a_well_formed_key_that_nobody_made_opens_nothing(stranger: APIClient) -> None:
    assert stranger.get(CLOSED, HTTP_X_API_KEY=keys.make()).status_code == 401


def test_a_revoked_key_opens_nothing_from_then_on(client: APIClient) -> None:
    assert client.get(CLOSED).status_code == 404
    assert APIKey.objects.get().revoke()
    assert client.get(CLOSED).status_code == 401


def test_revoking_twice_keeps_the_first_time(key: str) -> None:
    row = APIKey.objects.get()
    row.revoke()
    first = APIKey.objects.get().revoked_at

    assert row.revoke() is False
    assert APIKey.objects.get().revoked_at == first


@pytest.mark.parametrize(("life", "status"), [(timedelta(minutes=1), 404), (timedelta(0), 401), (timedelta(-1), 401)])
def test_an_expired_key_opens_nothing(stranger: APIClient, life: timedelta, status: int) -> None:
    row, clear = APIKey.objects.create_key("short", timezone.now() + life)

    assert stranger.get(CLOSED, HTTP_X_API_KEY=clear).status_code == status
    assert (row.refusal is None) is (status == 404)


def test_every_bad_key_gets_the_same_answer(stranger: APIClient, key: str) -> None:
    APIKey.objects.get().revoke()
    bodies = {stranger.get(CLOSED, HTTP_X_API_KEY=bad).content for bad in (key, keys.make(), "x")}

    assert len(bodies) == 1


@pytest.mark.parametrize("text", ["secret", "with space inside", "ключ", "tsk_short", "x" * 500])
def test_keys_of_the_environment_open_whatever_they_look_like(
    stranger: APIClient, settings: Settings, text: str
) -> None:
    settings.API_KEYS = ["other", text]
    on_the_wire = text.encode().decode("latin-1")

    assert stranger.get(CLOSED, HTTP_X_API_KEY=on_the_wire).status_code == 404
    assert stranger.get(CLOSED, HTTP_AUTHORIZATION=f"Bearer {on_the_wire}").status_code == 404
    assert stranger.get(CLOSED, HTTP_X_API_KEY=on_the_wire + "x").status_code == 401


def test_only_the_hash_of_a_key_is_kept(key: str) -> None:
    row = APIKey.objects.values().get()

    assert row["key_hash"] == keys.digest(key.encode())
    assert row["prefix"] == key[:8]
    assert not any(key[8:] in str(value) for value in row.values())


def test_the_use_of_a_key_is_noted_once_a_minute(client: APIClient) -> None:
    client.get(CLOSED)
    first = APIKey.objects.get().last_used_at
    assert first is not None
    client.get(CLOSED)
    assert APIKey.objects.get().last_used_at == first

    an_hour_ago = first - timedelta(hours=1)
    APIKey.objects.update(last_used_at=an_hour_ago)
    client.get(CLOSED)
    latest = APIKey.objects.get().last_used_at
    assert latest is not None
    assert latest >= first


def test_staff_who_are_logged_in_need_no_key(stranger: APIClient) -> None:
    stranger.force_login(User.objects.create(username="ada", is_staff=True))

    assert stranger.get(CLOSED).status_code == 404


@pytest.mark.parametrize("flags", [{"is_staff": False}, {"is_staff": True, "is_active": False}])
def test_other_users_need_a_key(stranger: APIClient, flags: dict[str, bool]) -> None:
    stranger.force_login(User.objects.create(username="bob", **flags))

    assert stranger.get(CLOSED).status_code == 401


def test_a_change_by_session_needs_the_csrf_token(db: None) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(User.objects.create(username="ada", is_staff=True))

    response = browser.post(CLOSED)

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "FORBIDDEN"


def test_a_change_by_key_needs_no_csrf_token(key: str) -> None:
    script = APIClient(enforce_csrf_checks=True, HTTP_X_API_KEY=key)

    assert script.post(CLOSED).status_code == 404
