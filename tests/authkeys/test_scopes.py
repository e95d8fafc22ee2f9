"""What a key may do: what its scopes name, and nothing else."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import get_resolver, resolve
from rest_framework.test import APIClient

from authkeys import scopes
from authkeys.models import APIKey, AuthLog
from authkeys.permissions import required_scope
from authkeys.scopes import ADMIN, SCOPES, WORKING
from tests.boundary.test_every_path_is_closed import CATCH_ALL, patterns, sample

pytestmark = pytest.mark.django_db

READING = ("GET", "HEAD", "OPTIONS")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
PATHS = sorted(
    sample(*pattern)
    for pattern in patterns(get_resolver())
    if pattern[0].startswith("api/") and pattern[0] != CATCH_ALL
)
# By the beginning of the path, the most special first. None: any key will do.
EXPECTED = {
    "/api/v1/keys/self": (None, None),
    "/api/v1/keys": ("keys:manage", "keys:manage"),
    "/api/v1/audit": ("audit:read", "audit:read"),
    "/api/v1/events": ("sessions:read", "sessions:write"),
    "/api/v1/training": ("sessions:read", "sessions:write"),
    "/api/v1/architectures": ("sessions:read", "sessions:write"),
    "/api/v1/models": ("models:read", "models:write"),
    "/api/v1/datasets": ("datasets:read", "datasets:write"),
    "/api/v1/system": ("system:read", "system:write"),  # there is no such scope, and nothing to write
}


def expected_scope(path: str, method: str) -> str | None:
    reading, writing = next(scopes for beginning, scopes in EXPECTED.items() if path.startswith(beginning))
    return reading if method in READING else writing


def client_with(*held: str) -> APIClient:
    return APIClient(HTTP_X_API_KEY=APIKey.objects.create_key("some", scopes=held)[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
def test_each_endpoint_asks_for_its_scope_and_no_other(path: str, method: str) -> None:
    """So that no later endpoint is born open to every key: what is not in the table fails here."""
    needed = expected_scope(path, method)
    view: Any = resolve(path).func
    assert required_scope(view.cls(**getattr(view, "initkwargs", {})), method) == needed

    others = [name for name in SCOPES if name not in (needed, ADMIN)]
    assert is_refused(client_with(*others).generic(method, path)) is (needed is not None)
    if needed in SCOPES:
        assert not is_refused(client_with(needed).generic(method, path))
    assert not is_refused(client_with(ADMIN).generic(method, path))


def is_refused(answer: Any) -> bool:
    """For want of a scope. A key with more scopes than one's own is refused in other words."""
    return answer.status_code == 403 and (
        answer.request["REQUEST_METHOD"] == "HEAD" or "scope" in answer.json()["error"]["details"]
    )


def test_a_refusal_names_the_scope_and_is_recorded() -> None:
    answer = client_with("sessions:read").post("/api/v1/training/start", {}, format="json")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "FORBIDDEN"
    assert answer.json()["error"]["details"] == {"scope": ["sessions:write"]}
    assert "sessions:write" in answer.json()["detail"]
    row = AuthLog.objects.get()
    assert (row.success, row.status) == (True, 403)


def test_a_key_without_a_scope_for_it_learns_that_a_path_is_unknown() -> None:
    assert client_with("system:read").get("/api/v1/nothing").status_code == 404


@pytest.mark.parametrize("name", [name for name in SCOPES if name != ADMIN])
def test_staff_have_the_scopes_that_their_permissions_say(name: str) -> None:
    user = User.objects.create(username="ada", is_staff=True)
    browser = APIClient()
    browser.force_login(user)
    paths = {
        "sessions:read": "/api/v1/training/sessions",
        "models:read": "/api/v1/models",
        "datasets:read": "/api/v1/datasets",
        "system:read": "/api/v1/system/info",
        "keys:manage": "/api/v1/keys",
        "audit:read": "/api/v1/audit",
    }
    for path in paths.values():
        assert browser.get(path).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename=scopes.permission(name)))
    for scope, path in paths.items():
        assert browser.get(path).status_code == (200 if scope == name else 403)
    assert browser.get("/api/v1/keys/self").json()["scopes"] == [name]


def test_a_superuser_may_do_everything(admin_client: APIClient) -> None:
    for path in ("/api/v1/training/sessions", "/api/v1/keys", "/api/v1/audit"):
        assert admin_client.get(path).status_code == 200
    assert admin_client.get("/api/v1/keys/self").json()["scopes"] == [ADMIN]


def test_what_a_key_gets_if_nothing_is_said_gives_no_power_over_others() -> None:
    assert APIKey.objects.create_key("robot")[0].scopes == WORKING
    assert set(SCOPES) - set(WORKING) == {"keys:manage", "audit:read", ADMIN}
