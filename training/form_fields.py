"""Fields of a form in which a configuration is typed: a text for people, a value of JSON for the API.

None of them checks anything: what cannot be read stays the text that it is, and whoever checks the configuration says
what is wrong with it. training/static/training/configuration.js reads the same fields in the same way.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

NUMBER = re.compile(r"[+-]?(\d{1,100}(\.\d{1,100})?|\.\d{1,100})([eE][+-]?\d{1,4})?", re.ASCII)

FAR_AWAY = 10_000_000


def read_number(text: str) -> Any:
    """The number that a text is, if it is one."""
    if not NUMBER.fullmatch(text):
        return text
    return float(text) if re.search("[.eE]", text) else int(text)


def read_json(text: str) -> Any:
    """What a text says in JSON, if it is that."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class ConfigField(forms.CharField):
    """A text; left empty, it stands for the default."""

    kind: ClassVar[str] = "text"
    widget = UnfoldAdminTextInputWidget
    has_placeholder = True

    def __init__(
        self,
        *,
        key: str,
        inside: str = "",
        architecture: str = "",
        default: Any = None,
        is_required: bool = False,
        hint: str = "",
        **options: Any,
    ) -> None:
        super().__init__(required=False, label=_label(key, inside), **options)
        self.key = key
        self.inside = inside
        self.architecture = architecture
        self.default = default
        self.is_required = is_required
        self.hint = hint
        self.widget.attrs |= {
            "data-kind": self.kind,
            "data-key": key,
            "data-inside": inside,
            "data-architecture": architecture,
            "data-default": json.dumps(default),
            "aria-describedby": f"id_{self.name}_help id_{self.name}_error",
            "autocomplete": "off",
            "spellcheck": "false",
        }
        if is_required:
            self.widget.attrs["aria-required"] = "true"
        elif self.has_placeholder:
            self.widget.attrs["placeholder"] = self.to_text(default) or "not set"

    @property
    def name(self) -> str:
        """What the form calls it."""
        return ".".join(filter(None, (self.inside, self.architecture, self.key)))

    def begin_with(self, value: Any) -> None:
        """Show this value, and let the script tell it from what is typed."""
        self.initial = self.empty if value == self.default else self.to_text(value)
        self.widget.attrs["data-base"] = self.initial

    @property
    def empty(self) -> Any:
        """What stands in the form for the default."""
        return ""

    def to_text(self, value: Any) -> Any:
        return "" if value is None else str(value)

    def to_json(self, text: str) -> Any:
        """The value as the API takes it."""
        return text


def _label(key: str, inside: str) -> str:
    """An argument is below the name of its architecture; a member of another object needs that of the object."""
    words = [key] if inside in ("", "model_args") else [inside.removesuffix("_args"), key]
    return " ".join(words).replace("_", " ").capitalize()


class LongTextField(ConfigField):
    widget = UnfoldAdminExpandableTextareaWidget
    has_placeholder = False


class NumberField(ConfigField):
    """`null` stands for no number where that is not the same as nothing at all."""

    kind = "number"

    def __init__(self, *, takes_null: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.takes_null = takes_null
        self.widget.attrs |= {"inputmode": "decimal"} | ({"data-takes-null": ""} if takes_null else {})

    def to_json(self, text: str) -> Any:
        return None if self.takes_null and text == "null" else read_number(text)

    def to_text(self, value: Any) -> str:
        return "" if value is None else json.dumps(value)


class ChoiceField(ConfigField):
    """One of a few; what the options are called is what the API takes."""

    kind = "choice"
    widget = UnfoldAdminSelectWidget
    has_placeholder = False

    def __init__(self, *, choices: Any, **options: Any) -> None:
        super().__init__(**options)
        self.widget.choices = choices

    @property
    def empty(self) -> str:
        return self.to_text(self.default)

    def to_text(self, value: Any) -> str:
        return value or ""


class CheckpointField(ChoiceField):
    """Where a session goes on; no field of its configuration."""

    kind = "checkpoint"


class JSONChoiceField(ChoiceField):
    """One of a few values, each written as JSON writes it."""

    kind = "json"

    def __init__(self, *, values: list[Any], **options: Any) -> None:
        super().__init__(choices=[(json.dumps(value), _in_words(value)) for value in values], **options)

    def to_json(self, text: str) -> Any:
        return read_json(text)

    def to_text(self, value: Any) -> str:
        return json.dumps(value)


class JSONField(ConfigField):
    """An object or a list."""

    kind = "json"

    def to_json(self, text: str) -> Any:
        return read_json(text)

    def to_text(self, value: Any) -> str:
        if value in (None, {}):
            return ""
        return value if isinstance(value, str) else json.dumps(value)


class ListField(JSONField):
    """A list, of which the brackets may be left out."""

    kind = "list"

    def to_json(self, text: str) -> Any:
        return read_json(text if text.startswith("[") else f"[{text}]")


class WordsField(LongTextField):
    """A list of texts, one on each line."""

    kind = "words"

    def to_json(self, text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip()]

    def to_text(self, value: Any) -> str:
        return "\n".join(value or ())


class FlagField(ConfigField):
    """True or false."""

    kind = "flag"
    widget = UnfoldBooleanSwitchWidget
    has_placeholder = False

    def begin_with(self, value: Any) -> None:
        self.initial = value
        self.widget.attrs["data-base"] = json.dumps(value)

    @property
    def empty(self) -> bool:
        return bool(self.default)

    def clean(self, value: Any) -> bool:
        return bool(value)

    def to_json(self, text: Any) -> bool:
        return bool(text)


class SwitchField(FlagField):
    """Whether an object is there at all; the fields inside it are its members."""

    kind = "switch"


class MarkedSelect(UnfoldAdminSelectWidget):  # type: ignore[misc]  # unfold comes without types
    """Options that carry something for the script, such as the kind of data that is in a dataset."""

    def __init__(self, marks: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__()
        self.marks = marks

    def create_option(self, name: str, value: Any, *args: Any, **options: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(name, value, *args, **options)
        option["attrs"] |= self.marks.get(value, {})
        return option


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def field_for_argument(schema: Mapping[str, Any], **options: Any) -> ConfigField:
    """The field for an argument of an architecture, by its JSON Schema."""
    options |= {"default": schema["default"], "help_text": schema.get("description", "")}
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    takes_null = "null" in kinds
    if "enum" in schema:
        return JSONChoiceField(values=schema["enum"], **options)
    if "boolean" in kinds:
        return JSONChoiceField(values=[True, False, None], **options) if takes_null else FlagField(**options)
    hint = range_in_words(schema.get("minimum"), schema.get("maximum"))
    if kinds & {"integer", "number"}:
        return NumberField(hint=hint, takes_null=takes_null, **options)
    return ListField(**options) if "array" in kinds else ConfigField(**options)


def range_in_words(lowest: float | None, highest: float | None) -> str:
    """The range of a number. A bound that is there to refuse nonsense alone is not worth reading."""
    if highest is not None and highest >= FAR_AWAY:
        highest = None
    if highest is None:
        return "" if lowest is None else f"{_number(lowest)} or more"
    return f"{_number(lowest)} to {_number(highest)}" if lowest is not None else f"{_number(highest)} or less"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
