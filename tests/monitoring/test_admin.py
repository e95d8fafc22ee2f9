from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from monitoring.admin import MOST_SAMPLES
from monitoring.models import Sample
from monitoring.sampler import Sampler

HISTORY = "/admin/monitoring/sample/history/"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_samples_are_listed_and_cannot_be_written(admin_client: Client) -> None:
    sample = Sampler().sample_once()
    page = admin_client.get(reverse("admin:monitoring_sample_changelist"))
    assert f"{sample.memory_percent:.0f} %" in page.content.decode()
    assert admin_client.get(reverse("admin:monitoring_sample_add")).status_code == 403
    delete = reverse("admin:monitoring_sample_delete", args=[sample.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Sample.objects.count() == 1


def store_samples(count: int) -> None:
    """One a second, from noon on; each tells its number as the use of the CPU."""
    Sample.objects.bulk_create(
        Sample(
            timestamp=NOON + timedelta(seconds=second),
            cpu_usage_percent=second % 100,
            memory_used_bytes=1 << 30,
            memory_total_bytes=4 << 30,
            disk_free_bytes=1,
            disk_total_bytes=2,
        )
        for second in range(count)
    )


def test_the_history_has_the_samples_between_two_times(admin_client: Client) -> None:
    store_samples(10)
    answer = admin_client.get(HISTORY, {"start": "2026-01-31T12:00:03Z", "end": "2026-01-31T14:00:06+02:00"}).json()
    assert [sample["cpu_usage_percent"] for sample in answer] == [3, 4, 5, 6]
    assert answer[0]["timestamp"] == "2026-01-31T12:00:03Z"
    assert answer[0]["memory_percent"] == 25
    assert admin_client.get(HISTORY, {"start": "2026-02-01", "end": "2026-02-02"}).json() == []


def test_a_long_history_is_thinned_out(admin_client: Client) -> None:
    store_samples(3 * MOST_SAMPLES)
    answer = admin_client.get(HISTORY, {"start": "2026-01-31T12:00", "end": "2026-02-01T12:00"}).json()
    assert len(answer) == MOST_SAMPLES
    times = [datetime.fromisoformat(sample["timestamp"]) for sample in answer]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=3)}


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"start": "2026-01-31"},
        {"start": "noon", "end": "2026-01-31"},
        {"start": "0001-01-01T00:00+14:00", "end": "\0"},
    ],
)
def test_a_history_without_times_says_what_it_needs(admin_client: Client, query: dict[str, str]) -> None:
    answer = admin_client.get(HISTORY, query)
    assert answer.status_code == 400
    assert "start and end" in answer.json()["detail"]


def test_the_history_is_for_those_who_may_see_samples(client: Client, db: None) -> None:
    times = {"start": "2026-01-31", "end": "2026-02-01"}
    assert client.get(HISTORY, times)["Location"].startswith("/admin/login/")
    client.force_login(User.objects.create_user("clerk", password="a password of the tests", is_staff=True))
    assert client.get(HISTORY, times).status_code == 403
