"""Each test gets a server of its own, and leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.server import Server


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Indirect parameters are environment variables of its processes."""
    server = Server(tmp_path, **getattr(request, "param", {}))
    yield server
    server.client.close()
    server.kill_everything()
