"""The shape of GET /system/info."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from monitoring.models import Sample

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30


@extend_schema_field(OpenApiTypes.DOUBLE)
class ScaledField(serializers.Field[float, float, float, Any]):
    """Bytes, shown in a larger unit."""

    def __init__(self, *, unit_bytes: int, **options: Any) -> None:
        super().__init__(read_only=True, **options)
        self.unit_bytes = unit_bytes

    def to_representation(self, value: float) -> float:
        return round(value / self.unit_bytes, 2)


class SystemInfoSerializer(serializers.Serializer[Sample]):
    """A sample as the contract shows it: `_mb` is 2**20 bytes, `_gb` 2**30."""

    cpu_usage_percent = serializers.FloatField(read_only=True)
    memory_used_mb = ScaledField(source="memory_used_bytes", unit_bytes=MEBIBYTE)
    memory_total_mb = ScaledField(source="memory_total_bytes", unit_bytes=MEBIBYTE)
    memory_percent = serializers.FloatField(read_only=True)
    disk_free_gb = ScaledField(source="disk_free_bytes", unit_bytes=GIBIBYTE)
    disk_total_gb = ScaledField(source="disk_total_bytes", unit_bytes=GIBIBYTE)
    gpu_available = serializers.BooleanField(read_only=True)
    gpu_usage_percent = serializers.FloatField(read_only=True, allow_null=True)
    gpu_memory_used_mb = ScaledField(source="gpu_memory_used_bytes", unit_bytes=MEBIBYTE, allow_null=True)
    gpu_memory_total_mb = ScaledField(source="gpu_memory_total_bytes", unit_bytes=MEBIBYTE, allow_null=True)
    timestamp = serializers.DateTimeField(read_only=True)
