"""The dashboard: what runs, what waits and why, the machine, and what went wrong last."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from monitoring.models import Sample
from servermgmt import dashboard
from tests.pages.conftest import Staff
from tests.training.conftest import MakeSession
from training.failures import REMEDIES
from training.models import QueueControl, TrainingSession
from training.state import State

HOSTILE = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.django_db


def seen(client: Client) -> str:
    page = client.get("/admin/")
    assert page.status_code == 200
    return page.text


def sample(**columns: object) -> Sample:
    figures = {
        "cpu_usage_percent": 12.5,
        "memory_used_bytes": 3 << 30,
        "memory_total_bytes": 8 << 30,
        "disk_free_bytes": 1 << 30,
        "disk_total_bytes": 10 << 30,
    }
    return Sample.objects.create(**{**figures, **columns})


def test_an_empty_server_says_so(admin_client: Client) -> None:
    page = seen(admin_client)
    for sentence in ("No session runs.", "No session waits.", "No session has failed.", "There is no sample yet"):
        assert sentence in page


def test_a_running_session_has_its_progress_and_its_end(admin_client: Client, make_session: MakeSession) -> None:
    now = timezone.now()
    session = make_session(
        state=State.RUNNING,
        heard_at=now,
        steps_done=30,
        steps_planned=120,
        current_epoch=1,
        seconds_left=3600 * 2 + 60,
    )
    page = seen(admin_client)
    assert f'data-session="{session.session_id}"' in page
    assert 'value="0.2500"' in page
    assert "25 %" in page
    assert "2\xa0hours left" in page
    assert "not heard of" not in page


def test_a_session_that_is_not_heard_of_is_told(admin_client: Client, make_session: MakeSession) -> None:
    make_session(state=State.RUNNING, heard_at=timezone.now() - timedelta(hours=1))
    assert "not heard of" in seen(admin_client)


def test_the_queue_says_why_each_waits(admin_client: Client, make_session: MakeSession, settings: Settings) -> None:
    settings.MIN_FREE_DISK_BYTES = 0
    running = make_session(state=State.RUNNING)
    first, second = make_session(), make_session()
    page = seen(admin_client)
    assert f"every place is taken ({running.session_id})" in page
    assert page.count("Waits: others start before it<") == 1
    assert page.index(f"queued-{first.session_id}") < page.index(f"queued-{second.session_id}")
    QueueControl.objects.pause(by=f"user:{HOSTILE}")
    page = seen(admin_client)
    assert "The queue is paused by user:&lt;img" in page
    assert page.count("Waits: the queue is paused") == 2


def test_a_failure_comes_with_what_to_do(admin_client: Client, make_session: MakeSession) -> None:
    for number in range(dashboard.FAILURES_SHOWN + 1):
        make_session(
            state=State.FAILED,
            ended_at=timezone.now() - timedelta(minutes=number),
            failure_code="disk_full",
            error_message=f"{HOSTILE} number {number}",
        )
    page = seen(admin_client)
    assert page.count(REMEDIES["disk_full"]) == dashboard.FAILURES_SHOWN
    assert HOSTILE not in page
    assert "number 0" in page
    assert f"number {dashboard.FAILURES_SHOWN}" not in page


def test_days_count_how_sessions_ended(admin_client: Client, make_session: MakeSession) -> None:
    now = timezone.now()
    for state, days in ((State.COMPLETED, 0), (State.COMPLETED, 0), (State.FAILED, 0), (State.STOPPED, 3)):
        make_session(state=state, ended_at=now - timedelta(days=days))
    make_session(state=State.COMPLETED, ended_at=now - timedelta(days=dashboard.DAYS))
    make_session(state=State.COMPLETED, ended_at=now + timedelta(days=400))  # a clock that was wrong
    ended = TrainingSession.objects.ended_by_day(dashboard.DAYS)
    assert len(ended) == dashboard.DAYS
    assert list(ended)[-1] == now.date()
    assert ended[now.date()] == {"completed": 2, "stopped": 0, "failed": 1}
    assert ended[(now - timedelta(days=3)).date()] == {"completed": 0, "stopped": 1, "failed": 0}
    assert sum(sum(counts.values()) for counts in ended.values()) == 4
    assert ": 2 completed, 1 failed, 0 stopped" in seen(admin_client)


def test_the_machine_is_drawn_over_its_newest_samples(admin_client: Client) -> None:
    now = timezone.now()
    gpu = {"index": 0, "name": HOSTILE, "memory_used_bytes": 1 << 30, "memory_total_bytes": 4 << 30}
    sample(timestamp=now - timedelta(seconds=4), cpu_usage_percent=50)
    sample(timestamp=now - timedelta(seconds=2), gpus=[{**gpu, "usage_percent": None}])
    sample(timestamp=now, gpus=[{**gpu, "usage_percent": 75.0}])
    page = seen(admin_client)
    assert 'data-gauge="cpu" data-values="50.0,12.5,12.5"' in page
    assert 'data-gauge="memory" data-values="37.5,37.5,37.5"' in page
    assert 'data-gauge="gpu-0" data-values=",,75.0"' in page
    assert "3.0 of 8.0 GiB" in page
    assert "does the sampler run?" not in page
    assert HOSTILE not in page


def test_a_sampler_that_is_gone_is_told(admin_client: Client) -> None:
    sample(timestamp=timezone.now() - timedelta(hours=1))
    assert "does the sampler run?" in seen(admin_client)


@pytest.mark.parametrize(
    ("permission", "sees_sessions", "sees_machine"),
    [(None, False, False), ("view_trainingsession", True, False), ("view_sample", False, True)],
)
def test_everybody_sees_what_he_may(
    staff: Staff, make_session: MakeSession, permission: str | None, sees_sessions: bool, sees_machine: bool
) -> None:
    session = make_session()
    sample()
    client = staff(*filter(None, [permission]))
    page = seen(client)
    assert (session.session_id in page) is sees_sessions
    assert ('data-gauge="cpu"' in page) is sees_machine
    assert ("data-events" in page) is False  # which needs a scope, and nobody here has one
    assert client.get("/admin/disk/").status_code == (200 if sees_machine else 403)
    assert client.get("/admin/lists/").status_code == (200 if sees_sessions else 403)


def test_the_events_are_for_those_who_may_read_sessions(staff: Staff, admin_client: Client) -> None:
    assert 'data-events="/api/v1/events"' in seen(admin_client)
    assert 'data-events="/api/v1/events"' in seen(staff("view_trainingsession", "scope_sessions_read"))


def test_a_stranger_sees_nothing(client: Client) -> None:
    for user in (None, User.objects.create_user("nobody")):
        if user:
            client.force_login(user)
        for path in ("/admin/", "/admin/lists/", "/admin/disk/"):
            assert client.get(path).status_code == 302


def test_the_lists_alone_are_those_of_the_page(admin_client: Client, make_session: MakeSession) -> None:
    states = (State.RUNNING, State.QUEUED, State.FAILED)
    sessions = [make_session(state=state, ended_at=timezone.now()) for state in states]
    lists = admin_client.get("/admin/lists/").text
    page = seen(admin_client)
    for session in sessions:
        assert session.session_id in lists
    for part in ('id="sessions"', 'id="days"', 'id="failures"'):
        assert lists.count(part) == page.count(part) == 1
    assert "<html" not in lists


def test_much_is_shown_by_few_queries(admin_client: Client, make_session: MakeSession) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            seen(admin_client)
        return len(captured)

    make_session(state=State.RUNNING), make_session(), make_session(), make_session(state=State.FAILED)
    few = queries()
    for _ in range(12):
        make_session(state=State.RUNNING), make_session(), make_session(state=State.FAILED)
    assert queries() <= few
    assert "All 14 that wait" in seen(admin_client)
