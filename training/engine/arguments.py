"""The arguments of an architecture: a JSON Schema from a function's annotations, and values as its types want them."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


@dataclass(frozen=True)
class Between:
    """For Annotated: the lowest and the highest value of an argument, both included."""

    lowest: float
    highest: float


def arguments_schema(function: Callable[..., Any], check_defaults: bool = True) -> dict[str, Any]:
    """The JSON Schema of a function's keyword arguments. Checking the defaults imports a validator, which is slow.

    Raises ValueError for one without a type that JSON knows, or without a default that its own schema accepts.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise ValueError(f"the argument {name} must be keyword-only and have a default")
        if name not in hints:
            raise ValueError(f"the argument {name} must have a type")
        properties[name] = _schema_of(name, hints[name]) | {"default": parameter.default}
        if check_defaults:
            _check_default(name, parameter.default, properties[name])
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _check_default(name: str, default: Any, schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(schema).iter_errors(default):
        raise ValueError(f"the default of {name} is against its own type: {error.message}")


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value that fits a schema, as Python's types: JSON Schema takes 2.0 for an integer, range() does not."""
    if isinstance(value, dict):
        return {name: typed(inner, schema["properties"][name]) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner, schema["items"]) for inner in value]
    if isinstance(value, float) and "integer" in schema.get("type", ()):
        return int(value)
    return value


def _schema_of(name: str, hint: Any) -> dict[str, Any]:
    """The schema of an annotation: a type of JSON, a Literal or a list of these, one of them Annotated or `| None`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in TYPES:
        return {"type": TYPES[hint]}
    if origin is Literal and all(choice is None or type(choice) in TYPES for choice in inner):
        return {"enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": _schema_of(name, inner[0])}
    if origin is typing.Annotated:
        return _schema_of(name, inner[0]) | _notes(name, inner[1:])
    if origin in (types.UnionType, typing.Union) and len(inner) == 2 and types.NoneType in inner:
        return _or_null(_schema_of(name, inner[0] if inner[1] is types.NoneType else inner[1]))
    raise ValueError(f"the argument {name} has a type that JSON does not know: {hint}")


def _notes(name: str, notes: tuple[Any, ...]) -> dict[str, Any]:
    """What Annotated adds: bounds, and a text that describes the argument. Other notes are somebody else's."""
    found: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, str):
            found["description"] = note
        elif isinstance(note, Between):
            if not (math.isfinite(note.lowest) and math.isfinite(note.highest)):
                raise ValueError(f"the argument {name} has a bound that JSON does not know: {note}")
            found |= {"minimum": note.lowest, "maximum": note.highest}
    return found


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}
