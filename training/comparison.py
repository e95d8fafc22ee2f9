"""Documents such as configurations side by side: as rows of name and value, and where they differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Difference:
    """A value that is not the same in all documents, one for each of them; None where there is none."""

    name: str
    values: list[Any]


def rows_of(document: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Every value of a document by its name; that of one inside another is written as outer.inner."""
    rows: dict[str, Any] = {}
    for name, value in document.items():
        rows |= rows_of(value, f"{within}{name}.") if isinstance(value, Mapping) else {f"{within}{name}": value}
    return rows


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """What is not the same in all documents, in the order of their names there."""
    tables = [rows_of(document) for document in documents]
    names = dict.fromkeys(name for table in tables for name in table)
    found = [Difference(name, [table.get(name) for table in tables]) for name in names]
    return [row for row in found if any(not same(value, row.values[0]) for value in row.values)]


def same(one: Any, other: Any) -> bool:
    """As JSON tells values apart: true is not 1, though Python takes it for that."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def as_text(value: Any) -> str:
    """A value for people: a text as it is, several in a row, and a dash for none."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
