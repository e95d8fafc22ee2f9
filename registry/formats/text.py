"""Datasets as text: any UTF-8 file, learnt by guessing what comes next. It has no samples and no labels of its own."""

import codecs
from pathlib import Path

import numpy as np

from registry.formats import limits
from registry.formats.characters import NotUTF8, count_characters
from registry.formats.contents import Contents, InvalidDataset


def read(path: Path) -> Contents:
    """Check a text file and take its bytes. Raises InvalidDataset, which names the place."""
    if path.stat().st_size > limits.MAX_TEXT_BYTES:
        raise InvalidDataset(f"a text may be {limits.MAX_TEXT_BYTES} bytes at most")
    data = path.read_bytes()
    skipped = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    nul = data.find(b"\0")
    if nul >= 0:
        raise InvalidDataset(f"byte {nul} of the file is NUL, which no text holds")
    text = np.frombuffer(data, np.uint8)[skipped:]
    try:
        _, distinct = count_characters(text)
    except NotUTF8 as error:
        raise InvalidDataset(
            f"byte {skipped + error.offset} of the file is not UTF-8; convert the text to UTF-8"
        ) from None
    if all(chr(point).isspace() for point in distinct):
        raise InvalidDataset("the file holds no text")
    if len(distinct) < 2:
        raise InvalidDataset("the text repeats one character; learning what comes next needs two at least")
    return Contents("text", text, np.zeros(0, np.int64), None)
