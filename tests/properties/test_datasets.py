"""Datasets: listed, described, stored."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.properties.api import Api
from tests.properties.dataset_files import DatasetFile, dataset_files
from tests.properties.inputs import file_names, names
from tests.properties.rules import for_all

pytestmark = pytest.mark.django_db

FIELDS = {"name", "size_mb", "sample_count", "format", "dimensions", "created_at", "file_path"}


@for_all(files=st.dictionaries(names(), dataset_files(), max_size=4))
def test_property_16_listing_n_datasets_gives_n_complete_entries(api: Api, files: dict[str, DatasetFile]) -> None:
    for name, file in files.items():
        api.upload_dataset(name, file.content)

    entries = api.get("/datasets")

    assert {entry["name"] for entry in entries} == set(files)
    assert len(entries) == len(files)
    for entry in entries:
        assert entry.keys() >= FIELDS
        assert None not in (entry[field] for field in FIELDS)
        assert entry == api.get(f"/datasets/{entry['name']}")


@for_all(name=names(), file=dataset_files(), file_name=file_names())
def test_property_17_a_datasets_metadata_is_what_the_file_holds(
    api: Api, name: str, file: DatasetFile, file_name: str
) -> None:
    """Whatever the file is called."""
    api.upload_dataset(name, file.content, file_name)

    entry = api.get(f"/datasets/{name}")

    assert (entry["format"], entry["dimensions"], entry["sample_count"]) == (
        file.format,
        file.dimensions,
        file.sample_count,
    )
    assert (entry["labels"], entry["class_count"]) == (file.labels, file.class_count)


@for_all(name=names(), file=dataset_files(), file_name=file_names())
def test_property_18_an_uploaded_dataset_is_stored_with_its_true_size_format_and_sample_count(
    api: Api, name: str, file: DatasetFile, file_name: str
) -> None:
    answer = api.upload_dataset(name, file.content, file_name)

    [entry] = api.get("/datasets")
    assert (answer["name"], entry["name"]) == (name, name)
    assert answer["message"]
    assert answer["size_mb"] == entry["size_mb"] == round(len(file.content) / 2**20, 6)
    assert (entry["format"], entry["sample_count"]) == (file.format, file.sample_count)
    assert Path(entry["file_path"]).read_bytes() == file.content
