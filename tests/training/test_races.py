"""Many at once on the real database: nothing is counted twice, nothing is lost, and nobody meets a locked database."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.db import connection
from pytest_django import Settings

from tests.training.conftest import MakeSession
from training.ingest import ingest
from training.journal import JournalWriter
from training.models import IllegalTransition, TrainingSession
from training.state import State

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8
Result = TypeVar("Result")


def at_once(*acts: Callable[[], Result]) -> list[Result]:
    """What many threads made of these acts, of which they take turns."""

    def in_a_thread(number: int) -> Result:
        try:
            return acts[number % len(acts)]()
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(in_a_thread, range(THREADS)))


def test_the_database_is_opened_for_a_server(make_session: MakeSession) -> None:
    with connection.cursor() as cursor:
        pragmas = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 1]  # 1 is NORMAL


def test_of_many_who_claim_as_many_win_as_may_run(make_session: MakeSession, settings: Settings) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 3
    for _ in range(THREADS):
        make_session()
    claimed = [session for session in at_once(lambda: TrainingSession.objects.claim_next(by="test")) if session]
    assert len({session.pk for session in claimed}) == len(claimed) == 3
    assert sorted(session.pk for session in claimed) == list(
        TrainingSession.objects.order_by("id").values_list("pk", flat=True)[:3]
    )


def test_of_many_who_move_one_session_one_wins(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)

    def fail() -> bool:
        try:
            TrainingSession.objects.get(pk=session.pk).fail("user_code", "one of many")
        except IllegalTransition:
            return False
        return True

    assert sum(at_once(fail)) == 1
    assert session.transitions.count() == 1


def test_a_stop_that_races_with_the_claim_is_never_lost(make_session: MakeSession) -> None:
    def claim() -> None:
        TrainingSession.objects.claim_next(by="test")

    def stop() -> None:
        with contextlib.suppress(IllegalTransition):  # another thread's stop was carried out already
            TrainingSession.objects.latest("id").request_stop(by="test")

    for _ in range(10):
        session = make_session()
        at_once(claim, stop)
        session.refresh_from_db()
        assert session.state == State.STOPPED or session.wish == "stop"
        TrainingSession.objects.update(state=State.STOPPED)


def test_readers_who_write_meet_no_locked_database(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)

    def count() -> None:
        for _ in range(25):
            TrainingSession.objects.get(pk=session.pk).count_crash()

    at_once(count)
    session.refresh_from_db()
    assert session.crashes_since_epoch == THREADS * 25


def test_of_many_who_log_at_once_each_has_lines_of_its_own(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    for number in range(10):
        writer.log("INFO", f"the trainer's {number}")
    writer.close()

    def log() -> None:
        for number in range(5):
            TrainingSession.objects.get(pk=session.pk).log("INFO", f"the server's {number}")

    at_once(log, lambda: ingest(TrainingSession.objects.get(pk=session.pk)))
    lines = list(session.log_entries.order_by("id").values_list("line", flat=True))
    assert lines == list(range(1, 10 + THREADS // 2 * 5 + 1))
