"""What is kept of each session beside its row, in the admin: to be looked at only."""

from django.contrib import admin
from unfold.decorators import display

from authkeys.permissions import ReadOnlyAdmin
from training.models import LogEntry, Metric, SeriesPoint, Transition


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    list_display = ("session", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")
    list_filter = ("timestamp",)
    list_select_related = ("session",)
    search_fields = ("session__session_id",)


@admin.register(SeriesPoint)
class SeriesPointAdmin(ReadOnlyAdmin):
    list_display = ("session", "name", "step", "value", "timestamp")
    list_select_related = ("session",)
    search_fields = ("=session__session_id",)
    show_full_result_count = False  # there may be millions
    ordering = ("-id",)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    list_display = ("timestamp", "session", "level", "message")
    list_filter = ("level", "timestamp")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "message")
    ordering = ("-id",)


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    list_display = ("at", "session", "from_state", "to_state", "shown_actor", "reason")
    list_filter = ("to_state", "at")
    list_select_related = ("session",)
    search_fields = ("session__session_id", "by", "reason")
    ordering = ("-id",)

    @display(description="Actor", ordering="by")
    def shown_actor(self, transition: Transition) -> str:
        return transition.by
