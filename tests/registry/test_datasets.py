"""GET /datasets, GET /datasets/{name}, and what POST /datasets finds out."""

import hashlib
import re

import pytest
from rest_framework.test import APIClient

from registry.formats import InvalidDataset
from registry.formats.decoded import read_decoded
from registry.models import Dataset
from tests.registry.conftest import Files, Upload
from tests.registry.formats.test_reading import GOOD

pytestmark = pytest.mark.django_db

CONTRACT = {"name", "size_mb", "sample_count", "format", "dimensions", "created_at", "file_path"}

EXPECTED = {
    "csv": ("csv", "2", 2, "names", 2),
    "json": ("json", "2", 2, "integers", 2),
    "npy": ("npy", "2", 4, "integers", 4),
    "npz": ("npz", "4x4x1", 2, "names", 2),
    "images": ("images", "3x4x1", 2, "names", 2),
    "text": ("text", "text", 1020, "text", 23),
    "images in tar.gz": ("images", "3x4x3", 2, "names", 2),  # a GIF has a palette, and so color
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_dataset_is_described_by_what_it_holds(client: APIClient, upload: Upload, kind: str) -> None:
    assert upload("datasets", "one", GOOD[kind], file_name="liar.exe").status_code == 200
    answer = client.get("/api/v1/datasets/one")
    assert answer.status_code == 200
    entry = answer.json()
    assert client.get("/api/v1/datasets").json() == [entry]
    assert entry.keys() >= CONTRACT
    description = tuple(entry[key] for key in ("format", "dimensions", "sample_count", "labels", "class_count"))
    assert description == EXPECTED[kind]
    dataset = Dataset.objects.get()
    assert entry["file_path"] == str(dataset.path)
    assert dataset.path.read_bytes() == GOOD[kind]
    assert entry["sha256"] == hashlib.sha256(GOOD[kind]).hexdigest()
    assert entry["size_mb"] == pytest.approx(len(GOOD[kind]) / 2**20, abs=1e-6)
    assert entry["created_at"].endswith("Z")


def test_what_is_no_dataset_is_refused_and_not_kept(upload: Upload, files: Files) -> None:
    response = upload("datasets", "one", b"a,label\n1,2\nx,3\n")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "INVALID_DATASET"
    assert error["message"] == "line 3, column 'a': 'x' is not a number; only labels may be text"
    assert not files()
    assert not Dataset.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_deleted_dataset_takes_its_file_along(files: Files) -> None:
    Dataset.objects.store("one", [GOOD["csv"]])
    Dataset.objects.store("two", [GOOD["csv"]])
    Dataset.objects.all().delete()
    assert not files()


@pytest.mark.django_db(transaction=True)
def test_a_deleted_dataset_takes_what_trainers_kept_along() -> None:
    one = Dataset.objects.store("one", [GOOD["csv"]])
    two = Dataset.objects.store("two", [GOOD["npz"]])
    for dataset in (one, two):
        read_decoded(dataset.path, dataset.format, dataset.sha256)
    one.delete()
    assert [path.name for path in (two.folder / "decoded").iterdir()] == [two.sha256]


def test_a_format_may_be_named(client: APIClient, upload: Upload) -> None:
    assert upload("datasets", "prose", GOOD["csv"], format="text").status_code == 200
    assert client.get("/api/v1/datasets/prose").json()["format"] == "text"


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("csv", "line 1 needs a feature and a label"),
        ("json", "a JSON dataset is a list of records"),
        ("xls", "'xls' is no format; known are csv, json, npy, npz, images, text"),
    ],
)
def test_a_file_that_is_not_of_the_named_format_is_refused(
    upload: Upload, files: Files, format: str, message: str
) -> None:
    response = upload("datasets", "prose", b"Once upon a midnight dreary\n", format=format)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_DATASET"
    assert re.search(message, response.json()["error"]["message"])
    assert not files()


def test_a_refusal_needs_no_web_server(files: Files) -> None:
    with pytest.raises(InvalidDataset):
        Dataset.objects.store("one", [b"\xff"])
    assert not files()


@pytest.mark.parametrize("name", ["nothing", "a%00b", "..", "x" * 5000, "gr%C3%B6%C3%9Fe"])
def test_an_unknown_dataset_is_not_found(client: APIClient, name: str) -> None:
    response = client.get(f"/api/v1/datasets/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "NOT_FOUND"


def test_a_dataset_is_not_deleted_over_http(client: APIClient) -> None:
    Dataset.objects.store("one", [GOOD["csv"]])
    assert client.delete("/api/v1/datasets/one").status_code == 405
