"""Step series beside what Django's ORM would do: 100,000 points into the database, and a chart of them out of it.

    .venv/bin/python -m benchmarks.series [ROUNDS]

In: a journal of 100,000 points ingested, beside bulk_create of the same rows from memory. Out: 1,000 points chosen by
the database, as JSON, beside all of them fetched with values_list and written as JSON. On a database of its own.
Rounds are interleaved, and the figure is the median.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import django

POINTS = 100_000
NAMES = ("train/loss", "learning_rate", "gradient_norm", "samples_per_second")
# What a trainer writes at once.
POINTS_IN_EVENT = 10


def seconds(deed: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    deed()
    return time.perf_counter() - started_at


def measure(rounds: int) -> None:
    from registry.models import Dataset
    from training.ingest import ingest
    from training.journal import JournalWriter
    from training.models import SeriesPoint, TrainingSession
    from training.series import read_series

    dataset = Dataset.objects.store("tiny", [b"1,0\n2,1\n"])
    by_name = [(step, float(step * 7919 % 1009)) for step in range(0, POINTS // len(NAMES) * 10, 10)]

    def new_session(number: int) -> TrainingSession:
        return TrainingSession.objects.create(session_id=f"sess_{number:012x}", config={"epochs": 1}, dataset=dataset)

    def ingest_all(session: TrainingSession) -> None:
        while ingest(session):
            pass

    def create_all(session: TrainingSession) -> None:
        now = datetime.now(UTC)
        SeriesPoint.objects.bulk_create(
            (
                SeriesPoint(session=session, name=name, step=step, value=value, timestamp=now)
                for name in NAMES
                for step, value in by_name
            ),
            batch_size=1000,
        )

    def write_journal(session: TrainingSession) -> None:
        session.directory.create()
        writer = JournalWriter(session.directory.events, 1)
        for start in range(0, len(by_name), POINTS_IN_EVENT):
            steps, values = zip(*by_name[start : start + POINTS_IN_EVENT], strict=True)
            writer.points(steps, dict.fromkeys(NAMES, values))
        writer.close()

    def fetch_all(session: TrainingSession) -> str:
        rows = SeriesPoint.objects.filter(session=session, name="one").order_by("step")
        return json.dumps(list(rows.values_list("step", "value")))

    def choose(session: TrainingSession) -> str:
        return json.dumps([series.as_dict() for series in read_series(session, ["one"])], default=str)

    times: dict[str, list[float]] = {name: [] for name in ("ingest", "bulk_create", "chosen", "all")}
    for number in range(rounds):
        ingested, created = new_session(2 * number), new_session(2 * number + 1)
        write_journal(ingested)
        times["ingest"].append(seconds(lambda session=ingested: ingest_all(session)))  # type: ignore[misc]
        times["bulk_create"].append(seconds(lambda session=created: create_all(session)))  # type: ignore[misc]
        assert ingested.points.count() == created.points.count() == POINTS
        ingested.points.all().delete()
        created.points.all().delete()

    session = new_session(2 * rounds)
    now = datetime.now(UTC)
    SeriesPoint.objects.bulk_create(
        SeriesPoint(session=session, name="one", step=10 * n, value=float(n * 7919 % 1009), timestamp=now)
        for n in range(POINTS)
    )
    for _ in range(rounds):
        times["chosen"].append(seconds(lambda: choose(session)))
        times["all"].append(seconds(lambda: fetch_all(session)))

    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"medians of {rounds} rounds, {POINTS:,} points")
    print(f"in    ingest of a journal  {POINTS / median['ingest']:9,.0f} points/s")
    print(f"      bulk_create          {POINTS / median['bulk_create']:9,.0f} points/s")
    print(f"      ratio                {median['bulk_create'] / median['ingest']:9.2f}")
    print(f"out   1,000 chosen, JSON   {median['chosen'] * 1000:9.1f} ms  {len(choose(session)) / 1000:8.1f} kB")
    print(f"      all of them, JSON    {median['all'] * 1000:9.1f} ms  {len(fetch_all(session)) / 1000:8.1f} kB")
    print(f"      ratio                {median['all'] / median['chosen']:9.2f}")


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "servermgmt.settings", "DATA_DIR": str(Path(folder))}
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        measure(rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
