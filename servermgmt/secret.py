"""Django's secret key, made once and kept beside the data."""

import os
import secrets
from pathlib import Path


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
    return path.read_text().strip()
