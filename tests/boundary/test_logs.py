"""No line of the log is forged by what a client sent."""

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servermgmt.logs import INDENT, LineFormatter
from servermgmt.webserver import LineLogger

FORMAT = LineFormatter("{levelname} {name}: {message}", style="{")
FORGED = "x\nERROR forged: y"


def entry(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("server", logging.WARNING, "file.py", 1, message, arguments, info)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain é 漢 😀", "plain é 漢 😀"),
        (FORGED, r"x\nERROR forged: y"),
        ("a\rb", r"a\rb"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),
        ("a\u202eb\u2066c\u200bd", r"a\u202eb\u2066c\u200bd"),
        ("a\ud800b", r"a\ud800b"),
        ("a\0b\x7fc", r"a\x00b\x7fc"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_an_entry_is_one_line_without_control_characters(message: str, line: str) -> None:
    assert FORMAT.format(entry(message)) == f"WARNING server: {line}"
    assert FORMAT.format(entry("%s", message)) == f"WARNING server: {line}"


def test_a_traceback_is_indented_whatever_its_message_holds() -> None:
    try:
        raise RuntimeError(FORGED + "\x1b[2J\u202e")
    except RuntimeError as error:
        record = entry("failed", error=error)
    record.exc_text = "ERROR forged: by another formatter"

    first, *rest = FORMAT.format(record).split("\n")

    assert first == "WARNING server: failed"
    assert all(line.startswith(INDENT) for line in rest)
    assert rest[-1] == rf"{INDENT}ERROR forged: y\x1b[2J\u202e"
    assert "another formatter" not in "".join(rest)
    assert record.exc_text is None


def test_a_stack_is_indented() -> None:
    record = entry("here")
    record.stack_info = "Stack:\nERROR forged: x"

    assert FORMAT.format(record) == f"WARNING server: here\n{INDENT}Stack:\n{INDENT}ERROR forged: x"


@given(st.text())
def test_whatever_is_said_stays_on_its_line(message: str) -> None:
    line = FORMAT.format(entry("%s", message))

    assert len(line.splitlines()) == 1
    assert line.encode()


def test_gunicorn_writes_such_lines_too() -> None:
    from gunicorn.config import Config  # type: ignore[import-untyped]

    logger = LineLogger(Config())

    (handler,) = logger.error_log.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert isinstance(handler.formatter, LineFormatter)
    assert handler.formatter.format(entry(FORGED)).count("\n") == 0
    assert handler.stream is sys.stderr
    logger.error_log.removeHandler(handler)
