"""Archives of strangers, read in memory entry by entry: nothing is unpacked to disk, and no size is believed."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from registry.formats import limits
from registry.formats.contents import InvalidDataset, quoted, refusing

READ_BYTES = 1 << 16
MAX_DIRECTORY_BYTES = 32 << 20

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
GZIP_SIGNATURE = b"\x1f\x8b"


class _ZipFile(io.FileIO):
    """zipfile reads the archive's directory in one go, as large as the file says it is."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise InvalidDataset("the zip archive's directory is damaged or too large")
        return super().read(MAX_DIRECTORY_BYTES if size is None or size < 0 else size) or b""


class _GzipFile(gzip.GzipFile):
    """tarfile reads a long header in one go, as large as the file says it is."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= READ_BYTES:
            raise InvalidDataset("a header in the tar archive is damaged or too large")
        if self.tell() > limits.MAX_DECODED_BYTES:
            raise InvalidDataset(f"the archive holds more than {limits.MAX_DECODED_BYTES} bytes")
        return super().read(size)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive and look at what every entry claims. Read them with read_exactly."""
    with _ZipFile(path) as file:
        with refusing("the zip archive is damaged"):
            archive = zipfile.ZipFile(file)
        names: set[str] = set()
        for entry in archive.infolist():
            _check_name(entry.filename, names)
            _check_zip_entry(entry)
        if sum(entry.file_size for entry in archive.infolist()) > limits.MAX_DECODED_BYTES:
            raise InvalidDataset(f"the archive holds more than {limits.MAX_DECODED_BYTES} bytes")
        yield archive


def read_exactly(stream: IO[bytes], size_bytes: int) -> bytearray:
    """Read so many bytes in small pieces, so that memory grows with what is there and not with what was claimed."""
    data = bytearray()
    while len(data) < size_bytes:
        piece = stream.read(min(READ_BYTES, size_bytes - len(data)))
        if not piece:
            raise InvalidDataset(f"the file ends {size_bytes - len(data)} bytes early")
        data += piece
    return data


def read_entries(path: Path) -> Iterator[tuple[str, bytearray]]:
    """The name and the bytes of every file in a zip or tar.gz archive, in its order."""
    with path.open("rb") as file:
        is_zip = file.read(4) in ZIP_SIGNATURES
    return _zip_entries(path) if is_zip else _tar_entries(path)


def _zip_entries(path: Path) -> Iterator[tuple[str, bytearray]]:
    with open_zip(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                with refusing(f"{quoted(entry.filename)} in the archive is damaged"), archive.open(entry) as stream:
                    data = read_exactly(stream, entry.file_size)
                yield entry.filename, data


def _tar_entries(path: Path) -> Iterator[tuple[str, bytearray]]:
    names: set[str] = set()
    with path.open("rb") as file, _GzipFile(fileobj=file, mode="rb") as stream:
        with refusing("the file is gzip, but no tar archive is in it"):
            archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115  # owns nothing but the stream
        while member := _next_member(archive):
            _check_name(member.name, names)
            if member.isdir():
                continue
            # A sparse file claims what it does not hold; a negative size would send tarfile round in circles.
            if not member.isreg() or member.issparse() or member.size < 0:
                raise InvalidDataset(f"{quoted(member.name)} in the archive is a link or a device, not a plain file")
            with refusing(f"{quoted(member.name)} in the archive is damaged"):
                content = archive.extractfile(member)
                assert content is not None
                data = read_exactly(content, member.size)
            yield member.name, data
        with refusing("the tar.gz archive is damaged"):
            # tarfile takes a damaged header for the end of the archive; and gzip's checksum stands at the very end.
            while rest := stream.read(READ_BYTES):
                if rest.strip(b"\0"):
                    raise InvalidDataset("the tar.gz archive is damaged: behind its end there is more")


def _next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    with refusing("the tar.gz archive is damaged"):
        return archive.next()


def _check_name(name: str, seen: set[str]) -> None:
    """Refuse a name that is none, leads out of the archive, stands in it twice, or comes after too many others."""
    path = PurePosixPath(name)
    if not name:
        raise InvalidDataset("an entry of the archive has no name")
    if path.is_absolute() or ".." in path.parts:
        raise InvalidDataset(f"{quoted(name)} in the archive leads out of it")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidDataset(f"{quoted(name)} in the archive is not UTF-8") from None
    if name in seen:
        raise InvalidDataset(f"{quoted(name)} is in the archive twice")
    if len(seen) == limits.MAX_ENTRIES:
        raise InvalidDataset(f"the archive has more than {limits.MAX_ENTRIES} entries")
    seen.add(name)


def _check_zip_entry(entry: zipfile.ZipInfo) -> None:
    name = quoted(entry.filename)
    if entry.flag_bits & 1:
        raise InvalidDataset(f"{name} in the archive is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidDataset(f"{name} in the archive is compressed in an unusual way; use deflate")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidDataset(f"{name} in the archive is a link or a device, not a plain file")
