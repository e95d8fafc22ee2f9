import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from authkeys import keys
from authkeys.models import APIKey, AuthLog


@pytest.fixture
def browser(db: None) -> Client:
    """A browser in which a superuser is logged in to the admin."""
    browser = Client()
    browser.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    return browser


def add_key(browser: Client) -> str:
    """Add a key by the form, and return the page that comes after."""
    data = {"name": "robot", "owner": "", "scopes": ["models:read"], "expires_at_0": "", "expires_at_1": ""}
    page = browser.post(reverse("admin:authkeys_apikey_add"), data, follow=True)
    return page.content.decode()


def test_a_new_key_is_shown_once_and_works(browser: Client) -> None:
    shown = re.findall(r"tsk_\w{36}", add_key(browser))

    assert len(shown) == 1
    assert APIKey.objects.get().key_hash == keys.digest(shown[0].encode())
    again = browser.get(reverse("admin:authkeys_apikey_changelist")).content.decode()
    assert shown[0] not in again
    assert APIKey.objects.get().key_hash not in again


def test_a_new_key_is_not_left_in_the_session(browser: Client) -> None:
    shown = re.findall(r"tsk_\w{36}", add_key(browser))[0]

    assert not any(shown in str(session.get_decoded()) for session in Session.objects.all())


def test_the_form_of_a_key_shows_neither_key_nor_hash(browser: Client) -> None:
    row, clear = APIKey.objects.create_key("robot")

    page = browser.get(reverse("admin:authkeys_apikey_change", args=[row.pk])).content.decode()

    assert clear not in page
    assert row.key_hash not in page


def test_a_key_can_be_renamed_but_keeps_its_hash(browser: Client) -> None:
    row, _ = APIKey.objects.create_key("robot")
    data = {"name": "android", "scopes": ["models:read"], "expires_at_0": "", "expires_at_1": "", "key_hash": "0" * 64}

    browser.post(reverse("admin:authkeys_apikey_change", args=[row.pk]), data)

    renamed = APIKey.objects.get()
    assert (renamed.name, renamed.key_hash) == ("android", row.key_hash)


def test_the_action_revokes_the_selected_keys(browser: Client) -> None:
    row, _ = APIKey.objects.create_key("robot")
    other, _ = APIKey.objects.create_key("other")

    browser.post(
        reverse("admin:authkeys_apikey_changelist"), {"action": "revoke", "_selected_action": [row.pk]}, follow=True
    )

    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.refusal is None, other.refusal is None) == (False, True)
    assert "revoked" in browser.get(reverse("admin:authkeys_apikey_changelist")).content.decode()


def test_no_key_can_be_deleted(browser: Client) -> None:
    row, _ = APIKey.objects.create_key("robot")

    assert browser.post(reverse("admin:authkeys_apikey_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_the_log_can_be_read_and_searched_but_not_written(browser: Client) -> None:
    Client().get("/api/v1/secret-place", headers={"X-API-Key": keys.make()})
    row = AuthLog.objects.get()

    listed = browser.get(reverse("admin:authkeys_authlog_changelist"), {"q": "secret"}).content.decode()
    assert "/api/v1/secret-place" in listed
    assert browser.get(reverse("admin:authkeys_authlog_change", args=[row.pk])).status_code == 200
    assert browser.get(reverse("admin:authkeys_authlog_add")).status_code == 403
    assert browser.post(reverse("admin:authkeys_authlog_change", args=[row.pk]), {"reason": "ok"}).status_code == 403
    assert browser.post(reverse("admin:authkeys_authlog_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    row.refresh_from_db()
    assert row.reason == "unknown"
