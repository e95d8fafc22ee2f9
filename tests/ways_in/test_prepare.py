import io
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from authkeys.models import APIKey
from tests.processes.server import free_port
from tests.ways_in.conftest import REPOSITORY

KEY = re.compile(r"API key +(\S+)")
PASSWORD = re.compile(r"Admin password +(\S+)")


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of the server to be prepared; nobody else listens there."""
    port = free_port()
    monkeypatch.setenv("API_HOST", "127.0.0.1")
    monkeypatch.setenv("API_PORT", str(port))
    return port


def prepare(*options: str) -> str:
    output = io.StringIO()
    call_command("prepare", *options, stdout=output)
    return output.getvalue()


@pytest.mark.django_db
def test_the_first_start_shows_a_key_and_a_password_that_work() -> None:
    output = prepare()
    [key], [password] = KEY.findall(output), PASSWORD.findall(output)
    assert Client().get("/api/v1/system/info", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    browser = Client()
    assert browser.post("/admin/login/", {"username": "admin", "password": password}).status_code == 302
    assert browser.get("/admin/").status_code == 200
    assert User.objects.get().is_superuser


@pytest.mark.django_db
def test_the_second_start_shows_neither_and_makes_neither() -> None:
    prepare()
    output = prepare()
    assert not KEY.search(output)
    assert not PASSWORD.search(output)
    assert APIKey.objects.count() == User.objects.count() == 1


@pytest.mark.django_db
def test_a_revoked_key_is_not_replaced() -> None:
    prepare()
    APIKey.objects.get().revoke()
    assert not KEY.search(prepare())


@pytest.mark.django_db
def test_an_operator_who_made_an_admin_of_their_own_gets_a_key_only() -> None:
    User.objects.create_superuser("root", password="correct horse battery staple")
    output = prepare()
    assert KEY.search(output)
    assert not PASSWORD.search(output)
    assert User.objects.get().username == "root"


@pytest.mark.django_db
def test_without_credentials_none_are_made() -> None:
    assert not KEY.search(prepare("--without-credentials"))
    assert not APIKey.objects.exists()
    assert not User.objects.exists()


@pytest.mark.django_db
def test_what_could_not_be_shown_is_not_kept() -> None:
    class BrokenTerminal(io.StringIO):
        def write(self, text: str) -> int:
            if KEY.search(text):
                raise BrokenPipeError
            return super().write(text)

    with pytest.raises(BrokenPipeError):
        call_command("prepare", stdout=BrokenTerminal())
    assert not APIKey.objects.exists()
    assert not User.objects.exists()


def test_a_taken_port_is_named_with_the_remedy(port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(CommandError, match=rf"port {port} .*API_PORT=\d+ make run"),
    ):
        prepare()


@pytest.mark.parametrize("nonsense", ["0", "65536", "-1", "http", "80 00", "٨٠٠٠", "8000.0"])
def test_a_port_that_is_none_is_refused(nonsense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", nonsense)
    with pytest.raises(CommandError, match="API_PORT must be a number from 1 to 65535"):
        prepare()


def test_a_host_that_is_not_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_HOST", "192.0.2.1")
    with pytest.raises(CommandError, match=r"cannot listen on port \d+ of 192\.0\.2\.1"):
        prepare()


@pytest.mark.slow
def test_of_two_at_once_one_makes_the_credentials_and_neither_lies_anywhere_in_clear(
    environment: dict[str, str],
) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "manage.py", "prepare"],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    output = "".join(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0], output
    [key], [password] = KEY.findall(output), PASSWORD.findall(output)
    stored = b"".join(path.read_bytes() for path in Path(environment["DATA_DIR"]).rglob("*") if path.is_file())
    assert b"admin" in stored
    assert key.encode() not in stored
    assert password.encode() not in stored
