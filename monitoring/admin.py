"""The samples in the admin: to be looked at only, the sampler writes them."""

from datetime import UTC, datetime

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path

from authkeys.permissions import ReadOnlyAdmin
from monitoring.models import Sample
from monitoring.serializers import SystemInfoSerializer

MOST_SAMPLES = 400  # of a chart


@admin.register(Sample)
class SampleAdmin(ReadOnlyAdmin):
    list_display = ["timestamp", "cpu", "memory", "disk_free", "gpu"]
    list_filter = ["timestamp"]
    date_hierarchy = "timestamp"
    fields = ("timestamp", "cpu", "memory", "disk_free", "gpu", "every_gpu")
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        history = path("history/", self.admin_site.admin_view(self.history_view), name="monitoring_sample_history")
        urls: list[URLPattern] = super().get_urls()
        return [history, *urls]

    def history_view(self, request: HttpRequest) -> JsonResponse:
        """What the machine did between `start` and `end`, for a chart: each sample as GET /system/info shows one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            start, end = (read_time(request.GET[name]) for name in ("start", "end"))
        except (KeyError, ValueError, OverflowError):
            return JsonResponse({"detail": "start and end must be times, as in 2026-01-31T12:00:00Z"}, status=400)
        samples = Sample.objects.between(start, end, MOST_SAMPLES)
        return JsonResponse([SystemInfoSerializer(sample).data for sample in samples], safe=False)

    @admin.display(description="CPU", ordering="cpu_usage_percent")
    def cpu(self, sample: Sample) -> str:
        return f"{sample.cpu_usage_percent:.0f} %"

    @admin.display(description="Memory", ordering="memory_used_bytes")
    def memory(self, sample: Sample) -> str:
        return f"{sample.memory_percent:.0f} %"

    @admin.display(description="Disk free", ordering="disk_free_bytes")
    def disk_free(self, sample: Sample) -> str:
        return f"{sample.disk_free_bytes / 2**30:.1f} GiB"

    @admin.display(description="GPU")
    def gpu(self, sample: Sample) -> str | None:
        return None if sample.gpu_usage_percent is None else f"{sample.gpu_usage_percent:.0f} %"

    @admin.display(description="Every GPU")
    def every_gpu(self, sample: Sample) -> str | None:
        """As text: of JSON the theme makes colours by inline styles, which the browser refuses."""
        return "; ".join(f"{name}: {value}" for gpu in sample.gpus for name, value in gpu.items()) or None


def read_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC if it does not say where. Raises ValueError, or OverflowError beyond all calendars."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
