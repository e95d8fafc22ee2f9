"""What a dataset holds, decoded and described, and the one error for a file that is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class InvalidDataset(ValueError):
    """A file that is no dataset; the message says what is wrong, with row, column or entry where known."""


@contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Turn whatever a parser raises over hostile bytes into InvalidDataset.

    What zipfile, tarfile, Pillow and numpy raise over damaged input is documented nowhere and grows with every
    release, so this is the one place that catches everything. Keep the block to the parser's own call.
    """
    try:
        yield
    except InvalidDataset:
        raise
    except Exception as error:
        raise InvalidDataset(sentence) from error


@dataclass(frozen=True, eq=False)
class Contents:
    """A dataset decoded.

    x: (N, F) float32 rows, or (N, H, W, C) uint8 or float32 images, channels last.
    y: (N,) labels. Numbers as written: int64 when all are whole, else float64. For text labels and image folders,
    int64 indices into class_names, which are sorted.
    x_test and y_test, alike, only when the dataset brings its own split.
    """

    format: str
    x: Array
    y: Array
    class_names: tuple[str, ...] | None
    x_test: Array | None = None
    y_test: Array | None = None

    def __post_init__(self) -> None:
        for x, y in ((self.x, self.y), (self.x_test, self.y_test)):
            if x is None or y is None:
                continue
            if len(x) != len(y):
                raise InvalidDataset(f"there are {len(x)} samples but {len(y)} labels; each sample needs one")
            if len(x) == 0:
                raise InvalidDataset("the dataset holds no samples")


@dataclass(frozen=True)
class Description:
    """What a dataset is, in the words of the registry."""

    format: str
    dimensions: str  # "28x28x1" for images, "64" for flat rows
    sample_count: int  # of train and test together
    labels: Literal["names", "integers", "numbers"]
    class_count: int | None  # distinct labels; None for real numbers


def describe(contents: Contents) -> Description:
    """Say in a few words what a dataset holds."""
    y = contents.y if contents.y_test is None else np.concatenate([contents.y, contents.y_test])
    labels: Literal["names", "integers", "numbers"] = "numbers"
    if contents.class_names is not None:
        labels = "names"
    elif y.dtype.kind == "i":
        labels = "integers"
    return Description(
        format=contents.format,
        dimensions="x".join(str(length) for length in contents.x.shape[1:]),
        sample_count=len(y),
        labels=labels,
        class_count=None if labels == "numbers" else len(np.unique(y)),
    )
