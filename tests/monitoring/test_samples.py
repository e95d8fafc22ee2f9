from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from monitoring import probes
from monitoring.models import Sample
from monitoring.sampler import Sampler
from tests.monitoring.fake_nvml import GIBIBYTE, FakeGpu, FakeNvml

pytestmark = pytest.mark.django_db


def stored(age: timedelta) -> Sample:
    """A sample in the database, taken `age` ago."""
    sample = Sample.measure()
    sample.timestamp = timezone.now() - age
    sample.save()
    return sample


def test_a_sample_is_stored_whole() -> None:
    taken = Sampler().sample_once()
    kept = Sample.objects.get()
    assert kept.timestamp == taken.timestamp
    assert kept.memory_total_bytes == taken.memory_total_bytes > 0
    assert kept.gpus == taken.gpus


def test_sampling_prunes_what_is_older_than_the_retention(settings: Settings) -> None:
    settings.SAMPLE_RETENTION_DAYS = 2
    stored(timedelta(days=2, minutes=1))
    young = stored(timedelta(days=1, hours=23))
    newest = Sampler().sample_once()
    assert set(Sample.objects.all()) == {young, newest}


def test_the_newest_sample_is_fresh_until_the_sampler_has_missed_a_turn(settings: Settings) -> None:
    settings.SAMPLE_EVERY_SECONDS = 5.0
    assert Sample.objects.fresh() is None
    stored(timedelta(seconds=11))
    assert Sample.objects.fresh() is None
    stored(timedelta(seconds=9))
    newest = stored(timedelta(seconds=4))
    assert Sample.objects.fresh() == newest


def test_a_sample_of_the_future_is_not_fresh() -> None:
    """As when the clock has been set back."""
    stored(timedelta(hours=-1))
    assert Sample.objects.fresh() is None


def test_gpu_figures_add_up_over_the_gpus_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [
        FakeGpu(usage_percent=90, memory_used_bytes=10 * GIBIBYTE),
        FakeGpu(usage_percent=30, memory_used_bytes=2 * GIBIBYTE),
        FakeGpu(refuses=frozenset({"handle"})),
    ]
    monkeypatch.setattr(probes, "pynvml", FakeNvml(gpus))
    Sampler().sample_once()
    sample = Sample.objects.get()
    assert sample.gpu_available
    assert sample.gpu_usage_percent == 60
    assert sample.gpu_memory_used_bytes == 12 * GIBIBYTE
    assert sample.gpu_memory_total_bytes == 32 * GIBIBYTE


def test_a_lone_gpu_that_is_lost_is_there_without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "pynvml", FakeNvml([FakeGpu(refuses=frozenset({"handle"}))]))
    sample = Sample.measure()
    assert sample.gpu_available
    assert sample.gpu_usage_percent is None
    assert sample.gpu_memory_used_bytes is None
    assert sample.gpu_memory_total_bytes is None
