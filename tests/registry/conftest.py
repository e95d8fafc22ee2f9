"""Uploads, as a client makes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

Upload = Callable[..., Any]
Files = Callable[[], list[str]]

BOUNDARY = "e71bf0e5c2b84a70"


@pytest.fixture
def upload(client: APIClient) -> Upload:
    def post(collection: str, name: str, data: bytes, file_name: str = "upload.bin", **query: str) -> Any:
        """POST one file to /models or /datasets. The body is made here: the test client mends odd file names."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
        return client.post(
            f"/api/v1/{collection}",
            head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode(),
            content_type=f"multipart/form-data; boundary={BOUNDARY}",
            query_params={f"{collection.removesuffix('s')}_name": name, **query},
        )

    return post


@pytest.fixture
def files(data_dir: Path) -> Files:
    """The names of all files that are stored or on their way."""
    return lambda: sorted(path.name for path in data_dir.rglob("*") if path.is_file())
