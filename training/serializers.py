"""How sessions, metrics and log entries are written in answers, and how a configuration is described."""

import dataclasses
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from training import examples
from training.admission import Overview
from training.documents import RECORD, REPORT
from training.failures import REMEDIES
from training.fields import answer_schema_of, default_of, fields_of, schema_of
from training.models import LogEntry, Metric, TrainingSession, Transition
from training.obstacles import WaitingReason
from training.recovery import SESSION_ID
from training.restart import Restart
from training.spec import OPEN, TrainingConfig
from training.state import Action, Health, State, Wish
from training.steering import Bulk

Limits = dict[str, tuple[Any, Any]]


def shown(value: Any, **options: Any) -> Any:
    """Give a serializer an example for the API's description."""
    return extend_schema_serializer(examples=[OpenApiExample("example", value=value, **options)])


class SessionIdField(serializers.RegexField):
    """The id of a session in an answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(f"^{SESSION_ID}$", **options)


@shown(examples.START)
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
        limits: Limits = dataclasses.asdict(settings.TRAINING_LIMITS)
        if direction == "request":
            return schema_of(TrainingConfig, limits)
        # The installation may have narrowed its ranges since a session was accepted.
        return answer_schema_of(TrainingConfig, dict.fromkeys(limits, OPEN))


class NullIfEmpty(serializers.CharField):
    """A text that is null in answers where the model has an empty one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: str) -> Any:
        return value or None


@extend_schema_field(serializers.ChoiceField(choices=[wish for wish in Wish if wish], allow_null=True))
class WishField(NullIfEmpty):
    """What a running session is about to do."""


@extend_schema_field(serializers.ChoiceField(choices=State.choices, allow_null=True))
class EarlierStateField(NullIfEmpty):
    """The state before a change; null before the first."""


@shown(examples.STATUS)
class StatusSerializer(serializers.ModelSerializer[TrainingSession]):
    """The true state of a session."""

    session_id = SessionIdField()
    state = serializers.ChoiceField(choices=State.choices)
    health = serializers.ChoiceField(
        choices=Health.choices,
        allow_null=True,
        help_text="Whether a running session's trainer is heard of; null unless it runs.",
    )
    wish = WishField(help_text="What a running session is about to do: requeue, pause, stop or kill.")
    allowed_actions = serializers.ListField(
        child=serializers.ChoiceField(choices=Action.choices), help_text="What would change something now."
    )
    attempt = serializers.IntegerField(min_value=0, help_text="The lives of its trainer so far.")
    resumed_from = NullIfEmpty(help_text="The checkpoint that this life of its trainer went on from.")
    parent_session_id = SessionIdField(
        source="parent.session_id", default=None, allow_null=True, help_text="The session that it is a restart of."
    )
    parent_checkpoint = NullIfEmpty(help_text="The checkpoint of that session from which it went on.")
    current_epoch = serializers.IntegerField(
        min_value=1, allow_null=True, help_text="Completed epochs; null while none is."
    )
    total_epochs = serializers.IntegerField(min_value=1)
    progress = serializers.FloatField(min_value=0, max_value=1, help_text="From 0 to 1.")
    steps_done = serializers.IntegerField(min_value=0)
    steps_planned = serializers.IntegerField(
        min_value=0, allow_null=True, help_text="Null until its trainer has counted them."
    )
    samples_per_second = serializers.FloatField(min_value=0, allow_null=True, help_text="As its trainer said last.")
    eta = serializers.DateTimeField(allow_null=True, help_text="When it will have ended; null while that is unknown.")
    queue_position = serializers.SerializerMethodField(help_text="1 starts next; null unless it is queued.")
    waiting_reason = serializers.SerializerMethodField(help_text="Why it does not run yet; null unless it is queued.")
    waiting_for = serializers.SerializerMethodField(help_text="What it waits for: ids of sessions, or words.")
    start_time = serializers.DateTimeField(source="started_at", allow_null=True)
    end_time = serializers.DateTimeField(source="ended_at", allow_null=True)
    error_message = serializers.CharField(allow_null=True, help_text="Why it failed, for people.")
    failure_code = serializers.ChoiceField(
        choices=["", *REMEDIES], help_text="Why it failed, for programs; empty otherwise."
    )
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

    @extend_schema_field(serializers.IntegerField(min_value=1, allow_null=True))
    def get_queue_position(self, session: TrainingSession) -> int | None:
        return self.overview.position(session)

    @extend_schema_field(serializers.ChoiceField(choices=WaitingReason.choices, allow_null=True))
    def get_waiting_reason(self, session: TrainingSession) -> str | None:
        waiting = self.overview.waiting(session)
        return str(waiting.reason) if waiting else None

    def get_waiting_for(self, session: TrainingSession) -> list[str]:
        waiting = self.overview.waiting(session)
        return list(waiting.waits_for) if waiting else []


@shown(examples.SESSION)
class SessionSerializer(serializers.ModelSerializer[TrainingSession]):
    """A session as the lists show it."""

    session_id = SessionIdField()
    config = SessionConfigSerializer()
    status = StatusSerializer(source="*")

    class Meta:
        model = TrainingSession
        fields = ("session_id", "config", "status", "created_at")


@shown(examples.SUBMITTED)
class SubmittedSerializer(serializers.ModelSerializer[TrainingSession]):
    """The answer to a start."""

    session_id = SessionIdField()
    status = serializers.ChoiceField(source="state", choices=State.choices)
    message = serializers.SerializerMethodField()

    class Meta:
        model = TrainingSession
        fields = ("session_id", "status", "message")

    def get_message(self, session: TrainingSession) -> str:
        return f"Session {session.session_id} is queued at position {session.queue_position()}."


class MemorySerializer(serializers.Serializer[Any]):
    """Memory of the first steps, in bytes."""

    data = serializers.IntegerField(min_value=0)  # type: ignore[assignment]  # no attribute once the class is made
    model = serializers.IntegerField(min_value=0)
    optimizer = serializers.IntegerField(min_value=0)
    total = serializers.IntegerField(min_value=0, help_text="The most at once: of the GPU, or of the whole process.")


@shown(examples.ESTIMATE)
class EstimateSerializer(serializers.Serializer[Any]):
    """What a session would cost. What could not be measured is null, and a warning says why."""

    config = SessionConfigSerializer(help_text="As the trainer would understand it.")
    device = serializers.CharField(allow_null=True)
    parameters = serializers.IntegerField(min_value=0, allow_null=True)
    steps_per_epoch = serializers.IntegerField(min_value=1, allow_null=True)
    total_steps = serializers.IntegerField(min_value=1, allow_null=True)
    memory_bytes = MemorySerializer(allow_null=True)
    seconds_per_step = serializers.FloatField(min_value=0, allow_null=True)
    estimated_seconds = serializers.FloatField(
        min_value=0, allow_null=True, help_text="All steps and validations, and no start-up."
    )
    disk_bytes = serializers.IntegerField(min_value=0, allow_null=True, help_text="Checkpoints and weights.")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="What may surprise, a sentence each.")


@shown(examples.MESSAGE)
class MessageSerializer(serializers.Serializer[dict[str, str]]):
    """What is true now."""

    message = serializers.CharField()


@shown(examples.RESTART)
class RestartSerializer(serializers.Serializer[Any]):
    """How a session is to be restarted, as the browsable API's form shows it: Restart checks what comes back."""

    def get_initial(self) -> dict[str, Any]:
        return {field.name: default_of(field) for field in fields_of(Restart)}


class RestartSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a restart by the rules that check it."""

    target_class = RestartSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        schema = Restart.schema()
        changes = schema_of(TrainingConfig, dataclasses.asdict(settings.TRAINING_LIMITS))
        # A change has no default: what is not named stays as it was.
        fields = {name: _without_default(field) for name, field in changes["properties"].items()}
        schema["properties"]["changes"] |= {"properties": fields, "additionalProperties": False}
        return schema


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "default"}


@shown(examples.BULK)
class BulkSerializer(serializers.Serializer[Any]):
    """One thing asked of many sessions: Bulk checks it."""

    def get_initial(self) -> dict[str, Any]:
        return {"action": Action.STOP, "session_ids": []}


class BulkSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes it by the rules that check it."""

    target_class = BulkSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return Bulk.schema()


class RefusalSerializer(serializers.Serializer[Any]):
    """Why something was not done, as an error's body has it."""

    code = serializers.ChoiceField(choices=["ILLEGAL_STATE", "NOT_FOUND"])
    message = serializers.CharField()
    details = serializers.DictField()


@shown(examples.BULK_RESULT)
class BulkResultSerializer(serializers.Serializer[Any]):
    """What came of it for one session."""

    session_id = serializers.CharField(help_text="As it was asked.")
    done = serializers.BooleanField()
    message = serializers.CharField()
    error = RefusalSerializer(allow_null=True)


@shown(examples.TRANSITION)
class TransitionSerializer(serializers.Serializer[Transition]):
    """One change of a session's state."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "from": EarlierStateField(source="from_state", help_text="Null for the first: it was submitted."),
            "to": serializers.ChoiceField(source="to_state", choices=State.choices),
            "at": serializers.DateTimeField(),
            "actor": serializers.CharField(source="by", help_text="A key, a user, or the part of the server."),
            "reason": serializers.CharField(),
        }


@shown(examples.METRIC)
class MetricSerializer(serializers.ModelSerializer[Metric]):
    """What one epoch came to."""

    session_id = SessionIdField(source="session.session_id")
    epoch = serializers.IntegerField(min_value=1)
    accuracy = serializers.FloatField(min_value=0, max_value=1, allow_null=True)
    val_accuracy = serializers.FloatField(min_value=0, max_value=1, allow_null=True)

    class Meta:
        model = Metric
        fields = ("session_id", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")


@shown(examples.SERIES)
class SeriesSerializer(serializers.Serializer[Any]):
    """One series of a session by step."""

    name = serializers.CharField()
    count = serializers.IntegerField(min_value=0, help_text="The points that are stored; a chart may show fewer.")
    minimum = serializers.FloatField(allow_null=True, help_text="Of all of them; null while there is none.")
    maximum = serializers.FloatField(allow_null=True)
    steps = serializers.ListField(child=serializers.IntegerField(min_value=0))
    values = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="One for each step; null where it was not finite."
    )
    timestamps = serializers.ListField(child=serializers.DateTimeField(), help_text="When each of them was measured.")


@shown(examples.LOG_ENTRY)
class LogEntrySerializer(serializers.ModelSerializer[LogEntry]):
    """One line of a session's log."""

    session_id = SessionIdField(source="session.session_id")
    line = serializers.IntegerField(min_value=1, help_text="Its number in the session's log, which it keeps.")

    class Meta:
        model = LogEntry
        fields = ("session_id", "line", "timestamp", "level", "message")


@shown(examples.RECORD)
class RecordSerializer(serializers.Serializer[Any]):
    """What reproducing a session takes; its trainer writes it."""


class RecordSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = RecordSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return RECORD


@shown(examples.REPORT)
class ReportSerializer(serializers.Serializer[Any]):
    """How the final weights do on the validation split; its trainer writes it."""


class ReportSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = ReportSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return REPORT
