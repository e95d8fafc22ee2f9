"""From POST /training/start to the first step, on a fresh trainer and on a warm one, beside the time of `import torch`.

    .venv/bin/python -m benchmarks.start_latency [ROUNDS]

Each round imports torch in a fresh interpreter, then starts a session of one step on an idle server and reads from its
journal when the trainer began, when data and model were ready, and when the first step was done (and the validation
that follows it). The limits: 0.3 s beside the import for a fresh trainer, 0.3 s in all for a warm one.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.processes.server import Server, wait_for
from tests.processes.test_warm_trainers import wait_for_warm_ones

LIMIT_SECONDS = 0.3
# What the first event of each kind says has happened.
DEEDS = {"start": "first line", "record": "data and model", "epoch": "first step"}


def seconds_to_import_torch() -> float:
    started_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started_at


def seconds_to_start(server: Server) -> dict[str, float]:
    """Seconds from the request to each of the trainer's first deeds."""
    asked_at = time.time()
    session_id = server.submit(epochs=1, max_steps=1)
    server.wait_for_end(session_id)
    journal = server.data_dir / "sessions" / session_id / "events.jsonl"
    seconds: dict[str, float] = {}
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        passed = datetime.fromisoformat(event["at"]).timestamp() - asked_at
        seconds.setdefault(DEEDS.get(event["event"], event["event"]), passed)
    return seconds


def measure(rounds: int, warm: bool) -> tuple[list[float], list[dict[str, float]]]:
    """The seconds of so many imports of torch, and of as many starts, turn by turn."""
    imports, starts = [], []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), WARM_TRAINERS=str(warm))
        wait: Callable[[], None] = (lambda: wait_for_warm_ones(server)) if warm else (lambda: None)
        try:
            server.start_web()
            server.upload_digits()
            server.start_worker()
            wait()
            seconds_to_start(server)  # fills the caches of the disk
            for _ in range(rounds):
                imports.append(seconds_to_import_torch())
                wait()
                wait_for(lambda: not server.trainers(), what="an idle machine")
                starts.append(seconds_to_start(server))
        finally:
            server.kill_everything()
    return imports, starts


def main(rounds: int) -> None:
    for warm in (False, True):
        imports, starts = measure(rounds, warm)
        import_seconds = statistics.median(imports)
        limit = LIMIT_SECONDS + (0 if warm else import_seconds)
        kind = "warm" if warm else "fresh"
        print(f"{kind} trainer, medians of {rounds} rounds; import torch {import_seconds:.2f} s, limit {limit:.2f} s")
        for name in DEEDS.values():
            median = statistics.median(start[name] for start in starts)
            print(f"{name:15}{median:6.2f} s   {median / limit:.2f} of the limit")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
