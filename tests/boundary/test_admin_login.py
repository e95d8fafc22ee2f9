"""Who guesses at a password of the admin is locked out, for a while and from one address."""

import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from authkeys.models import AuthLog
from servermgmt.lockout import login_address
from tests.boundary.test_errors import check_shape
from tests.processes.server import Server, free_port

LIMIT = 10
PASSWORD = "a password of the tests"
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def ada(db: None, settings: Settings) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the good ones are slow
    return User.objects.create_superuser("ada", password=PASSWORD)


def attempt(password: str = "wrong", name: str = "ada", address: str = "192.0.2.1", **headers: str) -> int:
    answer = Client(REMOTE_ADDR=address).post(LOGIN, {"username": name, "password": password}, headers=headers)
    if answer.status_code == 429:
        check_shape(answer.json())
    return answer.status_code


def lock(**who: str) -> None:
    assert [attempt(**who) for _ in range(LIMIT)] == [200] * (LIMIT - 1) + [429]


def test_the_right_password_is_refused_while_locked_and_others_come_in() -> None:
    User.objects.create_superuser("grace", password=PASSWORD)
    lock()

    assert attempt() == attempt(PASSWORD) == 429
    assert attempt(PASSWORD, address="192.0.2.2") == 302
    assert attempt(PASSWORD, name="grace") == 302


def test_the_answer_says_when_to_try_again() -> None:
    lock()

    answer = Client(REMOTE_ADDR="192.0.2.1").post(LOGIN, {"username": "ada", "password": PASSWORD})

    assert answer.json()["error"]["code"] == "THROTTLED"
    assert "15 minutes" in answer.json()["detail"]
    assert 880 < int(answer["Retry-After"]) <= 900


def test_it_ends_after_the_cool_off_however_often_it_is_tried_meanwhile() -> None:
    lock()
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=14))
    assert attempt() == attempt(PASSWORD) == 429

    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=1))

    assert attempt(PASSWORD) == 302


def test_a_success_starts_the_count_anew() -> None:
    for _ in range(3):
        assert [attempt() for _ in range(LIMIT - 1)] == [200] * (LIMIT - 1)
        assert attempt(PASSWORD) == 302


def test_another_browser_is_no_other_person() -> None:
    statuses = [attempt(**{"User-Agent": f"browser {number}"}) for number in range(LIMIT)]
    assert statuses[-1] == 429
    assert attempt(PASSWORD, **{"User-Agent": "a new one"}) == 429


def test_who_has_no_address_is_locked_as_well() -> None:
    lock(address="")
    assert attempt(PASSWORD, address="") == 429
    assert attempt(PASSWORD) == 302


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
        ("1.2.3.4, 5.6.7.8", None),
        ("x" * 1000, None),
        ("\x00", None),
    ],
)
def test_the_address_is_one_that_databases_know(address: str, counted_as: str | None) -> None:
    request = Client(REMOTE_ADDR=address).get(LOGIN).wsgi_request
    assert login_address(request) == counted_as
    assert attempt(address=address) == 200
    assert AccessAttempt.objects.get().ip_address == counted_as


STRANGE = [
    "",
    " ",
    "x" * 1000,
    "a\x00da",
    "\x00",
    "\x1b[31mada\r\n",
    "\u202eada",
    "\U0001f600",
    "\u0430da",
    "\ufb00" * 150,
]


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_are_no_failure_of_the_server(name: str) -> None:
    for _ in range(LIMIT + 2):
        assert attempt(name=name) in (200, 429)
    assert attempt(PASSWORD) == 302


@pytest.mark.parametrize(
    "body", [b"", b"username", b"username=%ff%fe&password=%00", b"username=ada&username=bob", b"\xff"]
)
def test_strange_forms_are_no_failure_of_the_server(body: bytes) -> None:
    answer = Client().post(LOGIN + "?next=%00", body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200


def test_no_password_and_no_token_is_kept() -> None:
    Client().post(LOGIN, {"username": "ada", "password": "nearly right", "csrfmiddlewaretoken": "t0ken"})

    kept = str(AccessAttempt.objects.values().get())
    assert "nearly right" not in kept
    assert "t0ken" not in kept


def test_a_lock_is_no_answer_to_other_origins() -> None:
    lock()
    answer = Client(REMOTE_ADDR="192.0.2.1").post(
        LOGIN, {"username": "ada", "password": "x"}, headers={"X-Requested-With": "XMLHttpRequest"}
    )
    assert answer.status_code == 429
    assert "Access-Control-Allow-Origin" not in answer


def test_the_log_holds_no_escape_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(LIMIT + 1):
        attempt(name="ev\x1bil\nforged", **{"User-Agent": "\x1b[31m"})
    assert "ev\\x1bil\\nforged" in caplog.text
    assert "\x1b" not in caplog.text
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


def test_the_command_lets_in_again() -> None:
    lock()
    call_command("axes_reset", verbosity=0)
    assert attempt(PASSWORD) == 302


def test_the_tables_are_shown_and_not_written() -> None:
    attempt()
    staff = Client()
    staff.force_login(User.objects.get(username="ada"))
    for table, row in (("accessattempt", AccessAttempt.objects.get()), ("accesslog", AccessLog.objects.first())):
        assert row is not None
        listing = f"/admin/axes/{table}/"
        assert "ada" in staff.get(listing).text
        assert staff.get(f"{listing}{row.pk}/change/").status_code == 200
        assert staff.get(f"{listing}add/").status_code == 403
        assert staff.post(f"{listing}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert listing in staff.get("/admin/").text
    assert staff.get("/admin/axes/accessfailurelog/").status_code == 404


def test_keys_are_no_matter_of_it(stranger: Client) -> None:
    for _ in range(LIMIT + 1):
        assert stranger.get("/api/v1/models", headers={"X-API-Key": "wrong"}).status_code == 401
    assert AuthLog.objects.count() == LIMIT + 1
    assert not AccessAttempt.objects.exists()


@pytest.fixture
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The login pages of two web servers that share their data."""
    server = Server(tmp_path_factory.mktemp("server"), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    try:
        server.manage("createsuperuser", "--noinput", "--username", "ada", "--email", "ada@lab.example")
        ports = [server.port, free_port()]
        for server.port in ports:
            server.start_web()
            server.processes[f"web {server.port}"] = server.processes["web"]
        yield [f"http://127.0.0.1:{port}{LOGIN}" for port in ports]
    finally:
        server.client.close()
        server.kill_everything()


@pytest.mark.slow
def test_processes_count_together(two_servers: list[str]) -> None:
    def log_in(page: str, password: str) -> int:
        with httpx.Client(timeout=30) as browser:
            [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(page).text)
            form = {"username": "ada", "password": password, "csrfmiddlewaretoken": token}
            return browser.post(page, data=form).status_code

    first, second = two_servers
    statuses = [log_in(page, "wrong") for page in [first, second] * (LIMIT // 2)]

    assert statuses == [200] * (LIMIT - 1) + [429]
    assert log_in(first, PASSWORD) == log_in(second, PASSWORD) == 429
