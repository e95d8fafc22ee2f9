"""Lines of the log that nobody can forge: what a client sent is part of one line, whatever it holds."""

import logging
import unicodedata
from types import TracebackType
from typing import Any

INDENT = "    "


class LineFormatter(logging.Formatter):
    """One line for each entry, and below it those of its traceback, indented: at the margin every line is an entry."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another formatter may have left its own there, and ours is for nobody else
        try:
            return super().format(record)
        finally:
            record.exc_text = None

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escape(super().formatMessage(record))

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | Any
    ) -> str:
        return indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return indented(super().formatStack(stack_info))


def escape(text: str) -> str:
    """The text on one line, with what moves a cursor or turns the direction of reading written out."""
    return "".join(
        character if character.isprintable() or not is_dangerous(character) else written_out(character)
        for character in text
    )


def is_dangerous(character: str) -> bool:
    """Control and format characters, halves of surrogate pairs, and what parts lines and paragraphs."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def indented(text: str) -> str:
    """Lines that are seen to go on with what stands above them."""
    return "\n".join(INDENT + escape(line) for line in text.split("\n"))
