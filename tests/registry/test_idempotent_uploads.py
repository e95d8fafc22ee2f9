"""Idempotency-Key on uploads: registered once, and never answered 409 because of oneself."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.db import DatabaseError, connection
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import idempotency
from authkeys.models import KeptAnswer
from registry.models import Dataset, Model
from tests.registry.conftest import Files

CSV = b"a,b,label\n1,2,0\n3,4,1\n"
ROWS: dict[str, type[Model] | type[Dataset]] = {"models": Model, "datasets": Dataset}

# Uploads are registered in a transaction of their own.
pytestmark = pytest.mark.django_db(transaction=True)
both = pytest.mark.parametrize("collection", ["models", "datasets"])


def upload(client: APIClient, collection: str, data: bytes = CSV, name: str = "one", **more: Any) -> Any:
    """Upload with a key; the file's own name is another one each time, as a client may make it."""
    file = SimpleUploadedFile(secrets.token_hex(4), data)
    path = f"/api/v1/{collection}?{collection.removesuffix('s')}_name={name}"
    return client.post(path, {"file": file, **more}, HTTP_IDEMPOTENCY_KEY="one")


@both
def test_an_upload_that_is_sent_again_is_answered_as_before(client: APIClient, files: Files, collection: str) -> None:
    first, second = upload(client, collection), upload(client, collection)
    assert first.status_code == 200
    assert (second.status_code, second.content, second["Idempotency-Replayed"]) == (200, first.content, "true")
    row = ROWS[collection].objects.get()
    assert row.path.read_bytes() == CSV
    row.delete()
    assert upload(client, collection).content == first.content  # what was answered, not what is true now
    assert not ROWS[collection].objects.exists()


@both
@pytest.mark.parametrize(
    "other", [{"data": CSV + b"5,6,1\n"}, {"data": CSV[:-2] + b"0\n"}, {"name": "two"}, {"x": "y"}]
)
def test_another_upload_under_the_key_is_refused(client: APIClient, collection: str, other: dict[str, Any]) -> None:
    upload(client, collection)
    refused = upload(client, collection, **other)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert ROWS[collection].objects.get().path.read_bytes() == CSV


@both
def test_a_refusal_is_given_again(client: APIClient, files: Files, collection: str) -> None:
    ROWS[collection].objects.store("one", [CSV])
    first = upload(client, collection)
    assert (first.status_code, first.json()["error"]["code"]) == (409, "NAME_TAKEN")
    ROWS[collection].objects.get().delete()
    second = upload(client, collection)
    assert (second.content, second["Idempotency-Replayed"]) == (first.content, "true")


@both
def test_many_at_once_are_registered_once(key: str, collection: str) -> None:
    def upload_one(_: int) -> Any:
        try:
            return upload(APIClient(HTTP_X_API_KEY=key), collection)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(upload_one, range(8)))
    good = [answer for answer in answers if answer.status_code == 200]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(good) + len(waiting) == 8
    assert len({answer.content for answer in good}) == 1
    assert {answer.json()["error"]["code"] for answer in waiting} <= {"IDEMPOTENCY_KEY_IN_USE"}
    assert ROWS[collection].objects.count() == 1


@both
def test_nothing_is_registered_when_the_answer_cannot_be_kept(client: APIClient, files: Files, collection: str) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and '"kept_answers"' in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    client.raise_request_exception = False
    with connection.execute_wrapper(refuse):
        assert upload(client, collection).status_code >= 500
    assert not ROWS[collection].objects.exists()
    assert set(files()) <= {"idempotency.lock"}
    assert upload(client, collection).status_code == 200


@both
def test_what_is_too_large_is_refused_before_it_is_read(client: APIClient, settings: Settings, collection: str) -> None:
    settings.MAX_UPLOAD_BYTES = 100
    answer = upload(client, collection, b"x" * 100_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")
    assert not KeptAnswer.objects.exists()
    assert upload(client, collection).status_code == 200


@both
def test_without_a_key_no_upload_is_hashed_twice(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    read = []

    def content_of(file: UploadedFile) -> dict[str, str]:
        read.append(file)
        return {}

    monkeypatch.setattr(idempotency, "content_of", content_of)
    path = f"/api/v1/{collection}?{collection.removesuffix('s')}_name=one"
    assert client.post(path, {"file": SimpleUploadedFile("upload", CSV)}).status_code == 200
    assert not read
    upload(client, collection, name="two")
    assert len(read) == 1
