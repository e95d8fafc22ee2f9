"""The sampler as a process of its own."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


def count_samples(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM samples").fetchone()[0]
        return count


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_samples_until_a_signal_ends_it_quickly_and_quietly(ending: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"DATA_DIR": str(tmp_path), "SAMPLE_EVERY_SECONDS": "0.2"}
    manage = [sys.executable, str(REPOSITORY / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity=0"], env=environment, check=True, cwd=REPOSITORY)
    sampler = subprocess.Popen(
        [*manage, "runsampler"],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while count_samples(tmp_path / "api_data.db") < 2:
            assert sampler.poll() is None, sampler.communicate()[0]
            assert time.monotonic() < deadline, "no sample in 30 s"
            time.sleep(0.05)
        sampler.send_signal(ending)
        output, _ = sampler.communicate(timeout=3)
    finally:
        sampler.kill()
        sampler.wait()
    assert output == ""
    assert sampler.returncode == 0
