from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from monitoring import probes
from monitoring.models import Sample
from tests.contract import SYSTEM_INFO_FIELDS
from tests.monitoring.fake_nvml import GIBIBYTE, FakeGpu, FakeNvml

pytestmark = pytest.mark.django_db


def test_without_a_gpu_the_gpu_figures_are_null_and_all_others_are_live(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "pynvml", FakeNvml([]))
    before = timezone.now()
    response = client.get("/api/v1/system/info")
    assert response.status_code == 200
    info = response.json()
    assert set(info) == SYSTEM_INFO_FIELDS
    assert info["gpu_available"] is False
    assert info["gpu_usage_percent"] is info["gpu_memory_used_mb"] is info["gpu_memory_total_mb"] is None
    assert 0 <= info["cpu_usage_percent"] <= 100
    assert 0 < info["memory_used_mb"] < info["memory_total_mb"]
    assert info["memory_percent"] == pytest.approx(100 * info["memory_used_mb"] / info["memory_total_mb"], abs=0.01)
    assert 0 <= info["disk_free_gb"] <= info["disk_total_gb"]
    assert info["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(info["timestamp"]) <= timezone.now()


def test_two_gpus_are_summed_up(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [FakeGpu(usage_percent=100, memory_used_bytes=3 * GIBIBYTE), FakeGpu()]
    monkeypatch.setattr(probes, "pynvml", FakeNvml(gpus))
    info = client.get("/api/v1/system/info").json()
    assert info["gpu_available"] is True
    assert info["gpu_usage_percent"] == 50
    assert info["gpu_memory_used_mb"] == 3 * 1024
    assert info["gpu_memory_total_mb"] == 32 * 1024


def test_the_units_are_powers_of_two(client: APIClient) -> None:
    Sample.objects.create(
        cpu_usage_percent=12.5,
        memory_used_bytes=3 << 29,
        memory_total_bytes=6 << 30,
        disk_free_bytes=5 << 29,
        disk_total_bytes=10 << 30,
    )
    info = client.get("/api/v1/system/info").json()
    assert info["cpu_usage_percent"] == 12.5
    assert (info["memory_used_mb"], info["memory_total_mb"], info["memory_percent"]) == (1536, 6144, 25)
    assert (info["disk_free_gb"], info["disk_total_gb"]) == (2.5, 10)


def test_a_stale_sample_is_not_shown(client: APIClient, settings: Settings) -> None:
    old = Sample.measure()
    old.timestamp = timezone.now() - timedelta(seconds=3 * settings.SAMPLE_EVERY_SECONDS)
    old.save()
    info = client.get("/api/v1/system/info").json()
    assert datetime.fromisoformat(info["timestamp"]) > old.timestamp
    assert Sample.objects.get() == old  # looking stores nothing
