import pytest
from rest_framework.test import APIClient


@pytest.mark.parametrize("path", ["/health/", "/docs/", "/redoc/", "/openapi.json/", "/api/v1/system/info/"])
def test_a_trailing_slash_works_without_a_redirect(client: APIClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_only_one_trailing_slash_is_forgiven(client: APIClient) -> None:
    assert client.get("/api/v1/system/info//").status_code == 404


def test_the_admin_keeps_its_slashes(stranger: APIClient) -> None:
    assert stranger.get("/admin/login/").status_code == 200
    assert stranger.get("/admin")["Location"] == "/admin/"


def test_every_answer_has_its_own_request_id(client: APIClient) -> None:
    ids = {
        client.get(path, HTTP_X_REQUEST_ID="mine")["X-Request-ID"] for path in ("/health", "/api/v1/nothing", "/admin/")
    }

    assert len(ids) == 3
    assert "mine" not in ids
