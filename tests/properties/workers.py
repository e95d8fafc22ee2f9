"""Workers in threads: each answers one bell, as django-q2 lets a worker's process do."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import connection

from training.models import TrainingSession
from training.tasks import answer_bell


@contextmanager
def workers(count: int) -> Iterator[None]:
    """So many workers, all at once. At the end of the block no session is left, and no process."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(answer_one_bell) for _ in range(count)]
        try:
            yield
        finally:
            # The newest first: a place that is free must not be taken once more.
            for session in TrainingSession.objects.filter(ended_at=None).order_by("-id"):
                session.request_stop(by="test")
    for future in futures:
        future.result()
    TrainingSession.objects.all().delete()


def answer_one_bell() -> None:
    try:
        answer_bell()
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.01)
