"""Models: listed, stored, handed out, deleted."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from pytest_django import Settings

from tests.properties.api import ROOT, Api
from tests.properties.inputs import file_names, names, texts
from tests.properties.rules import for_all, for_all_committed

pytestmark = pytest.mark.django_db

FIELDS = {"name", "size_mb", "created_at", "file_path"}

# Small ones of any bytes, and some that are larger than what is read in one go.
contents = st.binary(min_size=1, max_size=500) | st.builds(
    lambda block, times: block * times, st.binary(min_size=1, max_size=50), st.integers(1, 50_000)
)
unknown_names = names() | texts()


@for_all(uploads=st.dictionaries(names(), contents, max_size=5))
def test_property_12_listing_n_models_gives_n_complete_entries(api: Api, uploads: dict[str, bytes]) -> None:
    for name, content in uploads.items():
        api.upload_model(name, content)

    entries = api.get("/models")

    assert [entry["name"] for entry in entries] == list(uploads)[::-1]
    for entry in entries:
        assert entry.keys() >= FIELDS
        assert entry["created_at"]
        assert entry["size_mb"] == round(len(uploads[entry["name"]]) / 2**20, 6)
        assert Path(entry["file_path"]).read_bytes() == uploads[entry["name"]]


@for_all(name=names(), content=contents, file_name=file_names())
def test_property_13_upload_then_download_is_the_same_bytes(
    api: Api, name: str, content: bytes, file_name: str
) -> None:
    answer = api.upload_model(name, content, file_name)

    assert (answer["name"], answer["size_mb"]) == (name, round(len(content) / 2**20, 6))
    assert answer["message"]
    assert api.download_model(name) == content


# A file goes when the deletion of its row is committed, so this needs real commits.
@pytest.mark.django_db(transaction=True)
@for_all_committed(uploads=st.dictionaries(names(), contents, min_size=1, max_size=3))
def test_property_14_delete_leaves_no_row_no_file_and_then_404(
    api: Api, settings: Settings, uploads: dict[str, bytes]
) -> None:
    folder = Path(settings.MODELS_DIR)
    for name, content in uploads.items():
        api.upload_model(name, content)
    assert len(list(folder.iterdir())) == len(uploads)

    remaining = list(uploads)
    while remaining:
        name = remaining.pop(0)
        assert api.delete(f"/models/{name}")["message"]
        assert api.client.get(f"{ROOT}/models/{name}").status_code == 404
        assert api.client.delete(f"{ROOT}/models/{name}").status_code == 404
        assert {model["name"] for model in api.get("/models")} == set(remaining)
        assert {path.read_bytes() for path in folder.iterdir()} == {uploads[other] for other in remaining}
        assert len(list(folder.iterdir())) == len(remaining)


@for_all(known=names(), unknown=unknown_names, change=st.sampled_from(["{}x", " {}", "{}\n", "{}/x"]))
def test_property_15_an_unknown_model_or_dataset_is_a_404(api: Api, known: str, unknown: str, change: str) -> None:
    api.upload_model(known, b"weights")
    api.upload_dataset(known, b"1,2\n3,4\n")

    for name in {unknown, change.format(known), known.swapcase()} - {known}:
        segment = quote(name, safe="")
        assert api.client.get(f"{ROOT}/models/{segment}").status_code == 404
        assert api.client.delete(f"{ROOT}/models/{segment}").status_code == 404
        assert api.client.get(f"{ROOT}/datasets/{segment}").status_code == 404

    assert api.download_model(known) == b"weights"
    assert api.get(f"/datasets/{known}")["sample_count"] == 2
