"""manage.py check --deploy: clean with the documented environment, and with nothing less."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from servermgmt.checks import check_deployment

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def documented(tmp_path: Path) -> dict[str, str]:
    """What docs/operations.md has in /etc/training.env, with its data in a folder of the test's."""
    [block] = re.findall(r"`/etc/training\.env`[^`]*```\n(.*?)```", OPERATIONS, re.DOTALL)
    variables = dict(line.split("=", 1) for line in block.splitlines())
    assert variables["DATA_DIR"] == "/srv/training/data"
    return {"PATH": os.environ["PATH"]} | variables | {"DATA_DIR": str(tmp_path / "data")}


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a unit runs before it starts."""
    [command] = set(re.findall(r"^ExecStartPre=\S+/python (.*)$", OPERATIONS, re.MULTILINE))
    return subprocess.run([sys.executable, *command.split()], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_documented_environment_is_clean(documented: dict[str, str]) -> None:
    result = check(documented)

    assert result.returncode == 0, result.stderr
    assert "no issues (0 silenced)" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"BEHIND_TLS": "false"}, "servermgmt.E002"),
        ({"API_KEYS": "k" * 32 + ",secret"}, "Key 2 of API_KEYS is shorter than 32"),
        ({"MODELS_DIR": str(ROOT / "docs")}, "MODELS_DIR is in the source tree"),
        ({"DEBUG": "true"}, "security.W018"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS must name"),
        ({"SECRET_KEY": "secret"}, "SECRET_KEY must be"),
    ],
)
def test_anything_less_does_not_start(documented: dict[str, str], change: dict[str, str], found: str) -> None:
    result = check(documented | change)

    assert result.returncode == 1
    assert found in result.stderr
    assert "secret" not in result.stderr.replace("DATA_DIR/secret_key", "")


@pytest.fixture
def deployed(settings: Settings) -> Settings:
    settings.BEHIND_TLS = True
    return settings


def found() -> list[tuple[str | None, str]]:
    return [(message.id, message.msg) for message in check_deployment()]


@pytest.mark.parametrize("name", ["DATA_DIR", "DATABASE_PATH", "MODELS_DIR", "DATASETS_DIR", "SESSIONS_DIR"])
def test_data_in_the_source_tree_is_found(deployed: Settings, tmp_path: Path, name: str) -> None:
    deployed.BASE_DIR, deployed.DATABASE_PATH = tmp_path / "server", tmp_path / "api_data.db"
    (deployed.BASE_DIR / "data").mkdir(parents=True)
    assert found() == []

    setattr(deployed, name, deployed.BASE_DIR / "data")

    assert [(id, message.partition(" ")[0]) for id, message in found()] == [("servermgmt.E001", name)]
    deployed.DEBUG = True
    assert found() == []


@pytest.fixture
def behind_tls(documented: dict[str, str]) -> dict[str, object]:
    """The settings for TLS that this environment makes."""
    code = "from servermgmt import settings; print({name: getattr(settings, name) for name in dir(settings)"
    code += " if name.startswith(('SECURE_', 'SESSION_COOKIE_', 'CSRF_'))})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=documented, capture_output=True, text=True)
    values: dict[str, object] = ast.literal_eval(result.stdout)
    return values


def test_behind_tls(behind_tls: dict[str, object], settings: Settings, db: None) -> None:
    for name, value in behind_tls.items():
        setattr(settings, name, value)
    proxied = {"X-Forwarded-Proto": "https"}
    client = Client()

    assert client.get("/health").status_code == client.get("/health/").status_code == 200
    redirect = client.get("/api/v1/models?limit=1")
    assert (redirect.status_code, redirect["Location"]) == (301, "https://testserver/api/v1/models?limit=1")
    assert client.get("/api/v1/models", headers=proxied).status_code == 401
    page = client.get("/admin/login/", headers=proxied)
    assert page["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    cookie = page.cookies["csrftoken"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert behind_tls["SESSION_COOKIE_SECURE"] is True
