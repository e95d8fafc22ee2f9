"""What the engine learns, beside what is known of each data set.

    .venv/bin/python -m benchmarks.known_figures [--mnist MNIST.npz] [NAME …]

Digits and MNIST have known accuracies; the regression stands beside least squares, and the text beside n-grams, both
computed on the very same split. Minutes each on two cores, MNIST more.
"""

import argparse
import hashlib
import logging
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.architectures import catalogue
from training.engine.data import TrainingData
from training.engine.trainer import Trainer
from training.journal import JournalWriter, SessionDirectory, read_events
from training.spec import DatasetFile, SessionSpec, TrainingConfig

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Figure:
    """A session to train, the metric that counts, and what is known of it."""

    file: Path
    format: str
    config: dict[str, Any]
    metric: str
    known: Callable[[SessionSpec], float]
    source: str

    def spec(self) -> SessionSpec:
        sha256 = hashlib.sha256(self.file.read_bytes()).hexdigest()
        dataset = DatasetFile(name=self.file.stem, path=str(self.file), sha256=sha256, format=self.format)
        defaults = {"seed": 0, "num_threads": 2, "device": "cpu", "checkpoint_every_seconds": 60.0}
        config = TrainingConfig.from_json({"dataset_name": dataset.name, **defaults, **self.config})
        return SessionSpec(session_id="sess_000000000000", config=config, dataset=dataset)


def train(spec: SessionSpec, folder: Path) -> list[dict[str, Any]]:
    """Train a session in this process; gives the events of its epochs, in order."""
    directory = SessionDirectory(folder)
    directory.create()
    journal = JournalWriter(directory.events, attempt=1)
    Trainer(spec, directory, journal, lambda: False, resume_from=None).fit()
    journal.close()
    events, offset = [], 0
    while (chunk := read_events(directory.events, offset)).offset > offset:
        events += [event for event in chunk.events if event["event"] == "epoch"]
        offset = chunk.offset
    return events


def least_squares(spec: SessionSpec) -> float:
    """R² of a linear model fitted to the session's training rows, on its validation rows."""
    data = TrainingData.load(spec, catalogue())
    x = np.column_stack([data.x.double().numpy(), np.ones(len(data.x))])
    y = data.y.double().numpy()
    train_rows, validation_rows = data.train_rows.numpy(), data.validation_rows.numpy()
    weights = np.linalg.lstsq(x[train_rows], y[train_rows], rcond=None)[0]
    residuals = y[validation_rows] - x[validation_rows] @ weights
    spread = ((y[validation_rows] - y[validation_rows].mean()) ** 2).sum()
    return float(1 - (residuals**2).sum() / spread)


def n_grams(spec: SessionSpec, order: int) -> float:
    """Cross-entropy in nats per character of n-grams up to `order`, smoothed as Witten and Bell do."""
    text = Path(spec.dataset.path).read_text(encoding="utf-8")
    boundary = round(len(text) * (1 - spec.config.validation_split))
    learnt, held_back = text[:boundary], text[boundary:]
    grams: Counter[str] = Counter()
    for length in range(1, order + 1):
        grams.update(learnt[start : start + length] for start in range(len(learnt) - length + 1))
    seen: Counter[str] = Counter()  # of each context, how often it was seen and how many different characters followed
    kinds: Counter[str] = Counter()
    for gram, count in grams.items():
        seen[gram[:-1]] += count
        kinds[gram[:-1]] += 1
    vocabulary_size = len(set(text))
    total = 0.0
    for place in range(order, len(held_back)):
        probability = 1 / vocabulary_size
        for length in range(order):
            context = held_back[place - length : place]
            if not seen[context]:
                break
            known = grams[context + held_back[place]] + kinds[context] * probability
            probability = known / (seen[context] + kinds[context])
        total -= math.log(probability)
    return total / (len(held_back) - order)


FIGURES: dict[str, Figure] = {
    "digits": Figure(
        EXAMPLES / "digits.npz",
        "npz",
        {"model_architecture": "mlp", "learning_rate": 0.001, "batch_size": 32, "epochs": 40},
        "val_accuracy",
        lambda spec: 0.97,
        "what is asked of an mlp",
    ),
    "diabetes": Figure(
        EXAMPLES / "diabetes.csv",
        "csv",
        {
            "model_architecture": "mlp",
            "loss_function": "mse",
            "learning_rate": 0.001,
            "batch_size": 32,
            "epochs": 60,
            "optimizer": "adamw",
            "early_stopping": {"patience": 20},
        },
        "val_accuracy",
        least_squares,
        "R² of least squares",
    ),
    "hamlet": Figure(
        EXAMPLES / "hamlet.txt",
        "text",
        {
            "model_architecture": "gpt",
            "learning_rate": 0.002,
            "batch_size": 16,
            "epochs": 20,
            "optimizer": "adamw",
            "scheduler": "cosine",
            "warmup_steps": 50,
            "gradient_clip": 1.0,
            "early_stopping": {"patience": 3},
        },
        "val_loss",
        lambda spec: n_grams(spec, 5),
        "cross-entropy of 5-grams",
    ),
}


def mnist(file: Path) -> Figure:
    config = {"model_architecture": "cnn", "learning_rate": 0.002, "batch_size": 128, "epochs": 5}
    return Figure(
        file, "npz", config | {"scheduler": "one_cycle"}, "val_accuracy", lambda spec: 0.99, "what is asked of a cnn"
    )


def best(events: list[dict[str, Any]], metric: str) -> float:
    """The best value that an epoch reached: the lowest loss, or the highest accuracy."""
    values = [float(event[metric]) for event in events]
    return min(values) if metric.endswith("loss") else max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train what has a known figure.")
    parser.add_argument("--mnist", type=Path, help="an npz of MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FIGURES)} and mnist; all where none is named")
    options = parser.parse_args()
    logging.disable()
    figures = FIGURES | ({"mnist": mnist(options.mnist)} if options.mnist else {})
    print(f"{'':12}{'metric':>14}{'engine':>10}{'known':>10}{'epochs':>8}{'seconds':>9}")
    for name in options.names or figures:
        figure = figures[name]
        spec = figure.spec()
        with tempfile.TemporaryDirectory() as folder:
            started_at = time.perf_counter()
            events = train(spec, Path(folder))
            seconds = time.perf_counter() - started_at
        reached, known = best(events, figure.metric), figure.known(spec)
        print(
            f"{name:12}{figure.metric:>14}{reached:10.4f}{known:10.4f}{len(events):8}{seconds:9.0f}  {figure.source}",
            flush=True,
        )


if __name__ == "__main__":
    main()
