"""How sessions, metrics and log entries are written in answers, and how a configuration is described."""

import dataclasses
from typing import Any

from django.conf import settings
from rest_framework import serializers

from training.models import LogEntry, Metric, TrainingSession
from training.spec import TrainingConfig
from training.state import State


class SessionConfigSerializer(serializers.Serializer[TrainingConfig]):
    """A session's configuration, as `training.spec.TrainingConfig` defines and checks it."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {rule.name: self._describe(rule) for rule in dataclasses.fields(TrainingConfig)}

    @staticmethod
    def _describe(rule: dataclasses.Field[Any]) -> serializers.Field[Any, Any, Any, Any]:
        options: dict[str, Any] = {"help_text": rule.metadata["help"]}
        if rule.default is not dataclasses.MISSING:
            options |= {"required": False, "default": rule.default}
        if "choices" in rule.metadata:
            return serializers.ChoiceField(choices=rule.metadata["choices"], **options)
        if rule.type is str:
            return serializers.CharField(**options)
        lowest, highest = getattr(settings.TRAINING_LIMITS, rule.name)
        number = serializers.IntegerField if rule.type is int else serializers.FloatField
        return number(min_value=lowest, max_value=highest, **options)


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


class MessageSerializer(serializers.Serializer[dict[str, str]]):
    message = serializers.CharField()


class MetricSerializer(serializers.ModelSerializer[Metric]):
    """What one epoch came to."""

    session_id = serializers.CharField(source="session.session_id")

    class Meta:
        model = Metric
        fields = ("session_id", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")


class LogEntrySerializer(serializers.ModelSerializer[LogEntry]):
    """One line of a session's log."""

    session_id = serializers.CharField(source="session.session_id")

    class Meta:
        model = LogEntry
        fields = ("session_id", "timestamp", "level", "message")
