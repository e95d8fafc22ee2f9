"""Datasets as numpy arrays: npz with `x` and `y` or their train and test parts, npy with the label in the last column.

x of two axes is rows; of three, images without a channel axis; of four, images with channels last, or first when
only the second axis can be channels. y of two axes is sets: a column for each class, 0 or 1, and `class_names` may
name them. Nothing here unpickles, and no header is believed before it is measured.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

import numpy as np

from registry.formats import limits
from registry.formats.archives import open_zip, read_exactly
from registry.formats.contents import Array, Contents, InvalidDataset, first_unusable, quoted, refusing
from registry.formats.labels import Place, encode_names, encode_numbers, encode_sets, name_classes, require_few_samples

SIGNATURE = b"\x93NUMPY"
NUMBERS = "biuf"
TEXTS = "SU"
MAX_HEADER_BYTES = 1 << 14
MAX_CHANNELS = 4


def read_npy(path: Path) -> Contents:
    """Decode a .npy file. Raises InvalidDataset."""
    with path.open("rb") as file:
        table = read_array(file, path.stat().st_size, "the array")
    if table.ndim != 2 or table.shape[1] < 2 or table.dtype.kind not in NUMBERS:
        raise InvalidDataset(f"an npy dataset is a table of numbers, the label in the last column, not {_kind(table)}")
    y, class_names = _encode([table[:, -1]], lambda index: f"row {index}")
    return Contents("npy", _as_samples(table[:, :-1], "x"), y, class_names)


def read_npz(path: Path) -> Contents:
    """Decode a .npz file. Raises InvalidDataset, which names the array."""
    with open_zip(path) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if {"x", "y"} <= entries.keys():
            parts = [("x", "y")]
        elif {"x_train", "y_train", "x_test", "y_test"} <= entries.keys():
            parts = [("x_train", "y_train"), ("x_test", "y_test")]
        else:
            found = ", ".join(quoted(name) for name in list(entries)[:8])
            raise InvalidDataset(f"an npz dataset holds x and y, or x_train, y_train, x_test and y_test, not {found}")
        xs = [_as_samples(_read_entry(archive, entries[x], x), x) for x, _ in parts]
        ys = [_as_labels(_read_entry(archive, entries[y], y), y) for _, y in parts]
        named = "class_names" in entries and ys[0].ndim == 2
        names = _read_entry(archive, entries["class_names"], "class_names") if named else None
    if len({(x.shape[1:], x.dtype) for x in xs}) > 1:
        raise InvalidDataset(f"x_train is {_kind(xs[0])} and x_test {_kind(xs[1])}; they must be alike")
    if len({y.dtype.kind in TEXTS for y in ys}) > 1:
        raise InvalidDataset("the labels of one part are text and those of the other numbers; they must be alike")
    if len({y.shape[1:] for y in ys}) > 1:
        raise InvalidDataset(f"y_train is {_kind(ys[0])} and y_test {_kind(ys[1])}; they must be alike")
    # Encoded together, so that a label means the same in both parts.
    class_names: tuple[str, ...] | None
    if ys[0].ndim == 2:
        y, class_names = encode_sets(np.concatenate(ys), _place_of_decision(parts, ys)), _name_classes(names, ys[0])
    else:
        y, class_names = _encode(ys, lambda index: f"label {index}")
    if len(parts) == 1:
        return Contents("npz", xs[0], y, class_names)
    boundary = len(ys[0])
    return Contents("npz", xs[0], y[:boundary], class_names, xs[1], y[boundary:])


def _read_entry(archive: ZipFile, entry: ZipInfo, name: str) -> Array:
    with refusing(f"the array {name} is damaged"), archive.open(entry) as stream:
        return read_array(stream, entry.file_size, name)


def read_array(stream: IO[bytes], size_bytes: int, name: str) -> Array:
    """Read one array whose file is of the given size, header and all."""
    with refusing(f"{name} has no valid npy header"):
        header = io.BytesIO(stream.read(MAX_HEADER_BYTES))
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        # Version 3.0 differs in the names of structured arrays only, which are refused anyway.
        shape, fortran_order, dtype = readers[np.lib.format.read_magic(header)](header)
    if dtype.kind not in NUMBERS + TEXTS or dtype.itemsize == 0:
        raise InvalidDataset(f"{name} holds {quoted(str(dtype))}; only real numbers, booleans and text labels are read")
    if any(length < 1 for length in shape):
        raise InvalidDataset(f"{name} is empty: its shape is {shape}")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != size_bytes - header.tell() or claimed > limits.MAX_DECODED_BYTES:
        raise InvalidDataset(f"{name} claims {claimed} bytes, but its file holds {size_bytes - header.tell()}")
    stream.seek(header.tell())
    return np.frombuffer(read_exactly(stream, claimed), dtype).reshape(shape, order="F" if fortran_order else "C")


def _as_samples(x: Array, name: str) -> Array:
    """x as Contents has it: (N, F) float32, or (N, H, W, C) uint8 or float32."""
    if x.dtype.kind not in NUMBERS or not 2 <= x.ndim <= 4:
        raise InvalidDataset(
            f"{name} must be numbers with two to four axes, the samples along the first, not {_kind(x)}"
        )
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.ndim == 4 and x.shape[3] > MAX_CHANNELS:
        if x.shape[1] > MAX_CHANNELS:
            raise InvalidDataset(
                f"{name} has no axis for one to four channels, neither the last nor the second: {_kind(x)}"
            )
        x = x.transpose(0, 2, 3, 1)
    if x.ndim == 4 and x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.size * np.dtype(np.float32).itemsize > limits.MAX_DECODED_BYTES:
        raise InvalidDataset(f"{name} is larger than {limits.MAX_DECODED_BYTES} bytes as 32-bit numbers")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(x, np.float32)
    unusable = first_unusable(numbers)
    if unusable is not None:
        where = ", ".join(str(index) for index in np.unravel_index(unusable, x.shape))
        raise InvalidDataset(f"{name}[{where}] is not a finite number that fits in 32 bits")
    return numbers


def _as_labels(y: Array, name: str) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 and not (y.ndim == 2 and y.dtype.kind in NUMBERS):
        raise InvalidDataset(f"{name} must hold one label per sample, or 0 and 1 for each class, not {_kind(y)}")
    require_few_samples(len(y))
    return y


def _encode(parts: list[Array], place: Place) -> tuple[Array, tuple[str, ...] | None]:
    if parts[0].dtype.kind in NUMBERS:
        return encode_numbers(np.concatenate(parts), place), None
    # Not concatenated as arrays: there every label takes the space of the longest.
    return encode_names([text for part in parts for text in _texts(part, "the labels")], place)


def _texts(array: Array, name: str) -> list[str]:
    with refusing(f"{name} are not valid text"):
        return [text.decode() if isinstance(text, bytes) else text for text in array.tolist()]


def _name_classes(names: Array | None, y: Array) -> tuple[str, ...]:
    if names is None:
        return name_classes([str(number) for number in range(y.shape[1])])
    if names.shape != (y.shape[1],) or names.dtype.kind not in TEXTS:
        raise InvalidDataset(
            f"class_names must be a text for each of the {y.shape[1]} columns of y, not {_kind(names)}"
        )
    return name_classes(_texts(names, "class_names"))


def _place_of_decision(parts: list[tuple[str, str]], ys: list[Array]) -> Callable[[int, int], str]:
    def place(row: int, column: int) -> str:
        part = int(row >= len(ys[0]))
        return f"{parts[part][1]}[{row - part * len(ys[0])}, {column}]"

    return place


def _kind(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}"
