"""Where and how a session computes, and the settings that make it compute the same again."""

import logging
import os
from dataclasses import dataclass
from typing import Any

import torch

from training.engine.failures import TrainingFailure
from training.engine.without_compiler import use_deterministic_algorithms

logger = logging.getLogger(__name__)


def prepare_device(name: str, num_threads: int, deterministic: bool = False) -> torch.device:
    """Choose the device and make it deterministic as far as that is cheap. "auto" takes the GPU when there is one.

    `deterministic` refuses what may differ from run to run, whatever it costs. The thread count is part of it: another
    count gives other last bits. Raises TrainingFailure (device_lost).
    """
    torch.set_num_threads(num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise TrainingFailure("device_lost", f"The device {name} is not there: check the GPU and its driver.")
        # cuBLAS reads this when it is first used, and is deterministic only with it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    use_deterministic_algorithms(deterministic or device.type == "cuda", warn_only=not deterministic)
    return device


def has_room(device: torch.device, size_bytes: int) -> bool:
    """Whether data of this size may lie on the device for good and leave half of what is free to the training."""
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return size_bytes <= free_bytes // 2


def describe_device(device: torch.device) -> str:
    """The device in words, as the log names it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} with {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


@dataclass
class Environment:
    """What the last bits of a result depend on beside the spec. Another one on resume is said, and taken as it is.

    compiled: None until it is decided; from then on every attempt does the same.
    """

    device: str
    instructions: str
    threads: int
    processes: int
    precision: str
    torch_version: str
    compiled: bool | None = None

    @classmethod
    def here(cls, device: torch.device, precision: str, processes: int) -> "Environment":
        """The environment of this process."""
        return cls(
            device=f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type,
            instructions=torch.backends.cpu.get_cpu_capability(),
            threads=torch.get_num_threads(),
            processes=processes,
            precision=precision,
            torch_version=str(torch.__version__),
        )

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with the environment of the checkpoint, and warn where the difference shows in the result."""
        self.compiled = state["compiled"]
        changes = [
            f"{name.replace('_', ' ')} {state[name]} became {value}"
            for name, value in vars(self).items()
            if state[name] != value
        ]
        if changes:
            logger.warning(
                "not exactly as before: %s. The training goes on, but its last digits may differ from those of one "
                "that was never interrupted.",
                ", ".join(changes),
            )
