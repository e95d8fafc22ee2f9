"""The random numbers of a session: seeded once, saved whole, and streams that depend on the seed alone."""

import random
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch (all devices), numpy and python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator(seed: int, stream: int) -> torch.Generator:
    """A generator of its own for each (seed, stream), whatever was drawn elsewhere before."""
    mixed = np.random.SeedSequence((seed % 2**64, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed) % 2**63)


class GeneratorStates:
    """The states of the global generators, in types that torch.load(weights_only=True) accepts."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def state_dict(self) -> dict[str, Any]:
        numpy_state = np.random.get_state(legacy=False)
        twister = numpy_state["state"]
        return {
            "python": random.getstate(),
            "numpy": {**numpy_state, "state": {**twister, "key": twister["key"].tolist()}},
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self._device)
