"""What a session would cost, before it is queued: its trainer's first steps, made in a process of their own.

One at a time in each web process: measuring takes a core, and what is measured side by side is worth little.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings

from monitoring.probes import read_host
from registry.models import Dataset
from training.initial_weights import WeightsGone, keep_initial_weights
from training.installation import engine_environment
from training.models import TrainingSession
from training.resolution import resolve
from training.spec import InvalidConfig, SessionSpec, TrainingConfig

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.engine.estimate"]
# The field to change where the trainer found what nobody else can find; the rest is not the client's fault.
BLAMED = {
    "bad_dataset": "dataset_name",
    "bad_config": "non_field_errors",
    "cuda_oom": "batch_size",
    "host_oom": "batch_size",
    "user_code": "model_architecture",
    "non_finite_loss": "learning_rate",
}
MEASURED = ("device", "parameters", "steps_per_epoch", "total_steps", "memory_bytes", "seconds_per_step")
FEW_SAMPLES = 20
# Adaptive optimizers move every parameter by about the learning rate in each step.
HIGH_ADAPTIVE_RATE = 0.03
ADAPTIVE = ("adam", "adamw", "rmsprop")

_turn = threading.Lock()


class EstimateBusy(Exception):
    """Others wait for an estimate already."""


class NotMeasured(Exception):
    """The first steps could not be made here and now. The message says why, for the client."""


def estimate(config: TrainingConfig, dataset: Dataset) -> dict[str, Any]:
    """The answer to a validation: see docs/configuration.md. What could not be measured is null, and a warning says so.

    Raises InvalidConfig for what only the trainer finds wrong, and EstimateBusy.
    """
    if not _turn.acquire(timeout=settings.VALIDATE_SECONDS):
        raise EstimateBusy
    try:
        with TemporaryDirectory(prefix="estimate-") as folder:
            spec = _resolve(config, dataset, Path(folder))
            try:
                measured = _measure(spec, Path(folder))
            except NotMeasured as problem:
                return _answer(spec, None, [str(problem), *_warnings_of_queue(config)])
    finally:
        _turn.release()
    warnings = [*_warnings_of_measure(spec.config, measured), *_warnings_of_queue(config)]
    return _answer(spec, measured, warnings)


def without_measure(config: TrainingConfig, dataset: Dataset) -> dict[str, Any]:
    """The answer to a validation that is only to check: at once, and for as many as ask."""
    return _answer(_resolve(config, dataset, None), None, _warnings_of_queue(config))


def _resolve(config: TrainingConfig, dataset: Dataset, folder: Path | None) -> SessionSpec:
    """The spec as the session would get it; with its initial weights where there is a folder for them."""
    try:
        weights = keep_initial_weights(config.initial_weights, folder) if folder and config.initial_weights else None
    except WeightsGone as error:
        raise InvalidConfig({"initial_weights": [str(error)]}) from None
    running = min(TrainingSession.objects.running().count() + 1, settings.MAX_CONCURRENT_SESSIONS)
    return resolve("estimate", config, dataset, weights, running)


def _measure(spec: SessionSpec, folder: Path) -> dict[str, Any]:
    """What the engine measured. Raises InvalidConfig or NotMeasured."""
    with subprocess.Popen(
        [*COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        env=engine_environment(),
        start_new_session=True,
    ) as process:
        try:
            output, log = process.communicate(json.dumps(spec.as_dict()).encode(), settings.VALIDATE_SECONDS)
        except subprocess.TimeoutExpired:
            raise NotMeasured(
                f"The first steps took longer than {settings.VALIDATE_SECONDS:g} seconds, so nothing was measured."
            ) from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        logger.warning("an estimate died:\n%s", log[-4000:].decode(errors="replace"))
        raise NotMeasured(
            f"The process that was to make the first steps died ({process.returncode}), so nothing was measured."
        ) from None
    if failure := answer.get("failure"):
        if failure["code"] in BLAMED:
            raise InvalidConfig({BLAMED[failure["code"]]: [failure["message"]]})
        raise NotMeasured(f"Nothing was measured: {failure['message']}")
    measured: dict[str, Any] = answer["estimate"]
    return measured


def _answer(spec: SessionSpec, measured: dict[str, Any] | None, warnings: list[str]) -> dict[str, Any]:
    config = spec.config
    resolved = config.as_dict() | {"weight_decay": config.effective("weight_decay")}
    if config.optimizer in ("sgd", "rmsprop"):
        resolved["momentum"] = config.effective("momentum")
    if measured is None:
        nothing = dict.fromkeys((*MEASURED, "estimated_seconds", "disk_bytes"))
        return {"config": resolved, **nothing, "warnings": warnings}
    return {
        "config": resolved | {"precision": measured["precision"]},
        **{name: measured[name] for name in MEASURED},
        "estimated_seconds": _seconds(config, measured),
        "disk_bytes": _disk_bytes(config, measured),
        "warnings": warnings,
    }


def _seconds(config: TrainingConfig, measured: dict[str, Any]) -> float:
    """All steps, and a validation after each epoch. A limit or early stopping ends it sooner."""
    epochs = -(-measured["total_steps"] // measured["steps_per_epoch"])
    seconds: float = (
        measured["total_steps"] * measured["seconds_per_step"] + epochs * measured["seconds_per_validation"]
    )
    return seconds if config.max_seconds is None else min(seconds, config.max_seconds)


def _disk_bytes(config: TrainingConfig, measured: dict[str, Any]) -> int:
    """The checkpoints that are kept and the one being written, and the weights: the session's and the registry's."""
    size: int = (config.keep_checkpoints + 1) * measured["checkpoint_bytes"] + 2 * measured["weights_bytes"]
    return size


def _warnings_of_measure(config: TrainingConfig, measured: dict[str, Any]) -> list[str]:
    warnings = []
    samples, held_back = measured["training_samples"], measured["validation_samples"]
    if config.batch_size > samples:
        warnings.append(
            f"batch_size {config.batch_size} is more than the {samples} training samples: every epoch is one batch."
        )
    if held_back < FEW_SAMPLES:
        warnings.append(f"Only {held_back} samples are held back for validation: val_loss and val_accuracy are rough.")
    if config.batch_size == 1 and measured["normalises_batches"]:
        warnings.append("The network normalises over batches, and a batch of one sample says little: raise batch_size.")
    if config.optimizer in ADAPTIVE and config.learning_rate > HIGH_ADAPTIVE_RATE:
        warnings.append(
            f"learning_rate {config.learning_rate:g} is high for {config.optimizer}: 0.0001 to 0.01 is usual."
        )
    if config.warmup_steps >= measured["total_steps"]:
        warnings.append(
            f"warmup_steps is {config.warmup_steps}, and there are {measured['total_steps']} steps in all: "
            "learning_rate is never reached."
        )
    host = read_host(settings.DATA_DIR)
    disk, memory = _disk_bytes(config, measured), measured["memory_bytes"]["total"]
    if disk > host.disk_free_bytes:
        warnings.append(
            f"The session may need {disk / 2**20:.0f} MB of disk, and {host.disk_free_bytes / 2**20:.0f} MB are free."
        )
    free = host.memory_total_bytes - host.memory_used_bytes
    if measured["device"].startswith("cpu") and memory > free:
        warnings.append(f"The session may need {memory / 2**20:.0f} MB of memory, and {free / 2**20:.0f} MB are free.")
    return warnings


def _warnings_of_queue(config: TrainingConfig) -> list[str]:
    running = TrainingSession.objects.running().count()
    earlier = TrainingSession.objects.queued().filter(priority__gte=config.priority).count()
    warnings = []
    if running:
        warnings.append(f"{_count(running)} running now: what is measured beside others takes longer.")
    if running >= settings.MAX_CONCURRENT_SESSIONS or earlier:
        warnings.append(f"The session would wait: {_count(earlier)} queued before it.")
    return warnings


def _count(number: int) -> str:
    return "1 session is" if number == 1 else f"{number or 'no'} sessions are"
