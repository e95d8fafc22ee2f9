"""Which entries of a log are asked for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import re2
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError

from training.log_search import LogSearch
from training.models import TrainingSession
from training.parameters import whole_number

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MOST_LEVELS = 10
LARGEST_LINE = 2**53  # every reader of JSON can tell it from its neighbours
LONGEST_TEXT = 500
TEXT = {"type": "string", "pattern": r"^[^\x00]+$"}

# RE2 takes time in proportion to the text, and to the steps of its program where memory for more is lacking. With
# these limits the longest message takes some ten milliseconds, whatever the pattern.
REGEX_BYTES = 1 << 20
REGEX_STEPS = 2000


def read_levels(text: str) -> tuple[str, ...]:
    levels = tuple(dict.fromkeys(text.split(",")))
    if not all(levels) or len(levels) > MOST_LEVELS:
        raise ValueError(f"must be 1 to {MOST_LEVELS} levels, separated by commas, such as WARNING,ERROR")
    return levels


def read_text(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise ValueError(f"must be 1 to {LONGEST_TEXT} characters")
    return text


def read_regex(text: str) -> Any:
    try:
        regex = re2.compile(read_text(text), regex_options())
    except re2.error as error:
        raise ValueError(complaint(text, error.args[0].decode(errors="replace"))) from None
    finally:
        re2.purge()  # it would keep the last 128, each with its memory
    if regex.programsize > REGEX_STEPS:
        raise ValueError("is too large a regular expression: repeat less, or name fewer characters")
    return regex


def regex_options() -> re2.Options:
    options = re2.Options()
    options.max_mem = REGEX_BYTES
    options.never_capture = True  # what a group holds is nobody's question, and costs the most
    options.log_errors = False
    return options


def complaint(pattern: str, reason: str) -> str:
    """What RE2 finds wrong, and where: behind the last colon stands the part of the pattern that it means."""
    what, _, part = reason.partition(": ")
    where = f" at character {pattern.find(part) + 1}: {part}" if part and part in pattern else ""
    return f"is not a regular expression of RE2: {what}{where}"


# Each parameter of the query: how it is read, and how it is described.
FILTERS: dict[str, tuple[Callable[[str], Any], dict[str, Any], str]] = {
    "level": (
        read_levels,
        {"type": "string", "pattern": f"^({'|'.join(LEVELS)})(,({'|'.join(LEVELS)})){{0,{MOST_LEVELS - 1}}}$"},
        "Only entries of these levels, separated by commas, or of one that this log alone has.",
    ),
    "search": (
        read_text,
        TEXT,
        f"Only entries whose message holds this text, in small or capital letters; up to {LONGEST_TEXT} characters.",
    ),
    "regex": (
        read_regex,
        TEXT,
        f"Only entries in whose message this regular expression of RE2 is found; up to {LONGEST_TEXT} characters.",
    ),
    "after": (
        partial(whole_number, smallest=0, largest=LARGEST_LINE),
        {"type": "integer", "minimum": 0, "maximum": LARGEST_LINE},
        "The oldest entries behind this line, and from page to page newer ones.",
    ),
    "before": (
        partial(whole_number, smallest=1, largest=LARGEST_LINE),
        {"type": "integer", "minimum": 1, "maximum": LARGEST_LINE},
        "Only entries before this line.",
    ),
}
PARAMETERS = [OpenApiParameter(name, schema, description=text) for name, (_, schema, text) in FILTERS.items()]


def asked_for(session: TrainingSession, query: Mapping[str, str]) -> LogSearch:
    """The entries that a query names. Raises ValidationError, which names every parameter that is wrong."""
    values: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for name, (read, _, _) in FILTERS.items():
        try:
            if name in query:
                values[name] = read(query[name])
        except ValueError as error:
            problems[name] = [str(error)]
    levels = values.get("level", ())
    if unknown := [level for level in levels if not is_known(session, level)]:
        problems["level"] = [f"must be of {', '.join(LEVELS)} or a level of this log, which {unknown[0]} is not"]
    after, before = values.get("after"), values.get("before")
    if after is not None and before is not None and before <= after:
        problems["before"] = ["must be larger than after"]
    if problems:
        raise ValidationError(problems)
    text = values.get("search")
    return LogSearch(session, levels, None if text is None else text.casefold(), values.get("regex"), after, before)


def is_known(session: TrainingSession, level: str) -> bool:
    """Whether Python names a level so, or some entry of the log bears it: code may log with levels of its own."""
    return level in LEVELS or session.log_entries.filter(level=level).exists()
