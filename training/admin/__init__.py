"""Sessions and their queue under manual oversight: everything can be looked at, and sessions and queue be steered."""

from training.admin.queue import QueueControlAdmin
from training.admin.records import LogEntryAdmin, MetricAdmin, SeriesPointAdmin, TransitionAdmin
from training.admin.sessions import TrainingSessionAdmin

__all__ = [
    "LogEntryAdmin",
    "MetricAdmin",
    "QueueControlAdmin",
    "SeriesPointAdmin",
    "TrainingSessionAdmin",
    "TransitionAdmin",
]
