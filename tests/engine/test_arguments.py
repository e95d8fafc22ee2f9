"""The arguments of an architecture: what a function's annotations say, as a JSON Schema."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from training.engine.arguments import Between, arguments_schema, typed


def all_kinds(
    data: object,
    *,
    count: int = 3,
    share: Annotated[float, Between(0, 1), "How much."] = 0.5,
    wide: bool = False,
    label: str = "",
    norm: Literal["batch", "layer"] = "batch",
    limit: Annotated[int, Between(1, 9)] | None = None,
    activation: Literal["relu"] | None = None,
    sizes: list[Annotated[int, Between(1, 100)]] = [64, 32],  # noqa: B006 - read, never changed
) -> None: ...


def test_annotations_become_a_schema() -> None:
    assert arguments_schema(all_kinds) == {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "default": 3},
            "share": {"type": "number", "minimum": 0, "maximum": 1, "description": "How much.", "default": 0.5},
            "wide": {"type": "boolean", "default": False},
            "label": {"type": "string", "default": ""},
            "norm": {"enum": ["batch", "layer"], "default": "batch"},
            "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": None},
            "activation": {"enum": ["relu", None], "default": None},
            "sizes": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 100},
                "default": [64, 32],
            },
        },
        "additionalProperties": False,
    }


def untyped(data: object, *, width=64) -> None: ...  # type: ignore[no-untyped-def]
def without_default(data: object, *, width: int) -> None: ...
def positional(data: object, width: int = 64) -> None: ...
def open_ended(data: object, **options: int) -> None: ...
def strange(data: object, *, width: complex = 1j) -> None: ...
def strange_choice(data: object, *, width: Literal[b"x"] = b"x") -> None: ...
def two_types(data: object, *, width: int | str = 64) -> None: ...
def against_its_bounds(data: object, *, width: Annotated[int, Between(1, 9)] = 64) -> None: ...
def against_its_type(data: object, *, width: int = "64") -> None: ...  # type: ignore[assignment]
def true_for_a_number(data: object, *, width: int = True) -> None: ...
def boundless(data: object, *, width: Annotated[float, Between(0, float("inf"))] = 64.0) -> None: ...


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (untyped, "must have a type"),
        (without_default, "have a default"),
        (positional, "keyword-only"),
        (open_ended, "keyword-only"),
        (strange, "complex"),
        (strange_choice, "does not know"),
        (two_types, "int | str"),
        (against_its_bounds, "maximum of 9"),
        (against_its_type, "not of type 'integer'"),
        (true_for_a_number, "not of type 'integer'"),
        (boundless, "inf"),
    ],
)
def test_an_argument_that_json_cannot_check_is_refused(function: Callable[..., Any], hint: str) -> None:
    with pytest.raises(ValueError, match=hint.replace("|", r"\|")) as error:
        arguments_schema(function)
    assert "width" in str(error.value) or "options" in str(error.value)


def test_a_whole_number_comes_as_an_int_however_json_wrote_it() -> None:
    values = typed(
        {"count": 2.0, "share": 1, "limit": None, "sizes": [8.0, 4], "wide": True}, arguments_schema(all_kinds)
    )
    assert values == {"count": 2, "share": 1, "limit": None, "sizes": [8, 4], "wide": True}
    assert [type(value) for value in (values["count"], *values["sizes"], values["wide"])] == [int, int, int, bool]
