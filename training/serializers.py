"""How sessions, metrics and log entries are written in answers, and how a configuration is described."""

import dataclasses
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from training.fields import default_of, fields_of, schema_of
from training.models import LogEntry, Metric, TrainingSession
from training.spec import TrainingConfig
from training.state import State


class SessionConfigSerializer(serializers.Serializer[Any]):
    """A session's configuration: TrainingConfig checks it, this shows it and fills in the browsable API's form."""

    def get_initial(self) -> dict[str, Any]:
        return {field.name: None if field.required else default_of(field) for field in fields_of(TrainingConfig)}

    def to_representation(self, instance: Any) -> Any:
        return instance  # a configuration is kept as JSON knows it


class SessionConfigSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a configuration by the rules that check it."""

    target_class = SessionConfigSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return schema_of(TrainingConfig, dataclasses.asdict(settings.TRAINING_LIMITS))


class StatusSerializer(serializers.ModelSerializer[TrainingSession]):
    """The true state of a session."""

    state = serializers.ChoiceField(choices=State.choices)
    current_epoch = serializers.IntegerField(allow_null=True, help_text="Completed epochs; null while none is.")
    total_epochs = serializers.IntegerField()
    start_time = serializers.DateTimeField(source="started_at", allow_null=True)
    end_time = serializers.DateTimeField(source="ended_at", allow_null=True)
    failure_code = serializers.CharField(help_text="Why it failed, for programs; empty otherwise.")
    remedy = serializers.CharField(allow_null=True, help_text="What the owner of a failed session can do.")
    model_name = serializers.CharField(source="model.name", default=None, help_text="The registered model, if any.")

    class Meta:
        model = TrainingSession
        fields = (
            "session_id",
            "state",
            "current_epoch",
            "total_epochs",
            "start_time",
            "end_time",
            "error_message",
            "failure_code",
            "remedy",
            "attempt",
            "model_name",
        )


class SessionSerializer(serializers.ModelSerializer[TrainingSession]):
    """A session as the lists show it."""

    config = SessionConfigSerializer()
    status = StatusSerializer(source="*")

    class Meta:
        model = TrainingSession
        fields = ("session_id", "config", "status", "created_at")


class SubmittedSerializer(serializers.ModelSerializer[TrainingSession]):
    """The answer to a start."""

    status = serializers.CharField(source="state")
    message = serializers.SerializerMethodField()

    class Meta:
        model = TrainingSession
        fields = ("session_id", "status", "message")

    def get_message(self, session: TrainingSession) -> str:
        return f"Session {session.session_id} is queued at position {session.queue_position()}."


class MemorySerializer(serializers.Serializer[Any]):
    """Memory of the first steps, in bytes."""

    data = serializers.IntegerField()  # type: ignore[assignment]  # no attribute once the class is made
    model = serializers.IntegerField()
    optimizer = serializers.IntegerField()
    total = serializers.IntegerField(help_text="The most at once: of the GPU, or of the whole process.")


class EstimateSerializer(serializers.Serializer[Any]):
    """What a session would cost. What could not be measured is null, and a warning says why."""

    config = SessionConfigSerializer(help_text="As the trainer would understand it.")
    device = serializers.CharField(allow_null=True)
    parameters = serializers.IntegerField(allow_null=True)
    steps_per_epoch = serializers.IntegerField(allow_null=True)
    total_steps = serializers.IntegerField(allow_null=True)
    memory_bytes = MemorySerializer(allow_null=True)
    seconds_per_step = serializers.FloatField(allow_null=True)
    estimated_seconds = serializers.FloatField(allow_null=True, help_text="All steps and validations, and no start-up.")
    disk_bytes = serializers.IntegerField(allow_null=True, help_text="Checkpoints and weights.")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="What may surprise, a sentence each.")


class MessageSerializer(serializers.Serializer[dict[str, str]]):
    message = serializers.CharField()


class MetricSerializer(serializers.ModelSerializer[Metric]):
    """What one epoch came to."""

    session_id = serializers.CharField(source="session.session_id")

    class Meta:
        model = Metric
        fields = ("session_id", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")


class SeriesSerializer(serializers.Serializer[Any]):
    """One series of a session by step."""

    name = serializers.CharField()
    count = serializers.IntegerField(help_text="The points that are stored; a chart may show fewer.")
    minimum = serializers.FloatField(allow_null=True, help_text="Of all of them; null while there is none.")
    maximum = serializers.FloatField(allow_null=True)
    steps = serializers.ListField(child=serializers.IntegerField())
    values = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="One for each step; null where it was not finite."
    )


class LogEntrySerializer(serializers.ModelSerializer[LogEntry]):
    """One line of a session's log."""

    session_id = serializers.CharField(source="session.session_id")

    class Meta:
        model = LogEntry
        fields = ("session_id", "timestamp", "level", "message")
