"""GET /models, GET and DELETE /models/{name}."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from registry.models import Model
from tests.registry.conftest import Files, Upload

pytestmark = pytest.mark.django_db

CONTRACT = {"name", "size_mb", "created_at", "file_path"}


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


@given(data=st.binary(min_size=1, max_size=1000))
def test_what_was_uploaded_is_what_is_downloaded(client: APIClient, upload: Upload, data: bytes) -> None:
    Model.objects.all().delete()
    upload("models", "one", data)
    response = client.get("/api/v1/models/one")
    assert response.status_code == 200
    assert body_of(response) == data
    assert response["Content-Length"] == str(len(data))
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="one"'


@pytest.mark.parametrize("accept", ["application/octet-stream", "application/x-tar", "text/html", "*/*", "nonsense"])
def test_a_download_takes_no_notice_of_accept(client: APIClient, accept: str) -> None:
    Model.objects.store("one", [b"weights"])
    assert body_of(client.get("/api/v1/models/one", HTTP_ACCEPT=accept)) == b"weights"


def test_a_bad_key_is_told_so_at_a_download_too(stranger: APIClient) -> None:
    Model.objects.store("one", [b"weights"])
    for path in ("/api/v1/models/one", "/api/v1/models"):
        response = stranger.get(path, HTTP_AUTHORIZATION="Bearer nonsense", HTTP_ACCEPT="image/png")
        assert response.status_code == 401
        assert "not valid" in response.json()["detail"]


def test_models_are_listed_newest_first(client: APIClient) -> None:
    assert client.get("/api/v1/models").json() == []
    first = Model.objects.store("first", [b"x" * 3_000_000])
    Model.objects.store("mlp_digits_sess_0123456789ab", [b"y"], session_id="sess_0123456789ab")
    trained, uploaded = client.get("/api/v1/models").json()
    assert uploaded.keys() >= CONTRACT
    assert uploaded["name"] == "first"
    assert uploaded["size_mb"] == pytest.approx(3_000_000 / 2**20, abs=1e-6)
    assert uploaded["file_path"] == str(first.path)
    assert uploaded["created_at"].endswith("Z")
    assert uploaded["sha256"] == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert trained["session_id"] == "sess_0123456789ab"
    assert trained["size_mb"] > 0


def test_models_are_paged(client: APIClient) -> None:
    for number in range(3):
        Model.objects.store(f"m{number}", [b"x"])
    page = client.get("/api/v1/models?limit=2")
    assert [model["name"] for model in page.json()] == ["m2", "m1"]
    rest = client.get(page["Link"].split(">")[0].removeprefix("<"))
    assert [model["name"] for model in rest.json()] == ["m0"]


@pytest.mark.django_db(transaction=True)
def test_a_deleted_model_is_gone(client: APIClient, files: Files) -> None:
    Model.objects.store("one", [b"x"])
    Model.objects.store("two", [b"y"])
    response = client.delete("/api/v1/models/one")
    assert response.status_code == 200
    assert response.json() == {"message": "Model one is deleted."}
    assert [name.split("-")[0] for name in files()] == ["two"]
    assert client.get("/api/v1/models/one").status_code == 404
    assert client.delete("/api/v1/models/one").status_code == 404
    Model.objects.store("one", [b"again"])
    assert body_of(client.get("/api/v1/models/one")) == b"again"


@pytest.mark.django_db(transaction=True)
def test_a_download_under_way_survives_the_delete(client: APIClient) -> None:
    Model.objects.store("one", [b"x" * 100_000])
    response = client.get("/api/v1/models/one")
    client.delete("/api/v1/models/one")
    assert body_of(response) == b"x" * 100_000


def test_a_model_deleted_since_its_row_was_read_is_not_found(client: APIClient) -> None:
    Model.objects.store("one", [b"x"]).path.unlink()
    assert client.get("/api/v1/models/one").status_code == 404


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "%00",
        "a%00b",
        "..",
        "%2e%2e",
        "..%2F..%2Fetc%2Fpasswd",
        "x" * 5000,
        "gr%C3%B6%C3%9Fe",
        "%FF",
        "a b",
        "one%0A",
    ],
)
def test_an_unknown_model_is_not_found(client: APIClient, method: str, name: str) -> None:
    Model.objects.store("one", [b"x"])
    response = getattr(client, method)(f"/api/v1/models/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "NOT_FOUND"
    assert Model.objects.count() == 1


@pytest.mark.parametrize("method", ["put", "patch", "post"])
def test_a_model_is_not_changed(client: APIClient, method: str) -> None:
    Model.objects.store("one", [b"x"])
    assert getattr(client, method)("/api/v1/models/one").status_code == 405
