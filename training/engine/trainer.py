"""The loop: from a spec and, if there is one, a checkpoint to trained weights."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from training.engine.architectures import DataShape, build_model, catalogue
from training.engine.checkpoint import Checkpoint, CheckpointStore
from training.engine.data import TrainingData
from training.engine.devices import describe_device, prepare_device
from training.engine.failures import TrainingFailure
from training.engine.objectives import Classification, Metrics, Objective, Regression, Tally
from training.engine.optimizers import OPTIMIZERS
from training.engine.randomness import GeneratorStates, seed_generators
from training.journal import JournalWriter, SessionDirectory
from training.spec import SessionSpec

logger = logging.getLogger(__name__)

# Without gradients a batch of this many times the size needs no more memory than a training step.
EVALUATION_BATCHES = 4


class Stateful(Protocol):
    """A part of the training that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@dataclass
class Progress:
    """How far the training is: complete epochs, complete batches of the epoch that is open, complete steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0

    def state_dict(self) -> dict[str, int]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]


class Trainer:
    """Trains one session, on from a checkpoint if one is given.

    Raises TrainingFailure for what trying again does not mend; other errors come as torch raises them.
    """

    def __init__(
        self,
        spec: SessionSpec,
        directory: SessionDirectory,
        journal: JournalWriter,
        should_stop: Callable[[], bool],
        resume_from: Checkpoint | None,
    ) -> None:
        self.spec, self.config = spec, spec.config
        self.journal = journal
        self.should_stop = should_stop
        self.resume_from = resume_from
        self.store = CheckpointStore(directory.checkpoints, spec.config.keep_checkpoints)
        self.checkpoint_due_at = time.monotonic() + spec.checkpoint_every_seconds

        self.device = prepare_device(spec.device, spec.num_threads)
        seed_generators(spec.seed)
        data = TrainingData.load(spec, catalogue())
        self.model, self.objective = self._build(data)
        self.data = data.to(self.device)
        self.parameters = list(self.model.parameters())
        self.optimizer = OPTIMIZERS[self.config.optimizer](self.parameters, self.config.learning_rate)
        self.progress = Progress()
        self.tally = Tally(self.objective, self.device)
        # All that has state and changes: a resumed training is exact because nothing is missing here.
        self.parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "progress": self.progress,
            "tally": self.tally,
            "generators": GeneratorStates(self.device),
        }
        self._log_start()

    def fit(self) -> Literal["completed", "interrupted"]:
        """Train until the last epoch is complete or a stop is asked for."""
        self.resume()
        while self.progress.epoch < self.config.epochs:
            for rows in self.remaining_batches():
                self.train_step(rows)
                if self.should_stop():
                    self.save_checkpoint()
                    return "interrupted"
                self.save_checkpoint_if_due()
            self.finish_epoch()
        return "completed"

    def resume(self) -> None:
        """Take up the state of the checkpoint, if there is one."""
        self.model.train()
        if self.resume_from is None:
            return
        state = self.resume_from.load()
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        logger.info("resumed from %s: %d epochs complete", self.resume_from.name, self.progress.epoch)

    def remaining_batches(self) -> list[Tensor]:
        """The rows of each batch that is left of the open epoch."""
        return self.data.batches(self.progress.epoch + 1, self.config.batch_size)[self.progress.batch :]

    def train_step(self, rows: Tensor) -> None:
        """One update of the parameters. Nothing here waits for the device."""
        samples, targets = self.data.batch(rows, self.device)
        outputs = self.model(samples)
        loss = self.objective.loss(outputs, targets)
        for parameter in self.parameters:
            parameter.grad = None  # what zero_grad() does, without its bookkeeping in each step
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.tally.add(outputs, targets, loss)
        self.progress.batch += 1
        self.progress.step += 1

    def finish_epoch(self) -> None:
        """Validate, and record the epoch: in the journal first, so that no checkpoint knows of one that is missing."""
        metrics = self.tally.metrics()
        self._require_finite(metrics.loss)
        validation = self.evaluate()
        self.progress.epoch += 1
        self.progress.batch = 0
        self.tally.reset()
        self._record(metrics, validation)
        if self.progress.epoch == 1 < self.config.epochs:
            self.save_checkpoint()

    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """The metrics of the validation split."""
        self.model.eval()
        tally = Tally(self.objective, self.device)
        for rows in torch.split(self.data.validation_rows, EVALUATION_BATCHES * self.config.batch_size):
            samples, targets = self.data.batch(rows, self.device)
            outputs = self.model(samples)
            tally.add(outputs, targets, self.objective.loss(outputs, targets))
        self.model.train()
        return tally.metrics()

    def save_checkpoint_if_due(self) -> None:
        """Save when the time has come, also in the middle of an epoch."""
        if time.monotonic() >= self.checkpoint_due_at:
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Save all that resuming needs. A state that has come to nothing must not replace a good one."""
        if self.progress.batch:
            self._require_finite(self.tally.metrics().loss)
        self.journal.sync()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        saved = self.store.save(state, self.progress.epoch, self.progress.step)
        self.journal.checkpoint(saved.name, saved.epoch, saved.step, saved.size_bytes, saved.sha256)
        logger.info("checkpoint %s saved, %.1f MB", saved.name, saved.size_bytes / 2**20)
        self.checkpoint_due_at = time.monotonic() + self.spec.checkpoint_every_seconds

    def _build(self, data: TrainingData) -> tuple[nn.Module, Objective]:
        """The model, on the device, and what it is to minimise."""
        labels = None if data.class_names else data.label_moments()
        model = build_model(
            self.config.model_architecture,
            self.config.model_args,
            DataShape(
                kind="images" if data.holds_images else "rows",
                sample_shape=data.sample_shape,
                output_count=len(data.class_names) if data.class_names else 1,
                largest_batch=min(self.config.batch_size, len(data.train_rows)),
            ),
            data.input_moments(),
            labels,
        ).to(self.device)
        if data.holds_images:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if labels is None:
            return model, Classification(self.config.loss_function)
        return model, Regression(self.config.loss_function, labels.mean.item(), labels.scale.item())

    def _record(self, metrics: Metrics, validation: Metrics) -> None:
        """Write a complete epoch into the journal and the log."""
        val_loss: float | None = validation.loss
        if not math.isfinite(validation.loss):
            self._require_finite_parameters()
            # Batch normalisation's running averages lag behind in the first steps; training goes well all the same.
            logger.warning("the validation loss of epoch %d is not finite", self.progress.epoch)
            val_loss = None
        self.journal.epoch(self.progress.epoch, metrics.loss, metrics.accuracy, val_loss, validation.accuracy)
        logger.info(
            "epoch %d of %d: loss %.4g, accuracy %.4f, val_loss %.4g, val_accuracy %.4f",
            self.progress.epoch,
            self.config.epochs,
            metrics.loss,
            metrics.accuracy,
            validation.loss,
            validation.accuracy,
        )

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._diverged()

    def _require_finite_parameters(self) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise self._diverged()

    def _diverged(self) -> TrainingFailure:
        return TrainingFailure(
            "non_finite_loss",
            f"The loss grew beyond all numbers by step {self.progress.step}: lower learning_rate, "
            "or look for extreme values in the dataset.",
        )

    def _log_start(self) -> None:
        names = self.data.class_names
        logger.info(
            "training %s on %s: %d samples to learn from, %d to validate with, %s; %d parameters; %s; seed %d",
            self.config.model_architecture,
            self.config.dataset_name,
            len(self.data.train_rows),
            len(self.data.validation_rows),
            f"{len(names)} classes ({_few(names)})" if names else "one number to predict",
            sum(parameter.numel() for parameter in self.model.parameters()),
            describe_device(self.device),
            self.spec.seed,
        )


def _few(names: tuple[str, ...]) -> str:
    """The first names, and a sign where there are more."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
