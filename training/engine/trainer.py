"""The loop: from a spec and, if there is one, a checkpoint to trained weights."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from training.engine.accumulation import OpenStep, PlannedBatch, plan
from training.engine.architectures import DataShape, build_model, catalogue, check_model
from training.engine.checkpoint import Checkpoint, CheckpointStore
from training.engine.compilation import Compilation
from training.engine.data import TrainingData
from training.engine.devices import Environment, describe_device, prepare_device
from training.engine.failures import TrainingFailure
from training.engine.initial_weights import load_initial_weights, set_training_mode
from training.engine.objectives import Metrics, Tally, build_objective
from training.engine.optimizers import build_optimizer
from training.engine.precision import Precision
from training.engine.progress import Progress, SignsOfLife
from training.engine.randomness import GeneratorStates, seed_generators
from training.engine.record import describe
from training.engine.report import build_report
from training.engine.schedules import Schedule
from training.engine.step_log import StepLog, finite_series
from training.engine.stopping import Stopping
from training.engine.world import World
from training.journal import JournalWriter, SessionDirectory
from training.spec import SessionSpec

logger = logging.getLogger(__name__)

# Without gradients a batch of this many times the size needs no more memory than a training step.
EVALUATION_BATCHES = 4

Ending = Literal["completed", "interrupted"]


class Stateful(Protocol):
    """A part of the training that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Interrupted(Exception):
    """A stop was asked for."""


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
        world: World | None = None,
    ) -> None:
        self.spec, self.config = spec, spec.config
        self.journal = journal
        self.should_stop = should_stop
        self.resume_from = resume_from
        self.world = world or World.alone()
        self.store = CheckpointStore(directory.checkpoints, spec.config.keep_checkpoints)
        self.checkpoint_due_at = time.monotonic() + spec.checkpoint_every_seconds

        self.device = prepare_device(spec.device, spec.num_threads, spec.config.deterministic)
        self.precision = Precision(self.config.precision, self.device)
        seed_generators(spec.seed)
        data = TrainingData.load(spec, catalogue())
        steps_per_epoch = -(-len(data.batches(1, self.config.batch_size)) // self.config.gradient_accumulation)
        self.total_steps = min(self.config.epochs * steps_per_epoch, self.config.max_steps or sys.maxsize)
        self.progress = Progress(resume_from.step if resume_from else 0)
        self.signs = SignsOfLife(
            journal if self.world.is_first else None, self.progress, self.total_steps, self.config.max_seconds
        )
        self.signs.give()
        self.objective = build_objective(self.config, data)
        self.model = self._build_model(data)
        self.data = data.to(self.device)
        self.signs.give()
        # Until it is known whether compiling pays, and what the ranks share.
        self.network = self.model
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(self.config, self.parameters)
        self.schedule = Schedule(self.config, self.optimizer, self.total_steps, steps_per_epoch)
        self.stopping = Stopping(self.config.early_stopping)
        self.open_step = OpenStep(self.parameters, self.device)
        self.tally = Tally(self.objective, self.device)
        self.step_log = StepLog(journal, self.config.log_every_steps, self.objective.loss_unit)
        self.environment = Environment.here(self.device, self.precision.name, self.world.size)
        # All that has state and changes: a resumed training is exact because nothing is missing here.
        self.parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.precision.scaler,
            "stopping": self.stopping,
            "progress": self.progress,
            "environment": self.environment,
        }
        self.parts_of_rank: dict[str, Stateful] = {
            "open_step": self.open_step,
            "tally": self.tally,
            "generators": GeneratorStates(self.device),
        }
        if self.world.is_first:
            self.journal.record(describe(spec, self.device))
            self._log_start()

    def fit(self) -> Ending:
        """Train until the last epoch or a limit is reached, or a stop is asked for."""
        self.prepare()
        try:
            while not self.is_complete():
                for batch in self.remaining_batches():
                    self.train_batch(batch)
                    self.stop_if_asked()
                    self.save_checkpoint_if_due()
                self.finish_epoch()
            self.should_stop()  # from here on it ends by itself, and a stop that comes changes nothing any more
            ending: Ending = "completed"
        except Interrupted:
            self.save_checkpoint()
            ending = "interrupted"
        self.stopping.restore_best(self.model)
        return ending

    def prepare(self) -> None:
        """Take up the state of the checkpoint, if there is one, and choose the network that is called in steps."""
        set_training_mode(self.model)
        if self.resume_from is not None:
            self.resume(self.resume_from)
        decided = self.environment.compiled is not None
        self.network = self.world.wrap(self._choose_network())
        if self.environment.compiled and not decided:
            self.save_checkpoint()  # another measurement might choose otherwise, and then a resume would not be exact
        self.progress.start_clock()
        self._restart_clocks()
        self.signs.give()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take up the state of the checkpoint."""
        state = checkpoint.load()
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        of_ranks = state["ranks"]
        for name, part in self.parts_of_rank.items():
            part.load_state_dict(of_ranks[self.world.rank % len(of_ranks)][name])
        logger.info("resumed from %s: %d epochs complete", checkpoint.name, self.progress.epoch)

    def is_complete(self) -> bool:
        """Whether there is nothing more to train. An epoch that is open is to be finished, whatever the limits."""
        return not self.progress.batch and (
            self.progress.epoch >= self.config.epochs
            or self.progress.step >= self.total_steps
            or self.stopping.is_over
            or self.is_out_of_time()
        )

    def is_out_of_time(self) -> bool:
        """Whether max_seconds have passed."""
        limit = self.config.max_seconds
        return limit is not None and self.world.any(self.progress.seconds >= limit)

    def remaining_batches(self) -> Iterator[PlannedBatch]:
        """What is left of the open epoch, as far as the limits allow; the epoch that reaches one is a short one."""
        window, done = self.config.gradient_accumulation, self.progress.batch
        batches = self.data.batches(self.progress.epoch + 1, self.config.batch_size)
        steps_before = self.progress.step - done // window
        last = min(len(batches), (self.total_steps - steps_before) * window)
        planned = list(islice(plan(batches, window, self.world), done, last))
        self.data.announce([batch.rows for batch in planned])
        for batch in planned:
            if self.progress.batch and not self.open_step.is_open and self.is_out_of_time():
                return
            yield batch

    def train_batch(self, batch: PlannedBatch) -> None:
        """Gather the gradients of a batch, and take the step that it closes. Nothing here waits for the device."""
        samples, targets = self.data.training_batch(batch.rows, self.device)
        with nullcontext() if batch.closes_step else self.world.accumulating(self.network):
            outputs, loss = self.backward(self.network, samples, targets, batch.weight)
        if batch.is_counted:
            self.tally.add(outputs, targets, loss)
        self.open_step.add(loss, batch.weight)
        self.step_log.count(batch.sample_count)
        self.progress.batch += 1
        if batch.closes_step:
            self.take_step()
        self.signs.count(batch.sample_count)

    def backward(self, network: nn.Module, samples: Tensor, targets: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Add a batch's weighted gradients to those of the parameters; gives its outputs and its mean loss."""
        with self.precision.autocast():
            outputs = network(samples)
        loss = self.objective.loss(outputs, targets)
        self.precision.scaler.scale(loss if weight == 1.0 else loss * weight).backward()  # type: ignore[no-untyped-call]
        return outputs, loss

    def take_step(self) -> None:
        """Update the parameters by the gradients that have come together."""
        is_logged = self.step_log.is_due(self.progress.step + 1)
        norm = self._clip_gradients(is_logged)
        if not self.schedule.is_constant:
            self.schedule.set_rate(self.progress.step)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()
        self.progress.step += 1
        if is_logged:
            self._log_step(norm)
        self.open_step.close()

    def finish_epoch(self) -> None:
        """Validate, and record the epoch: in the journal first, so that no checkpoint knows of one that is missing."""
        metrics = self.tally.metrics(self.world.sum_)
        self._require_finite(metrics.loss)
        validation = self.evaluate()
        self.progress.epoch += 1
        self.progress.batch = 0
        self.tally.reset()
        self._record(metrics, validation)
        self.schedule.finish_epoch(validation.loss)
        self.stopping.finish_epoch(self.progress.epoch, metrics, validation, self.model)
        if self.progress.epoch == 1 and not self.is_complete():
            self.save_checkpoint()
        self._restart_clocks()
        self.signs.give()

    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """The metrics of the validation split. What a stop interrupts leaves no trace, and is done again."""
        generators = self.parts_of_rank["generators"].state_dict()
        self.world.align_buffers(self.model)
        self.model.eval()
        tally = Tally(self.objective, self.device)
        batches = self.data.validation_batches(EVALUATION_BATCHES * self.config.batch_size)
        own = self.world.split(batches)
        self.data.announce(own)
        for turn in range(-(-len(batches) // self.world.size)):
            if turn and self.world.any(self.should_stop()):
                self.parts_of_rank["generators"].load_state_dict(generators)
                raise Interrupted
            for rows in own[turn : turn + 1]:  # in the last turn some ranks have none
                samples, targets = self.data.batch(rows, self.device)
                with self.precision.autocast():
                    outputs = self.model(samples)
                tally.add(outputs, targets, self.objective.loss(outputs, targets))
            self.signs.give_if_due()
        set_training_mode(self.model)
        return tally.metrics(self.world.sum_)

    def stop_if_asked(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self.world.any(self.should_stop()):
            raise Interrupted

    def save_checkpoint_if_due(self) -> None:
        """Save when the time has come, also in the middle of an epoch or of a step."""
        if self.world.any(time.monotonic() >= self.checkpoint_due_at):
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Save all that resuming needs. A state that has come to nothing must not replace a good one."""
        if self.progress.batch:
            self._require_finite(self.tally.metrics(self.world.sum_).loss)
        self.world.align_buffers(self.model)
        of_ranks = self.world.gather({name: part.state_dict() for name, part in self.parts_of_rank.items()})
        if of_ranks is not None:
            self.step_log.flush()
            self.journal.sync()
            state = {name: part.state_dict() for name, part in self.parts.items()}
            saved = self.store.save({**state, "ranks": of_ranks}, self.progress.epoch, self.progress.step)
            self.journal.checkpoint(saved.name, saved.epoch, saved.step, saved.size_bytes, saved.sha256)
            logger.info("checkpoint %s saved, %.1f MB", saved.name, saved.size_bytes / 2**20)
        self.checkpoint_due_at = time.monotonic() + self.spec.checkpoint_every_seconds
        self._restart_clocks()

    def _restart_clocks(self) -> None:
        """Measure speeds from now on: what comes between training batches is no part of them."""
        self.step_log.restart_clock()
        self.signs.restart_clock()

    def write_report(self) -> None:
        """Say in the journal how the final weights do on the validation split. One process does so for all."""
        batch_size = EVALUATION_BATCHES * self.config.batch_size
        try:
            with self.precision.autocast():
                report = build_report(self.objective, self.data, self.model, self.device, batch_size)
        except Exception:
            # Whatever is wrong with its figures, a trained model is not lost to them.
            logger.warning("The report on the final weights failed.", exc_info=True)
        else:
            self.journal.report(report)

    def _build_model(self, data: TrainingData) -> nn.Module:
        """The model on the device, with the weights that it is to start from."""
        name = self.config.model_architecture
        shape = DataShape(
            kind=data.kind,
            sample_shape=data.sample_shape,
            output_count=data.output_count,
            largest_batch=min(self.config.batch_size, data.train_count),
        )
        moments = data.input_moments(), data.label_moments()
        model = build_model(name, self.config.model_args, shape, *moments).to(self.device)
        if data.kind == "images":
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        check_model(model, name, shape, self.device)
        # A checkpoint holds newer ones, and the file they came from may be gone.
        load_initial_weights(model, None if self.resume_from else self.spec.initial_weights, self.config.freeze)
        return model

    def _choose_network(self) -> nn.Module:
        """The model, or a compiled form of it; every attempt does what the first one chose."""
        compilation = Compilation(self.config.compile, self.model, self.device, self.world, self._try_batch)
        planned = plan(self.data.batches(1, self.config.batch_size), 1, self.world)
        sizes = list({len(batch.rows): batch.rows for batch in planned}.values())
        self.signs.give()
        if self.environment.compiled is None:
            steps_left = self.total_steps - self.progress.step
            network = compilation.choose(sizes, steps_left * self.config.gradient_accumulation)
        else:
            network = compilation.compile(sizes) if self.environment.compiled else self.model
        self.environment.compiled = network is not self.model
        return network

    def _try_batch(self, network: nn.Module, rows: Tensor) -> None:
        self.backward(network, *self.data.training_batch(rows, self.device), 1.0)
        self.signs.give_if_due()

    def _clip_gradients(self, is_logged: bool) -> Tensor | None:
        """The norm of all gradients, (), before they are clipped; None where nobody wants to know it."""
        limit = self.config.gradient_clip
        if limit is None and not is_logged:
            return None
        self.precision.scaler.unscale_(self.optimizer)
        if limit is not None:
            return nn.utils.clip_grad_norm_(self.parameters, limit)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return nn.utils.get_total_norm(gradients)

    def _log_step(self, norm: Tensor | None) -> None:
        """Keep a point of the step that was just taken."""
        loss = self.open_step.loss
        assert loss is not None
        assert norm is not None
        if self.world.size > 1:
            loss = self.world.sum_(loss.clone()) / self.world.size
        if self.world.is_first:
            self.step_log.add(self.progress.step, loss, norm, self.optimizer.param_groups[0]["lr"])

    def _record(self, metrics: Metrics, validation: Metrics) -> None:
        """Write a complete epoch into the journal and the log."""
        val_loss: float | None = validation.loss
        if not math.isfinite(validation.loss):
            self._require_finite_parameters()
            # Batch normalisation's running averages lag behind in the first steps; training goes well all the same.
            logger.warning("the validation loss of epoch %d is not finite", self.progress.epoch)
            val_loss = None
        if not self.world.is_first:
            return
        self.step_log.flush()
        self.journal.epoch(self.progress.epoch, metrics.loss, metrics.accuracy, val_loss, validation.accuracy)
        self.journal.points([self.progress.step], epoch_series(metrics, validation))
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
            "training %s on %s: %d samples to learn from, %d to validate with, %s; %d parameters; %s, %s; seed %d",
            self.config.model_architecture,
            self.config.dataset_name,
            self.data.train_count,
            sum(map(len, self.data.validation_batches(self.config.batch_size))),
            f"{self.objective.problem}{f' of {len(names)} classes ({_few(names)})' if names else ''}",
            sum(parameter.numel() for parameter in self.model.parameters()),
            describe_device(self.device),
            self.precision.name,
            self.spec.seed,
        )


def epoch_series(metrics: Metrics, validation: Metrics) -> dict[str, list[float | None]]:
    """An epoch's metrics as series of one point each."""
    series = {
        "epoch/loss": metrics.loss,
        "epoch/accuracy": metrics.accuracy,
        "epoch/val_loss": validation.loss,
        "epoch/val_accuracy": validation.accuracy,
        **{f"epoch/val_{name}": value for name, value in validation.extras.items()},
    }
    return finite_series({name: [value] for name, value in series.items()})


def _few(names: tuple[str, ...]) -> str:
    """The first names, and a sign where there are more."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
