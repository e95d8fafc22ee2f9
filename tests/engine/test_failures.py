"""Which exception is which failure."""

import errno
from pathlib import Path

import pytest
import torch

from training.engine.failures import TrainingFailure, as_failure


def test_a_full_disk_is_recognised() -> None:
    with pytest.raises((RuntimeError, OSError)) as caught, Path("/dev/full").open("wb") as full:
        torch.save({"weight": torch.zeros(100_000)}, full)
    assert as_failure(caught.value).code == "disk_full"


def test_what_torch_raises_without_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert as_failure(caught.value).code == "host_oom"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "host_oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "disk_full"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "cuda_oom"),
        (RuntimeError("CUDA error: out of memory"), "cuda_oom"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device_lost"),
        (TrainingFailure("bad_dataset", "…"), "bad_dataset"),
        (PermissionError(errno.EACCES, "Permission denied"), "user_code"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "user_code"),
        (KeyError("weight"), "user_code"),
    ],
)
def test_each_cause_has_its_code_and_a_message(error: Exception, code: str) -> None:
    failure = as_failure(error)
    assert failure.code == code
    assert str(failure)
