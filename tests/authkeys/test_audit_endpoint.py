"""The audit log over HTTP: filtered, paged, and as CSV that no spreadsheet executes."""

import csv
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from authkeys.chain import COLUMNS
from authkeys.export import FORMULA, as_cell, csv_lines
from authkeys.models import APIKey, AuthLog
from tests.properties.api import read

pytestmark = pytest.mark.django_db

AUDIT = "/api/v1/audit"


def answer_of(client: APIClient, **query: Any) -> list[dict[str, Any]]:
    response = client.get(AUDIT, query)
    assert response.status_code == 200
    rows: list[dict[str, Any]] = response.json()
    return rows


@pytest.fixture
def story(client: APIClient, stranger: APIClient) -> None:
    """Five attempts."""
    stranger.get("/api/v1/models")
    client.get("/api/v1/models")
    client.delete("/api/v1/models/nothing")
    stranger.get("/api/v1/datasets", HTTP_X_API_KEY="guess", REMOTE_ADDR="192.0.2.7")
    client.post("/api/v1/training/start", {}, format="json")


def test_the_newest_comes_first_with_all_that_is_known(client: APIClient, story: None, key: str) -> None:
    rows = answer_of(client)
    assert [(row["method"], row["endpoint"], row["status"], row["reason"]) for row in rows] == [
        ("POST", "/api/v1/training/start", 400, "ok"),
        ("GET", "/api/v1/datasets", 401, "malformed"),
        ("DELETE", "/api/v1/models/nothing", 404, "ok"),
        ("GET", "/api/v1/models", 200, "ok"),
        ("GET", "/api/v1/models", 401, "missing"),
    ]
    assert {row["key_prefix"] for row in rows} == {"", key[:8]}
    assert rows[0]["timestamp"].endswith("Z")
    assert not any(key in str(row) for row in rows)


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ({"success": "true"}, [400, 404, 200]),
        ({"success": "false"}, [401, 401]),
        ({"reason": "malformed"}, [401]),
        ({"status": "404"}, [404]),
        ({"key": "tests"}, [400, 404, 200]),
        ({"key": "nobody"}, []),
        ({"method": "GET"}, [401, 200, 401]),
        ({"endpoint": "/api/v1/models"}, [404, 200, 401]),
        ({"address": "192.0.2.7"}, [401]),
        ({"since": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}, [400, 401, 404, 200, 401]),
        ({"since": "2999-01-01T00:00:00+01:00"}, []),
        ({"until": "2020-01-01 00:00"}, []),
        ({"success": "true", "method": "POST"}, [400]),
    ],
)
def test_rows_are_filtered(client: APIClient, story: None, query: dict[str, str], statuses: list[int]) -> None:
    assert [row["status"] for row in answer_of(client, **query)] == statuses
    exported = read(client.get(f"{AUDIT}/export", {"endpoint": "/api/v1/", **query})).decode()
    lines = [line for line in csv.DictReader(StringIO(exported)) if not line["endpoint"].startswith(AUDIT)]
    assert [int(line["status"]) for line in lines] == statuses


def test_a_key_is_found_by_its_prefix_and_an_answer_by_its_request(client: APIClient, story: None, key: str) -> None:
    assert len(answer_of(client, key=key[:8])) == 3
    (row,) = answer_of(client, request_id=AuthLog.objects.filter(status=404).get().request_id)
    assert row["status"] == 404


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("success", "yes"),
        ("success", "True"),
        ("reason", "good"),
        ("status", "99"),
        ("status", "٢٠٠"),
        ("status", "2000"),
        ("method", "get"),
        ("method", "GET\n"),
        ("key", ""),
        ("key", "a\0b"),
        ("endpoint", "x" * 501),
        ("since", "yesterday"),
        ("since", "2026-13-01T00:00:00Z"),
        ("until", "0001-01-01T00:00:00+23:59"),
        ("limit", "x"),
        ("cursor", "x"),
    ],
)
def test_a_wrong_filter_is_named(client: APIClient, name: str, value: str) -> None:
    answer = client.get(AUDIT, {name: value})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["details"]) == [name]


def test_all_wrong_filters_are_named(client: APIClient) -> None:
    wrong = {"success": "x", "status": "x", "since": "x"}
    assert client.get(AUDIT, wrong).json()["error"]["details"].keys() == wrong.keys()


def test_it_is_paged(client: APIClient, story: None) -> None:
    page = client.get(f"{AUDIT}?limit=2&success=true")
    assert len(page.json()) == 2
    assert 'rel="next"' in page["Link"]


def test_the_export_is_a_file_for_whom_may_read(client: APIClient, stranger: APIClient, story: None) -> None:
    answer = client.get(f"{AUDIT}/export", HTTP_ACCEPT="text/csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="audit.csv"' in answer["Content-Disposition"]
    rows = list(csv.reader(StringIO(read(answer).decode())))
    assert rows[0] == ["id", *COLUMNS, "hash"]
    assert len(rows) == 7  # itself is among them: its row was there before it was sent
    weak = APIKey.objects.create_key("weak")[1]
    assert stranger.get(f"{AUDIT}/export", HTTP_X_API_KEY=weak).status_code == 403


cells = st.text() | st.sampled_from(FORMULA).flatmap(lambda start: st.text().map(lambda rest: start + rest))


@given(cells, cells)
def test_no_cell_begins_a_formula(name: str, endpoint: str) -> None:
    row = AuthLog(
        id=1, timestamp=timezone.now(), success=True, reason="ok", key_name=name, endpoint=endpoint, method="GET"
    )
    text = "".join(csv_lines([row]))
    (_, parsed) = csv.reader(StringIO(text, newline=""))
    assert not any(cell.startswith(FORMULA) for cell in parsed)
    # Nothing is lost: without the apostrophe it is what it was.
    for value, cell in ((name, parsed[6]), (endpoint, parsed[8])):
        assert (cell.removeprefix("'") if cell != value else cell) == value


def test_a_cell_is_what_it_was() -> None:
    assert as_cell(None) == ""
    assert as_cell(404) == "404"
    assert as_cell("=1+1") == "'=1+1"
    assert as_cell(timezone.now() - timedelta(days=1)).endswith("Z")


def test_the_admin_exports_what_is_selected(admin_client: Client, stranger: APIClient) -> None:
    for number in range(3):
        stranger.get(f"/api/v1/{number}")
    first, second = AuthLog.objects.order_by("id")[:2]
    sent = {"action": "export", "_selected_action": [first.pk, second.pk]}
    answer: Any = admin_client.post(reverse("admin:authkeys_authlog_changelist"), sent)
    assert answer["Content-Type"].startswith("text/csv")
    lines = read(answer).decode().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", str(second.pk), str(first.pk)]
