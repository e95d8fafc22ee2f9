"""The web process is killed amid POSTs with keys; whoever then sends them once more gets what he asked for, once."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.processes.server import Server

pytestmark = pytest.mark.slow

ROUNDS = 3
CLIENTS = 6
POSTS_A_ROUND = 36


def test_a_key_makes_one_session_or_one_model_whenever_the_web_process_is_killed(server: Server) -> None:
    chance = random.Random(4)
    server.start_web()
    server.upload_digits()
    parent = server.submit()
    keys: dict[str, str] = {}
    for turn in range(ROUNDS):
        kinds = [chance.choice(["start", "restart", "model"]) for _ in range(POSTS_A_ROUND)]
        keys |= {f"{kind}-{turn}-{number}": kind for number, kind in enumerate(kinds)}
        sent = [key for key in keys if key.split("-")[1] == str(turn)]
        answered = send_until_killed(server, parent, sent, chance.randrange(POSTS_A_ROUND - CLIENTS))
        assert len(answered) < len(sent)
        server.start_web()
        for key in sent:
            again = post(server, parent, key)
            assert again.status_code == 200, again.text
            if key in answered:
                assert again.content == answered[key].content
                assert again.headers["Idempotency-Replayed"] == "true"
    sessions = Counter(entry["config"]["notes"] for entry in server.get("/training/sessions"))
    models = Counter(entry["name"] for entry in server.get("/models"))
    assert models == {key: 1 for key, kind in keys.items() if kind == "model"}
    assert {key: count for key, count in sessions.items() if key in keys} == {
        key: 1 for key, kind in keys.items() if kind != "model"
    }


def post(server: Server, parent: str, key: str) -> httpx.Response:
    """One POST of the kind that the key begins with, whose work bears the key."""
    kind = key.split("-")[0]
    request: dict[str, Any] = {
        "start": {"url": "/training/start", "json": CONFIG | {"notes": key}},
        "restart": {"url": f"/training/{parent}/restart", "json": {"changes": {"notes": key}}},
        "model": {"url": "/models", "params": {"model_name": key}, "files": {"file": key.encode() * 10_000}},
    }[kind]
    return server.client.post(headers={"Idempotency-Key": key}, **request)


CONFIG = {"model_architecture": "mlp", "dataset_name": "digits", "learning_rate": 0.001, "batch_size": 32, "epochs": 5}


def send_until_killed(server: Server, parent: str, keys: list[str], kill_after: int) -> dict[str, httpx.Response]:
    """Many clients send, until every process is killed after so many answers; the answers, all of them good."""
    answered: dict[str, httpx.Response] = {}
    processes = server.family()
    lock = threading.Lock()

    def send(key: str) -> None:
        try:
            answer = post(server, parent, key)
        except httpx.TransportError:
            return
        with lock:
            answered[key] = answer
            if len(answered) == kill_after + 1:
                for process in processes:
                    process.kill()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, keys))
    server.kill_everything()
    assert {answer.status_code for answer in answered.values()} == {200}
    return answered
