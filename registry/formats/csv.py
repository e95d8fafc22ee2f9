"""Datasets as csv: UTF-8, commas, one sample a line, features that are numbers, labels that are numbers or text.

The label is the column named `label` or `target`, else the last. The first line is a header when it names such a
column, or when none of its features is a number; so a file of numbers with text labels needs none. Where samples have
any number of classes each, a header names a column `label:NAME` for every class, with 0 or 1 in it.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from registry.formats import limits
from registry.formats.contents import Array, Contents, InvalidDataset, quoted
from registry.formats.labels import Place, encode_names, encode_numbers, name_classes
from registry.formats.rows import LABEL_COLUMNS, Rows, find_label

CLASS_PREFIX = "label:"


def read(path: Path) -> Contents:
    """Decode a csv file. Raises InvalidDataset, which names line and column."""
    with path.open(encoding="utf-8-sig") as file:
        lines = _parsed_lines(file)
        number, first = next(lines, (1, []))
        if len(first) < 2:
            raise InvalidDataset(f"line {number} needs a feature and a label, separated by a comma")
        if any(_names_class(cell) for cell in first):
            return _read_sets(first, lines)
        label_at = find_label(first)
        has_header = _is_header(first, label_at)
        columns = first if has_header else [str(position) for position in range(1, len(first) + 1)]
        rows = Rows[str]("line", columns[:label_at] + columns[label_at + 1 :])
        if not has_header:
            _append(rows, number, first, columns, label_at)
        for number, cells in lines:
            _append(rows, number, cells, columns, label_at)
    y, class_names = _encode([label.strip() for label in rows.labels], rows.place)
    return Contents("csv", rows.x(), y, class_names, columns=tuple(rows.columns) if has_header else None)


def _read_sets(columns: list[str], lines: Iterator[tuple[int, list[str]]]) -> Contents:
    """Decode the lines below a header that names a column for each class."""
    class_at = [position for position, column in enumerate(columns) if _names_class(column)]
    feature_at = [position for position, column in enumerate(columns) if not _names_class(column)]
    class_names = name_classes([columns[position].strip()[len(CLASS_PREFIX) :].strip() for position in class_at])
    if not feature_at:
        raise InvalidDataset("line 1 names classes alone; a sample needs a feature too")
    rows = Rows[bytes]("line", [columns[position] for position in feature_at])
    for number, cells in lines:
        _require_width(number, cells, columns)
        features = _features(number, [cells[position] for position in feature_at], rows.columns)
        rows.append(number, features, bytes(_decision(number, cells[at], columns[at]) for at in class_at))
    y = np.frombuffer(b"".join(rows.labels), np.uint8).reshape(-1, len(class_at))
    return Contents("csv", rows.x(), y, class_names, columns=tuple(rows.columns))


def _names_class(column: str) -> bool:
    return column.strip().lower().startswith(CLASS_PREFIX)


def _decision(number: int, cell: str, column: str) -> int:
    if cell.strip() not in ("0", "1"):
        raise InvalidDataset(f"line {number}, column {quoted(column)}: {quoted(cell)} is neither 0 nor 1")
    return int(cell)


def looks_like_csv(head: str) -> bool:
    """Whether the first lines of a file, up to somewhere in the last of them, are csv rather than prose.

    They are when the first names the label among other columns, or when most have as many commas as the first.
    """
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines:
        return True
    columns = [column.strip().strip('"').lower() for column in re.split("[,;\t]", lines[0])]
    if len(columns) > 1 and any(column in LABEL_COLUMNS or _names_class(column) for column in columns):
        return True
    whole = lines[:-1] if len(lines) > 1 and not head.endswith("\n") else lines
    commas = lines[0].count(",")
    return commas > 0 and 2 * sum(line.count(",") == commas for line in whole) > len(whole)


def _parsed_lines(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not blank, with the line's number."""
    for number, line in enumerate(_bounded_lines(file), start=1):
        if "\0" in line:
            raise InvalidDataset(f"line {number} holds a NUL character")
        if not line.strip():
            continue
        try:
            # Line by line, so that a quote left open cannot swallow the rest of the file.
            [cells] = csv.reader([line], strict=True)
        except csv.Error as error:
            raise InvalidDataset(f"line {number} is not csv: {error}") from error
        yield number, cells


def _bounded_lines(file: TextIO) -> Iterator[str]:
    while True:
        try:
            line = file.readline(limits.MAX_LINE_CHARS)
        except UnicodeDecodeError as error:
            raise InvalidDataset("the file is not UTF-8 text throughout") from error
        if not line:
            return
        if len(line) == limits.MAX_LINE_CHARS:
            raise InvalidDataset(f"a line is longer than {limits.MAX_LINE_CHARS} characters")
        yield line


def _is_header(cells: list[str], label_at: int) -> bool:
    if any(cell.strip().lower() in LABEL_COLUMNS for cell in cells):
        return True
    features = cells[:label_at] + cells[label_at + 1 :]
    return any(cell.strip() for cell in features) and not any(_is_number(cell) for cell in features)


def _append(rows: Rows[str], number: int, cells: list[str], columns: list[str], label_at: int) -> None:
    _require_width(number, cells, columns)
    label = cells.pop(label_at)
    rows.append(number, _features(number, cells, rows.columns), label)


def _require_width(number: int, cells: list[str], columns: list[str]) -> None:
    if len(cells) != len(columns):
        raise InvalidDataset(f"line {number} has {len(cells)} columns, the lines before it {len(columns)}")


def _features(number: int, cells: list[str], columns: Sequence[str]) -> list[float]:
    try:
        return _numbers(cells)
    except ValueError as error:
        name, cell = next((name, cell) for name, cell in zip(columns, cells, strict=True) if not _is_number(cell))
        problem = f"{quoted(cell)} is not a number; only labels may be text" if cell.strip() else "the value is missing"
        raise InvalidDataset(f"line {number}, column {quoted(name)}: {problem}") from error


def _numbers(cells: list[str]) -> list[float]:
    if not _is_plain("".join(cells)):
        raise ValueError("a cell is not a number")
    return [float(cell) for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return _is_plain(cell)


def _is_plain(text: str) -> bool:
    # float() also takes "1_000", and the digits of every script.
    return text.isascii() and "_" not in text


def _encode(labels: list[str], place: Place) -> tuple[Array, tuple[str, ...] | None]:
    distinct = set(labels)
    if all(_is_number(label) for label in distinct):
        numbers = {label: float(label) for label in distinct}
        return encode_numbers(np.fromiter((numbers[label] for label in labels), np.float64, len(labels)), place), None
    return encode_names(labels, place)
