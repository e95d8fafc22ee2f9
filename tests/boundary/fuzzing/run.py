"""One run: a server of its own with things in it, and schemathesis against that."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes.server import GUNICORN, KEY, ROOT, Server, wait_for

HERE = Path(__file__).parent
PHASES = {"examples", "coverage", "fuzzing", "stateful"}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit status, what it printed, and what came of it."""

    exit_status: int
    output: str
    cases: int
    clean_phases: set[str]  # those that were gone through, and found nothing
    server_errors: int


@contextmanager
def live_server(data_dir: Path) -> Iterator[Server]:
    # With headers that tell of rates, and so much room that a run does not fill it.
    rates = dict.fromkeys(("KEY_RATE", "ADDRESS_RATE", "FAILED_ATTEMPTS_RATE"), "100000000/minute")
    server = Server(data_dir, MAX_UPLOAD_BYTES="1000000", **rates)
    try:
        server.manage("shell", "-v", "0", "-c", "from tests.boundary.fuzzing.stored import store; store()")
        options = ("--bind", f"127.0.0.1:{server.port}", "--workers", "1", "--threads", "8")
        server.start("web", *GUNICORN, *options, "tests.boundary.fuzzing.wsgi")
        wait_for(server.is_healthy, what="the start of the web process")
        yield server
    finally:
        server.client.close()
        server.kill_everything()


def run(data_dir: Path, examples: int, *options: str) -> Outcome:
    """Every phase and every check, with so many generated requests for each operation beside those of the coverage."""
    report = data_dir / "report.json"
    with live_server(data_dir) as server:
        base = f"http://127.0.0.1:{server.port}"
        command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(HERE / "schemathesis.toml")]
        command += ["run", f"{base}/openapi.json", "--max-examples", str(examples), "--no-color"]
        command += ["--report", "json", "--report-json-path", str(report), *options]
        environment = server.environment | {"FUZZED_SERVER": base, "FUZZED_KEY": KEY, "PYTHONPATH": str(ROOT)}
        # In the data directory, where it leaves what it keeps for the next run.
        done = subprocess.run(command, cwd=data_dir, env=environment, capture_output=True, text=True)
        log = (data_dir / "web.log").read_text(errors="replace")
    told = json.loads(report.read_text()) if report.exists() else {"phases": {}, "test_cases": {"generated": 0}}
    return Outcome(
        exit_status=done.returncode,
        output=done.stdout + done.stderr,
        cases=told["test_cases"]["generated"],
        clean_phases={name for name, phase in told["phases"].items() if phase["status"] == "success"},
        server_errors=log.count(" failed\n"),  # each has this line in the log, whatever schemathesis made of it
    )
