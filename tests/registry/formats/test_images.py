"""Archives of images, good and bad."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from registry.formats import InvalidDataset, describe, limits, read
from tests.registry.formats.conftest import Write
from tests.registry.formats.files import image, tar_of, tar_of_members, zip_of

Pack = Callable[[Mapping[str, bytes]], bytes]
either_archive = pytest.mark.parametrize("pack", [zip_of, tar_of])

GRAY = image()


@either_archive
@given(
    pixels=st.lists(st.tuples(st.sampled_from(["cat", "dog", "größe"]), st.integers(0, 255)), min_size=1, max_size=6),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_what_is_written_is_what_is_read(
    write: Write, pack: Pack, pixels: list[tuple[str, int]], size: tuple[int, int]
) -> None:
    entries = {f"{name}/{number}.png": image(gray, size) for number, (name, gray) in enumerate(pixels)}
    contents = read(write(pack(entries)))
    assert contents.class_names == tuple(sorted({name for name, _ in pixels}))
    assert [contents.class_names[index] for index in contents.y] == [name for name, _ in pixels]
    assert contents.x.dtype == np.uint8
    assert contents.x[:, 0, 0, 0].tolist() == [gray for _, gray in pixels]
    description = describe(contents)
    assert description.dimensions == f"{size[1]}x{size[0]}x1"
    assert (description.format, description.sample_count) == ("images", len(pixels))
    assert (description.labels, description.class_count) == ("names", len({name for name, _ in pixels}))


@pytest.mark.parametrize(
    ("mode", "color", "sample"),
    [
        ("1", 1, [255]),
        ("L", 7, [7]),
        ("LA", (7, 9), [7]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), [1, 2, 3]),
        ("P", 0, [0, 0, 0]),
    ],
)
def test_every_mode_becomes_gray_or_color(write: Write, mode: str, color: object, sample: list[int]) -> None:
    contents = read(write(zip_of({"a/1.png": image(color, mode=mode)})))
    assert contents.x[0, 0, 0].tolist() == sample


def test_gray_images_among_color_become_color(write: Write) -> None:
    contents = read(write(zip_of({"a/1.png": image(9), "b/2.png": image((1, 2, 3), mode="RGB")})))
    assert contents.x[:, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3]]
    assert describe(contents).dimensions == "3x4x3"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_image_formats(write: Write, format: str) -> None:
    contents = read(write(zip_of({"a/1": image((0, 0, 0), mode="RGB", format=format)})))
    assert contents.x.shape == (1, 3, 4, 3)


@either_archive
def test_folders_may_lie_in_a_folder_with_what_desktops_leave(write: Write, pack: Pack) -> None:
    clutter = {"pets/.DS_Store": b"x", "__MACOSX/pets/cat/._1.png": b"x", "pets/cat/Thumbs.db": b"x"}
    contents = read(write(pack({**clutter, "./pets/cat/1.png": GRAY, "pets/dog/1.png": GRAY})))
    assert contents.class_names == ("cat", "dog")


@either_archive
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "holds no images"),
        ({"1.png": GRAY}, "'1.png' does not lie in a folder per class"),
        ({"cat\\1.png": GRAY}, "does not lie in a folder per class"),
        ({"a/cat/1.png": GRAY, "b/dog/2.png": GRAY}, "'b/dog/2.png' does not lie in a folder per class"),
        ({"cat/1.png": GRAY, "cat/old/2.png": GRAY}, "'cat/old/2.png' does not lie in a folder per class"),
        ({"/etc/1.png": GRAY}, "'/etc/1.png' in the archive leads out of it"),
        ({"cat/../../1.png": GRAY}, "leads out of it"),
        ({"cat/readme.txt": b"hello"}, "'cat/readme.txt' is not an image that can be read"),
        ({"cat/1.png": GRAY[:40]}, "'cat/1.png' is"),
        ({"cat/1.png": GRAY, "cat/2.png": image(size=(5, 3))}, "'cat/2.png' is 5x3 pixels, the first image 4x3"),
        ({"cat/1.png": image(mode="I;16")}, "'cat/1.png' has more than 8 bits per channel"),
        ({"cat/1.eps": image(mode="RGB", format="EPS")}, "is not an image that can be read"),
    ],
)
def test_what_is_wrong_is_named(write: Write, pack: Pack, entries: dict[str, bytes], message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(pack(entries)))


@either_archive
@pytest.mark.parametrize(("limit", "value"), [("MAX_DECODED_BYTES", 100), ("MAX_ENTRIES", 2), ("MAX_IMAGE_PIXELS", 11)])
def test_limits_hold(write: Write, monkeypatch: pytest.MonkeyPatch, pack: Pack, limit: str, value: int) -> None:
    path = write(pack({f"cat/{number}.png": GRAY for number in range(3)}))
    read(path)
    monkeypatch.setattr(limits, limit, value)
    with pytest.raises(InvalidDataset, match=f"than {value} "):
        read(path)


def test_an_image_that_claims_a_billion_pixels_is_not_decoded(write: Write) -> None:
    header = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    with pytest.raises(InvalidDataset, match="not an image"):
        read(write(zip_of({"cat/1.png": header + b"\0" * 100})))


def member(
    name: str = "cat/1.png", type: bytes = tarfile.REGTYPE, size: int = 0, linkname: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = type, size, linkname
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(member(type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")], "a link or a device"),
        ([(member(type=tarfile.LNKTYPE, linkname="/etc/passwd"), b"")], "a link or a device"),
        ([(member(type=tarfile.CHRTYPE), b"")], "a link or a device"),
        ([(member(type=tarfile.FIFOTYPE), b"")], "a link or a device"),
        ([(member(type=tarfile.GNUTYPE_SPARSE), b"x")], "a link or a device"),
        ([(member(size=-512), b"x")], "a link or a device"),
        ([(member(size=1 << 40), GRAY)], "damaged"),
        ([(member(), GRAY), (member(), GRAY)], "in the archive twice"),
        ([(member(name="cat/\udcff.png"), GRAY)], "not UTF-8"),
        ([(member(type=tarfile.XHDTYPE, size=1 << 40), b"x" * 100_000)], "damaged or too large"),
        ([(member(type=tarfile.GNUTYPE_LONGNAME, size=1 << 40), b"x" * 100_000)], "damaged or too large"),
        ([(member(type=tarfile.XHDTYPE), b"x")] * 2000, "tar"),
    ],
)
def test_hostile_tar_members(write: Write, members: list[tuple[tarfile.TarInfo, bytes]], message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(tar_of_members(members)))


def test_a_tar_bomb_is_read_no_further_than_the_limit(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 1 << 20)
    with pytest.raises(InvalidDataset, match="more than 1048576 bytes"):
        read(write(tar_of({"cat/1.png": b"\0" * (8 << 20)})))


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"hello"), gzip.compress(b""), tar_of({"cat/1.png": GRAY})[:-6]],
    ids=["no archive", "empty", "cut off"],  # gzip writes the time into its head, and a test's name must stay the same
)
def test_broken_gzip(write: Write, data: bytes) -> None:
    with pytest.raises(InvalidDataset):
        read(write(data))


def test_a_damaged_header_is_not_taken_for_the_end(write: Write) -> None:
    data = bytearray(gzip.decompress(tar_of({"cat/1.png": GRAY, "dog/1.png": GRAY})))
    data[1024] ^= 1
    with pytest.raises(InvalidDataset, match="behind its end there is more"):
        read(write(gzip.compress(data)))


def zip_entry(data: bytes = GRAY, **claims: int | str) -> bytes:
    """A zip archive of one entry, of which something is claimed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("cat/1.png")
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, data)
        for name, value in claims.items():
            setattr(info, name, value)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zip_entry(external_attr=0o120777 << 16), "a link or a device"),
        (zip_entry(external_attr=0o020666 << 16), "a link or a device"),
        (zip_entry(flag_bits=1), "encrypted"),
        (zip_entry(compress_type=zipfile.ZIP_LZMA), "compressed in an unusual way"),
        (zip_entry(compress_type=99), "compressed in an unusual way"),
        (zip_entry(file_size=10 << 30), "more than 2147483648 bytes"),
        (zip_entry(file_size=10), "damaged"),
        (zip_entry(file_size=1 << 20), r"ends \d+ bytes early"),
        (zip_entry(CRC=1), "damaged"),
        (zip_entry(filename=""), "has no name"),
        (zip_entry(header_offset=1 << 30), "damaged"),
        (zip_entry()[:-10], "damaged"),
        (zip_of({"cat/1.png": GRAY, "dog/1.png": GRAY}).replace(b"dog", b"cat"), "in the archive twice"),
    ],
)
def test_hostile_zip_entries(write: Write, data: bytes, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(data))


def test_an_entry_that_unpacks_to_more_than_it_claims_is_not_unpacked_further(write: Write) -> None:
    with pytest.raises(InvalidDataset, match="damaged"):
        read(write(zip_entry(b"\0" * (64 << 20), file_size=100)))


def test_a_zip_directory_that_claims_gigabytes_is_not_read(write: Write) -> None:
    data = bytearray(zip_of({"cat/1.png": GRAY}))
    struct.pack_into("<L", data, len(data) - 10, 1 << 31)
    with pytest.raises(InvalidDataset, match="damaged"):
        read(write(bytes(data)))


def test_the_pixels_are_those_of_the_image(write: Write) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (6, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert np.array_equal(read(write(zip_of({"a/1.png": file.getvalue()}))).x[0], pixels)
