"""The engine beside a hand-written loop and the textbook DataLoader, on the same network, data, batches and machine.

    .venv/bin/python -m benchmarks.engine [--mnist MNIST.npz] [--rounds N]

Prints samples trained per second of the hand-written loop, and the others as a ratio to it. All validate after each
epoch and report loss and accuracy of both splits; the engine also keeps its journal and its checkpoints. Rounds are
interleaved, and a ratio is the median of those of the rounds: the machine is never quiet.
"""

import argparse
import hashlib
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from training.engine.architectures import DataShape, build_model, catalogue
from training.engine.data import TrainingData
from training.engine.trainer import Trainer
from training.journal import JournalWriter, SessionDirectory
from training.spec import DatasetFile, SessionSpec, TrainingConfig

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits.npz"
NUM_THREADS = 1  # what the server chooses for one session on two cores
# Epochs are short on small data: so many samples are trained in one measurement, at least.
SAMPLES = {"mlp": 60_000, "cnn": 12_000}
# So much of MNIST is enough: its epochs differ from each other in nothing but their number.
MNIST_SAMPLES = {"x_train": 6_000, "y_train": 6_000, "x_test": 1_000, "y_test": 1_000}


@dataclass(frozen=True)
class Case:
    """One thing to train."""

    dataset: DatasetFile
    architecture: str
    batch_size: int

    def spec(self, epochs: int) -> SessionSpec:
        config = TrainingConfig(
            model_architecture=self.architecture,
            dataset_name=self.dataset.name,
            learning_rate=0.001,
            batch_size=self.batch_size,
            epochs=epochs,
            seed=0,
            num_threads=NUM_THREADS,
            device="cpu",
            checkpoint_every_seconds=60,
        )
        return SessionSpec(
            session_id="sess_000000000000",
            config=config,
            dataset=self.dataset,
        )

    def epochs(self, data: TrainingData) -> int:
        return max(1, -(-SAMPLES[self.architecture] // data.train_count))


def build(case: Case, data: TrainingData) -> nn.Module:
    """The engine's own network, freshly initialised."""
    torch.manual_seed(0)
    shape = DataShape(
        kind=data.kind,
        sample_shape=data.sample_shape,
        output_count=data.output_count,
        largest_batch=case.batch_size,
    )
    model = build_model(case.architecture, {}, shape, data.input_moments(), None)
    return model.to(memory_format=torch.channels_last) if data.kind == "images" else model  # type: ignore[call-overload]


def split_tensors(data: TrainingData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples and labels to train on and to validate with, as tensors of their own."""
    x, y = data.batch(torch.arange(len(data.x)), torch.device("cpu"))
    return x[data.train_rows], y[data.train_rows], x[data.validation_rows], y[data.validation_rows]


def time_by_hand(case: Case, data: TrainingData) -> float:
    """What a good engineer writes for this machine: tensors, batches by index, fused Adam, sums kept as tensors."""
    model, (x, y, x_val, y_val) = build(case, data), split_tensors(data)
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)
    started_at = time.perf_counter()
    for _ in range(case.epochs(data)):
        model.train()
        loss_sum, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for rows in torch.split(torch.randperm(len(x)), case.batch_size):
            batch, targets = x[rows], y[rows]
            outputs = model(batch)
            loss = F.cross_entropy(outputs, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.detach() * len(targets)
            right += (outputs.detach().argmax(1) == targets).sum()
        validate(model, torch.split(x_val, 4 * case.batch_size), torch.split(y_val, 4 * case.batch_size))
        loss_sum.item(), right.item()
    return time.perf_counter() - started_at


def time_textbook(case: Case, data: TrainingData) -> float:
    """What tutorials teach: a shuffling DataLoader, and `.item()` in each step."""
    model, (x, y, x_val, y_val) = build(case, data), split_tensors(data)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    loader = DataLoader(TensorDataset(x, y), case.batch_size, shuffle=True)
    started_at = time.perf_counter()
    for _ in range(case.epochs(data)):
        model.train()
        loss_sum, right = 0.0, 0
        for batch, targets in loader:
            optimizer.zero_grad()
            outputs = model(batch)
            loss = F.cross_entropy(outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item() * len(targets)
            right += int((outputs.argmax(1) == targets).sum().item())
        validate(model, torch.split(x_val, 4 * case.batch_size), torch.split(y_val, 4 * case.batch_size))
    return time.perf_counter() - started_at


@torch.inference_mode()
def validate(model: nn.Module, batches: tuple[Tensor, ...], labels: tuple[Tensor, ...]) -> tuple[float, float]:
    model.eval()
    loss_sum, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
    for batch, targets in zip(batches, labels, strict=True):
        outputs = model(batch)
        loss_sum += F.cross_entropy(outputs, targets, reduction="sum")
        right += (outputs.argmax(1) == targets).sum()
    return loss_sum.item(), right.item()


def time_engine(case: Case, data: TrainingData) -> float:
    """The engine as a session runs it, from its first step to its last epoch; journal and checkpoints included."""
    with tempfile.TemporaryDirectory() as folder:
        directory = SessionDirectory(Path(folder))
        directory.create()
        journal = JournalWriter(directory.events, attempt=1)
        trainer = Trainer(case.spec(case.epochs(data)), directory, journal, lambda: False, resume_from=None)
        started_at = time.perf_counter()
        trainer.fit()
        seconds = time.perf_counter() - started_at
        journal.close()
    return seconds


CONTENDERS: dict[str, Callable[[Case, TrainingData], float]] = {
    "by hand": time_by_hand,
    "engine": time_engine,
    "textbook": time_textbook,
}


def first_of_mnist(path: Path, folder: Path) -> Path:
    """A file with the first samples of MNIST."""
    part = folder / "mnist.npz"
    with np.load(path) as arrays:
        np.savez(part, **{name: arrays[name][:count] for name, count in MNIST_SAMPLES.items()})
    return part


def dataset(name: str, path: Path) -> DatasetFile:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return DatasetFile(name=name, path=str(path), sha256=sha256, format="npz")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the engine beside a hand-written loop.")
    parser.add_argument("--mnist", type=Path, help="an npz of MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.disable()
    torch.set_num_threads(NUM_THREADS)
    print(f"{'':24}{'by hand':>16}{'engine':>10}{'textbook':>10}")
    with tempfile.TemporaryDirectory() as folder:
        datasets = [dataset("digits", DIGITS)]
        if options.mnist:
            datasets.append(dataset("mnist", first_of_mnist(options.mnist, Path(folder))))
        for file, architecture, batch_size in itertools.product(datasets, ("mlp", "cnn"), (64, 256)):
            report(Case(file, architecture, batch_size), options.rounds)


def report(case: Case, rounds: int) -> None:
    data = TrainingData.load(case.spec(epochs=1), catalogue())
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds + 1):
        for name, contender in CONTENDERS.items():
            seconds[name].append(contender(case, data))
    rounds_timed = list(zip(*(times[1:] for times in seconds.values()), strict=True))  # the first round warms up
    by_hand = statistics.median(times[0] for times in rounds_timed)
    rate = case.epochs(data) * len(data.train_rows) / by_hand
    title = f"{case.dataset.name} {case.architecture} batch {case.batch_size}"
    # Within a round, since the machine is faster in one round than in another.
    columns = [statistics.median(times[0] / times[place] for times in rounds_timed) for place in (1, 2)]
    ratios = "".join(f"{ratio:10.2f}" for ratio in columns)
    print(f"{title:24}{rate:10,.0f} per s{ratios}", flush=True)


if __name__ == "__main__":
    main()
