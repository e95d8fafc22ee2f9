"""Why a session fails: the causes that another attempt would meet again, each with a code and a remedy."""

import errno
from typing import Literal

FailureCode = Literal[
    "cuda_oom",
    "host_oom",
    "non_finite_loss",
    "bad_dataset",
    "bad_config",
    "disk_full",
    "device_lost",
    "no_valid_checkpoint",
    "user_code",
]

# torch raises RuntimeError for all of these, so that only the text tells them apart. The first match counts.
_TEXTS: tuple[tuple[str, FailureCode], ...] = (
    ("CUDA out of memory", "cuda_oom"),
    ("CUDA error: out of memory", "cuda_oom"),
    ("CUBLAS_STATUS_ALLOC_FAILED", "cuda_oom"),
    ("CUDA error", "device_lost"),
    ("can't allocate memory", "host_oom"),
    ("does not have a deterministic implementation", "bad_config"),
    ("unexpected pos", "disk_full"),  # torch.save on a full disk
    ("PytorchStreamWriter failed writing", "disk_full"),
)
_MESSAGES: dict[FailureCode, str] = {
    "cuda_oom": "The GPU's memory is too small for this session: lower batch_size or use a smaller architecture.",
    "host_oom": "The machine's memory is too small for this session: lower batch_size or use a smaller architecture.",
    "bad_config": "This network needs an operation that may differ from run to run: leave deterministic at false.",
    "disk_full": "The disk is full: free space, then start the session again.",
    "device_lost": "The GPU failed: look for its errors in the system's log, then start the session again.",
}


class TrainingFailure(Exception):
    """A cause that trying again does not mend. The message says in one sentence what to do."""

    def __init__(self, code: FailureCode, message: str) -> None:
        self.code: FailureCode = code
        super().__init__(message)


def as_failure(error: Exception) -> TrainingFailure:
    """The failure behind any exception; what is not recognised is an error in the code, and says so."""
    if isinstance(error, TrainingFailure):
        return error
    code = _recognise(error)
    if code is None:
        return TrainingFailure("user_code", f"Training stopped with an unexpected {type(error).__name__}: {error}")
    return TrainingFailure(code, _MESSAGES[code])


def _recognise(error: Exception) -> FailureCode | None:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "host_oom"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    if isinstance(error, RuntimeError):
        text = str(error)
        return next((code for part, code in _TEXTS if part in text), None)
    return None
