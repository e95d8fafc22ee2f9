"""The form that starts a session: every field of TrainingConfig, and the arguments of every architecture.

What there is, and what is right, is known to TrainingConfig and the catalogue alone. The form hands over what was typed
as the API takes it, and shows beside the fields what is said about it.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.forms import BoundField

from registry.models import Dataset
from training.catalogue import Catalogue, data_kind
from training.fields import Field, default_of, fields_of
from training.form_fields import (
    CheckpointField,
    ChoiceField,
    ConfigField,
    FlagField,
    JSONField,
    LongTextField,
    MarkedSelect,
    NumberField,
    SwitchField,
    WordsField,
    field_for_argument,
    range_in_words,
)
from training.spec import TrainingConfig

ARGUMENTS = "model_args"
FROM_CHECKPOINT = "from_checkpoint"
FIRST = (
    "dataset_name",
    "model_architecture",
    "learning_rate",
    "batch_size",
    "epochs",
    "optimizer",
    "loss_function",
)
# As docs/configuration.md has them.
MORE = {
    "The data": (
        "validation_split",
        "validation_from",
        "normalize",
        "augment",
        "tokenizer",
        "context_length",
        "class_weights",
        "label_smoothing",
    ),
    "The optimizer": (
        "weight_decay",
        "momentum",
        "scheduler",
        "scheduler_args",
        "warmup_steps",
        "gradient_clip",
        "gradient_accumulation",
    ),
    "How it computes": ("precision", "compile", "device", "gpus", "num_threads", "deterministic", "seed"),
    "When it ends": ("max_steps", "max_seconds", "early_stopping"),
    "What is kept": ("checkpoint_every_seconds", "keep_checkpoints", "log_every_steps"),
    "Where it starts": ("initial_weights", "freeze"),
    "For people": ("priority", "tags", "notes", "model_name"),
}
# What a newcomer may leave as it is.
SUGGESTED = {"learning_rate": 0.001, "batch_size": 32, "epochs": 10}


@dataclass(frozen=True)
class Group:
    """Fields that stand together under a title; those of an architecture are shown when it is chosen."""

    title: str
    fields: list[BoundField]
    architecture: str = ""
    description: str = ""


class ConfigurationForm(forms.Form):
    """What a session is to train.

    Where it is another session once more, `base` is the configuration of that one, which the form begins with, and
    `checkpoints` are the names of those that it may go on from.
    """

    fields: dict[str, ConfigField]  # type: ignore[assignment]

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        base: Mapping[str, Any] | None = None,
        checkpoints: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.catalogue = catalogue
        for field in fields_of(TrainingConfig):
            for form_field in self._fields_for(field):
                form_field.begin_with(_value_in(base, form_field))
                self.fields[form_field.name] = form_field
        if base is None:
            for name, value in SUGGESTED.items():
                self.fields[name].initial = value
        else:
            self.fields[FROM_CHECKPOINT] = _choice_of_checkpoint(checkpoints)

    # --- What there is to fill in ---

    def _fields_for(self, field: Field) -> Iterator[ConfigField]:
        if field.name == "dataset_name":
            yield _choice_of_dataset(field)
        elif field.name == "model_architecture":
            yield _choice_of_architecture(field, self.catalogue)
        elif field.name == ARGUMENTS:
            yield from self._arguments()
        elif dataclasses.is_dataclass(field.kind):
            if field.nullable:
                yield SwitchField(key=field.name, default=False, help_text=field.rule.help)
            for inner in fields_of(field.kind):
                yield _field_for(inner, inside=field.name)
        else:
            yield _field_for(field)

    def _arguments(self) -> Iterator[ConfigField]:
        for entry in self.catalogue.values():
            for name, schema in entry.arguments["properties"].items():
                yield field_for_argument(schema, key=name, inside=ARGUMENTS, architecture=entry.name)

    # --- As it is shown ---

    @property
    def first(self) -> list[BoundField]:
        return self._bound(FIRST)

    @property
    def arguments(self) -> list[Group]:
        """A group for each architecture that has arguments."""
        groups = (
            Group(f"Arguments of {entry.name}", self._inside(ARGUMENTS, entry.name), entry.name, entry.description)
            for entry in self.catalogue.values()
        )
        return [group for group in groups if group.fields]

    @property
    def more(self) -> list[Group]:
        return [Group(title, self._bound(names)) for title, names in MORE.items()]

    @property
    def more_is_open(self) -> bool:
        """Whether somebody has to look at the rest: something is wrong there, or is not as it comes."""
        return any(
            bound.errors or bound.value() != self.fields[bound.name].empty
            for group in self.more
            for bound in group.fields
        )

    def _bound(self, names: Iterable[str]) -> list[BoundField]:
        """The fields of these names, each with those inside it behind it."""
        own = {name: [self[name]] if name in self.fields else [] for name in names}
        return [bound for name, alone in own.items() for bound in (*alone, *self._inside(name))]

    def _inside(self, name: str, architecture: str = "") -> list[BoundField]:
        return [self[field.name] for field in self._fields_inside(name, architecture)]

    def _fields_inside(self, name: str, architecture: str = "") -> list[ConfigField]:
        place = (name, architecture)
        return [field for field in self.fields.values() if (field.inside, field.architecture) == place]

    # --- What was typed ---

    def configuration(self) -> dict[str, Any]:
        """What was typed, as the API takes it; what was left empty is not there."""
        config = {}
        for field in fields_of(TrainingConfig):
            if field.name == ARGUMENTS:
                config[field.name] = self._typed_inside(ARGUMENTS, self.cleaned_data["model_architecture"])
            elif not dataclasses.is_dataclass(field.kind):
                config |= self._typed([self.fields[field.name]])
            elif not field.nullable or self.cleaned_data[field.name]:
                config[field.name] = self._typed_inside(field.name)
        return config

    def _typed_inside(self, name: str, architecture: str = "") -> dict[str, Any]:
        return self._typed(self._fields_inside(name, architecture))

    def _typed(self, fields: Iterable[ConfigField]) -> dict[str, Any]:
        texts = {field.key: (field, self.cleaned_data[field.name]) for field in fields}
        return {key: field.to_json(text) for key, (field, text) in texts.items() if text != ""}

    def show(self, errors: Mapping[str, list[str]]) -> None:
        """Say beside each field what is wrong with it."""
        for name, messages in errors.items():
            for message in messages:
                self.add_error(self._place(name, message), message)

    def _place(self, name: str, message: str) -> str | None:
        """The field that a message is about; None when there is none for it."""
        if name == ARGUMENTS and (argument := re.match(rf"{ARGUMENTS}\.(\w+)", message)):
            name = f"{ARGUMENTS}.{self['model_architecture'].value()}.{argument[1]}"
        return name if name in self.fields else None


def _value_in(base: Mapping[str, Any] | None, field: ConfigField) -> Any:
    """What a configuration has in the place of a form's field."""
    if base is None or field.architecture not in ("", base["model_architecture"]):
        return field.default
    if field.inside:
        return (base.get(field.inside) or {}).get(field.key, field.default)
    value = base.get(field.key, field.default)
    return value is not None if isinstance(field, SwitchField) else value


def _field_for(field: Field, inside: str = "") -> ConfigField:
    """The field of the form for one of the configuration that has no form of its own."""
    options = {"inside": inside, **_common(field)}
    if field.kind is bool:
        return FlagField(**options)
    if field.kind in (int, float):
        limits = dataclasses.asdict(settings.TRAINING_LIMITS)
        return NumberField(hint=range_in_words(*limits.get(field.name, field.rule.within)), **options)
    if field.kind is dict:
        return JSONField(**options)
    if field.kind is tuple:
        return WordsField(hint="One on each line", **options)
    if field.rule.choices:
        return ChoiceField(choices=[(choice, choice) for choice in field.rule.choices], **options)
    return LongTextField(**options) if field.rule.may_be_empty else ConfigField(hint=field.rule.pattern_hint, **options)


def _common(field: Field) -> dict[str, Any]:
    default = None if field.required else default_of(field)
    return {"key": field.name, "help_text": field.rule.help, "is_required": field.required, "default": default}


def _choice_of_dataset(field: Field) -> ChoiceField:
    datasets = list(Dataset.objects.order_by("name"))
    marks = {dataset.name: {"data-holds": data_kind(dataset)} for dataset in datasets}
    choices = [(dataset.name, f"{dataset.name}: {contents_in_words(dataset)}") for dataset in datasets]
    empty = ("", "Choose a dataset" if datasets else "No dataset is registered yet")
    return ChoiceField(choices=[empty, *choices], widget=MarkedSelect(marks), **_common(field))


def _choice_of_architecture(field: Field, catalogue: Catalogue) -> ChoiceField:
    by_source: dict[str, list[tuple[str, str]]] = {}
    marks = {}
    for entry in catalogue.values():
        by_source.setdefault(entry.source, []).append((entry.name, entry.name))
        marks[entry.name] = {"data-takes": " ".join(entry.takes), "data-description": entry.description}
    choices = [("", "Choose an architecture"), *by_source.items()]
    return ChoiceField(choices=choices, widget=MarkedSelect(marks), **_common(field))


def _choice_of_checkpoint(names: Iterable[str]) -> CheckpointField:
    steps = [(name, f"{name}, after step {int(name.removeprefix('step-')):,}") for name in names]
    field = CheckpointField(
        key=FROM_CHECKPOINT,
        choices=[("", "The beginning"), *steps],
        help_text="Where it goes on. From a checkpoint on, only what no state in it was made from can change.",
    )
    field.begin_with(None)
    return field


def contents_in_words(dataset: Dataset) -> str:
    """What a dataset holds, in a few words."""
    kind = data_kind(dataset)
    if kind == "text":
        return f"text of {dataset.sample_count:,} characters"
    what = f"images of {dataset.dimensions}" if kind == "images" else f"rows of {dataset.dimensions} features"
    classes = "" if dataset.class_count is None else f", {dataset.class_count:,} classes"
    return f"{dataset.sample_count:,} {what}{classes}"
