"""make run, as a person at a terminal uses it."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.ways_in.conftest import REPOSITORY, processes_of

pytestmark = pytest.mark.slow

START_SECONDS = 60
STOP_SECONDS = 10


def make_run(environment: dict[str, str], output: Path) -> subprocess.Popen[bytes]:
    """Start it in a process group of its own, as a terminal does."""
    with output.open("wb") as file:
        return subprocess.Popen(
            ["make", "run"],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def wait_until_healthy(server: subprocess.Popen[bytes], environment: dict[str, str], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        try:
            answer = httpx.get(f"http://127.0.0.1:{environment['API_PORT']}/health", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            assert answer.json()["status"] == "healthy"
            return


def press_ctrl_c(server: subprocess.Popen[bytes]) -> float:
    """Send what a terminal sends to all in its foreground; returns the seconds until the end."""
    pressed_at = time.monotonic()
    os.killpg(server.pid, signal.SIGINT)
    server.wait(STOP_SECONDS)
    return time.monotonic() - pressed_at


def test_it_starts_twice_and_ctrl_c_leaves_nothing_behind(environment: dict[str, str], tmp_path: Path) -> None:
    for start in ("first", "second"):
        output = tmp_path / start
        server = make_run(environment, output)
        try:
            wait_until_healthy(server, environment, output)
            if start == "first":
                [key] = re.findall(r"API key +(\S+)", output.read_text())
            api = f"http://127.0.0.1:{environment['API_PORT']}/api/v1"
            answer = httpx.get(f"{api}/system/info", headers={"X-API-Key": key}, trust_env=False)
            assert answer.status_code == 200
            press_ctrl_c(server)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
        assert processes_of(environment) == []
        said = output.read_text()
        assert "Traceback" not in said
        assert ("API key" in said) == ("Admin password" in said) == (start == "first")


def test_a_taken_port_ends_it_with_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    port = environment["API_PORT"]
    with socket.create_server(("127.0.0.1", int(port))):
        server = make_run(environment, output)
        assert server.wait(START_SECONDS) != 0
    said = output.read_text()
    assert f"cannot listen on port {port}" in said
    assert "API_PORT=" in said
    assert "Traceback" not in said
    assert not list(Path(environment["DATA_DIR"]).glob("api_data.db"))
