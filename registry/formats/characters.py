"""The characters of UTF-8 bytes, some at a time: decoded whole, a text may take four times its bytes."""

import codecs
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 20
UNICODE_SIZE = 0x110000


class NotUTF8(ValueError):
    """Bytes that are no UTF-8; `offset` is where."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"byte {offset} is not UTF-8")


def code_points(data: NDArray[np.uint8]) -> Iterator[NDArray[np.uint32]]:
    """The code points of UTF-8 bytes (B,) in their order, a chunk at a time. Raises NotUTF8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), CHUNK_BYTES):
        pending = len(decoder.getstate()[0])  # the first bytes of a character that the chunk before this one cut
        chunk = data[start : start + CHUNK_BYTES].tobytes()
        try:
            characters = decoder.decode(chunk, final=start + CHUNK_BYTES >= len(data))
        except UnicodeDecodeError as error:
            raise NotUTF8(start - pending + error.start) from None
        yield np.frombuffer(characters.encode("utf-32-le"), np.uint32)


def count_characters(data: NDArray[np.uint8]) -> tuple[int, NDArray[np.int64]]:
    """How many characters UTF-8 bytes hold, and the code points of the distinct ones, sorted. Raises NotUTF8."""
    count, used = 0, np.zeros(UNICODE_SIZE, bool)
    for points in code_points(data):
        count += len(points)
        used[points] = True
    return count, np.flatnonzero(used)
