"""A client that knows only the contract, and relies on all of it: every endpoint, real HTTP, real training."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract import SYSTEM_INFO_FIELDS
from tests.processes.server import KEY, Server

pytestmark = pytest.mark.slow

STATUS = {"session_id", "state", "current_epoch", "total_epochs", "start_time", "end_time", "error_message"}
METRICS = {"session_id", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp"}
CONFIG = {"model_architecture", "dataset_name", "learning_rate", "batch_size", "epochs", "optimizer", "loss_function"}


def assert_utc(timestamp: str) -> None:
    assert timestamp.endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()) < 600


def test_a_client_of_the_contract_runs_unmodified(server: Server) -> None:
    server.start_web()
    server.start_worker()
    base = f"http://127.0.0.1:{server.port}"
    health = httpx.get(f"{base}/health").json()
    assert (health["status"], health["service"]) == ("healthy", "Server Management API")
    assert health["version"]

    bearer = httpx.Client(base_url=f"{base}/api/v1", headers={"Authorization": f"bearer {KEY}"}, timeout=30)
    with bearer as client:

        def call(method: str, path: str, expected: int = 200, **options: Any) -> Any:
            answer = client.request(method, path, **options)
            assert answer.status_code == expected, answer.text
            body = answer.json()
            if expected >= 400:
                assert body["error"]["code"]
                assert body["error"]["message"] == body["detail"]
            return body

        # Datasets: regression in csv, with the label in a column of that name.
        rows = np.random.default_rng(0).normal(size=(200, 3))
        lines = [f"{a:.6f},{b:.6f},{3 * a - 2 * b + 100 + 0.01 * c:.6f}" for a, b, c in rows]
        csv = "\n".join(["a,b,target", *lines]).encode()
        upload: dict[str, Any] = {"params": {"dataset_name": "plane"}, "files": {"file": ("../../evil.csv", csv)}}
        stored = call("POST", "/datasets", **upload)
        assert (stored["name"], stored["size_mb"]) == ("plane", pytest.approx(len(csv) / 2**20, abs=1e-6))
        call("POST", "/datasets", 409, **upload)
        (dataset,) = call("GET", "/datasets")
        assert dataset == call("GET", "/datasets/plane/")  # a trailing slash works too
        assert (dataset["sample_count"], dataset["format"], dataset["dimensions"]) == (200, "csv", "2")
        assert_utc(dataset["created_at"])
        assert dataset["file_path"].startswith(str(server.data_dir))

        # A session, from start to its model.
        config = {
            "model_architecture": "mlp",
            "dataset_name": "plane",
            "learning_rate": 0.01,
            "batch_size": 16,
            "epochs": 20,
            "loss_function": "mse",
            "optimizer": "adamw",
        }
        started = call("POST", "/training/start", json=config)
        session_id = started["session_id"]
        assert re.fullmatch("sess_[0-9a-f]{12}", session_id)
        assert started["status"] in ("queued", "running")
        assert started["message"]
        end = server.wait_for_end(session_id)
        assert end.keys() >= STATUS
        assert (end["state"], end["current_epoch"], end["total_epochs"]) == ("completed", 20, 20)
        assert_utc(end["start_time"])
        assert_utc(end["end_time"])
        newest = call("GET", f"/training/{session_id}/metrics")
        assert newest.keys() >= METRICS
        assert newest["epoch"] == 20
        assert newest["val_accuracy"] > 0.9  # R² of a plane
        history = call("GET", f"/training/{session_id}/history")
        assert [metric["epoch"] for metric in history] == list(range(1, 21))
        entries = call("GET", f"/training/{session_id}/logs", params={"limit": 3})
        assert len(entries) == 3
        assert entries[0].keys() >= {"session_id", "timestamp", "level", "message"}
        (listed,) = call("GET", "/training/sessions")
        assert listed.keys() >= {"session_id", "config", "status", "created_at"}
        assert listed["config"].keys() >= CONFIG
        assert listed["config"].items() >= config.items()
        assert listed["status"] == end
        assert call("GET", "/training/queue") == []
        call("POST", f"/training/{session_id}/stop", 409)
        call("DELETE", f"/training/queue/{session_id}", 409)

        # Its model, and one of our own.
        (model,) = call("GET", "/models")
        assert model.keys() >= {"name", "size_mb", "created_at", "file_path"}
        assert model["name"].startswith("mlp_plane")
        assert client.get(f"/models/{model['name']}").content == Path(model["file_path"]).read_bytes()
        content = bytes(range(256)) * 10
        call("POST", "/models", params={"model_name": "mine.pth"}, files={"file": content})
        assert client.get("/models/mine.pth").content == content
        assert call("DELETE", "/models/mine.pth")["message"]
        call("GET", "/models/mine.pth", 404)

        assert call("GET", "/system/info").keys() >= SYSTEM_INFO_FIELDS

        # What goes wrong, says so.
        wrong = call("POST", "/training/start", 400, json=config | {"learning_rate": 2, "colour": "red"})
        assert wrong["error"]["details"].keys() == {"learning_rate", "colour"}
        call("GET", "/training/sess_000000000000/status", 404)
        call("PUT", "/training/start", 405)
        call("POST", "/training/start", 415, content=b"a=b", headers={"Content-Type": "text/plain"})
        call("POST", "/training/start", 400, content=b"{", headers={"Content-Type": "application/json"})
        stranger = httpx.get(f"{base}/api/v1/nowhere")
        assert (stranger.status_code, stranger.headers["WWW-Authenticate"]) == (401, "Bearer")
