"""What an API key looks like. No database here.

A key is `tsk_`, 30 random characters, and 6 of a checksum over them, so that a mistyped key is refused
before anything is looked up, and a key that leaked into a repository can be found by its shape.
"""

import hashlib
import re
import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
MARK = "tsk_"
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6  # the least that holds 32 bits in base 62
PREFIX_LENGTH = 8
SHAPE = re.compile(rf"({MARK}[0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


def make() -> str:
    """A new key, from the system's source of randomness."""
    body = MARK + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + checksum(body)


def checksum(body: str) -> str:
    """The CRC-32 of a key's body, in base 62."""
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def split(key: str) -> tuple[str, str]:
    """The body and the checksum of a key; ValueError when it has not the shape of one."""
    match = SHAPE.fullmatch(key)
    if not match:
        raise ValueError("not the shape of a key")
    return match[1], match[2]


def verify(key: str) -> bool:
    """Whether this can be a key of ours: its shape and its checksum are right."""
    try:
        body, check = split(key)
    except ValueError:
        return False
    return checksum(body) == check


def prefix(key: str) -> str:
    """The part of a key that may be shown, to tell one from another."""
    return key[:PREFIX_LENGTH]


def digest(key: bytes) -> str:
    """What is stored in place of a key: its SHA-256, in hex. A random key needs no slow hash."""
    return hashlib.sha256(key).hexdigest()
