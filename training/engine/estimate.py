"""python -m training.engine.estimate FOLDER < spec.json: print what a session would cost, as JSON.

Nothing is guessed that can be measured: the data is loaded, the model is built, and a few real steps are made with the
trainer's own parts. What it writes lies in the folder, which the caller deletes.
"""

import json
import logging
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from training.engine.devices import describe_device
from training.engine.failures import as_failure
from training.engine.trainer import EVALUATION_BATCHES, Trainer
from training.engine.without_compiler import do_without_compiler
from training.journal import JournalWriter, SessionDirectory
from training.spec import SessionSpec

WARM_UP = 2  # the first batches pay for memory and caches
MOST_BATCHES = 20
MOST_SECONDS = 5.0


def estimate(spec: SessionSpec, folder: Path) -> dict[str, Any]:
    """What the session takes: sizes in bytes, times in seconds. Raises what the trainer would raise."""
    # Compiling takes longer than all this, and of several processes each does what one does.
    spec = replace(spec, config=replace(spec.config, compile="off", gpus=1, max_seconds=None))
    directory = SessionDirectory(folder)
    directory.create()
    do_without_compiler()
    trainer = Trainer(spec, directory, JournalWriter(directory.events, 1), lambda: False, None)
    trainer.prepare()
    seconds_per_step = _time_step(trainer)
    window = spec.config.gradient_accumulation
    batch_count = len(trainer.data.batches(1, spec.config.batch_size))
    model_bytes = _bytes(trainer.model.state_dict())
    optimizer_bytes = _bytes(trainer.optimizer.state_dict())
    return {
        "device": describe_device(trainer.device),
        "precision": trainer.precision.name,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps_per_epoch": -(-batch_count // window),
        "total_steps": trainer.total_steps,
        "training_samples": trainer.data.train_count,
        "validation_samples": sum(map(len, trainer.data.validation_batches(spec.config.batch_size))),
        "normalises_batches": any(isinstance(module, _BatchNorm) for module in trainer.model.modules()),
        "seconds_per_step": seconds_per_step,
        "seconds_per_validation": _time_validation(trainer),
        "memory_bytes": {
            "data": trainer.data.x.nbytes + trainer.data.y.nbytes,
            "model": model_bytes,
            "optimizer": optimizer_bytes,
            "total": _peak_bytes(trainer.device),
        },
        "checkpoint_bytes": model_bytes + optimizer_bytes,
        "weights_bytes": model_bytes,
    }


def _time_step(trainer: Trainer) -> float:
    """The median times of the batches that make a step, the last of which takes it."""
    end = time.monotonic() + MOST_SECONDS
    gathering: list[float] = []
    closing: list[float] = []
    for number, batch in enumerate(trainer.remaining_batches()):
        if number == WARM_UP + MOST_BATCHES or time.monotonic() > end:
            break
        seconds = _timed(trainer, partial(trainer.train_batch, batch))
        (closing if batch.closes_step else gathering).append(seconds)
    if not closing:
        closing = [_middle(gathering) + _timed(trainer, trainer.take_step)]
    batch_count = len(trainer.data.batches(1, trainer.config.batch_size))
    others = min(trainer.config.gradient_accumulation, batch_count) - 1
    return others * _middle(gathering or closing) + _middle(closing)


def _middle(times: list[float]) -> float:
    return statistics.median(times[WARM_UP:] or times[-1:])


@torch.inference_mode()
def _time_validation(trainer: Trainer) -> float:
    """What validating after an epoch takes, from one batch of it."""
    batches = trainer.data.validation_batches(EVALUATION_BATCHES * trainer.config.batch_size)
    trainer.model.eval()

    def evaluate() -> None:
        samples, targets = trainer.data.batch(batches[0], trainer.device)
        with trainer.precision.autocast():
            outputs: Any = trainer.model(samples)
        trainer.objective.loss(outputs, targets)

    _timed(trainer, evaluate)
    return _timed(trainer, evaluate) * len(batches)


def _timed(trainer: Trainer, action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.perf_counter() - start


def _bytes(state: Any) -> int:
    """The tensors anywhere in a state."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0


def _peak_bytes(device: torch.device) -> int:
    """The most memory that was held at once: of the GPU, or of the whole process with its libraries."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Read a spec, print {"estimate": …}, or {"failure": …} with what would make the session fail; 1 then."""
    # What somebody's architecture prints must not stand in the answer.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        spec = SessionSpec.from_json(json.load(sys.stdin))
        try:
            json.dump({"estimate": estimate(spec, Path(sys.argv[1]))}, answer)
        except Exception as error:
            failure = as_failure(error)
            json.dump({"failure": {"code": failure.code, "message": str(failure)}}, answer)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
