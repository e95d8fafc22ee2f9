"""docs/configuration.md as tests read it: a table for a session's fields, and one for each object among them."""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
REQUIRED = object()

ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<values>.+?) \| (?P<default>.+?) \| (?P<meaning>.+?) \|$")


def read_tables() -> dict[str, dict[str, Any]]:
    """Title → field → its default, or REQUIRED. A table's title is the newest heading before it."""
    tables: dict[str, dict[str, Any]] = {}
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith(("# ", "## `")):
            title = re.sub("[#`]", "", line).strip()
        elif row := ROW.match(line):
            fields = tables.setdefault(title, {})
            assert row["name"] not in fields, f"{row['name']} is there twice"
            default = row["default"]
            fields[row["name"]] = REQUIRED if default == "required" else json.loads(default.strip("`"))
    return tables
