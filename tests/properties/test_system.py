"""The machine."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from monitoring import views
from monitoring.models import Sample
from tests.properties.api import Api
from tests.properties.rules import for_all

pytestmark = pytest.mark.django_db

HOST_FIELDS = [
    "cpu_usage_percent",
    "memory_used_mb",
    "memory_total_mb",
    "memory_percent",
    "disk_free_gb",
    "disk_total_gb",
]
GPU_FIELDS = ["gpu_usage_percent", "gpu_memory_used_mb", "gpu_memory_total_mb"]

percents = st.floats(0, 100)
sizes = st.integers(1, 2**50)
gpus = st.fixed_dictionaries(
    {
        "name": st.none() | st.text(),
        "usage_percent": st.none() | percents,
        "memory_used_bytes": st.none() | sizes,
        "memory_total_bytes": st.none() | sizes,
    }
)
samples = st.fixed_dictionaries(
    {
        "cpu_usage_percent": percents,
        "memory_used_bytes": sizes,
        "memory_total_bytes": sizes,
        "disk_free_bytes": sizes,
        "disk_total_bytes": sizes,
        "gpus": st.lists(gpus, max_size=4),
    }
)


@for_all(sample=samples | st.none())
def test_property_11_system_info_is_complete(
    api: Api, monkeypatch: pytest.MonkeyPatch, sample: dict[str, Any] | None
) -> None:
    """With what the sampler saw, with and without GPUs, and without a sampler."""
    monkeypatch.setattr(views, "CPU_OVER_SECONDS", 0.001)
    if sample is not None:
        Sample.objects.create(**sample)

    info = api.get("/system/info")

    assert info.keys() >= {*HOST_FIELDS, *GPU_FIELDS, "gpu_available", "timestamp"}
    assert all(isinstance(info[field], int | float) for field in HOST_FIELDS)
    assert datetime.fromisoformat(info["timestamp"])
    if sample is not None:
        assert info["cpu_usage_percent"] == sample["cpu_usage_percent"]
        assert info["memory_total_mb"] == round(sample["memory_total_bytes"] / 2**20, 2)
        assert info["disk_free_gb"] == round(sample["disk_free_bytes"] / 2**30, 2)
        assert info["gpu_available"] is bool(sample["gpus"])
        assert (info["gpu_usage_percent"] is None) == all(gpu["usage_percent"] is None for gpu in sample["gpus"])
    assert info["gpu_available"] or not any(info[field] is not None for field in GPU_FIELDS)
