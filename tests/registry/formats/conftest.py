"""A place for dataset files."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(data: bytes) -> Path:
        """A file that holds these bytes; its name says nothing."""
        path = tmp_path / "upload"
        path.write_bytes(data)
        return path

    return write_file
