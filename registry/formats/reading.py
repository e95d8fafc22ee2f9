"""Reading a dataset of any format; which one it is, the content says and never the file's name."""

import codecs
from collections.abc import Callable
from pathlib import Path

from registry.formats import csv, images, json, numpy
from registry.formats.archives import GZIP_SIGNATURE, ZIP_SIGNATURES, open_zip
from registry.formats.contents import Contents, InvalidDataset

READERS: dict[str, Callable[[Path], Contents]] = {
    "csv": csv.read,
    "json": json.read,
    "npy": numpy.read_npy,
    "npz": numpy.read_npz,
    "images": images.read,
}

HEAD_BYTES = 512


def read(path: Path, format: str | None = None) -> Contents:
    """Decode a dataset, of the format named or else of the one recognised. Raises InvalidDataset."""
    return READERS[format or recognise(path)](path)


def recognise(path: Path) -> str:
    """The name of the format that the file's content has. Raises InvalidDataset when it is none."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(numpy.SIGNATURE):
        return "npy"
    if head.startswith(GZIP_SIGNATURE):
        return "images"
    if head.startswith(ZIP_SIGNATURES):
        with open_zip(path) as archive:
            return "npz" if any(name.endswith(".npy") for name in archive.namelist()) else "images"
    if not _is_text(head):
        raise InvalidDataset(
            "the file is no dataset; csv, JSON, npy, npz, and zip or tar.gz archives of images are read"
        )
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return "json" if text.startswith((b"[", b"{")) else "csv"


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the head may end inside a character
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
