"""What a long queue costs: the same calls with 10 and with 10,000 sessions waiting, side by side.

    .venv/bin/python -m benchmarks.queue [ROUNDS]

Two databases of its own, with sessions of three priorities. The calls go through the whole web application, but not
over the network; rounds are interleaved, and each figure is a median. The limits: a start takes as long with 10,000 as
with ten, a page of the listing takes less than 300 ms. At the end all pages are read, and must be the whole queue in
its order.
"""

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import django

SIZES = (10, 10_000)
KEY = "key-of-the-benchmark"
API = "/api/v1/training"
PAGE_LIMIT_MS = 300.0
CONFIG = {
    "model_architecture": "mlp",
    "dataset_name": "tiny",
    "learning_rate": 0.01,
    "batch_size": 8,
    "epochs": 3,
    "device": "cpu",
}


def fill(path: Path, size: int) -> None:
    """Copy the one session that waits until there are so many, of the priorities -1, 0 and 1 in turn."""
    with closing(sqlite3.connect(path)) as database, database:
        names = [row[1] for row in database.execute("PRAGMA table_info(sessions)")]
        changed = {
            "id": "number",
            "rank": "number",
            "session_id": "printf('sess_%012x', number)",
            "priority": "number % 3 - 1",
            "config": "json_set(config, '$.priority', number % 3 - 1)",
        }
        values = ", ".join(changed.get(name, name) for name in names)
        database.execute(
            f"""
            WITH RECURSIVE numbers(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < {size})
            INSERT INTO sessions ({", ".join(names)}) SELECT {values} FROM sessions, numbers WHERE id = 1
            """  # noqa: S608 - all of it is ours
        )


def measure(folder: Path, rounds: int) -> None:
    from django.db import connection
    from rest_framework.test import APIClient

    from training.models import TrainingSession
    from training.recovery import work_waits

    client = APIClient(HTTP_X_API_KEY=KEY)

    def use(size: int) -> None:
        """Make this the database, and its connection warm."""
        connection.close()
        connection.settings_dict["NAME"] = folder / f"{size}.db"
        TrainingSession.objects.running().count()

    def get(path: str) -> Any:
        answer = client.get(f"{API}/{path}")
        assert answer.status_code == 200, answer.content
        return answer

    def pages(path: str) -> Iterator[tuple[str, Any]]:
        """Every page of a listing, with its path."""
        while path:
            answer = get(path)
            yield path, answer.json()
            path = answer.headers.get("Link", "").partition(">")[0].rpartition(f"{API}/")[2]

    def start(**changes: str) -> None:
        answer = client.post(f"{API}/start", CONFIG | changes, format="json")
        assert answer.status_code == 200, answer.content

    def claim() -> None:
        assert TrainingSession.objects.claim_next(by="benchmark") is not None

    def put_back() -> None:
        """Leave the queue as it was."""
        TrainingSession.objects.filter(pk__gt=size).delete()
        TrainingSession.objects.running().update(state="queued")

    figures: dict[str, dict[int, float]] = defaultdict(dict)
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    calls: dict[int, dict[str, Callable[[], object]]] = {}
    for size in SIZES:
        use(size)
        last_page = [path for path, _ in pages("queue?limit=100")][-1]
        last = f"sess_{size // 3 * 3:012x}"  # of the lowest priority, and the youngest
        calls[size] = {
            "start": start,
            "start with a model_name": lambda: start(model_name="mine"),
            "first page": lambda: get("queue"),
            "first page of 100": lambda: get("queue?limit=100"),
            "last page of 100": lambda page=last_page: get(page),  # type: ignore[misc]
            "status of the last": lambda session_id=last: get(f"{session_id}/status"),  # type: ignore[misc]
            "state of the queue": lambda: get("queue/state"),
            "move to the front": lambda session_id=last: client.patch(  # type: ignore[misc]
                f"{API}/queue/{session_id}", {"position": 1}, format="json"
            ),
            "move to the end": lambda session_id=last: client.patch(  # type: ignore[misc]
                f"{API}/queue/{session_id}", {"position": 10**9}, format="json"
            ),
            "claim_next": claim,
            "the watch's look": work_waits,
        }
    for _ in range(rounds):
        for name in calls[SIZES[0]]:
            for size in SIZES:
                use(size)
                started_at = time.perf_counter()
                calls[size][name]()
                times[name, size].append(1000 * (time.perf_counter() - started_at))
                put_back()
    for (name, size), values in times.items():
        figures[name][size] = statistics.median(values)

    small, large = SIZES
    print(f"medians of {rounds} rounds, ms    {small:>8,}  {large:>8,}   ratio")
    for name, median in figures.items():
        print(f"{name:28}  {median[small]:8.2f}  {median[large]:8.2f}  {median[large] / median[small]:6.2f}")
    slowest = max(median[large] for name, median in figures.items() if "page" in name)
    print(f"the slowest page takes {slowest / PAGE_LIMIT_MS:.2f} of the {PAGE_LIMIT_MS:.0f} ms that it may")

    use(large)
    listed = [entry["session_id"] for _, page in pages("queue") for entry in page]
    assert len(listed) == large
    assert listed == [session.session_id for session in sorted(TrainingSession.objects.all(), key=in_order)]
    print(f"all {large:,} are listed, in order")


def in_order(session: Any) -> tuple[int, float, int]:
    return -session.priority, session.rank, session.pk


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "servermgmt.settings",
            "DATA_DIR": name,
            "API_KEYS": KEY,
            "LOG_LEVEL": "ERROR",
            "MIN_FREE_DISK_BYTES": "1",
        }
        django.setup()
        from django.core.management import call_command
        from django.db import connection

        from registry.models import Dataset
        from training.models import TrainingSession

        call_command("migrate", verbosity=0)
        Dataset.objects.store("tiny", [b"".join(b"%d,%d,%d\n" % (n, n * n, n % 2) for n in range(40))])
        TrainingSession.objects.submit(CONFIG, by="benchmark")
        for size in SIZES:
            connection.cursor().execute("VACUUM INTO %s", [str(folder / f"{size}.db")])
            fill(folder / f"{size}.db", size)
        measure(folder, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
