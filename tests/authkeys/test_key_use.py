"""A key's page shows how it is used."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from authkeys import key_use
from authkeys.key_use import KeyUse
from authkeys.models import APIKey, AuthLog

HOSTILE = "/api/v1/<script>alert(1)</script>"

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> APIKey:
    return APIKey.objects.create_key("robot")[0]


def attempt(key: APIKey, **columns: Any) -> AuthLog:
    values = {
        "timestamp": timezone.now(),
        "success": True,
        "reason": "ok",
        "key_hash": key.key_hash,
        "key_prefix": key.prefix,
        "method": "GET",
        "endpoint": "/api/v1/models",
        "status": 200,
    }
    return AuthLog.objects.create(**{**values, **columns})


def page_of(client: Client, key: APIKey) -> str:
    page = client.get(reverse("admin:authkeys_apikey_change", args=[key.pk]))
    assert page.status_code == 200
    return page.text


def test_requests_are_counted_by_day_and_outcome(key: APIKey) -> None:
    now = timezone.now()
    for status in (200, 201, 302, 404, 429, 500):
        attempt(key, status=status)
    attempt(key, status=None, timestamp=now - timedelta(days=2))
    attempt(key, timestamp=now - timedelta(days=key_use.DAYS))
    attempt(APIKey.objects.create_key("other")[0])
    use = KeyUse.of(key)
    assert use.days[now.date()] == {"answered": 3, "refused": 2, "failed": 1}
    assert use.days[(now - timedelta(days=2)).date()] == {"answered": 1, "refused": 0, "failed": 0}
    assert (use.total, use.most_in_a_day, len(use.days)) == (7, 6, key_use.DAYS)


def test_the_last_endpoints_come_first(admin_client: Client, key: APIKey) -> None:
    now = timezone.now()
    attempt(key, endpoint=HOSTILE, timestamp=now - timedelta(minutes=1))
    attempt(key, endpoint="/api/v1/datasets", timestamp=now - timedelta(hours=2))
    attempt(key, endpoint="/api/v1/datasets", timestamp=now - timedelta(hours=3))
    assert [(row["endpoint"], row["count"]) for row in KeyUse.of(key).endpoints] == [
        (HOSTILE, 1),
        ("/api/v1/datasets", 2),
    ]
    page = page_of(admin_client, key)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert f"key_prefix__exact={key.prefix}" in page


def test_the_link_leads_to_the_keys_own_attempts(admin_client: Client, key: APIKey) -> None:
    attempt(key, endpoint="/api/v1/mine")
    attempt(APIKey.objects.create_key("other")[0], endpoint="/api/v1/not-mine")
    listed = admin_client.get(reverse("admin:authkeys_authlog_changelist"), {"key_prefix__exact": key.prefix}).text
    assert "/api/v1/mine" in listed
    assert "/api/v1/not-mine" not in listed


def test_only_the_newest_part_of_a_long_log_is_looked_at(key: APIKey, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        attempt(key)
    monkeypatch.setattr(key_use, "ROWS_LOOKED_AT", 2)
    assert KeyUse.of(key).total == 2


def test_an_unused_key_says_so(admin_client: Client, key: APIKey) -> None:
    page = page_of(admin_client, key)
    assert "Nobody has asked for anything with this key lately." in page
    assert "never" in page


def test_the_use_is_for_those_who_may_see_the_log(key: APIKey, client: Client) -> None:
    attempt(key, endpoint="/api/v1/secret")
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
    client.force_login(user)
    page = page_of(client, key)
    assert "/api/v1/secret" not in page
    assert "This key" in page
    assert 'value="revoke"' not in page  # which one must be allowed to


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_the_page_ends_a_key(admin_client: Client, key: APIKey, action: str) -> None:
    assert f'value="{action}"' in page_of(admin_client, key)
    sent = {"action": action, "_selected_action": [key.pk]}
    assert admin_client.post(reverse("admin:authkeys_apikey_changelist"), sent, follow=True).status_code == 200
    key.refresh_from_db()
    assert (key.revoked_at is not None) == (action == "revoke")
    assert APIKey.objects.filter(replaces=key).exists() == (action == "rotate")


def test_a_closed_key_cannot_be_ended_again(admin_client: Client, key: APIKey) -> None:
    key.revoke()
    page = page_of(admin_client, key)
    assert 'value="revoke"' not in page
    assert '<strong class="bad">revoked</strong>' in page


def test_the_page_for_a_new_key_shows_no_use(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:authkeys_apikey_add"))
    assert page.status_code == 200
    assert "This key" not in page.text
