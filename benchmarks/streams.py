"""Event streams: how late an epoch arrives, and what many who only listen cost, beside as many who ask.

    .venv/bin/python -m benchmarks.streams [ROUNDS [LISTENERS]]

Late: from the trainer's writing to the client's reading, of every epoch of a session, while the listeners are there.
Idle: the share of a core that the web processes take while the listeners listen, beside what they would take if each
client asked for the status once a second (what one such request costs, times the clients). Health: `/health` with the
listeners, beside without them, in turns. Limits: 300 ms at the 95th percentile; 10 % of a core.
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from tests.event_stream import read_events
from tests.processes.server import GUNICORN, KEY, Server, wait_for

EPOCHS = 100
WATCHED_SECONDS = 10
ASKED = 200


def cpu_seconds(server: Server) -> float:
    """Of the web server's processes so far."""
    web = psutil.Process(server.processes["web"].pid)
    return sum(sum(process.cpu_times()[:2]) for process in [web, *web.children(recursive=True)])


def listen(server: Server, path: str, stack: ExitStack) -> httpx.Response:
    client = stack.enter_context(httpx.Client(base_url=server.client.base_url, headers={"X-API-Key": KEY}, timeout=60))
    answer = client.send(client.build_request("GET", path), stream=True)
    stack.callback(answer.close)
    answer.raise_for_status()
    return answer


def seconds_late(server: Server) -> list[float]:
    """Of each epoch of a session."""
    session_id = server.submit(epochs=EPOCHS)
    late: list[float] = []
    with ExitStack() as stack:
        for event in read_events(listen(server, f"/training/{session_id}/events", stack).iter_lines()):
            if event.name == "metric":
                written = datetime.fromisoformat(event.data["timestamp"])
                late.append((datetime.now(UTC) - written).total_seconds())
            if event.name == "status" and event.data["state"] == "completed":
                return late
    raise SystemExit("The stream ended before the session.")


def seconds_for_health(server: Server) -> list[float]:
    times = []
    with httpx.Client() as client:
        for _ in range(ASKED):
            began = time.perf_counter()
            client.get(f"http://127.0.0.1:{server.port}/health").raise_for_status()
            times.append(time.perf_counter() - began)
    return times


def seconds_for_one_request(server: Server, session_id: str) -> float:
    """Of the web server's time, for one status."""
    began = cpu_seconds(server)
    for _ in range(ASKED):
        server.status(session_id)
    return (cpu_seconds(server) - began) / ASKED


def share_of_a_core(server: Server) -> float:
    began = cpu_seconds(server)
    time.sleep(WATCHED_SECONDS)
    return (cpu_seconds(server) - began) / WATCHED_SECONDS


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def main(rounds: int, listeners: int) -> None:
    late, idle, alone = [], [], []
    health: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), MAX_EVENT_STREAMS=str(listeners))
        try:
            server.start("web", *GUNICORN, "--bind", f"127.0.0.1:{server.port}")
            wait_for(server.is_healthy)
            server.start_worker()
            server.start_sampler()
            server.upload_digits()
            session_id = server.submit(epochs=1)
            server.wait_for_end(session_id)
            asking = seconds_for_one_request(server, session_id)
            for _ in range(rounds):
                alone.append(share_of_a_core(server))
                health["without"] += seconds_for_health(server)
                with ExitStack() as stack:
                    for number in range(listeners):
                        listen(server, "/events" if number % 2 else f"/training/{session_id}/events", stack)
                    time.sleep(2)
                    idle.append(share_of_a_core(server))
                    health["with"] += seconds_for_health(server)
                    late += seconds_late(server)
        finally:
            server.client.close()
            server.kill_everything()
    share, before = statistics.median(idle), statistics.median(alone)
    print(f"{rounds} rounds, {listeners} listeners")
    middle, slow = (quantile(late, share_of_all) * 1e3 for share_of_all in (0.5, 0.95))
    print(f"late     median {middle:.0f} ms   p95 {slow:.0f} ms   (limit 300)")
    print(f"idle     {share:.1%} of a core, {before:.1%} without listeners   (limit 10 %)")
    print(f"         as many who ask once a second {asking * listeners:.0%}: {share / (asking * listeners):.3f} of it")
    for share_of_all in (0.5, 0.95):
        there, gone = (quantile(health[name], share_of_all) * 1e3 for name in ("with", "without"))
        print(f"health   p{share_of_all * 100:.0f}   {there:.2f} ms with   {gone:.2f} ms without   {there / gone:.2f}")


if __name__ == "__main__":
    main(*[int(argument) for argument in [*sys.argv[1:], *["3", "500"][len(sys.argv) - 1 :]]])
