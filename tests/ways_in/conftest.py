import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.processes.server import free_port

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a server that has its own data and its own port; a test that fails leaves no process."""
    environment = os.environ | {
        "DATA_DIR": str(tmp_path / "data"),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(free_port()),
    }
    yield environment
    for process in processes_of(environment):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def processes_of(environment: dict[str, str]) -> list[psutil.Process]:
    """All processes that work on this environment's data, in whatever session or group."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):  # gone meanwhile, or somebody else's
            if process.environ().get("DATA_DIR") == environment["DATA_DIR"]:
                found.append(process)
    return found
