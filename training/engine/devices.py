"""Where a session computes, and the settings that make it compute the same again."""

import os

import torch

from training.engine.failures import TrainingFailure


def prepare_device(name: str, num_threads: int) -> torch.device:
    """Choose the device and make it deterministic as far as that is cheap. "auto" takes the GPU when there is one.

    The thread count is part of it: another count gives other last bits. Raises TrainingFailure (device_lost).
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
        torch.use_deterministic_algorithms(True, warn_only=True)
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
