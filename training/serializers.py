"""How sessions, metrics and log entries are written in answers, and how a configuration is described."""

from typing import Any

from django.conf import settings
from rest_framework import serializers

from training.fields import Field, fields_of
from training.models import LogEntry, Metric, TrainingSession
from training.spec import EarlyStopping, SchedulerArgs, TrainingConfig
from training.state import State


class ConfigSerializer(serializers.Serializer[Any]):
    """Describes a dataclass whose fields carry their rules (training.fields); what checks a value is not this."""

    described: type

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {field.name: describe(field) for field in fields_of(self.described)}

    def to_representation(self, instance: Any) -> Any:
        return instance  # a configuration is kept as JSON knows it


class SchedulerArgsSerializer(ConfigSerializer):
    described = SchedulerArgs


class EarlyStoppingSerializer(ConfigSerializer):
    described = EarlyStopping


class SessionConfigSerializer(ConfigSerializer):
    """A session's configuration."""

    described = TrainingConfig


NESTED: dict[type, type[ConfigSerializer]] = {
    SchedulerArgs: SchedulerArgsSerializer,
    EarlyStopping: EarlyStoppingSerializer,
}
NUMBERS: dict[type, type[Any]] = {int: serializers.IntegerField, float: serializers.FloatField}


def describe(field: Field) -> serializers.Field[Any, Any, Any, Any]:
    """A field of a configuration as a serializer's field."""
    rule = field.rule
    options: dict[str, Any] = {"help_text": rule.help, "required": field.required}
    if field.nullable:
        options["allow_null"] = True
    if field.kind in NESTED:
        return NESTED[field.kind](**options)
    if not field.required:
        options["default"] = list(field.default) if field.kind is tuple else field.default
        del options["required"]
    if field.kind in NUMBERS:
        lowest, highest = getattr(settings.TRAINING_LIMITS, field.name, rule.within)
        number: serializers.Field[Any, Any, Any, Any]
        number = NUMBERS[field.kind](min_value=lowest, max_value=highest, **options)
        return number
    if field.kind is bool:
        return serializers.BooleanField(**options)
    if field.kind is tuple:
        return serializers.ListField(child=serializers.CharField(), max_length=rule.length, **options)
    if field.kind is dict:
        return serializers.JSONField(**options)
    if rule.choices:
        return serializers.ChoiceField(choices=rule.choices, **options)
    if rule.pattern:
        return serializers.RegexField(rule.pattern, **options)
    if rule.length is not None:
        options["max_length"] = rule.length
    return serializers.CharField(allow_blank=rule.may_be_empty, **options)


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
