"""The samples in the admin: to be looked at only, the sampler writes them."""

from django.contrib import admin

from authkeys.permissions import ReadOnlyAdmin
from monitoring.models import Sample


@admin.register(Sample)
class SampleAdmin(ReadOnlyAdmin):
    list_display = ["timestamp", "cpu", "memory", "disk_free", "gpu"]
    list_filter = ["timestamp"]
    date_hierarchy = "timestamp"

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
