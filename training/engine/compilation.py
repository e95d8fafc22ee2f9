"""torch.compile: whether it pays is measured, on batches of the session itself.

Compiling takes a minute or so and makes a step faster or slower; nobody can tell beforehand. Sizes are compiled one by
one, not as a variable: so what a batch comes to does not depend on which sizes came before it in this process.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.engine.failures import TrainingFailure
from training.engine.randomness import GeneratorStates
from training.engine.without_compiler import tell_compiler
from training.engine.world import World

logger = logging.getLogger(__name__)

# What is trained in less time than this is done before compiling could have repaid its own time.
REPAYS_AFTER_SECONDS = 120.0
# A step's time is the median of so many, or of what fits into this time.
TRIAL_STEPS = 20
TRIAL_SECONDS = 5.0

# Forward and backward of a batch, of these rows, through this network.
TryBatch = Callable[[nn.Module, Tensor], None]


class Compilation:
    """Makes the network that training steps call, out of the model: the model itself, or a compiled form of it.

    The compiled form shares the model's parameters and buffers. What is tried leaves no trace in them.
    """

    def __init__(self, mode: str, model: nn.Module, device: torch.device, world: World, try_batch: TryBatch) -> None:
        self._mode = mode
        self._model = model
        self._device = device
        self._world = world
        self._try_batch = try_batch

    def choose(self, batches: Sequence[Tensor], batch_count: int) -> nn.Module:
        """The network for a training of so many batches. `batches` are the rows of one batch of each size.

        Raises TrainingFailure (bad_config) when compiling was asked for and fails.
        """
        if self._mode == "off":
            return self._model
        if self._mode == "on":
            return self.compile(batches)
        with undisturbed(self._model, self._device):
            # A first batch is the slowest: one is enough to know that a training is short, and no more than that.
            seconds = self._batch_seconds(self._model, batches[0], steps=0) * batch_count
            if self._world.any(seconds >= REPAYS_AFTER_SECONDS):
                seconds = self._batch_seconds(self._model, batches[0], TRIAL_STEPS) * batch_count
            # Whatever a clock says is said for all ranks: they must train the same.
            if self._world.any(seconds < REPAYS_AFTER_SECONDS):
                logger.info("not compiled: the training takes %.0f s at most, too little to repay it", seconds)
                return self._model
        started_at = time.monotonic()
        compiled = self.compile(batches)
        if compiled is self._model:
            return self._model
        compile_seconds = time.monotonic() - started_at
        with undisturbed(self._model, self._device):
            eager = self._batch_seconds(self._model, batches[0], TRIAL_STEPS)
            faster = self._batch_seconds(compiled, batches[0], TRIAL_STEPS)
        pays = not self._world.any((eager - faster) * batch_count <= 0)
        logger.info(
            "%s: a batch takes %.3g ms as it is and %.3g ms compiled, which took %.0f s",
            "compiled" if pays else "not compiled",
            eager * 1000,
            faster * 1000,
            compile_seconds,
        )
        return compiled if pays else self._model

    def compile(self, batches: Sequence[Tensor]) -> nn.Module:
        """The compiled network, tried on a batch of each size; where it fails, the model itself with a warning.

        Raises TrainingFailure (bad_config) when compiling was asked for.
        """
        tell_compiler()
        compiled: nn.Module = torch.compile(self._model, dynamic=False)  # type: ignore[assignment]
        problem = None
        try:
            with undisturbed(self._model, self._device):
                for rows in batches:
                    self._try_batch(compiled, rows)
        except Exception as error:  # whatever a compiler, a linker or a strange model come up with
            problem = error
        if not self._world.any(problem is not None):
            return compiled
        torch._dynamo.reset()
        reason = f"{type(problem).__name__}: {problem}".partition("\n")[0][:500] if problem else "on another rank"
        if self._mode == "on":
            raise TrainingFailure(
                "bad_config", f"The model cannot be compiled: {reason}. Leave compile at auto or off."
            ) from problem
        logger.warning("not compiled, because it failed: %s", reason)
        return self._model

    def _batch_seconds(self, network: nn.Module, rows: Tensor, steps: int) -> float:
        """The median time of a batch; a first one, which prepares things, counts only when it is alone."""
        started_at = time.monotonic()
        seconds: list[float] = []
        for _ in range(1 + steps):
            batch_started_at = time.perf_counter()
            self._try_batch(network, rows)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            seconds.append(time.perf_counter() - batch_started_at)
            if time.monotonic() - started_at > TRIAL_SECONDS:
                break
        return statistics.median(seconds[1:] or seconds)


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Whatever is tried inside leaves buffers, gradients and generators as they were; parameters nobody touches."""
    generators = GeneratorStates(device)
    random = generators.state_dict()
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        generators.load_state_dict(random)
