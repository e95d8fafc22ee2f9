"""Labels, from what a file says to what a trainer gets."""

from collections.abc import Callable, Sequence

import numpy as np

from registry.formats import limits
from registry.formats.contents import Array, InvalidDataset, quoted

# Beyond this a float64 no longer tells neighbouring whole numbers apart.
MAX_WHOLE = 2**53

Place = Callable[[int], str]  # how a message names the sample at an index


def require_few_samples(count: int) -> None:
    """Refuse more samples than anyone may register."""
    if count > limits.MAX_SAMPLES:
        raise InvalidDataset(f"the dataset holds more than {limits.MAX_SAMPLES} samples")


def encode_numbers(values: Array, place: Place) -> Array:
    """Labels that are numbers or booleans: int64 when all are whole, else float64."""
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise InvalidDataset(f"{place(int(values.argmax()))}: the label is too large")
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    numbers = values.astype(np.float64)
    unusable = ~np.isfinite(numbers)
    if unusable.any():
        raise InvalidDataset(f"{place(int(unusable.argmax()))}: the label is missing or not a finite number")
    if (np.trunc(numbers) == numbers).all() and (np.abs(numbers) <= MAX_WHOLE).all():
        return numbers.astype(np.int64)
    return numbers


def encode_names(values: Sequence[str], place: Place) -> tuple[Array, tuple[str, ...]]:
    """Labels that are text: indices into the sorted names, and these names."""
    names = sorted(set(values))
    for name in names:
        problem = _problem(name)
        if problem:
            raise InvalidDataset(f"{place(values.index(name))}: the label {problem}")
    index = {name: position for position, name in enumerate(names)}
    return np.fromiter((index[value] for value in values), np.int64, len(values)), tuple(names)


def encode_sets(values: Array, place: Callable[[int, int], str]) -> Array:
    """Sets of classes, (N, K) numbers or booleans that are 0 or 1, as uint8. `place` names a row and a column."""
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), values.shape[1])
        raise InvalidDataset(
            f"{place(row, column)} is {values[row, column]}; which classes a sample has is written as 0 and 1"
        )
    return values.astype(np.uint8)


def name_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes that sets are of. Raises InvalidDataset unless they are two or more, all different."""
    if len(names) < 2:
        raise InvalidDataset("sets of classes need two classes at least")
    for name in names:
        problem = _problem(name)
        if problem:
            raise InvalidDataset(f"the name of class {names.index(name)} {problem}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidDataset(f"two classes are named {quoted(twice)}")
    return tuple(names)


def _problem(name: str) -> str | None:
    if not name:
        return "is missing"
    if "\0" in name:
        return "holds a NUL character"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is no valid Unicode text"
    return None
