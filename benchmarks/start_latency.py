"""From POST /training/start to the trainer's first line, beside the time that `import torch` takes on the same machine.

    .venv/bin/python -m benchmarks.start_latency [ROUNDS]

Each round imports torch in a fresh interpreter, then starts a session on an idle server and reads from its journal
when the trainer began, when it was ready to train (torch imported, data and model built), and when the first epoch was
done. The limit is one second plus the import.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.processes.server import Server

LIMIT_SECONDS = 1.0
# What the first event of each kind says has happened.
DEEDS = {"start": "first line", "log": "ready to train", "epoch": "first epoch"}


def seconds_to_import_torch() -> float:
    started_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started_at


def seconds_to_start(server: Server) -> dict[str, float]:
    """Seconds from the request to each of the trainer's first deeds."""
    asked_at = time.time()
    session_id = server.submit(epochs=1)
    server.wait_for_end(session_id)
    journal = server.data_dir / "sessions" / session_id / "events.jsonl"
    seconds: dict[str, float] = {}
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        passed = datetime.fromisoformat(event["at"]).timestamp() - asked_at
        seconds.setdefault(DEEDS.get(event["event"], event["event"]), passed)
    return seconds


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            server.start_web()
            server.upload_digits()
            server.start_worker()
            seconds_to_start(server)  # fills the caches of the disk
            imports, starts = [], []
            for _ in range(rounds):
                imports.append(seconds_to_import_torch())
                starts.append(seconds_to_start(server))
        finally:
            server.kill_everything()
    limit = LIMIT_SECONDS + statistics.median(imports)
    print(f"medians of {rounds} rounds; the limit is {limit:.2f} s")
    for name in ("first line", "ready to train", "first epoch"):
        median = statistics.median(start[name] for start in starts)
        print(f"{name:15}{median:6.2f} s   {median / limit:.2f} of the limit")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
