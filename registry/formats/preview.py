"""python -m registry.formats.preview PATH FORMAT SHA256: print what a dataset looks like, as JSON.

The first rows, how its labels are spread, and a strip of images for each class. In a process of its own, since the
file is a stranger's: it may take as much memory as is said here, and is the first to go where memory is short.
"""

import base64
import contextlib
import json
import resource
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from registry.formats.characters import UNICODE_SIZE, code_points
from registry.formats.contents import Array, InvalidDataset
from registry.formats.decoded import Decoded, look_at

LAYOUT = 1
MEMORY_BYTES = 8 << 30  # an address space, in which what is decoded lies beside what it is decoded from

ROWS = 10
COLUMNS = 30
CLASSES = 24
# Whole numbers of more different values are rather measured than chosen.
MOST_INTEGER_CLASSES = 50
BINS = 20
IMAGES = 10  # in a strip
TILE_PIXELS = 64
GAP_PIXELS = 4
DARK = 64
TEXT_CHARACTERS = 1500
CHARACTERS = 12
BLOCK_ROWS = 1 << 14
NAME_CHARACTERS = 80
NAMED_CHARACTERS = {" ": "space", "\n": "line break", "\t": "tab", "\r": "carriage return"}


def preview(data: Decoded) -> dict[str, Any]:
    """What a page shows of a dataset, as JSON knows it."""
    if data.x.ndim == 1:
        return {"layout": LAYOUT, "kind": "text", **show_text(data.x)}
    shown: dict[str, Any] = {"layout": LAYOUT, "count": len(data.x), "train_count": data.train_count}
    if data.x.ndim == 4:
        return shown | {"kind": "images", "labels": show_labels(data, data.x)}
    return shown | {"kind": "rows", "labels": show_labels(data, None), **show_rows(data)}


def show_rows(data: Decoded) -> dict[str, Any]:
    """The first rows, and the spread of each column."""
    width = data.x.shape[1]
    names = data.columns or tuple(str(number) for number in range(1, width + 1))
    lowest, mean, highest = spread(data.x[:, :COLUMNS])
    return {
        "column_count": width,
        "columns": [
            {"name": clean(name), "lowest": number(low), "mean": number(middle), "highest": number(high)}
            for name, low, middle, high in zip(names, lowest, mean, highest, strict=False)
        ],
        "rows": [
            {"values": [number(value) for value in data.x[index, :COLUMNS]], "label": label_of(data, index)}
            for index in range(min(ROWS, len(data.x)))
        ],
    }


def spread(x: Array) -> tuple[Array, Array, Array]:
    """The lowest, the mean and the highest value of each column, looked at some rows at a time."""
    blocks = [x[start : start + BLOCK_ROWS] for start in range(0, len(x), BLOCK_ROWS)]
    lowest = np.min([block.min(0) for block in blocks], 0)
    highest = np.max([block.max(0) for block in blocks], 0)
    return lowest, np.sum([block.sum(0, dtype=np.float64) for block in blocks], 0) / len(x), highest


def label_of(data: Decoded, index: int) -> str:
    label = data.y[index]
    if data.y.ndim == 2:
        return clean(", ".join(name for name, has in zip(data.class_names or (), label, strict=True) if has) or "none")
    return clean(data.class_names[label]) if data.class_names else number(label)


def show_labels(data: Decoded, images: Array | None) -> dict[str, Any]:
    """How many samples each class has, the largest first; of numbers, how many lie in each part of their range."""
    y, names = data.y, data.class_names
    if y.ndim == 2:
        return show_classes(names or (), y.sum(0, dtype=np.int64), lambda place: y[:, place] == 1, images)
    if names is not None:
        return show_classes(names, np.bincount(y, minlength=len(names)), lambda place: y == place, images)
    values, counts = np.unique(y, return_counts=True)
    if y.dtype.kind == "f" or len(values) > MOST_INTEGER_CLASSES:
        return show_numbers(y, images)
    return show_classes([str(value) for value in values], counts, lambda place: y == values[place], images)


def show_classes(
    names: Sequence[str], counts: Array, belongs: Callable[[int], Array], images: Array | None
) -> dict[str, Any]:
    """`belongs` says of each sample whether it is of the class at a place."""
    largest = np.argsort(-counts, kind="stable")
    shown, left_out = largest[:CLASSES], largest[CLASSES:]
    return {
        "kind": "classes",
        "most": int(counts.max()),
        "classes": [
            {
                "name": clean(names[place]),
                "count": int(counts[place]),
                "strip": None if images is None else strip(images, np.flatnonzero(belongs(place))[:IMAGES]),
            }
            for place in shown
        ],
        "other_classes": len(left_out),
        "other_count": int(counts[left_out].sum()),
    }


def show_numbers(y: Array, images: Array | None) -> dict[str, Any]:
    counts, edges = np.histogram(y, BINS)
    return {
        "kind": "numbers",
        "most": int(counts.max()),
        "lowest": number(y.min()),
        "mean": number(y.mean(dtype=np.float64)),
        "highest": number(y.max()),
        "bins": [
            {"from": number(low), "to": number(high), "count": int(count)}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ],
        "strip": None if images is None else strip(images, np.arange(min(IMAGES, len(images)))),
    }


def show_text(text: Array) -> dict[str, Any]:
    """How a text begins, and its most frequent characters."""
    counts = np.zeros(UNICODE_SIZE, np.int64)
    for points in code_points(text):
        counts += np.bincount(points, minlength=UNICODE_SIZE)
    frequent = np.argsort(-counts, kind="stable")[:CHARACTERS]
    beginning = text[: 4 * TEXT_CHARACTERS].tobytes().decode(errors="ignore")
    return {
        "count": int(counts.sum()),
        "text": beginning[:TEXT_CHARACTERS],
        "is_whole": len(beginning) <= TEXT_CHARACTERS and len(text) <= 4 * TEXT_CHARACTERS,
        "labels": {
            "kind": "classes",
            "most": int(counts.max()),
            "classes": [
                {"name": NAMED_CHARACTERS.get(chr(point), chr(point)), "count": int(counts[point]), "strip": None}
                for point in frequent
                if counts[point]
            ],
            "other_classes": max(0, int((counts > 0).sum()) - CHARACTERS),
            "other_count": int(counts.sum() - counts[frequent].sum()),
        },
    }


def strip(images: Array, rows: Array) -> str | None:
    """These images side by side as a PNG in base64; None where there are none."""
    if not len(rows):
        return None
    tiles = [tile(image) for image in brightened(images[rows])]
    width = sum(image.width + GAP_PIXELS for image in tiles) - GAP_PIXELS
    sheet, left = Image.new("RGBA", (width, tiles[0].height)), 0
    for image in tiles:
        sheet.paste(image, (left, 0))
        left += image.width + GAP_PIXELS
    file = BytesIO()
    sheet.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def brightened(images: Array) -> Array:
    """Images (N, H, W, C) as bytes, from black for the lowest value to white for the highest.

    Bytes stay as they are, unless all are so dark that there would be nothing to see.
    """
    if images.dtype == np.uint8 and images.max() >= DARK:
        return images
    lowest, highest = float(images.min()), float(images.max())
    scaled: Array = ((images - lowest) * (255 / (highest - lowest or 1))).astype(np.uint8)
    return scaled


def tile(image: Array) -> Image.Image:
    """One image of bytes (H, W, C), small enough for a strip, and not too small to be seen."""
    channels = image.shape[2]
    pixels = image[:, :, 0] if channels < 3 else image
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    longest = max(picture.size)
    if longest > TILE_PIXELS:
        size = tuple(max(1, round(side * TILE_PIXELS / longest)) for side in picture.size)
        return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    factor = max(1, TILE_PIXELS // longest)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def number(value: Any) -> str:
    return f"{float(value):.6g}"


def clean(name: str) -> str:
    """A name as any page can show it."""
    return name[:NAME_CHARACTERS].encode(errors="replace").decode()


def bound_this_process() -> None:
    """No more memory than is said above, and no file; where memory is short, the kernel takes this process first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> int:
    """Print {"preview": …}, or {"problem": …} where the file is no dataset any more; 1 then."""
    bound_this_process()
    path, format, sha256 = sys.argv[1:]
    try:
        answer: dict[str, Any] = {"preview": preview(look_at(Path(path), format, sha256))}
    except InvalidDataset as error:
        answer = {"problem": f"The file cannot be read as {format}: {error}."}
    except OSError as error:
        answer = {"problem": f"The file cannot be read: {error.strerror}."}
    except MemoryError:
        answer = {"problem": "The dataset takes too much memory to be looked at here."}
    json.dump(answer, sys.stdout)
    return int("problem" in answer)


if __name__ == "__main__":
    sys.exit(main())
