"""POST /models and POST /datasets: what both have in common."""

from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from pytest_django import Settings
from rest_framework.test import APIClient

from registry.errors import NameTaken
from registry.models import Dataset, Model
from tests.registry.conftest import Files, Upload

CSV = b"a,b,label\n1,2,0\n3,4,1\n"
ROWS: dict[str, type[Model] | type[Dataset]] = {"models": Model, "datasets": Dataset}

both = pytest.mark.parametrize("collection", ["models", "datasets"])


def path_of(collection: str) -> str:
    """Where one named `one` is uploaded."""
    return f"/api/v1/{collection}?{collection.removesuffix('s')}_name=one"


@both
def test_an_upload_is_answered_with_name_and_size(upload: Upload, collection: str) -> None:
    response = upload(collection, "one", CSV)
    assert response.status_code == 200
    assert response.json()["name"] == "one"
    assert response.json()["message"].endswith("one is registered.")
    assert response.json()["size_mb"] == pytest.approx(len(CSV) / 2**20, abs=1e-6)


@both
@pytest.mark.parametrize(
    "file_name", ["../../etc/passwd", "/etc/passwd", "x" * 300, "x." + "y" * 300, "a\0b", "ü.csv", ".", "..", "*?|<>"]
)
def test_the_files_own_name_names_nothing(upload: Upload, files: Files, collection: str, file_name: str) -> None:
    response = upload(collection, "safe", CSV, file_name=file_name)
    assert response.status_code in (200, 400)  # Django takes a part named "." for no file
    assert all(name.startswith("safe-") for name in files())


@both
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "-x",
        "_x",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "\na",
        "x" * 101,
        "größe",
        "\u0430",  # Cyrillic
        "a%2Fb",
        "٣",
    ],
)
def test_a_bad_name_is_refused(upload: Upload, files: Files, collection: str, name: str) -> None:
    response = upload(collection, name, CSV)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_NAME"
    assert not files()
    assert not ROWS[collection].objects.exists()


@both
@pytest.mark.parametrize("name", ["a", "0", "A-1_b.c", "x" * 100, "a..b", "a."])
def test_a_good_name_is_taken(upload: Upload, collection: str, name: str) -> None:
    assert upload(collection, name, CSV).status_code == 200
    assert ROWS[collection].objects.get().name == name


@both
def test_the_name_is_required(client: APIClient, collection: str) -> None:
    response = client.post(f"/api/v1/{collection}", {"file": SimpleUploadedFile("f", CSV)})
    assert response.status_code == 400
    assert f"{collection.removesuffix('s')}_name" in response.json()["detail"]


@both
def test_a_taken_name_is_a_conflict_whatever_the_body(upload: Upload, client: APIClient, collection: str) -> None:
    upload(collection, "one", CSV)
    assert upload(collection, "one", CSV).status_code == 409
    response = client.post(path_of(collection), b"{", content_type="application/json")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "NAME_TAKEN"
    assert upload(collection, "One", CSV).status_code == 200


@both
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No file was submitted"),
        ({"file": "text"}, "not a file"),
        ({"other": SimpleUploadedFile("f", CSV)}, "No file was submitted"),
        ({"file": SimpleUploadedFile("f", b"")}, "empty"),
        ({"file": [SimpleUploadedFile("f", CSV), SimpleUploadedFile("g", CSV)]}, "more than one file"),
        ({"file": SimpleUploadedFile("f", CSV), "other": SimpleUploadedFile("g", CSV)}, "more than one file"),
        ({f"file{number}": SimpleUploadedFile("f", CSV) for number in range(9)}, "too many files"),
        ({f"field{number}": "x" for number in range(2000)}, "too many fields"),
    ],
)
def test_a_body_without_its_one_file_is_refused(
    client: APIClient, files: Files, collection: str, body: dict[str, Any], message: str
) -> None:
    for value in body.values():
        for file in value if isinstance(value, list) else [value]:
            if isinstance(file, SimpleUploadedFile):
                file.seek(0)
    response = client.post(path_of(collection), body)
    assert response.status_code == 400
    assert message in response.json()["detail"]
    assert not files()


@both
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (CSV, "text/csv", 415),
        (CSV, "application/octet-stream", 415),
        (b"file=x", "application/x-www-form-urlencoded", 415),
        (b"--x\r\nhello", "multipart/form-data; boundary=x", 400),
        (b"hello", "multipart/form-data", 400),
        (b"hello", "multipart/form-data; boundary=" + "x" * 100, 400),
    ],
)
def test_a_body_that_is_no_upload_is_refused(
    client: APIClient, collection: str, body: bytes, content_type: str, status: int
) -> None:
    response = client.post(path_of(collection), body, content_type=content_type)
    assert response.status_code == status
    assert response.json()["error"]["code"]
    assert not ROWS[collection].objects.exists()


@both
def test_a_file_over_the_limit_is_refused(upload: Upload, files: Files, settings: Settings, collection: str) -> None:
    data = b"a,label\n" + b"1,2\n" * 100
    settings.MAX_UPLOAD_BYTES = len(data) - 1
    response = upload(collection, "one", data)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "TOO_LARGE"
    assert not files()
    settings.MAX_UPLOAD_BYTES = len(data)
    assert upload(collection, "one", data).status_code == 200


@both
def test_a_body_that_says_it_is_too_large_is_not_read(client: APIClient, settings: Settings, collection: str) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    path = path_of(collection)
    response = client.post(path, b"", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH=str(1 << 40))
    assert response.status_code == 413


def break_off() -> Any:
    yield CSV
    raise ConnectionResetError


@both
@pytest.mark.django_db
def test_an_upload_that_breaks_off_leaves_nothing(files: Files, collection: str) -> None:
    with pytest.raises(ConnectionResetError):
        ROWS[collection].objects.store("one", break_off())
    assert not files()
    assert not ROWS[collection].objects.exists()


@both
@pytest.mark.django_db
def test_a_file_that_cannot_be_put_in_place_leaves_nothing(
    files: Files, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("the disk is gone")

    # The file is in its place by then, the row not yet committed.
    monkeypatch.setattr("registry.files.fsync_folder", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        ROWS[collection].objects.store("one", [CSV])
    assert not files()
    assert not ROWS[collection].objects.exists()


@both
@pytest.mark.django_db(transaction=True)
def test_of_two_uploads_at_once_exactly_one_wins(files: Files, collection: str) -> None:
    together = Barrier(4)
    outcomes: list[str] = []

    def chunks(number: int) -> Any:
        yield CSV
        together.wait(10)  # every one has seen that the name is free
        yield b"5,6,%d\n" % number

    def store(number: int) -> None:
        try:
            outcomes.append(ROWS[collection].objects.store("one", chunks(number)).stored_name)
        except NameTaken:
            outcomes.append("taken")
        finally:
            connections.close_all()

    threads = [Thread(target=store, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("taken") == 3
    row = ROWS[collection].objects.get()
    assert files() == [row.stored_name]
    assert row.path.read_bytes().startswith(CSV)
