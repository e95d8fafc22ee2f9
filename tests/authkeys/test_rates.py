"""How many requests may come: with a key, from an address, and with what is no key."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import keys, tasks
from authkeys.allowances import Rate
from authkeys.models import APIKey, AuthLog, Usage

CLOSED = "/api/v1/nothing"


class Clock:
    """Stands still, until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("authkeys.models.rates.time", clock)
    return clock


pytestmark = pytest.mark.django_db


def ask(client: APIClient, count: int = 1, **headers: Any) -> list[int]:
    return [client.get(CLOSED, **headers).status_code for _ in range(count)]


def test_a_key_is_let_in_so_often_and_told_how_often_yet(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.KEY_RATE = Rate(3, 60)
    answers = [client.get(CLOSED) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert [answer["RateLimit-Reset"] for answer in answers] == ["20", "40", "60", "60"]
    assert {answer["RateLimit-Limit"] for answer in answers} == {"3"}
    assert answers[3]["Retry-After"] == "20"
    assert answers[3].json()["error"]["code"] == "THROTTLED"
    clock.now += 19.9
    assert ask(client) == [429]
    clock.now += 0.2
    assert ask(client, 2) == [404, 429]
    clock.now += 1000
    assert ask(client, 4) == [404, 404, 404, 429]


def test_whoever_waits_as_long_as_he_is_told_is_let_in(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.KEY_RATE = Rate(7, 60)
    ask(client, 7)
    for _ in range(20):
        refused = client.get(CLOSED)
        assert refused.status_code == 429
        clock.now += float(refused["Retry-After"])
        assert ask(client) == [404]
        clock.now += 0.001


def test_every_key_and_every_address_has_a_rate_of_its_own(
    client: APIClient, stranger: APIClient, settings: Settings, clock: Clock
) -> None:
    settings.KEY_RATE = Rate(2, 60)
    settings.ADDRESS_RATE = Rate(5, 60)
    other = APIKey.objects.create_key("other")[1]
    assert ask(client, 3) == [404, 404, 429]
    assert ask(stranger, 1, HTTP_X_API_KEY=other) == [404]
    assert ask(stranger, 1) == [401]
    assert ask(stranger, 1) == [429]  # five have come from here
    assert ask(stranger, 1, HTTP_X_API_KEY=other) == [429]
    assert ask(stranger, 1, HTTP_X_API_KEY=other, REMOTE_ADDR="192.0.2.7") == [404]


def test_the_tighter_rate_is_told(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.KEY_RATE, settings.ADDRESS_RATE = Rate(100, 60), Rate(10, 60)
    assert client.get(CLOSED)["RateLimit-Limit"] == "10"
    settings.KEY_RATE = Rate(5, 60)
    assert client.get(CLOSED)["RateLimit-Limit"] == "5"


def test_open_paths_and_those_without_a_rate_have_no_headers(client: APIClient, settings: Settings) -> None:
    assert "RateLimit-Limit" not in client.get(CLOSED)
    settings.ADDRESS_RATE = Rate(1, 60)
    for _ in range(3):
        answer = client.get("/health")
        assert (answer.status_code, "RateLimit-Limit" in answer) == (200, False)


def test_every_refused_attempt_has_its_row(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.ADDRESS_RATE = Rate(1, 60)
    ask(client, 3)
    assert list(AuthLog.objects.order_by("id").values_list("success", "reason", "status")) == [
        (True, "ok", 404),
        (False, "throttled", 429),
        (False, "throttled", 429),
    ]


def test_failed_attempts_slow_an_address_down_and_nobody_else(
    stranger: APIClient, key: str, settings: Settings, clock: Clock
) -> None:
    settings.FAILED_ATTEMPTS_RATE = Rate(3, 60)
    settings.API_KEYS = ["chosen by somebody"]
    bad = [keys.make(), "guess", "another guess"]
    assert [ask(stranger, HTTP_X_API_KEY=guess)[0] for guess in bad] == [401, 401, 401]
    refused = stranger.get(CLOSED, HTTP_X_API_KEY="guess")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) == 20
    # Not even the right word is told from a wrong one now; what cannot be guessed is let in.
    assert ask(stranger, HTTP_X_API_KEY="chosen by somebody") == [429]
    assert ask(stranger, HTTP_X_API_KEY=keys.make()) == [429]
    assert ask(stranger, HTTP_X_API_KEY=key) == [404]
    assert ask(stranger) == [401]  # who sends no key guesses nothing
    assert ask(stranger, HTTP_X_API_KEY="chosen by somebody", REMOTE_ADDR="192.0.2.7") == [404]
    clock.now += 20
    assert ask(stranger, HTTP_X_API_KEY="chosen by somebody") == [404]


def test_good_attempts_do_not_count_as_failed(client: APIClient, settings: Settings) -> None:
    settings.FAILED_ATTEMPTS_RATE = Rate(1, 60)
    assert ask(client, 5) == [404] * 5


def test_a_clock_that_was_set_back_locks_nobody_out(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.KEY_RATE = Rate(2, 60)
    ask(client, 3)
    clock.now -= 86_400
    assert ask(client, 3) == [404, 404, 429]


@given(st.integers(1, 20), st.integers(1, 600), st.lists(st.floats(0, 100), max_size=60))
def test_no_more_come_through_than_the_rate_says(requests: int, period: int, pauses: list[float]) -> None:
    """In no stretch as long as the period more than twice its requests, and as many as there have been room for."""
    rate = Rate(requests, period)
    Usage.objects.all().delete()
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("authkeys.models.rates.time", clock)
        let_in = []
        start = clock.now
        for pause in pauses:
            clock.now += pause
            allowance = Usage.objects.spend("x", rate)
            assert 0 <= allowance.remaining < requests
            if not allowance.wait_seconds:
                let_in.append(clock.now)
        assert len(let_in) <= requests + (clock.now - start) / rate.each_seconds + 1
        assert len(let_in) >= min(len(pauses), requests)


@pytest.mark.django_db(transaction=True)
def test_no_two_requests_take_the_same_place() -> None:
    def spend(_: int) -> int:
        try:
            return Usage.objects.spend("x", Rate(20, 86_400)).wait_seconds
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(spend, range(60)))
    assert sum(wait == 0 for wait in waits) == 20


def test_what_is_long_gone_is_forgotten(client: APIClient, settings: Settings, clock: Clock) -> None:
    settings.KEY_RATE = Rate(2, 60)
    ask(client)
    tasks.prune_audit_log()
    assert Usage.objects.count() == 1
    clock.now += 61
    tasks.prune_audit_log()
    assert Usage.objects.count() == 0


@pytest.fixture
def from_address(stranger: APIClient) -> Iterator[Any]:
    def ask(forwarded: str | None) -> str:
        sent: dict[str, Any] = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
        stranger.get(CLOSED, REMOTE_ADDR="10.0.0.1", **sent)
        return AuthLog.objects.latest("id").client_address

    return ask  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "10.0.0.1"),
        (0, "192.0.2.7", "10.0.0.1"),  # anybody can write this
        (1, None, "10.0.0.1"),
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        (2, "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        (2, "192.0.2.7", "10.0.0.1"),
        (1, "2001:DB8::0001", "2001:db8::1"),
        (1, "nonsense", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "192.0.2.7\x1b[31m", "10.0.0.1"),
        (1, "x" * 5000, "10.0.0.1"),
    ],
)
def test_the_address_is_that_behind_our_own_proxies(
    from_address: Any, settings: Settings, proxies: int, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert from_address(forwarded) == address


@pytest.mark.parametrize(
    "text", ["", "5", "5/year", "0/minute", "-1/minute", "x/minute", "٣/minute", "1.5/minute", "5/"]
)
def test_a_rate_that_is_none_ends_the_start(tmp_path: Any, text: str) -> None:
    command = [sys.executable, "-c", "import servermgmt.settings"]
    environment = os.environ | {"DATA_DIR": str(tmp_path), "KEY_RATE": text}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("KEY_RATE must be ")
    assert result.stderr.count("\n") == 1


def test_time_is_not_what_the_tests_stand_on() -> None:
    """The real clock, once."""
    assert Usage.objects.spend("x", Rate(1, 1)).wait_seconds == 0
    assert Usage.objects.spend("x", Rate(1, 1)).wait_seconds == 1
    time.sleep(1.1)
    assert Usage.objects.spend("x", Rate(1, 1)).wait_seconds == 0
