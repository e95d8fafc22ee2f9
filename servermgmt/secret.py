"""Django's secret key, made once and kept beside the data."""

import os
import secrets
from pathlib import Path

from django.core.checks.security.base import (
    SECRET_KEY_INSECURE_PREFIX,
    SECRET_KEY_MIN_LENGTH,
    SECRET_KEY_MIN_UNIQUE_CHARACTERS,
)


def read_or_create_secret_key(path: Path) -> str:
    """Read the key, or make it when there is none; two processes that start at once agree on one."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(aside, path)  # unlike a rename, never replaces a key that stands already
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text(encoding="utf-8", errors="replace").strip()


def is_weak(key: str) -> bool:
    """Whether the key can be guessed, by the rules of Django's check security.W009."""
    return (
        len(key) < SECRET_KEY_MIN_LENGTH
        or len(set(key)) < SECRET_KEY_MIN_UNIQUE_CHARACTERS
        or key.startswith(SECRET_KEY_INSECURE_PREFIX)
    )
