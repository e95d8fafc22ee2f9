"""Which format a file has, and that no file does anything but be read or be refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.formats import FORMATS, Contents, InvalidDataset, describe, read
from registry.formats.reading import recognise
from tests.registry.formats.conftest import Write
from tests.registry.formats.files import image, npy, npz, tar_of, zip_of

GOOD = {
    "csv": b"a,b,label\n1,2,cat\n3,4.5,dog\n",
    "json": b'[{"a": 1, "b": 2.5, "label": 0}, {"a": 3, "b": 4, "label": 1}]',
    "npy": npy(np.arange(12.0).reshape(4, 3)),
    "npz": npz(x=np.arange(32, dtype=np.uint8).reshape(2, 4, 4), y=["a", "b"]),
    "images": zip_of({"cat/1.png": image(), "dog/2.jpg": image(format="JPEG")}),
    "text": b"To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n" * 12,
    "images in tar.gz": tar_of({"cat/1.png": image(), "dog/2.gif": image(format="GIF")}),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_format_is_recognised_by_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / "liar.xls"
    path.write_bytes(GOOD[name])
    format = name.split()[0]
    assert describe(read(path)).format == format
    assert describe(read(path, format)) == describe(read(path))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        b"\0" * 100,
        b"\x89PNG\r\n\x1a\n",
        b"%PDF-1.7\n\xff\xfe",
        "a,b\n1,2".encode("utf-16"),
        b"PK\x03\x04",
    ],
)
def test_what_is_no_dataset_is_refused(write: Write, data: bytes) -> None:
    with pytest.raises(InvalidDataset):
        read(write(data))


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("It was the best of times,\nit was the worst of times,\nit was the age of wisdom", "csv"),
        ("It was the best of times,\nit was the age of wisdom\nit was the age of foolishness\n" * 20, "text"),
        ("Call me Ishmael. Some years ago, never mind how long, having little money\nin my purse\n" * 20, "text"),
        ("hello " * 166 + "you", "csv"),
        ("hello " * 166 + "you!", "text"),
        ("label\n1\n2\n", "csv"),
        ("one;two;label\n1;2;0\n", "csv"),
        ("a,b,label\nbroken", "csv"),
        ("a,label:x,label:y\n", "csv"),
        ("1,2,7\n3,4,8\n5,6\n", "csv"),
        ("1,2,7\n3,4\n5,6\n" * 100, "text"),
        ("1,2,7\n" + "3,4,8\n" * 20_000 + "prose\n" * 50_000, "csv"),
        ("\ufeffDear reader\n" * 100, "text"),
        ("def f(a, b):\n    return a\n" * 100, "text"),
        ("[1] Notes", "json"),
    ],
)
def test_prose_is_told_from_csv_by_its_commas(write: Write, text: str, format: str) -> None:
    assert recognise(write(text.encode())) == format


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("format", FORMATS)
def test_a_named_format_is_believed(write: Write, name: str, format: str) -> None:
    """It is read as what it is said to be, or refused as no such thing."""
    path = write(GOOD[name])
    try:
        contents = read(path, format)
    except InvalidDataset:
        assert format != name.split()[0]
    else:
        assert contents.format == format


def test_an_unknown_format_is_refused(write: Write) -> None:
    with pytest.raises(InvalidDataset, match=r"'xls' is no format; known are csv, json, .* text"):
        read(write(b"1,2\n"), "xls")


def read_or_refuse(path: Path) -> None:
    """Whatever is read keeps the promises of Contents; nothing but InvalidDataset is raised."""
    try:
        contents = read(path)
    except InvalidDataset:
        return
    assert isinstance(contents, Contents)
    assert describe(contents).sample_count >= 1
    if contents.is_text:
        assert contents.x.tobytes().decode().strip()
        return
    assert contents.x.ndim in (2, 4)
    assert contents.x.dtype in (np.uint8, np.float32)
    assert np.isfinite(contents.x).all()
    assert contents.y.dtype in (np.int64, np.float64)
    assert np.isfinite(contents.y).all()


@settings(max_examples=300)
@given(
    prefix=st.sampled_from(
        [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00", b"[", b"[{", b"1,2\n"]
    ),
    data=st.binary(max_size=300),
)
def test_random_bytes_are_read_or_refused(write: Write, prefix: bytes, data: bytes) -> None:
    read_or_refuse(write(prefix + data))


@settings(max_examples=300)
@given(text=st.text(alphabet='0123456789.,-+einfa_"\n\r\t ;[]{}:٣é\ufeff\0', max_size=80))
def test_random_text_is_read_or_refused(write: Write, text: str) -> None:
    read_or_refuse(write(text.encode()))


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=150)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(write: Write, name: str, data: st.DataObject) -> None:
    damaged = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if how == "flip":
            damaged[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del damaged[at : at + data.draw(st.integers(1, 20))]
        elif how == "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            damaged[at:at] = damaged[at : at + 40]
        if not damaged:
            break
    read_or_refuse(write(bytes(damaged)))
