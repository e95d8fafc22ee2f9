"""Requests and answers about sessions, as the API's description shows them: one session, start to report."""

import json
from typing import Any

from training.spec import TrainingConfig

SESSION_ID = "sess_0123456789ab"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

START: dict[str, Any] = {
    "model_architecture": "mlp",
    "dataset_name": "digits",
    "learning_rate": 0.001,
    "batch_size": 32,
    "epochs": 5,
}
CONFIG = TrainingConfig(**START).as_dict()
MESSAGE = {"message": f"Session {SESSION_ID} stops after its step and saves its weights."}
SUBMITTED = {
    "session_id": SESSION_ID,
    "status": "queued",
    "message": f"Session {SESSION_ID} is queued at position 1.",
}
STATUS = {
    "session_id": SESSION_ID,
    "state": "running",
    "health": "ok",
    "wish": None,
    "allowed_actions": ["pause", "stop", "kill", "restart"],
    "attempt": 1,
    "resumed_from": None,
    "parent_session_id": None,
    "parent_checkpoint": None,
    "current_epoch": 2,
    "total_epochs": 5,
    "progress": 0.44,
    "steps_done": 99,
    "steps_planned": 225,
    "samples_per_second": 5120.5,
    "eta": "2026-01-31T12:00:09.250000Z",
    "queue_position": None,
    "waiting_reason": None,
    "waiting_for": [],
    "start_time": "2026-01-31T12:00:01.500000Z",
    "end_time": None,
    "error_message": None,
    "failure_code": "",
    "remedy": None,
    "model_name": None,
}
SESSION = {
    "session_id": SESSION_ID,
    "config": CONFIG,
    "status": STATUS,
    "created_at": "2026-01-31T12:00:00.000000Z",
}
ESTIMATE = {
    "config": CONFIG | {"weight_decay": 0.0, "precision": "fp32", "seed": 0, "num_threads": 3, "device": "auto"},
    "device": "cpu",
    "parameters": 25450,
    "steps_per_epoch": 45,
    "total_steps": 225,
    "memory_bytes": {"data": 474376, "model": 101800, "optimizer": 203632, "total": 352321536},
    "seconds_per_step": 0.0012,
    "estimated_seconds": 0.31,
    "disk_bytes": 1119896,
    "warnings": [],
}
TRANSITION = {
    "from": None,
    "to": "queued",
    "at": "2026-01-31T12:00:00.000000Z",
    "actor": "key:tsk_4Fz9",
    "reason": "submitted",
}
METRIC = {
    "session_id": SESSION_ID,
    "epoch": 2,
    "loss": 0.41,
    "accuracy": 0.891,
    "val_loss": 0.36,
    "val_accuracy": 0.908,
    "timestamp": "2026-01-31T12:00:04.750000Z",
}
SERIES = {
    "name": "train/loss",
    "count": 4,
    "minimum": 0.52,
    "maximum": 2.31,
    "steps": [10, 20, 30, 40],
    "values": [2.31, 1.4, 0.86, 0.52],
    "timestamps": [f"2026-01-31T12:00:0{second}.750000Z" for second in (1, 2, 3, 4)],
}
LOG_ENTRY = {
    "session_id": SESSION_ID,
    "line": 4,
    "timestamp": "2026-01-31T12:00:04.750000Z",
    "level": "INFO",
    "message": "epoch 2 of 5: loss 0.41, accuracy 0.8910, val_loss 0.36, val_accuracy 0.9080",
}
EVENT = {"id": "7-12-345-67-890", "event": "metric", "data": json.dumps(METRIC)}
LOG_TEXT = f"{LOG_ENTRY['line']} {LOG_ENTRY['timestamp']} {LOG_ENTRY['level']} {LOG_ENTRY['message']}\n"
RESTART = {"from_checkpoint": "newest", "changes": {"epochs": 10}}
BULK = {"action": "stop", "session_ids": [SESSION_ID]}
BULK_RESULT = {"session_id": SESSION_ID, "done": True, **MESSAGE, "error": None}
MOVE = {"position": 1}
QUEUE_STATE = {
    "paused": True,
    "paused_at": "2026-01-31T12:00:05.000000Z",
    "paused_by": "key:tsk_4Fz9",
    "running": 1,
    "queued": 3,
    "draining": 0,
}
ARCHITECTURE = {
    "name": "gpt",
    "takes": ["text"],
    "arguments": {
        "type": "object",
        "properties": {"layers": {"type": "integer", "minimum": 1, "maximum": 100, "default": 4}},
        "additionalProperties": False,
    },
    "description": "A transformer that guesses the next token.",
    "source": "training-server 0.1.0",
}
LEFT_OUT = {
    "module": "my_networks",
    "source": "my-networks 1.2.0",
    "reason": "ModuleNotFoundError: No module named 'einops'",
}
REPORT = {
    "problem": "classification",
    "loss": 0.36,
    "accuracy": 0.9,
    "samples": 10,
    "macro_f1": 0.899,
    "weighted_f1": 0.899,
    "roc_auc": 0.96,
    "roc_auc_thresholds": None,
    "classes": [
        {"name": "cat", "count": 5, "precision": 1.0, "recall": 0.8, "f1": 0.889, "roc_auc": 0.96},
        {"name": "dog", "count": 5, "precision": 0.833, "recall": 1.0, "f1": 0.909, "roc_auc": 0.96},
    ],
    "confusion_matrix": [[4, 1], [0, 5]],
}
RECORD: dict[str, Any] = {
    "versions": {
        "server": "0.1.0",
        "python": "3.11.9",
        "torch": "2.13.0",
        "torchvision": "0.28.0",
        "numpy": "2.2.6",
        "cuda": None,
        "cudnn": None,
    },
    "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
    "cpu": {"name": "AMD EPYC 7763 64-Core Processor", "cores": 4},
    "gpus": [],
    "gpu_driver": None,
    "packages": {"numpy": "2.2.6", "torch": "2.13.0"},
    "git": {"server": {"commit": "0123456789abcdef0123456789abcdef01234567", "changed": False}, "architecture": None},
    "device": "cpu",
    "seed": 0,
    "threads": 3,
    "determinism": {
        "deterministic_algorithms": False,
        "warn_only": False,
        "cudnn_deterministic": False,
        "cudnn_benchmark": False,
        "float32_matmul_precision": "highest",
        "cublas_workspace": None,
    },
    "dataset_sha256": SHA256,
    "initial_weights_sha256": None,
    "spec": {
        "session_id": SESSION_ID,
        "config": CONFIG | {"seed": 0, "num_threads": 3, "device": "cpu", "checkpoint_every_seconds": 60.0},
        "dataset": {"name": "digits", "path": "/data/datasets/digits-4f1c.npz", "sha256": SHA256, "format": "npz"},
        "initial_weights": None,
    },
}
