"""Rows of numbers with a label each, gathered one by one from a text file."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np

from registry.formats import limits
from registry.formats.contents import Array, InvalidDataset, first_unusable, quoted
from registry.formats.labels import require_few_samples

Label = TypeVar("Label")

LABEL_COLUMNS = ("label", "target")


def find_label(columns: Sequence[str]) -> int:
    """The index of the column that holds the label: `label` or `target`, else the last."""
    names = [column.strip().lower() for column in columns]
    for wanted in LABEL_COLUMNS:
        if names.count(wanted) > 1:
            raise InvalidDataset(f"more than one column is named {wanted}; keep one")
        if wanted in names:
            return names.index(wanted)
    return len(names) - 1


class Rows(Generic[Label]):
    """The rows read so far. `unit` is what a message calls a row, `columns` names the features."""

    def __init__(self, unit: str, columns: Sequence[str]) -> None:
        self.labels: list[Label] = []
        self._unit = unit
        self.columns = columns
        self._features = array("f")
        self._numbers = array("Q")

    def append(self, number: int, features: Iterable[float], label: Label) -> None:
        """Take the row that stands at `number` in the file."""
        self._features.extend(features)
        self._numbers.append(number)
        self.labels.append(label)
        require_few_samples(len(self.labels))
        if len(self._features) * self._features.itemsize > limits.MAX_DECODED_BYTES:
            raise InvalidDataset(f"the dataset is larger than {limits.MAX_DECODED_BYTES} bytes when decoded")

    def place(self, index: int) -> str:
        """Where in the file the sample at `index` stands."""
        return f"{self._unit} {self._numbers[index]}"

    def x(self) -> Array:
        """The features, (N, F) float32. Raises InvalidDataset where one is NaN, infinite or beyond float32."""
        x = np.frombuffer(self._features, np.float32).reshape(-1, len(self.columns))
        unusable = first_unusable(x)
        if unusable is not None:
            row, column = divmod(unusable, len(self.columns))
            where = f"{self.place(row)}, column {quoted(self.columns[column])}"
            raise InvalidDataset(f"{where}: not a finite number that fits in 32 bits")
        return x
