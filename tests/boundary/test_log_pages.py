"""Pages of a log over HTTP, on SQLite and on PostgreSQL: together they are all that was asked for."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.boundary.live_server import KEY, LiveServer, live_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINES = 3000
LEVELS = ("INFO", "WARNING", "DEBUG", "TRACE")
WORDS = ("Größe", "GRÖSSE", "loss 0.5", "LOSS", "per cent % and _")

WRITE = """
from training.ingest import Rows
from training.models import TrainingSession
for session in TrainingSession.objects.order_by("id"):
    rows = Rows(session)
    for n in range(1, {lines} + 1):
        level = "ERROR" if n % 1000 == 500 else {levels!r}[n % 7 % 4]
        message = f"{{{words!r}[n % 5]}} {{n}}\\nof {{session}}"
        rows.add({{"event": "log", "at": "2026-01-31T12:00:00Z", "level": level, "message": message}})
    rows.store()
"""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        server.manage("shell", "-v", "0", "-c", WRITE.format(lines=LINES, levels=LEVELS, words=WORDS))
        yield server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[httpx.Client]:
    path = f"http://127.0.0.1:{server.port}/api/v1/training/{server.values['ended']}/logs"
    with httpx.Client(base_url=path, headers={"X-API-Key": KEY}, timeout=60) as client:
        yield client


def level_of(line: int) -> str:
    return "ERROR" if line % 1000 == 500 else LEVELS[line % 7 % 4]


QUERIES: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda line: True),
    ({"limit": 7, "after": 2900}, lambda line: line > 2900),
    ({"before": 1234}, lambda line: line < 1234),
    ({"after": 10, "before": 20, "limit": 1}, lambda line: 10 < line < 20),
    ({"level": "ERROR", "limit": 2}, lambda line: level_of(line) == "ERROR"),
    ({"level": "TRACE,ERROR", "before": 2000}, lambda line: level_of(line) in ("TRACE", "ERROR") and line < 2000),
    ({"search": "größe", "limit": 1000}, lambda line: line % 5 < 2),
    ({"search": "% AND _"}, lambda line: line % 5 == 4),
    ({"search": "nothing"}, lambda line: False),
    ({"regex": r"^(?i:loss)\b.*\d7\nof", "after": 0}, lambda line: line % 5 == 2 and line % 10 == 7 and line > 10),
    ({"regex": "^LOSS", "level": "WARNING"}, lambda line: line % 5 == 3 and level_of(line) == "WARNING"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "fits"), QUERIES)
def test_all_pages_together_are_all_that_fits(client: httpx.Client, query: dict[str, Any], fits: Any) -> None:
    pages = []
    answer = client.get("", params=query)
    while True:
        assert answer.status_code == 200, answer.text
        pages.append([entry["line"] for entry in answer.json()])
        if "next" not in answer.links:
            break
        answer = client.get(answer.links["next"]["url"])
    found = [line for page in (pages if "after" in query else pages[::-1]) for line in page]
    assert found == [line for line in range(1, LINES + 1) if fits(line)]


def test_the_whole_log_comes_as_a_file(client: httpx.Client, server: LiveServer) -> None:
    answer = client.get("/download", headers={"Accept": "text/html"})
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert len(lines) == 2 * LINES
    assert lines[-2:] == [f"{LINES} 2026-01-31T12:00:00.000000Z INFO Größe {LINES}", f"    of {server.values['ended']}"]
