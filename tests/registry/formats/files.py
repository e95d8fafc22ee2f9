"""Dataset files for tests, as bytes."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy_with_header(header: str, data: bytes = b"") -> bytes:
    """An npy file whose header says whatever one likes."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def image(color: Any = 0, size: tuple[int, int] = (4, 3), mode: str = "L", format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, format)
    return file.getvalue()


def zip_of(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def tar_of(entries: Mapping[str, bytes]) -> bytes:
    return tar_of_members([(tarfile.TarInfo(name), data) for name, data in entries.items()])


def tar_of_members(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar.gz archive of members that claim what they like; their size is that of their data unless they claim one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, data in members:
            member.size = member.size or len(data)
            archive.addfile(member)
            file.write(data + b"\0" * (-len(data) % tarfile.BLOCKSIZE))
            archive.offset = file.tell()
    return gzip.compress(file.getvalue())
