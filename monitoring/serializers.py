"""The shape of GET /system/info."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from monitoring.models import Sample

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30


@extend_schema_field({"type": "number", "minimum": 0})
class ScaledField(serializers.Field[float, float, float, Any]):
    """Bytes, shown in a larger unit."""

    def __init__(self, *, unit_bytes: int, **options: Any) -> None:
        super().__init__(read_only=True, **options)
        self.unit_bytes = unit_bytes

    def to_representation(self, value: float) -> float:
        return round(value / self.unit_bytes, 2)


EXAMPLE = {
    "cpu_usage_percent": 37.5,
    "memory_used_mb": 5213.25,
    "memory_total_mb": 16040.5,
    "memory_percent": 32.5,
    "disk_free_gb": 181.75,
    "disk_total_gb": 250.0,
    "gpu_available": False,
    "gpu_usage_percent": None,
    "gpu_memory_used_mb": None,
    "gpu_memory_total_mb": None,
    "timestamp": "2026-01-31T12:00:00.000000Z",
}


@extend_schema_serializer(examples=[OpenApiExample("example", value=EXAMPLE)])
class SystemInfoSerializer(serializers.Serializer[Sample]):
    """A sample as the contract shows it: `_mb` is 2**20 bytes, `_gb` 2**30."""

    cpu_usage_percent = serializers.FloatField(min_value=0, max_value=100, read_only=True)
    memory_used_mb = ScaledField(source="memory_used_bytes", unit_bytes=MEBIBYTE)
    memory_total_mb = ScaledField(source="memory_total_bytes", unit_bytes=MEBIBYTE)
    memory_percent = serializers.FloatField(min_value=0, max_value=100, read_only=True)
    disk_free_gb = ScaledField(source="disk_free_bytes", unit_bytes=GIBIBYTE)
    disk_total_gb = ScaledField(source="disk_total_bytes", unit_bytes=GIBIBYTE)
    gpu_available = serializers.BooleanField(read_only=True)
    gpu_usage_percent = serializers.FloatField(min_value=0, max_value=100, read_only=True, allow_null=True)
    gpu_memory_used_mb = ScaledField(source="gpu_memory_used_bytes", unit_bytes=MEBIBYTE, allow_null=True)
    gpu_memory_total_mb = ScaledField(source="gpu_memory_total_bytes", unit_bytes=MEBIBYTE, allow_null=True)
    timestamp = serializers.DateTimeField(read_only=True)
