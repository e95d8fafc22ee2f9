"""What every test may ask for."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys.models import APIKey
from authkeys.scopes import ADMIN

Script = Callable[[str], None]

# The database of a test serves all its examples; each has to bring rows of its own.
hypothesis_settings.register_profile(
    "database", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
hypothesis_settings.load_profile("database")


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Folders of the test's own for all that the server writes."""
    for name in ("MODELS_DIR", "DATASETS_DIR", "SESSIONS_DIR", "UPLOADS_DIR"):
        folder = tmp_path / name.removesuffix("_DIR").lower()
        folder.mkdir()
        setattr(settings, name, folder)
    settings.DATA_DIR = tmp_path
    settings.FILE_UPLOAD_TEMP_DIR = settings.UPLOADS_DIR
    settings.API_KEYS = []
    settings.KEY_RATE = settings.ADDRESS_RATE = settings.FAILED_ATTEMPTS_RATE = None
    return tmp_path


@pytest.fixture
def key(db: None) -> str:
    """A good API key that may do everything, in clear."""
    return APIKey.objects.create_key("tests", scopes=[ADMIN])[1]


@pytest.fixture
def client(key: str) -> APIClient:
    """A client that sends a good key."""
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {key}")


@pytest.fixture
def stranger(db: None) -> APIClient:
    """A client that sends no key."""
    return APIClient()


@pytest.fixture
def script(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts the scripted trainer in place of the real one; call it with the script to follow."""
    trainer = Path(__file__).parent / "scripted_trainer.py"
    settings.TRAINER_COMMAND = [sys.executable, str(trainer)]

    def follow(name: str) -> None:
        monkeypatch.setenv("TRAINER_SCRIPT", name)

    return follow
