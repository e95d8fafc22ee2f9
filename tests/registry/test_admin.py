"""The registry in the admin."""

import pytest
from django.test import Client

from registry.models import Dataset, Model
from tests.registry.conftest import Files
from training.models import TrainingSession

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows() -> tuple[Dataset, Model]:
    return Dataset.objects.store("digits", [b"1,2\n"]), Model.objects.store("mlp", [b"weights"])


@pytest.mark.parametrize("table", ["dataset", "model"])
def test_rows_are_seen_and_not_written(admin_client: Client, rows: tuple[Dataset, Model], table: str) -> None:
    row = rows[table == "model"]
    listing = admin_client.get(f"/admin/registry/{table}/?q={row.name}")
    assert row.name in listing.content.decode()
    page = admin_client.get(f"/admin/registry/{table}/{row.pk}/change/")
    assert str(row.path) in page.content.decode()
    assert row.sha256 in page.content.decode()
    assert admin_client.get(f"/admin/registry/{table}/add/").status_code == 403
    assert admin_client.post(f"/admin/registry/{table}/{row.pk}/change/", {"name": "other"}).status_code == 403


@pytest.mark.parametrize("table", ["dataset", "model"])
def test_a_delete_takes_the_file_along(
    admin_client: Client, rows: tuple[Dataset, Model], files: Files, table: str
) -> None:
    row = rows[table == "model"]
    admin_client.post(f"/admin/registry/{table}/{row.pk}/delete/", {"post": "yes"})
    assert files() == [rows[table != "model"].stored_name]


@pytest.mark.parametrize("table", ["dataset", "model"])
def test_a_delete_of_many_takes_the_files_along(
    admin_client: Client, rows: tuple[Dataset, Model], files: Files, table: str
) -> None:
    row = rows[table == "model"]
    action = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    admin_client.post(f"/admin/registry/{table}/", action)
    assert files() == [rows[table != "model"].stored_name]


def test_a_dataset_that_a_session_was_trained_on_is_kept(admin_client: Client, rows: tuple[Dataset, Model]) -> None:
    dataset, _ = rows
    session = TrainingSession.objects.create(session_id="sess_0123456789ab", dataset=dataset, config={})
    for path, form in (
        (f"/admin/registry/dataset/{dataset.pk}/delete/", {"post": "yes"}),
        ("/admin/registry/dataset/", {"action": "delete_selected", "_selected_action": [dataset.pk], "post": "yes"}),
    ):
        page = admin_client.post(path, form)
        assert page.status_code == 200
        assert session.session_id in page.content.decode()
    assert dataset.path.exists()
    assert Dataset.objects.filter(pk=dataset.pk).exists()
