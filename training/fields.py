"""Dataclasses that check themselves: the rules of each field stand beside it, in its metadata.

No Django and no torch here. What checks a value, what describes it to HTTP clients and what makes it an argument of
the command line all read the same rules.
"""

import copy
import dataclasses
import json
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any

Number = int | float
Within = tuple[Number | None, Number | None]  # the lowest and the highest, both included; None leaves a side open
Problems = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a field accepts beyond its type.

    `within` are the lowest and the highest number, both included; None leaves a side open. Of an object that has it,
    every value is such a number. `length` is the most characters of a text, or the most items of a list or an object.
    `choices` are all that a text may be, and what an object may be instead. `pattern` is for a text or for each item
    of a list.
    """

    help: str
    choices: tuple[str, ...] | None = None
    within: Within = (None, None)
    pattern: str | None = None
    pattern_hint: str = ""  # what the pattern asks for, in words
    length: int | None = None
    may_be_empty: bool = False


def option(default: Any = MISSING, **rule: Any) -> Any:
    """A field with its rule; without a default it is required. An object as default is made anew for each instance."""
    metadata = {"rule": Rule(**rule)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Field:
    """A field of a dataclass as its readers want it."""

    name: str
    kind: type  # str, int, float, bool, tuple (of strings), dict or a dataclass
    nullable: bool
    rule: Rule
    required: bool
    default: Any


@cache
def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a dataclass that was written with option()."""
    hints = typing.get_type_hints(cls)
    return tuple(_read(field, hints[field.name]) for field in dataclasses.fields(cls))


def _read(field: dataclasses.Field[Any], hint: Any) -> Field:
    nullable = False
    if isinstance(hint, types.UnionType):
        nullable = types.NoneType in hint.__args__
        hint = hint.__args__[0]  # what comes behind it says what else than this and null may stand there
    default = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    return Field(
        name=field.name,
        kind=typing.get_origin(hint) or hint,
        nullable=nullable,
        rule=field.metadata["rule"],
        required=default is MISSING,
        default=default,
    )


def check_object(
    cls: type, data: object, prefix: str = "", bounds: Mapping[str, Within] | None = None
) -> tuple[dict[str, Any], Problems]:
    """The values of `cls` that are right, defaults included, and for every wrong field what is wrong with it.

    Wrong is what is missing, unknown, of the wrong type (`true` and `"0.1"` are no numbers) or against the field's
    rule. `bounds` replace the rule's own for the fields that they name. `prefix` stands before the names in messages.
    """
    if not isinstance(data, Mapping):
        name = prefix.removesuffix(".")
        return {}, {name or "non_field_errors": [f"{name or 'the configuration'} must be a JSON object"]}
    fields = {field.name: field for field in fields_of(cls)}
    problems = {f"{prefix}{name}": [f"{prefix}{name} is not a known field"] for name in data if name not in fields}
    values: dict[str, Any] = {}
    for name, field in fields.items():
        full_name = f"{prefix}{name}"
        if name not in data:
            if field.required:
                problems[full_name] = [f"{full_name} is required"]
            else:
                values[name] = copy.copy(field.default)
            continue
        value, found = _check_value(field, full_name, data[name], (bounds or {}).get(name, field.rule.within))
        if found:
            problems |= found
        else:
            values[name] = value
    return values, problems


def _check_value(field: Field, name: str, value: object, within: Within) -> tuple[Any, Problems]:
    if value is None and field.nullable:
        return None, {}
    if dataclasses.is_dataclass(field.kind):
        values, problems = check_object(field.kind, value, f"{name}.")
        return (None, problems) if problems else (field.kind(**values), {})
    problem = _problem(field, value, within)
    if problem:
        return None, {name: [f"{name} {problem}"]}
    if field.kind is tuple:
        return tuple(value), {}  # type: ignore[arg-type]
    return (float(value) if field.kind is float else value), {}  # type: ignore[arg-type]


def _problem(field: Field, value: object, within: Within) -> str | None:
    """What is wrong with a value, in the words that follow the field's name; None when it is right."""
    if field.kind is str:
        return _text_problem(field.rule, value)
    if field.kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if field.kind is tuple:
        return _list_problem(field.rule, value)
    if field.kind is dict:
        return _object_problem(field.rule, value, within)
    return _number_problem(field.kind, value, within)


def _text_problem(rule: Rule, value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if rule.choices:
        return None if value in rule.choices else f"must be one of {', '.join(rule.choices)}"
    if rule.pattern is not None and not re.fullmatch(rule.pattern, value):
        return f"must be {rule.pattern_hint}"
    if rule.length is not None and len(value) > rule.length:
        return f"must be {rule.length} characters at most"
    return None if value or rule.may_be_empty else "must not be empty"


def _list_problem(rule: Rule, value: object) -> str | None:
    if not isinstance(value, list | tuple):
        return "must be a list of strings"
    if rule.length is not None and len(value) > rule.length:
        return f"must have {rule.length} items at most"
    for item in value:
        if not isinstance(item, str):
            return "must be a list of strings"
        if rule.pattern is not None and not re.fullmatch(rule.pattern, item):
            return f"must hold strings that are {rule.pattern_hint}"
    return None


def _object_problem(rule: Rule, value: object, within: Within) -> str | None:
    if rule.choices and isinstance(value, str):
        return None if value in rule.choices else f"must be an object or {' or '.join(rule.choices)}"
    if not isinstance(value, dict):
        return "must be a JSON object"
    if rule.length is not None and len(value) > rule.length:
        return f"must have {rule.length} keys at most"
    if within != (None, None):
        problems = ((key[:60], _number_problem(float, item, within)) for key, item in value.items())
        return next((f"must map names to numbers: {key!r} {problem}" for key, problem in problems if problem), None)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return "must hold what JSON can write, without NaN and Infinity"
    return None


def _number_problem(kind: type, value: object, within: Within) -> str | None:
    if kind is int and (isinstance(value, bool) or not isinstance(value, int)):
        return "must be an integer"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    lowest, highest = within
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        if highest is None:
            return f"must be {lowest} or more"
        if lowest is None:
            return f"must be {highest} or less"
        return f"must be between {lowest} and {highest}"
    if kind is float and abs(value) > sys.float_info.max:
        return "is too large"
    return None


def schema_of(cls: type, bounds: Mapping[str, Within] | None = None) -> dict[str, Any]:
    """The JSON Schema of what check_object() accepts. `bounds` replace the rule's own, as there."""
    fields = fields_of(cls)
    return {
        "type": "object",
        "description": (cls.__doc__ or "").strip(),
        "properties": {
            field.name: _field_schema(field, (bounds or {}).get(field.name, field.rule.within)) for field in fields
        },
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def answer_schema_of(cls: type, bounds: Mapping[str, Within] | None = None) -> dict[str, Any]:
    """The JSON Schema of what was accepted, as answers show it: every field is there, and there may be more."""
    return _opened(schema_of(cls, bounds))


def _opened(schema: dict[str, Any]) -> dict[str, Any]:
    """The same for an object that lacks no field of this schema, and for those in it that the schema knows."""
    opened = {name: value for name, value in schema.items() if name not in ("default", "additionalProperties")}
    if "properties" in schema:
        opened["properties"] = {name: _opened(inner) for name, inner in schema["properties"].items()}
        opened["required"] = list(schema["properties"])
    if "anyOf" in schema:
        opened["anyOf"] = [_opened(inner) for inner in schema["anyOf"]]
    return opened


def default_of(field: Field) -> Any:
    """A field's default as JSON knows it."""
    if dataclasses.is_dataclass(field.default):
        return {inner.name: default_of(inner) for inner in fields_of(field.kind)}
    return list(field.default) if field.kind is tuple else field.default


def _field_schema(field: Field, within: Within) -> dict[str, Any]:
    schema = _kind_schema(field, within)
    if field.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if not field.required:
        schema["default"] = default_of(field)
    return schema | {"description": field.rule.help}


def _kind_schema(field: Field, within: Within) -> dict[str, Any]:
    rule = field.rule
    if dataclasses.is_dataclass(field.kind):
        return schema_of(field.kind)
    if field.kind is str:
        if rule.choices:
            return {"type": "string", "enum": list(rule.choices)}
        limits = {"minLength": None if rule.may_be_empty else 1, "maxLength": rule.length}
        return _only_set({"type": "string", "pattern": _whole(rule.pattern), **limits})
    if field.kind is tuple:
        return _only_set(
            {
                "type": "array",
                "items": _only_set({"type": "string", "pattern": _whole(rule.pattern)}),
                "maxItems": rule.length,
            }
        )
    if field.kind is dict:
        values = None if within == (None, None) else _number_schema("number", within)
        schema = _only_set({"type": "object", "maxProperties": rule.length, "additionalProperties": values})
        return {"anyOf": [schema, {"type": "string", "enum": list(rule.choices)}]} if rule.choices else schema
    return _number_schema({int: "integer", float: "number", bool: "boolean"}[field.kind], within)


def _number_schema(name: str, within: Within) -> dict[str, Any]:
    return _only_set({"type": name, "minimum": within[0], "maximum": within[1]})


def _whole(pattern: str | None) -> str | None:
    """A pattern for all of a text, as JSON Schema wants it said."""
    return None if pattern is None else f"^(?:{pattern})$"


def _only_set(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if value is not None}
