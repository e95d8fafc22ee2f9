"""Reading a dataset of any format; which one it is, the content says and never the file's name."""

import codecs
from collections.abc import Callable
from pathlib import Path

from registry.formats import csv, images, json, numpy, text
from registry.formats.archives import GZIP_SIGNATURE, ZIP_SIGNATURES, open_zip
from registry.formats.contents import Contents, InvalidDataset, quoted

READERS: dict[str, Callable[[Path], Contents]] = {
    "csv": csv.read,
    "json": json.read,
    "npy": numpy.read_npy,
    "npz": numpy.read_npz,
    "images": images.read,
    "text": text.read,
}
FORMATS = tuple(READERS)

HEAD_BYTES = 512
TABLE_HEAD_BYTES = 1 << 16
# A shorter file is taken for a text only when it is said to be one.
SHORTEST_TEXT_BYTES = 1000


def read(path: Path, format: str | None = None) -> Contents:
    """Decode a dataset, of the format named or else of the one recognised. Raises InvalidDataset."""
    name = recognise(path) if format is None else format
    if name not in READERS:
        raise InvalidDataset(f"{quoted(name)} is no format; known are {', '.join(FORMATS)}")
    return READERS[name](path)


def recognise(path: Path) -> str:
    """The name of the format that the file's content has. Raises InvalidDataset when it is none."""
    with path.open("rb") as file:
        head = file.read(TABLE_HEAD_BYTES)
    if head.startswith(numpy.SIGNATURE):
        return "npy"
    if head.startswith(GZIP_SIGNATURE):
        return "images"
    if head.startswith(ZIP_SIGNATURES):
        with open_zip(path) as archive:
            return "npz" if any(name.endswith(".npy") for name in archive.namelist()) else "images"
    if not _is_text(head[:HEAD_BYTES]):
        raise InvalidDataset(
            "the file is no dataset; csv, JSON, npy, npz, zip or tar.gz archives of images, and UTF-8 text are read"
        )
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith((b"[", b"{")):
        return "json"
    # Too little to learn a language from: more likely a mistake, which the csv reader names.
    is_table = csv.looks_like_csv(start.decode(errors="replace")) or len(head) < SHORTEST_TEXT_BYTES
    return "csv" if is_table else "text"


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the head may end inside a character
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
