"""Settings refuse nonsense with one clear sentence, before anything starts."""

import os
import string
import subprocess
import sys
from pathlib import Path

import pytest

from servermgmt.database import database
from servermgmt.hosts import own_hosts

ROOT = Path(__file__).resolve().parent.parent


DEFAULT_NAMES = "MAX_CONCURRENT_SESSIONS, TRAINING_LIMITS.epochs, MODELS_DIR"


def load_settings(data_dir: Path, names: str = DEFAULT_NAMES, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"from servermgmt.settings import *; print({names})"
    variables = os.environ | {"DATA_DIR": str(data_dir)} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "value"), [
    ("MAX_CONCURRENT_SESSIONS", "0"),
    ("MAX_CONCURRENT_SESSIONS", "many"),
    ("MAX_CONCURRENT_SESSIONS", "٣"),
    ("STOP_GRACE_SECONDS", "nan"),
    ("STOP_GRACE_SECONDS", "inf"),
    ("STOP_GRACE_SECONDS", "-1"),
    ("SESSION_RETENTION_DAYS", "1.5"),
    ("MIN_FREE_DISK_BYTES", "-1"),
    ("GPU_FOREIGN_PERCENT", "half"),
    ("EPOCHS_RANGE", "10-1"),
    ("EPOCHS_RANGE", "0-10"),
    ("EPOCHS_RANGE", "5"),
    ("LEARNING_RATE_RANGE", "a-b"),
])  # fmt: skip
def test_nonsense_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    result = load_settings(tmp_path, **{name: value})
    assert result.returncode == 1
    assert result.stderr.startswith(f"{name} must be ")
    assert result.stderr.count("\n") == 1


def test_values_are_taken_and_relative_paths_stand_below_the_data_directory(tmp_path: Path) -> None:
    result = load_settings(tmp_path, MAX_CONCURRENT_SESSIONS="3", EPOCHS_RANGE="2-5000", MODELS_DIR="weights")
    assert result.stdout == f"3 (2, 5000) {tmp_path / 'weights'}\n"


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = load_settings(tmp_path / "file" / "data")
    assert result.returncode == 1
    assert result.stderr.startswith("The server cannot write its data: ")
    assert "Set DATA_DIR" in result.stderr


def test_the_secret_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    load_settings(tmp_path)
    key = (tmp_path / "secret_key").read_text()
    assert len(key) > 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    load_settings(tmp_path)
    assert (tmp_path / "secret_key").read_text() == key


@pytest.mark.parametrize("url", [
    "mysql://somebody:hunter2@host/rows",
    "sqlite:///rows.db",
    "postgres://somebody:hunter2@host",
    "postgres://somebody:hunter2@host:port/rows",
    "postgresql+psycopg://somebody:hunter2@host/rows",
    "hunter2",
])  # fmt: skip
def test_other_databases_are_refused_without_showing_the_password(tmp_path: Path, url: str) -> None:
    result = load_settings(tmp_path, DATABASE_URL=url)
    assert result.returncode == 1
    assert result.stderr.startswith("DATABASE_URL must be written like postgres://")
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr


def test_postgresql_is_taken_with_what_its_url_says(tmp_path: Path) -> None:
    settings = database("postgres://me:p%40ss@db.example.org:5433/rows?sslmode=verify-full", tmp_path / "rows.db")
    assert settings["ENGINE"] == "servermgmt.postgres"
    named = {name: settings[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "CONN_MAX_AGE")}
    assert named == {
        "NAME": "rows",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db.example.org",
        "PORT": 5433,
        "CONN_MAX_AGE": None,
    }
    assert settings["OPTIONS"]["sslmode"] == "verify-full"
    assert "lock_timeout=20s" in settings["OPTIONS"]["options"]


def test_without_a_url_it_is_sqlite_at_its_path(tmp_path: Path) -> None:
    settings = database("", tmp_path / "rows.db")
    assert (settings["ENGINE"], settings["NAME"]) == ("django.db.backends.sqlite3", tmp_path / "rows.db")


GOOD_KEY = "k9" + string.ascii_letters


@pytest.mark.parametrize(
    "weak",
    ["secret", GOOD_KEY[:49], "abcd" * 20, "django-insecure-" + GOOD_KEY, "é" * 60],
    ids=lambda key: f"{key:.20}",
)
def test_a_weak_secret_key_is_refused(tmp_path: Path, weak: str) -> None:
    result = load_settings(tmp_path, SECRET_KEY=weak)
    assert result.returncode == 1
    assert result.stderr.startswith("SECRET_KEY must be 50 random characters or more. ")
    assert result.stderr.count("\n") == 1
    assert load_settings(tmp_path, SECRET_KEY=weak, DEBUG="true").returncode == 0


@pytest.mark.parametrize("weak", [b"", b"\n", b"secret\n", b"\xff\xfe"])
def test_a_weak_secret_key_in_the_file_is_refused(tmp_path: Path, weak: bytes) -> None:
    (tmp_path / "secret_key").write_bytes(weak)
    result = load_settings(tmp_path)
    assert result.returncode == 1
    assert f"{tmp_path}/secret_key is empty or weak. Delete the file" in result.stderr
    assert result.stderr.count("\n") == 1
    assert load_settings(tmp_path, SECRET_KEY=GOOD_KEY).returncode == 0


@pytest.mark.parametrize("hosts", ["*", "train.example.org,*"])
def test_any_host_is_refused(tmp_path: Path, hosts: str) -> None:
    result = load_settings(tmp_path, ALLOWED_HOSTS=hosts)
    assert result.returncode == 1
    assert result.stderr.startswith("ALLOWED_HOSTS must name the hosts ")
    assert result.stderr.count("\n") == 1
    assert load_settings(tmp_path, ALLOWED_HOSTS=hosts, DEBUG="true").returncode == 0


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        ({}, own_hosts("")),
        ({"API_HOST": "train.example.org"}, own_hosts("train.example.org")),
        ({"API_HOST": "train.example.org", "ALLOWED_HOSTS": "a.example,b.example"}, ["a.example", "b.example"]),
        ({"ALLOWED_HOSTS": ""}, own_hosts("")),
    ],
)
def test_hosts_are_those_given_or_the_machines_own(
    tmp_path: Path, environment: dict[str, str], hosts: list[str]
) -> None:
    assert load_settings(tmp_path, names="ALLOWED_HOSTS", **environment).stdout == f"{hosts}\n"


BEHIND_TLS = {"BEHIND_TLS": "true", "ALLOWED_HOSTS": "train.example.org,.lab.example,127.0.0.1,localhost"}


@pytest.mark.parametrize(
    ("environment", "origins"),
    [
        (BEHIND_TLS, ["https://train.example.org", "https://*.lab.example"]),
        (BEHIND_TLS | {"CSRF_TRUSTED_ORIGINS": "https://a.example:8443"}, ["https://a.example:8443"]),
        (BEHIND_TLS | {"BEHIND_TLS": "false"}, []),
    ],
)
def test_the_origins_behind_tls_are_the_allowed_names(
    tmp_path: Path, environment: dict[str, str], origins: list[str]
) -> None:
    assert load_settings(tmp_path, names="CSRF_TRUSTED_ORIGINS", **environment).stdout == f"{origins}\n"
