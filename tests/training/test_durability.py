"""What a client was told is on the disk before it is told."""

import os
from pathlib import Path

import pytest
from django.db import connection
from rest_framework.test import APIClient

from tests.training.conftest import CONFIG
from training.models import TrainingSession

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were brought to the disk, with the count of sessions that were committed by then."""
    names: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        names.append(f"{Path(f'/proc/self/fd/{descriptor}').readlink().name} {TrainingSession.objects.count()}")

    monkeypatch.setattr(os, "fsync", note)
    return names


@pytest.mark.usefixtures("dataset")
def test_a_start_is_on_the_disk_when_it_is_answered(client: APIClient, synced: list[str]) -> None:
    log = f"{Path(str(connection.settings_dict['NAME'])).name}-wal"
    assert client.get("/api/v1/training/sessions").status_code == 200
    assert client.post("/api/v1/training/start", {"epochs": 0}, format="json").status_code == 400
    assert f"{log} 0" not in synced
    assert client.post("/api/v1/training/start", CONFIG, format="json").status_code == 200
    assert synced[-1] == f"{log} 1"
