"""Datasets of every format, together with what is true of them."""

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

# Made of letters of which no number can be made, and neither `label` nor `target`.
class_names = st.text("abcdghÄλ漢", min_size=1, max_size=8)
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class DatasetFile:
    """A file, and what a description of it has to say."""

    content: bytes = field(repr=False)
    format: str
    dimensions: str
    sample_count: int
    labels: str
    class_count: int | None


@dataclass(frozen=True)
class Labels:
    kind: str
    values: Sequence[Any]

    def describe(self, content: bytes, format: str, dimensions: str) -> DatasetFile:
        class_count = None if self.kind == "numbers" else len(set(self.values))
        return DatasetFile(content, format, dimensions, len(self.values), self.kind, class_count)


@st.composite
def labels(draw: st.DrawFn, kinds: Sequence[str] = ("names", "integers", "numbers")) -> Labels:
    kind = draw(st.sampled_from(kinds))
    count = draw(st.integers(1, 10))
    if kind == "names":
        return Labels(kind, draw(st.lists(class_names, min_size=count, max_size=count)))
    numbers = np.array(draw(st.lists(st.integers(-1000, 1000), min_size=count, max_size=count)))
    return Labels(kind, (numbers if kind == "integers" else numbers + 0.5).tolist())


@st.composite
def rows(draw: st.DrawFn, count: int) -> np.ndarray:
    """Features as a table of so many rows, small and large."""
    shape = (count, draw(st.integers(1, 6)))
    scale = 10.0 ** draw(st.integers(-30, 30))
    return np.random.default_rng(draw(seeds)).normal(size=shape, scale=scale).astype(np.float32)


@st.composite
def columns(draw: st.DrawFn, feature_count: int) -> tuple[list[str], int]:
    """The names of all columns, and which of them is the label: the one called so, else the last."""
    names = [f"f{number}" for number in range(feature_count)]
    if draw(st.booleans()):
        return [*names, "class"], feature_count
    label_at = draw(st.integers(0, feature_count))
    names.insert(label_at, draw(st.sampled_from(["label", "target", "Label", "TARGET"])))
    return names, label_at


@st.composite
def csv_files(draw: st.DrawFn) -> DatasetFile:
    of = draw(labels())
    x = draw(rows(len(of.values)))
    header, label_at = draw(columns(x.shape[1]))
    with_header = draw(st.booleans())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    if with_header:
        writer.writerow(header)
    for features, label in zip(x.tolist(), of.values, strict=True):
        # Without a header nothing but its place says which column is the label.
        features.insert(label_at if with_header else len(features), label)
        writer.writerow(features)
    content = text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    return of.describe(content, "csv", str(x.shape[1]))


@st.composite
def json_files(draw: st.DrawFn) -> DatasetFile:
    of = draw(labels())
    x = draw(rows(len(of.values)))
    keys, label_at = draw(columns(x.shape[1]))
    records = []
    for features, label in zip(x.tolist(), of.values, strict=True):
        features.insert(label_at, label)
        records.append(dict(zip(keys, features, strict=True)))
    content = json.dumps(records, indent=draw(st.none() | st.integers(0, 2)), ensure_ascii=draw(st.booleans()))
    return of.describe(content.encode(), "json", str(x.shape[1]))


@st.composite
def npy_files(draw: st.DrawFn) -> DatasetFile:
    of = draw(labels(kinds=("integers", "numbers")))
    x = draw(rows(len(of.values)))
    table = np.column_stack([x.astype(draw(st.sampled_from([np.float32, np.float64]))), of.values])
    file = io.BytesIO()
    np.save(file, draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray]))(table))
    return of.describe(file.getvalue(), "npy", str(x.shape[1]))


@st.composite
def arrays(draw: st.DrawFn, count: int) -> tuple[np.ndarray, str]:
    """Samples as an npz may hold them, and the dimensions of one."""
    height, width, channels = draw(st.integers(5, 9)), draw(st.integers(5, 9)), draw(st.integers(1, 4))
    pictures = f"{height}x{width}x{channels}"
    shape, dimensions = draw(
        st.sampled_from(
            [
                ((width,), str(width)),
                ((height, width), f"{height}x{width}x1"),
                ((height, width, channels), pictures),
                ((channels, height, width), pictures),
            ]
        )
    )
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.float32, np.float64, np.bool_]))
    return np.random.default_rng(draw(seeds)).integers(0, 256, (count, *shape)).astype(dtype), dimensions


@st.composite
def npz_files(draw: st.DrawFn) -> DatasetFile:
    of = draw(labels())
    count = len(of.values)
    x, dimensions = draw(arrays(count))
    y = np.array(of.values)
    test = draw(st.integers(0, count - 1))  # how many of the samples the dataset sets aside itself
    parts = (
        {"x_train": x[test:], "y_train": y[test:], "x_test": x[:test], "y_test": y[:test]} if test else {"x": x, "y": y}
    )
    save: Callable[..., None] = draw(st.sampled_from([np.savez, np.savez_compressed]))
    file = io.BytesIO()
    save(file, **parts)
    return of.describe(file.getvalue(), "npz", dimensions)


@st.composite
def image_archives(draw: st.DrawFn) -> DatasetFile:
    of = draw(labels(kinds=("names",)))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    modes = draw(st.lists(st.sampled_from(["L", "RGB"]), min_size=len(of.values), max_size=len(of.values)))
    format = draw(st.sampled_from(["PNG", "BMP", "JPEG"]))
    random = np.random.default_rng(draw(seeds))
    entries = {".DS_Store": b"left behind"} if draw(st.booleans()) else {}
    for number, (name, mode) in enumerate(zip(of.values, modes, strict=True)):
        shape = (height, width) if mode == "L" else (height, width, 3)
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, shape).astype(np.uint8)).save(file, format)
        entries[f"photos/{name}/{number}.{format.lower()}"] = file.getvalue()
    pack = draw(st.sampled_from([zipped, tarred]))
    return of.describe(pack(entries), "images", f"{height}x{width}x{3 if 'RGB' in modes else 1}")


def zipped(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def dataset_files() -> st.SearchStrategy[DatasetFile]:
    return csv_files() | json_files() | npy_files() | npz_files() | image_archives()
