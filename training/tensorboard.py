"""A session's series as the event file that TensorBoard opens.

The file is written here, byte by byte: it is three fields of a protocol buffer in a frame, while the packages that
write it bring PyTorch into the web process. The tests read it with TensorBoard itself.
"""

import math
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import IO

from django.conf import settings

from training.models import SeriesPoint, TrainingSession

READ_POINTS = 2000
CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed
CRC_MASK = 0xA282EAD8


def tensorboard_archive(session: TrainingSession) -> IO[bytes]:
    """A zip with one event file in a folder named after the session: a temporary file, read from its beginning."""
    archive = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - the answer closes it
    seconds = int(session.created_at.timestamp())
    name = f"{session.session_id}/events.out.tfevents.{seconds}.{session.session_id}"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder, folder.open(name, "w", force_zip64=True) as log:
        for event in _events(session):
            log.write(_record(event))
    archive.seek(0)
    return archive


def _events(session: TrainingSession) -> Iterator[bytes]:
    """An event that names the format, then one for each moment of each step, with the values of all its series."""
    yield _wall_time(session.created_at.timestamp()) + _field(3, b"brain.Event:2")
    rows = SeriesPoint.objects.filter(session=session).order_by("step", "timestamp", "name")
    points = rows.values_list("step", "timestamp", "name", "value").iterator(READ_POINTS)
    for (step, at), moment in groupby(points, key=itemgetter(0, 1)):
        summary = b"".join(
            _field(1, _field(1, name.encode()) + b"\x15" + _float32(value)) for _, _, name, value in moment
        )
        yield _wall_time(at.timestamp()) + b"\x10" + _varint(step) + _field(5, summary)


def _wall_time(seconds: float) -> bytes:
    return b"\x09" + struct.pack("<d", seconds)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes, text or another message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have their highest bit set."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _float32(value: float | None) -> bytes:
    """What was not finite is NaN, which TensorBoard marks; what is beyond 32 bits is infinite there."""
    try:
        return struct.pack("<f", math.nan if value is None else value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value or 0.0))


def _record(content: bytes) -> bytes:
    """A record of the file: length, its checksum, content, its checksum."""
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _crc_table() -> list[int]:
    table = []
    for remainder in range(256):
        for _ in range(8):
            remainder = remainder >> 1 ^ (CRC32C_POLYNOMIAL if remainder & 1 else 0)
        table.append(remainder)
    return table


CRC_TABLE = _crc_table()


def _checksum(content: bytes) -> bytes:
    """CRC-32C, turned by 15 bits and shifted by a constant, as the format has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + CRC_MASK) & 0xFFFFFFFF)
