"""A log of a million lines: its pages, searches and download, beside pages by OFFSET.

    .venv/bin/python -m benchmarks.logs [ROUNDS]

One session has a million lines, and between them lie those of ten others; ten of its lines are errors. The calls go
through the whole web application, but not over the network; rounds are interleaved. The limit: every page of 100, the
first, the last and one between, also of a level that is rare or of a search that finds nothing, takes less than 50 ms
in the median. A search that is followed to its end must find what is there. Beside it, without the application: the
same rows by LIMIT and OFFSET. On a database of its own, or on an empty one of PostgreSQL that DATABASE_URL names.
"""

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

LINES = 1_000_000
OTHERS = 10
RARE = 100_000  # of so many lines one is an error
KEY = "key-of-the-benchmark"
PAGE_LIMIT_MS = 50.0
PAGE = 100


def entries(sessions: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of the table: ten lines of the first session, then one of another."""
    from django.db import connection

    start = datetime(2026, 1, 31, tzinfo=UTC)
    for line in range(1, LINES + 1):
        at = connection.ops.adapt_datetimefield_value(start + timedelta(milliseconds=line))
        level = "ERROR" if line % RARE == RARE // 2 else "WARNING" if line % 10 == 0 else "INFO"
        what = "CUDA is out of memory" if level == "ERROR" else f"loss {1 / line:.8f}, {line % 997} samples/s"
        yield sessions[0].pk, line, at, level, f"epoch {line // 1000} step {line}: {what}, learning rate 0.001"
        if line % 10 == 0:
            number, own_line = line // 10 % OTHERS, (line // 10 - 1) // OTHERS + 1
            yield sessions[1 + number].pk, own_line, at, level, f"another session's line {own_line}"


def fill() -> Any:
    """The session with the million lines."""
    from django.db import connection, transaction

    from registry.models import Dataset
    from training.ingest import STORE_LOG_ENTRY
    from training.models import TrainingSession

    dataset = Dataset.objects.store("tiny", [b"1,0\n2,1\n"])
    config = {"model_architecture": "mlp", "epochs": 1}
    sessions = [
        TrainingSession.objects.create(session_id=f"sess_{number:012x}", config=config, dataset=dataset)
        for number in range(1 + OTHERS)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        rows: list[tuple[Any, ...]] = []
        for row in entries(sessions):
            rows.append(row)
            if len(rows) == 10_000:
                cursor.executemany(STORE_LOG_ENTRY, rows)
                rows.clear()
        cursor.executemany(STORE_LOG_ENTRY, rows)
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE logs")  # which it does by itself within a minute
    return sessions[0]


def timed(deed: Callable[[], Any]) -> tuple[Any, float]:
    started_at = time.perf_counter()
    result = deed()
    return result, (time.perf_counter() - started_at) * 1000


def measure(rounds: int) -> bool:
    from django.db import connection
    from rest_framework.test import APIClient

    from training.log_search import LogSearch
    from training.serializers import LogEntrySerializer

    session, milliseconds = timed(fill)
    print(f"{LINES:,} lines on {connection.vendor}, written in {milliseconds / 1000:.1f} s; {rounds} rounds")
    client = APIClient(HTTP_X_API_KEY=KEY)
    path = f"/api/v1/training/{session.session_id}/logs"

    def get(query: str) -> Any:
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 200, answer.content
        return answer

    pages = {
        "newest page": "",
        "newest 1,000": "limit=1000",
        "oldest page": "before=101",
        "page in the middle": f"before={LINES // 2}",
        "behind a line in the middle": f"after={LINES // 2}",
        "behind the last line": f"after={LINES}",
        "a rare level": "level=ERROR",
        "a rare level, from the end on": "level=ERROR&before=50001",
        "two levels": "level=ERROR,WARNING",
        "three levels in the middle": f"level=ERROR,WARNING,INFO&before={LINES // 2}",
        "search, often found": "search=LOSS",
        "search, never found": "search=nothing+like+it",
        "search at a rare level": "search=cuda&level=ERROR",
        "regex, often found": r"regex=step+\d*7:",
        "regex, never found": r"regex=samples/(min|h)$",
        "search and regex, never found": "search=samples&regex=^nothing",
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, query in pages.items():
            times[name].append(timed(lambda query=query: get(query))[1])  # type: ignore[misc]

    print(f"\nthrough the application{'median':>22}{'worst':>10} ms")
    for name in pages:
        print(f"  {name:34}{statistics.median(times[name]):9.1f}{max(times[name]):10.1f}")
    limited = (name for name, query in pages.items() if "limit" not in query)
    slow = [name for name in limited if statistics.median(times[name]) >= PAGE_LIMIT_MS]

    def follow(query: str) -> tuple[int, int, float]:
        """To the last page: how much was found, on how many pages, and the longest that one took."""
        found = count = 0
        longest = 0.0
        url = f"{path}?{query}"
        while url:
            answer, milliseconds = timed(lambda url=url: client.get(url))  # type: ignore[misc]
            found, count, longest = found + len(answer.json()), count + 1, max(longest, milliseconds)
            url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        return found, count, longest

    print(f"\nfollowed through the whole log{'found':>15}{'pages':>10}{'seconds':>10}{'longest page, ms':>20}")
    for query in ("search=cuda", "regex=CUDA.*memory", "level=ERROR"):
        (found, count, longest), milliseconds = timed(lambda query=query: follow(query))  # type: ignore[misc]
        print(f"  {query:34}{found:9}{count:10}{milliseconds / 1000:10.1f}{longest:20.1f}")
        assert found == LINES // RARE

    def by_line(before: int) -> Any:
        return LogEntrySerializer(LogSearch(session, before=before).page_behind(None, PAGE)[0], many=True).data

    def by_offset(offset: int) -> Any:
        rows = session.log_entries.order_by("-line")[offset : offset + PAGE]
        return LogEntrySerializer(list(rows)[::-1], many=True).data

    print(f"\nwithout the application{'by line':>22}{'OFFSET':>10} ms{'ratio':>9}")
    for name, offset in {"first page": 0, "middle": LINES // 2, "last page": LINES - PAGE}.items():
        assert by_line(LINES + 1 - offset) == by_offset(offset)
        pairs = [
            (timed(lambda: by_line(LINES + 1 - offset))[1], timed(lambda: by_offset(offset))[1])  # noqa: B023
            for _ in range(rounds)
        ]
        line, skipped = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"  {name:34}{line:9.1f}{skipped:10.1f}{skipped / line:12.1f}")

    size, milliseconds = timed(lambda: sum(map(len, client.get(f"{path}/download"))))
    print(f"\ndownload of the whole: {size / 1e6:.0f} MB in {milliseconds / 1000:.1f} s")
    for name in slow:
        print(f"too slow: {name}")
    return not slow


def main(rounds: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "servermgmt.settings", "DATA_DIR": str(Path(folder)), "API_KEYS": KEY}
        os.environ["ALLOWED_HOSTS"] = "testserver"
        os.environ |= dict.fromkeys(("KEY_RATE", "ADDRESS_RATE"), "100000000/minute")
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return measure(rounds)


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
