"""The number format of a training: what `precision` means on a device."""

import contextlib
from typing import Any

import torch

from training.engine.failures import TrainingFailure

# One object serves every step: entering it costs a fraction of a microsecond.
_AS_IT_IS = contextlib.nullcontext()


class Precision:
    """fp32, or a shorter format by autocast: parameters, losses and sums stay in fp32.

    `scaler` keeps small gradients of fp16 from vanishing; for the other formats it passes everything through.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        """Raises TrainingFailure (bad_config)."""
        if name == "auto":
            knows_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            name = "bf16" if knows_bf16 else "fp32"
        if name == "fp16" and device.type == "cpu":
            raise TrainingFailure("bad_config", "fp16 needs a GPU: leave precision at auto, or use bf16 or fp32.")
        self.name = name
        self._device = device
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around a forward pass."""
        return torch.autocast(self._device.type, self._dtype) if self._dtype else _AS_IT_IS
