"""Server-sent events as a client reads them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """One event as it arrived."""

    name: str
    id: str
    data: Any


def read_events(lines: Iterable[str]) -> Iterator[Told]:
    """The events in these lines, by the rules of the HTML standard that this server makes use of."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            assert name in ("id", "event", "data", "retry"), line
            assert name not in fields, line
            fields[name] = value
        else:
            if "data" in fields:
                yield Told(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}
