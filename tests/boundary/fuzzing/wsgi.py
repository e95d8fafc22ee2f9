"""The server as it is, but for one process: an estimate is told and not measured, in 20 ms and not in 4 s."""

import sys

from servermgmt.wsgi import application
from training import estimate

MEASURED = """
import json
print(json.dumps({"estimate": {
    "device": "cpu", "precision": "fp32", "parameters": 25450, "steps_per_epoch": 45, "total_steps": 225,
    "training_samples": 1438, "validation_samples": 359, "normalises_batches": False, "seconds_per_step": 0.001,
    "seconds_per_validation": 0.002, "memory_bytes": {"data": 1, "model": 2, "optimizer": 4, "total": 8},
    "checkpoint_bytes": 6, "weights_bytes": 2,
}}))
"""
estimate.COMMAND = [sys.executable, "-I", "-S", "-c", MEASURED]

__all__ = ["application"]
