"""servermgmt.procfile ends everything, however and whenever it is told to."""

import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tests.processes.server import wait_for
from tests.ways_in.conftest import REPOSITORY, processes_of

pytestmark = pytest.mark.slow

STOP_SECONDS = 10


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    prepare = [sys.executable, "manage.py", "prepare", "--without-credentials"]
    subprocess.run(prepare, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)
    return subprocess.Popen(
        [sys.executable, "-m", "servermgmt.procfile"],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def is_healthy(environment: dict[str, str]) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{environment['API_PORT']}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after_seconds", [0, 0.02, 0.5])
def test_a_signal_while_it_starts_leaves_nothing_behind(
    after_seconds: float, ending: signal.Signals, environment: dict[str, str]
) -> None:
    runner = start(environment)
    wait_for(psutil.Process(runner.pid).children, what="the first process")
    time.sleep(after_seconds)
    runner.send_signal(ending)
    output, _ = runner.communicate(timeout=STOP_SECONDS)
    assert runner.returncode == 128 + ending
    assert "Traceback" not in output
    assert processes_of(environment) == []


def test_it_goes_on_when_nobody_reads_and_still_ends_in_order(environment: dict[str, str]) -> None:
    runner = start(environment)
    assert runner.stdout
    runner.stdout.close()
    wait_for(lambda: is_healthy(environment), what="the start of the web process")
    runner.terminate()
    runner.wait(STOP_SECONDS)
    assert processes_of(environment) == []


def test_when_one_process_ends_all_end(environment: dict[str, str]) -> None:
    runner = start(environment)
    wait_for(lambda: is_healthy(environment), what="the start of the web process")
    [sampler] = [process for process in processes_of(environment) if "runsampler" in process.cmdline()]
    sampler.kill()
    output, _ = runner.communicate(timeout=STOP_SECONDS)
    assert runner.returncode != 0
    assert "sampler.1 stopped (rc=-9)" in output
    assert processes_of(environment) == []
