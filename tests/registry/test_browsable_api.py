"""The registry's pages for a person who is logged in as staff."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from registry.models import Dataset

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["models", "datasets", "datasets/one"])
def test_staff_see_pages(admin_client: Client, path: str) -> None:
    Dataset.objects.store("one", [b"1,2\n"])
    response = admin_client.get(f"/api/v1/{path}", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")


def test_staff_upload_through_the_page(admin_client: Client) -> None:
    page = admin_client.get("/api/v1/datasets?dataset_name=one", headers={"Accept": "text/html"})
    assert 'type="file"' in page.content.decode()
    response = admin_client.post(
        "/api/v1/datasets?dataset_name=one",
        {"file": SimpleUploadedFile("f", b"1,2\n")},
        headers={"Accept": "text/html"},
    )
    assert response.status_code == 200
    assert Dataset.objects.get().name == "one"
