"""What a dataset holds, decoded and described, and the one error for a file that is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from registry.files import UNUSABLE
from registry.formats.characters import count_characters

Array = np.ndarray[Any, np.dtype[Any]]


class InvalidDataset(ValueError):
    """A file that is no dataset; the message says what is wrong, with row, column or entry where known."""


def quoted(text: str) -> str:
    """A stranger's text as a message may show it: short and printable."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


@contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Turn whatever a parser raises over hostile bytes into InvalidDataset; a disk that fails is no fault of theirs.

    What zipfile, tarfile, Pillow and numpy raise over damaged input is documented nowhere and grows with every
    release, so this is the one place that catches everything. Keep the block to the parser's own call.
    """
    try:
        yield
    except InvalidDataset:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNUSABLE:
            raise
        raise InvalidDataset(sentence) from error


Labels = Literal["names", "integers", "numbers", "sets", "text"]


@dataclass(frozen=True, eq=False)
class Contents:
    """A dataset decoded.

    x: (N, F) float32 rows, or (N, H, W, C) uint8 or float32 images, channels last; of a text, its bytes (B,) uint8.
    y: (N,) labels. Numbers as written: int64 when all are whole, else float64. For text labels and image folders,
    int64 indices into class_names, which are sorted. For sets of classes (N, K) uint8, 1 where a sample has the class.
    Of a text, which has no labels, (0,).
    x_test and y_test, alike, only when the dataset brings its own split.
    columns: what the file calls the features of a row, where it does.
    """

    format: str
    x: Array
    y: Array
    class_names: tuple[str, ...] | None
    x_test: Array | None = None
    y_test: Array | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.is_text:
            return
        for x, y in ((self.x, self.y), (self.x_test, self.y_test)):
            if x is None or y is None:
                continue
            if len(x) != len(y):
                raise InvalidDataset(f"there are {len(x)} samples but {len(y)} labels; each sample needs one")
            if len(x) == 0:
                raise InvalidDataset("the dataset holds no samples")

    @property
    def is_text(self) -> bool:
        return self.x.ndim == 1


@dataclass(frozen=True)
class Description:
    """What a dataset is, in the words of the registry."""

    format: str
    dimensions: str  # "28x28x1" for images, "64" for flat rows, "text" for a text
    sample_count: int  # of train and test together; of a text, its characters
    labels: Labels
    class_count: int | None  # distinct labels; None for real numbers; of a text, its distinct characters


def describe(contents: Contents) -> Description:
    """Say in a few words what a dataset holds."""
    if contents.is_text:
        count, distinct = count_characters(contents.x)
        return Description(contents.format, "text", count, "text", len(distinct))
    y = contents.y if contents.y_test is None else np.concatenate([contents.y, contents.y_test])
    labels: Labels = "numbers"
    if y.ndim == 2:
        labels = "sets"
    elif contents.class_names is not None:
        labels = "names"
    elif y.dtype.kind == "i":
        labels = "integers"
    class_count = None if labels == "numbers" else y.shape[1] if labels == "sets" else len(np.unique(y))
    return Description(
        format=contents.format,
        dimensions="x".join(str(length) for length in contents.x.shape[1:]),
        sample_count=len(y),
        labels=labels,
        class_count=class_count,
    )


# So many values are looked at together: what is computed of them takes memory beside them.
BLOCK_VALUES = 1 << 22


def first_unusable(values: Array) -> int | None:
    """The place, counted along all axes, of the first value that is NaN or infinite; values are contiguous."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK_VALUES):
        unusable = ~np.isfinite(flat[start : start + BLOCK_VALUES])
        if unusable.any():
            return start + int(unusable.argmax())
    return None
