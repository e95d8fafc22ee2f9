"""Keys over HTTP: made, listed, rotated, revoked, and never by somebody who has less."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import keys
from authkeys.models import APIKey, KeptAnswer
from authkeys.scopes import ADMIN, SCOPES, WORKING

pytestmark = pytest.mark.django_db

KEYS = "/api/v1/keys"


def client_with(*held: str) -> APIClient:
    return APIClient(HTTP_X_API_KEY=APIKey.objects.create_key("manager", scopes=held)[1])


def make(client: APIClient, **fields: Any) -> Any:
    return client.post(KEYS, {"name": "robot", "scopes": ["models:read"]} | fields, format="json")


def opens(clear: str) -> bool:
    return APIClient(HTTP_X_API_KEY=clear).get(f"{KEYS}/self").status_code == 200


def test_a_key_is_made_and_shown_once(client: APIClient) -> None:
    answer = make(client, owner="the lab", scopes=["models:write", "models:read", "models:read"])

    made = answer.json()
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert keys.verify(made["key"])
    assert opens(made["key"])
    assert (made["name"], made["owner"], made["prefix"]) == ("robot", "the lab", made["key"][:8])
    assert made["scopes"] == ["models:read", "models:write"]
    assert (made["expires_at"], made["replaces"], made["is_usable"]) == (None, None, True)
    for path in (KEYS, f"{KEYS}/{made['id']}"):
        later = client.get(path)
        assert made["key"] not in later.content.decode()
        assert APIKey.objects.get(pk=made["id"]).key_hash not in later.content.decode()
    assert client.get(f"{KEYS}/{made['id']}").json() == client.get(KEYS).json()[0]


def test_a_key_can_end(client: APIClient) -> None:
    end = timezone.now() + timedelta(days=3)
    made = make(client, expires_at=end.isoformat()).json()
    assert parse_datetime(made["expires_at"]) == end
    assert opens(made["key"])
    APIKey.objects.filter(pk=made["id"]).update(expires_at=timezone.now())
    assert not opens(made["key"])
    assert client.get(f"{KEYS}/{made['id']}").json()["is_usable"] is False


BAD = [
    ({"name": ""}, {"name"}),
    ({"name": 5}, {"name"}),
    ({"name": True}, {"name"}),
    ({"name": None}, {"name"}),
    ({"name": ["robot"]}, {"name"}),
    ({"name": "x" * 101}, {"name"}),
    ({"name": "a\nb"}, {"name"}),
    ({"name": "a\u202eb"}, {"name"}),
    ({"owner": 5}, {"owner"}),
    ({"owner": "x" * 101}, {"owner"}),
    ({"scopes": []}, {"scopes"}),
    ({"scopes": "admin"}, {"scopes"}),
    ({"scopes": ["root"]}, {"scopes"}),
    ({"scopes": [["admin"]]}, {"scopes"}),
    ({"scopes": [{}]}, {"scopes"}),
    ({"scopes": None}, {"scopes"}),
    ({"scopes": ["models:read"] * 100}, {"scopes"}),
    ({"expires_at": "yesterday"}, {"expires_at"}),
    ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at"}),
    ({"expires_at": 1999999999}, {"expires_at"}),
    ({"expires_at": "9999-12-31T23:59:59-23:59"}, {"expires_at"}),
    ({"expires_in": 5}, {"expires_in"}),
    ({"id": 1}, {"id"}),
    ({"key_hash": "0" * 64, "name": 1, "scopes": 2}, {"key_hash", "name", "scopes"}),
]


@pytest.mark.parametrize(("fields", "named"), BAD)
def test_a_wrong_key_names_what_is_wrong_and_is_not_made(
    client: APIClient, fields: dict[str, Any], named: set[str]
) -> None:
    answer = make(client, **fields)
    assert answer.status_code == 400
    assert {name.partition(".")[0] for name in answer.json()["error"]["details"]} == named
    assert APIKey.objects.count() == 1


@pytest.mark.parametrize("body", [[], "x", 5, None, True])
def test_a_body_that_is_no_object_is_refused(client: APIClient, body: Any) -> None:
    assert client.post(KEYS, body, format="json").status_code == 400
    assert APIKey.objects.count() == 1


def test_nobody_gives_what_he_has_not() -> None:
    manager = client_with("keys:manage", "models:read")
    assert make(manager).status_code == 200
    refused = make(manager, scopes=["models:read", "models:write"])
    assert refused.status_code == 403
    assert "models:write" in refused.json()["detail"]
    assert make(manager, scopes=[ADMIN]).status_code == 403
    assert make(client_with(ADMIN), scopes=list(SCOPES)).status_code == 200


def test_nobody_takes_or_renews_what_he_has_not(client: APIClient) -> None:
    manager = client_with("keys:manage", "models:read")
    strong, weak = make(client, scopes=["models:write"]).json(), make(client).json()
    for key, status in ((strong, 403), (weak, 200)):
        assert manager.post(f"{KEYS}/{key['id']}/rotate").status_code == status
        assert manager.delete(f"{KEYS}/{key['id']}").status_code == status
    assert opens(strong["key"])
    assert not opens(weak["key"])


def test_a_rotated_key_works_on_for_the_time_of_the_overlap(client: APIClient) -> None:
    old = make(client, owner="lab").json()
    answer = client.post(f"{KEYS}/{old['id']}/rotate", {"overlap_seconds": 600}, format="json")
    new = answer.json()
    assert answer.status_code == 200
    assert new["replaces"] == old["id"]
    assert {name: new[name] for name in ("name", "owner", "scopes", "expires_at")} == {
        name: old[name] for name in ("name", "owner", "scopes", "expires_at")
    }
    assert new["key"] != old["key"]
    assert opens(new["key"])
    assert opens(old["key"])
    ends_at = APIKey.objects.get(pk=old["id"]).expires_at
    assert ends_at is not None
    assert abs(ends_at - timezone.now() - timedelta(seconds=600)) < timedelta(minutes=1)
    APIKey.objects.filter(pk=old["id"]).update(expires_at=timezone.now())
    assert (opens(old["key"]), opens(new["key"])) == (False, True)


def test_without_an_overlap_the_old_key_ends_at_once(client: APIClient) -> None:
    old = make(client).json()
    new = client.post(f"{KEYS}/{old['id']}/rotate", {"overlap_seconds": 0}, format="json").json()
    assert (opens(old["key"]), opens(new["key"])) == (False, True)


def test_a_rotation_gives_no_key_a_longer_life(client: APIClient) -> None:
    end = timezone.now() + timedelta(minutes=5)
    old = make(client, expires_at=end.isoformat()).json()
    new = client.post(f"{KEYS}/{old['id']}/rotate").json()  # with an overlap of a day
    assert parse_datetime(new["expires_at"]) == end
    assert APIKey.objects.get(pk=old["id"]).expires_at == end


def test_what_has_ended_is_not_rotated(client: APIClient) -> None:
    expired = make(client).json()
    APIKey.objects.filter(pk=expired["id"]).update(expires_at=timezone.now())
    answer = client.post(f"{KEYS}/{expired['id']}/rotate")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "KEY_NOT_USABLE")
    assert APIKey.objects.count() == 2


@pytest.mark.parametrize("overlap", [-1, 2_592_001, "600", 1.5, True, None, [], 10**30])
def test_a_wrong_overlap_is_refused(client: APIClient, overlap: Any) -> None:
    key = make(client).json()
    answer = client.post(f"{KEYS}/{key['id']}/rotate", {"overlap_seconds": overlap}, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["error"]["details"]) == ["overlap_seconds"]
    assert APIKey.objects.count() == 2


def test_a_revoked_key_is_gone(client: APIClient) -> None:
    key = make(client).json()
    path = f"{KEYS}/{key['id']}"
    assert client.delete(path).json()["message"] == f"The key robot ({key['prefix']}…) is revoked."
    assert not opens(key["key"])
    for answer in (client.get(path), client.delete(path), client.post(f"{path}/rotate")):
        assert answer.status_code == 404
    assert key["id"] not in [entry["id"] for entry in client.get(KEYS).json()]
    assert APIKey.objects.filter(pk=key["id"]).exists()  # so that the log stays readable


@pytest.mark.parametrize("key_id", ["0", "99", "9" * 19, "9" * 30, "-1", "1.0", "x", "٣", "self/rotate"])
def test_no_such_key_is_a_404(client: APIClient, key_id: str) -> None:
    assert client.get(f"{KEYS}/{key_id}").status_code == 404
    assert client.delete(f"{KEYS}/{key_id}").status_code == 404


def test_a_key_is_not_in_the_answer_that_is_kept(client: APIClient) -> None:
    """A request sent again makes no second key; what was shown once is not shown again, nor stored."""
    sent: dict[str, Any] = {"format": "json", "HTTP_IDEMPOTENCY_KEY": "one"}
    first = client.post(KEYS, {"name": "robot", "scopes": ["models:read"]}, **sent)
    again = client.post(KEYS, {"name": "robot", "scopes": ["models:read"]}, **sent)
    assert again["Idempotency-Replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    assert first.json()["key"].encode() not in bytes(KeptAnswer.objects.get().body)
    rotations = [
        client.post(f"{KEYS}/{first.json()['id']}/rotate", {}, format="json", HTTP_IDEMPOTENCY_KEY="two") for _ in "ab"
    ]
    assert rotations[1].json() == rotations[0].json() | {"key": None}
    assert APIKey.objects.count() == 3


def test_any_key_learns_about_itself() -> None:
    row, clear = APIKey.objects.create_key("robot", scopes=["models:read"], owner="lab")
    answer = APIClient(HTTP_X_API_KEY=clear).get(f"{KEYS}/self").json()
    assert answer["id"] == row.pk
    assert (answer["name"], answer["owner"], answer["prefix"], answer["scopes"]) == (
        "robot",
        "lab",
        row.prefix,
        ["models:read"],
    )
    assert clear not in str(answer)


def test_a_key_of_the_environment_and_a_person_learn_about_themselves(
    stranger: APIClient, admin_client: Client, settings: Settings
) -> None:
    settings.API_KEYS = ["first", "second"]
    second = stranger.get(f"{KEYS}/self", HTTP_X_API_KEY="second").json()
    assert (second["id"], second["name"], second["scopes"]) == (None, "env-2", [ADMIN])
    person = admin_client.get(f"{KEYS}/self").json()
    assert (person["id"], person["name"], person["scopes"]) == (None, "user:admin", [ADMIN])


def test_the_scopes_that_come_by_themselves_are_not_enough_to_manage_keys() -> None:
    assert client_with(*WORKING).get(KEYS).status_code == 403
