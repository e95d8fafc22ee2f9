"""A text as tokens: its characters, or the bytes of its UTF-8."""

import numpy as np
from numpy.typing import NDArray

from registry.formats.characters import UNICODE_SIZE, code_points, count_characters

Tokens = NDArray[np.uint8] | NDArray[np.int32]


def tokenize(text: NDArray[np.uint8], tokenizer: str) -> tuple[Tokens, tuple[str, ...]]:
    """The tokens (T,) of UTF-8 bytes, indices into the vocabulary, and that: for characters all that occur, sorted.

    For bytes it is the numbers 0 to 255. The tokens are uint8 where the vocabulary allows it, else int32.
    """
    if tokenizer == "bytes":
        return text, tuple(str(byte) for byte in range(256))
    count, distinct = count_characters(text)
    index = np.zeros(UNICODE_SIZE, np.uint8 if len(distinct) <= 256 else np.int32)
    index[distinct] = np.arange(len(distinct))
    tokens = np.empty(count, index.dtype)
    position = 0
    for points in code_points(text):
        tokens[position : position + len(points)] = index[points]
        position += len(points)
    return tokens, tuple(map(chr, distinct))


def bytes_of_tokens(vocabulary: tuple[str, ...], tokenizer: str) -> tuple[int, ...]:
    """How many bytes of UTF-8 each token of a vocabulary stands for."""
    if tokenizer == "bytes":
        return (1,) * len(vocabulary)
    return tuple(len(character.encode()) for character in vocabulary)
