"""Datasets as JSON: a list of flat records, all with the same keys, features that are numbers or booleans.

The label is the key `label` or `target`, else the last of the first record; it may be text, or a list of texts where
samples have any number of classes each.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from registry.formats import limits
from registry.formats.contents import Array, Contents, InvalidDataset, quoted, refusing
from registry.formats.labels import Place, encode_names, encode_numbers, name_classes
from registry.formats.rows import Rows, find_label

WHITESPACE = re.compile(r"[ \t\r\n]*")

Label = float | str | list[str]


def read(path: Path) -> Contents:
    """Decode a JSON file. Raises InvalidDataset, which names record and key."""
    if path.stat().st_size > limits.MAX_JSON_BYTES:
        raise InvalidDataset(f"a JSON dataset may be {limits.MAX_JSON_BYTES} bytes at most; use npz for more")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataset("the file is not UTF-8 text throughout") from error
    records = _records(text)
    first = next(records, None)
    if first is None:
        raise InvalidDataset("the dataset holds no samples")
    keys = list(first)
    if len(keys) < 2:
        raise InvalidDataset("a record needs a feature and a label, each under a key of its own")
    label_key = keys.pop(find_label(keys))
    rows = Rows[Label]("record", keys)
    _append(rows, 1, first, keys, label_key)
    for number, record in enumerate(records, start=2):
        if len(record) != len(keys) + 1 or not all(key in record for key in (*keys, label_key)):
            raise InvalidDataset(f"record {number} has other keys than the first")
        _append(rows, number, record, keys, label_key)
    y, class_names = _encode(rows.labels, rows.place)
    return Contents("json", rows.x(), y, class_names, columns=tuple(keys))


def _records(text: str) -> Iterator[dict[str, Any]]:
    """Decode one record at a time: a list decoded whole takes twenty times the memory of its text."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct_keys, parse_constant=_refuse_constant)
    position = _skip(text, 0)
    if not text.startswith("[", position):
        raise InvalidDataset("a JSON dataset is a list of records: [{…}, {…}]")
    position = _skip(text, position + 1)
    if text.startswith("]", position):
        return
    number = 1
    while True:
        with refusing(f"record {number} is not valid JSON"):
            record, position = decoder.raw_decode(text, position)
        if not isinstance(record, dict) or not record:
            raise InvalidDataset(f"record {number} is not an object with keys")
        yield record
        position = _skip(text, position)
        if text.startswith("]", position):
            break
        if not text.startswith(",", position):
            raise InvalidDataset(f"after record {number} a comma or the end of the list is missing")
        position = _skip(text, position + 1)
        number += 1
    if _skip(text, position + 1) != len(text):
        raise InvalidDataset("something follows the end of the list")


def _skip(text: str, position: int) -> int:
    """The position of the next character that is not white space."""
    return WHITESPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing at all, too


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise InvalidDataset("a record has the same key twice")
    return record


def _refuse_constant(name: str) -> float:
    raise InvalidDataset(f"{name} is no JSON, and no number to learn from")


def _append(rows: Rows[Label], number: int, record: dict[str, Any], keys: list[str], label_key: str) -> None:
    features = [_number(record[key], number, key) for key in keys]
    label = record[label_key]
    if isinstance(label, list):
        for name in label:
            if not isinstance(name, str):
                raise InvalidDataset(f"record {number}, key {quoted(label_key)}: a list of classes holds texts alone")
    elif not isinstance(label, str):
        label = _number(label, number, label_key)
    rows.append(number, features, label)


def _number(value: object, number: int, key: str) -> float:
    where = f"record {number}, key {quoted(key)}"
    if value is None:
        raise InvalidDataset(f"{where}: the value is missing")
    if not isinstance(value, int | float):
        raise InvalidDataset(f"{where}: not a number; only labels may be text, and nothing may be nested")
    try:
        return float(value)
    except OverflowError:
        raise InvalidDataset(f"{where}: the number is too large") from None


def _encode(labels: list[Label], place: Place) -> tuple[Array, tuple[str, ...] | None]:
    numbers = [label for label in labels if isinstance(label, float)]
    names = [label for label in labels if isinstance(label, str)]
    sets = [label for label in labels if isinstance(label, list)]
    if len(labels) not in (len(numbers), len(names), len(sets)):
        raise InvalidDataset("some labels are text, some numbers, some lists; they must be all of one kind")
    if names:
        return encode_names(names, place)
    return _encode_sets(sets) if sets else (encode_numbers(np.array(numbers, np.float64), place), None)


def _encode_sets(sets: list[list[str]]) -> tuple[Array, tuple[str, ...]]:
    class_names = name_classes(sorted({name for classes in sets for name in classes}))
    if len(sets) * len(class_names) > limits.MAX_DECODED_BYTES:
        raise InvalidDataset(f"the sets of classes are larger than {limits.MAX_DECODED_BYTES} bytes when decoded")
    index = {name: position for position, name in enumerate(class_names)}
    y = np.zeros((len(sets), len(class_names)), np.uint8)
    for row, classes in enumerate(sets):
        y[row, [index[name] for name in classes]] = 1
    return y, class_names
