"""examples/demo.py, the whole way."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes.server import wait_for
from tests.ways_in.conftest import REPOSITORY, processes_of

pytestmark = pytest.mark.slow

DEMO = [sys.executable, "examples/demo.py"]


def test_it_trains_a_network_and_stops_what_it_started(environment: dict[str, str]) -> None:
    demo = subprocess.run(DEMO, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    [accuracy] = re.findall(r"it reads ([\d.]+)% right", demo.stdout)
    assert float(accuracy) >= 95
    [model] = re.findall(r"The model lies in (.+)", demo.stdout)
    assert (REPOSITORY / model).is_file()
    assert "make run" in demo.stdout
    assert "API key" not in demo.stdout  # those are for the first `make run`
    assert processes_of(environment) == []


@pytest.mark.parametrize("moment", ["Preparing the database", "Starting web", "as session sess_"])
def test_ctrl_c_stops_everything(moment: str, environment: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            DEMO, cwd=REPOSITORY, env=environment, stdout=file, stderr=subprocess.STDOUT, process_group=0
        )
    wait_for(lambda: moment in output.read_text() or demo.poll() is not None, 60, moment)
    time.sleep(1)
    os.killpg(demo.pid, signal.SIGINT)  # what a terminal does
    assert demo.wait(30) == 130, output.read_text()
    assert "Traceback" not in output.read_text()
    assert processes_of(environment) == []


def test_a_taken_port_ends_it_with_one_sentence(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environment["API_PORT"]))):
        demo = subprocess.run(DEMO, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)
    assert demo.returncode == 1
    assert f"cannot listen on port {environment['API_PORT']}" in demo.stderr
    assert "Traceback" not in demo.stderr
