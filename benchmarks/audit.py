"""The audit log: how fast its chain is checked, what a link costs a request, and whether the time tells a good key.

    .venv/bin/python -m benchmarks.audit [ROUNDS]

Checked: all rows verified, beside the same rows fetched     . Written: a row with its link and its transaction, beside
the plain INSERT of one. Told: authenticating with a good key beside one that nobody made, in turns; the difference of
the medians, beside the noise: that of two halves of one kind, and of single requests. On a database of its own.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import django

ROWS = 200_000
WRITTEN = 2_000
ASKED = 4_000


def seconds(deed: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    deed()
    return time.perf_counter() - started_at


def a_row(number: int) -> tuple[Any, ...]:
    from django.utils import timezone

    endpoint = f"/api/v1/training/sess_{number:012x}/status"
    asked = ("GET", endpoint, 200, f"{number:032x}", "10.0.0.1")
    return (timezone.now(), True, "ok", "0" * 64, "tsk_abcd", "robot", *asked)


def measure_verification(rounds: int) -> None:
    from django.db import transaction

    from authkeys import chain

    with transaction.atomic():
        for number in range(ROWS):
            chain.append(a_row(number))
    times: dict[str, list[float]] = {"verified": [], "fetched": []}
    for _ in range(rounds):
        times["verified"].append(seconds(chain.verify))
        times["fetched"].append(seconds(lambda: sum(1 for _ in chain.stored_rows(0))))
    assert chain.verify().faults == []
    verified, fetched = (ROWS / statistics.median(values) for values in times.values())
    print(
        f"checked   verified {verified:9,.0f} rows/s   fetched      {fetched:9,.0f} rows/s   {verified / fetched:.2f}"
    )


def measure_writing(rounds: int) -> None:
    from django.db import connection, transaction

    from authkeys import chain

    def link_one(number: int) -> None:
        with transaction.atomic():
            chain.append(a_row(number))

    def insert_one(number: int) -> None:
        timestamp, *others = a_row(number)
        values = [connection.ops.adapt_datetimefield_value(timestamp), *others, ""]
        with connection.cursor() as cursor:
            cursor.execute(chain.INSERT, values)

    times: dict[str, list[float]] = {"linked": [], "plain": []}
    for _ in range(rounds):
        for name, deed in (("linked", link_one), ("plain", insert_one)):
            times[name].append(seconds(lambda deed=deed: [deed(number) for number in range(WRITTEN)]))  # type: ignore[misc]
    linked, plain = (statistics.median(values) / WRITTEN * 1e6 for values in times.values())
    print(f"written   linked   {linked:9,.0f} µs       plain INSERT {plain:9,.0f} µs       {linked / plain:.2f}")


def measure_keys(rounds: int) -> None:
    from django.http import HttpRequest

    from authkeys import keys
    from authkeys.authentication import judge
    from authkeys.models import APIKey

    good = [APIKey.objects.create_key(f"robot {number}")[1].encode() for number in range(1000)]

    def time_of(key: bytes) -> float:
        return seconds(lambda: judge(HttpRequest(), [key]))

    differences, halves, spreads = [], [], []
    for _ in range(rounds):
        times: dict[str, list[float]] = {"good": [], "unknown": []}
        for number in range(ASKED):
            turn = [("good", good[number % len(good)]), ("unknown", keys.make().encode())]
            random.shuffle(turn)
            for kind, key in turn:
                times[kind].append(time_of(key))
        medians = {kind: statistics.median(values) for kind, values in times.items()}
        differences.append(medians["good"] - medians["unknown"])
        halves += [abs(statistics.median(values[::2]) - statistics.median(values[1::2])) for values in times.values()]
        quarters = statistics.quantiles(times["good"])
        spreads.append(quarters[2] - quarters[0])
    difference, half, spread = statistics.median(differences), max(halves), statistics.median(spreads)
    print(
        f"told      good less unknown {difference * 1e6:+.1f} µs of {medians['good'] * 1e6:.0f} µs; two halves of one "
        f"kind differ by up to {half * 1e6:.1f} µs, the middle half of single requests by {spread * 1e6:.1f} µs"
    )


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "servermgmt.settings", "DATA_DIR": folder}
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        print(f"medians of {rounds} rounds")
        measure_verification(rounds)
        measure_writing(rounds)
        measure_keys(rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
