"""Uploads that a killed process left behind are freed; those under way, and what is registered, are not."""

import os
import time
from pathlib import Path

import pytest
from pytest_django import Settings

from registry.files import ABANDONED_AFTER_SECONDS
from registry.models import Model
from registry.tasks import remove_unfinished_uploads

pytestmark = pytest.mark.django_db


def leave(path: Path, age_seconds: float) -> Path:
    path.write_bytes(b"half of a file")
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def test_what_was_abandoned_goes_and_the_rest_stays(settings: Settings) -> None:
    old, young = ABANDONED_AFTER_SECONDS + 60, 60
    folders = (Path(settings.DATASETS_DIR), Path(settings.MODELS_DIR), Path(settings.UPLOADS_DIR))
    abandoned = [leave(folder / ".0123.part", old) for folder in folders]
    under_way = [leave(folder / ".4567.part", young) for folder in folders]
    registered = Model.objects.store("kept", [b"weights"]).path
    os.utime(registered, (0, 0))

    assert remove_unfinished_uploads() == len(abandoned)
    assert not any(path.exists() for path in abandoned)
    assert all(path.exists() for path in [*under_way, registered])
