"""How sessions, metrics and log entries are written in answers, and how a configuration is described."""

import dataclasses
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from training.admission import Overview
from training.fields import default_of, fields_of, schema_of
from training.models import LogEntry, Metric, TrainingSession, Transition
from training.obstacles import WaitingReason
from training.restart import Restart
from training.spec import TrainingConfig
from training.state import Action, Health, State
from training.steering import Bulk


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


class NullIfEmpty(serializers.CharField):
    """A text that is null in answers where the model has an empty one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: str) -> Any:
        return value or None


class StatusSerializer(serializers.ModelSerializer[TrainingSession]):
    """The true state of a session."""

    state = serializers.ChoiceField(choices=State.choices)
    health = serializers.ChoiceField(
        choices=Health.choices,
        allow_null=True,
        help_text="Whether a running session's trainer is heard of; null unless it runs.",
    )
    wish = NullIfEmpty(help_text="What a running session is about to do: requeue, pause, stop or kill.")
    allowed_actions = serializers.ListField(
        child=serializers.ChoiceField(choices=Action.choices), help_text="What would change something now."
    )
    attempt = serializers.IntegerField(help_text="The lives of its trainer so far.")
    resumed_from = NullIfEmpty(help_text="The checkpoint that this life of its trainer went on from.")
    parent_session_id = serializers.CharField(
        source="parent.session_id", default=None, allow_null=True, help_text="The session that it is a restart of."
    )
    parent_checkpoint = NullIfEmpty(help_text="The checkpoint of that session from which it went on.")
    current_epoch = serializers.IntegerField(allow_null=True, help_text="Completed epochs; null while none is.")
    total_epochs = serializers.IntegerField()
    progress = serializers.FloatField(help_text="From 0 to 1.")
    steps_done = serializers.IntegerField()
    steps_planned = serializers.IntegerField(allow_null=True, help_text="Null until its trainer has counted them.")
    samples_per_second = serializers.FloatField(allow_null=True, help_text="As its trainer said last.")
    eta = serializers.DateTimeField(allow_null=True, help_text="When it will have ended; null while that is unknown.")
    queue_position = serializers.SerializerMethodField(help_text="1 starts next; null unless it is queued.")
    waiting_reason = serializers.SerializerMethodField(help_text="Why it does not run yet; null unless it is queued.")
    waiting_for = serializers.SerializerMethodField(help_text="What it waits for: ids of sessions, or words.")
    start_time = serializers.DateTimeField(source="started_at", allow_null=True)
    end_time = serializers.DateTimeField(source="ended_at", allow_null=True)
    failure_code = serializers.CharField(help_text="Why it failed, for programs; empty otherwise.")
    remedy = serializers.CharField(allow_null=True, help_text="What the owner of a failed session can do.")
    model_name = serializers.CharField(
        source="model.name", default=None, allow_null=True, help_text="The registered model, if any."
    )

    class Meta:
        model = TrainingSession
        fields = (
            "session_id",
            "state",
            "health",
            "wish",
            "allowed_actions",
            "attempt",
            "resumed_from",
            "parent_session_id",
            "parent_checkpoint",
            "current_epoch",
            "total_epochs",
            "progress",
            "steps_done",
            "steps_planned",
            "samples_per_second",
            "eta",
            "queue_position",
            "waiting_reason",
            "waiting_for",
            "start_time",
            "end_time",
            "error_message",
            "failure_code",
            "remedy",
            "model_name",
        )

    @property
    def overview(self) -> Overview:
        """One for the whole answer, however many sessions are in it."""
        if "overview" not in self.context:
            self.context["overview"] = Overview.now()
        overview: Overview = self.context["overview"]
        return overview

    def get_queue_position(self, session: TrainingSession) -> int | None:
        return self.overview.position(session)

    @extend_schema_field(serializers.ChoiceField(choices=WaitingReason.choices, allow_null=True))
    def get_waiting_reason(self, session: TrainingSession) -> str | None:
        waiting = self.overview.waiting(session)
        return str(waiting.reason) if waiting else None

    def get_waiting_for(self, session: TrainingSession) -> list[str]:
        waiting = self.overview.waiting(session)
        return list(waiting.waits_for) if waiting else []


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


class RestartSerializer(serializers.Serializer[Any]):
    """How a session is to be restarted, as the browsable API's form shows it: Restart checks what comes back."""

    def get_initial(self) -> dict[str, Any]:
        return {field.name: default_of(field) for field in fields_of(Restart)}


class RestartSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a restart by the rules that check it."""

    target_class = RestartSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return schema_of(Restart)


class BulkSerializer(serializers.Serializer[Any]):
    """One thing asked of many sessions: Bulk checks it."""

    def get_initial(self) -> dict[str, Any]:
        return {"action": Action.STOP, "session_ids": []}


class BulkSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes it by the rules that check it."""

    target_class = BulkSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return schema_of(Bulk)


class RefusalSerializer(serializers.Serializer[Any]):
    """Why something was not done, as an error's body has it."""

    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()


class BulkResultSerializer(serializers.Serializer[Any]):
    """What came of it for one session."""

    session_id = serializers.CharField()
    done = serializers.BooleanField()
    message = serializers.CharField()
    error = RefusalSerializer(allow_null=True)


class TransitionSerializer(serializers.Serializer[Transition]):
    """One change of a session's state."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "from": NullIfEmpty(source="from_state", help_text="Null for the first: it was submitted."),
            "to": serializers.CharField(source="to_state"),
            "at": serializers.DateTimeField(),
            "actor": serializers.CharField(source="by", help_text="A key, a user, or the part of the server."),
            "reason": serializers.CharField(),
        }


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
