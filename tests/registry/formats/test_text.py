"""Texts, good and bad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.formats import InvalidDataset, describe, limits, read
from tests.registry.formats.conftest import Write


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=2, max_size=50))
def test_what_is_written_is_what_is_read(write: Write, text: str) -> None:
    text = f"x{text}y"
    contents = read(write(text.encode()), "text")
    assert contents.x.tobytes().decode() == text
    assert (len(contents.y), contents.class_names, contents.x_test) == (0, None, None)
    description = describe(contents)
    assert (description.format, description.dimensions, description.labels) == ("text", "text", "text")
    assert (description.sample_count, description.class_count) == (len(text), len(set(text)))


def test_a_byte_order_mark_is_no_part_of_the_text(write: Write) -> None:
    assert read(write("\ufeffab".encode()), "text").x.tobytes() == b"ab"


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abc\0d", "byte 3 of the file is NUL"),
        (b"abc\xffd", "byte 3 of the file is not UTF-8"),
        ("abcä".encode()[:-1], "byte 3 of the file is not UTF-8"),
        (b"\xef\xbb\xbfab\xff", "byte 5 of the file is not UTF-8"),
        ("größe".encode("latin-1"), "byte 2 of the file is not UTF-8; convert the text"),
        (b"\xed\xa0\x80", "byte 0 of the file is not UTF-8"),
        (b"", "holds no text"),
        (b" \n\t ", "holds no text"),
        (b"\xef\xbb\xbf", "holds no text"),
        (b"a", "repeats one character"),
        (b"aaaa", "repeats one character"),
    ],
)
def test_what_is_wrong_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str, size: int
) -> None:
    """Wherever the pieces end in which it is read."""
    monkeypatch.setattr("registry.formats.characters.CHUNK_BYTES", size)
    with pytest.raises(InvalidDataset, match=message):
        read(write(data), "text")


def test_long_texts_are_refused_before_they_are_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(b"ab" * 10)
    assert np.array_equal(read(path, "text").x, np.frombuffer(b"ab" * 10, np.uint8))
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 19)
    with pytest.raises(InvalidDataset, match="19 bytes at most"):
        read(path, "text")
