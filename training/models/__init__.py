"""What the server knows of sessions: the sessions themselves, what is kept of each, and the queue's control."""

from training.models.queue import QueueControl
from training.models.records import LogEntry, Metric, SeriesPoint, Transition
from training.models.sessions import IllegalTransition, TrainingSession

__all__ = [
    "IllegalTransition",
    "LogEntry",
    "Metric",
    "QueueControl",
    "SeriesPoint",
    "TrainingSession",
    "Transition",
]
