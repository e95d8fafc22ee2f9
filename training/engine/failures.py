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
    "disk_error",
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
# The rest of a longer message is in the traceback.
MESSAGE_CHARACTERS = 4000

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN = frozenset({errno.EIO, errno.EROFS})
_MESSAGES: dict[FailureCode, str] = {
    "cuda_oom": "The GPU's memory is too small for this session: lower batch_size or use a smaller architecture.",
    "host_oom": "The machine's memory is too small for this session: lower batch_size or use a smaller architecture.",
    "bad_config": "This network needs an operation that may differ from run to run: leave deterministic at false.",
    "disk_full": "The disk has no room for the session: free space or delete files, then start the session again.",
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
    if isinstance(error, OSError) and error.errno in _NO_ROOM | _BROKEN:
        return disk_failure(error)
    code = _recognise(error)
    if code is None:
        return TrainingFailure("user_code", f"Training stopped with an unexpected {_in_words(error)}")
    return TrainingFailure(code, _MESSAGES[code])


def disk_failure(error: OSError) -> TrainingFailure:
    """The failure behind what a disk refused."""
    if error.errno in _NO_ROOM:
        return TrainingFailure("disk_full", _MESSAGES["disk_full"])
    return TrainingFailure(
        "disk_error",
        f"The disk of the data directory cannot be written to ({error.strerror or error}): check the disk and the "
        "rights on the directory, then start the session again.",
    )


def _in_words(error: Exception) -> str:
    """An error's type and message, which may be a whole tensor or fail itself."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    cut = message if len(message) <= MESSAGE_CHARACTERS else f"{message[:MESSAGE_CHARACTERS]} …"
    return f"{type(error).__name__}: {cut}"


def _recognise(error: Exception) -> FailureCode | None:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "host_oom"
    if isinstance(error, RuntimeError):
        text = str(error)
        return next((code for part, code in _TEXTS if part in text), None)
    return None
