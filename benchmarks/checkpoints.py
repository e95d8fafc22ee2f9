"""What checkpoints cost of a training, and what a kill costs that has them.

    .venv/bin/python -m benchmarks.checkpoints [--rounds N] [--kills N]

Epochs with a checkpoint in their middle take turns with epochs without one; the difference is what it costs, all that
it leaves to the disk included. Beside it what the saving alone takes, and how much of that a plain torch.save over the
same file would take, brought to the disk as well. The share is that of the larger of both, once in an interval.

Then a trainer is killed at random moments: what it has to do again is the time since its last checkpoint.
"""

import argparse
import hashlib
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.engine.trainer import Trainer
from training.journal import JournalWriter, SessionDirectory, read_events
from training.spec import DatasetFile, SessionSpec, TrainingConfig

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits.npz"
NUM_THREADS = 1
# What a session has unless somebody sets it otherwise.
INTERVAL_SECONDS = 60.0
# Images as MNIST has them, of noise: what a checkpoint costs does not depend on what is learnt.
IMAGES = (640, 28, 28, 1)
# So often it is saved in the part about kills, where nobody wants to wait for minutes.
SHORT_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class Case:
    """One thing to train."""

    title: str
    file: Path
    architecture: str
    model_args: dict[str, Any]

    def spec(self, **options: Any) -> SessionSpec:
        config = TrainingConfig(
            model_architecture=self.architecture,
            model_args=self.model_args,
            dataset_name=self.file.stem,
            learning_rate=0.001,
            batch_size=64,
            epochs=1000,
            seed=0,
            num_threads=NUM_THREADS,
            device="cpu",
            compile="off",
            checkpoint_every_seconds=INTERVAL_SECONDS,
        )
        sha256 = hashlib.sha256(self.file.read_bytes()).hexdigest()
        dataset = DatasetFile(name=self.file.stem, path=str(self.file), sha256=sha256, format="npz")
        return SessionSpec(session_id="sess_000000000000", config=replace(config, **options), dataset=dataset)


class EpochByEpoch(Trainer):
    """A trainer that saves when it is told to."""

    def train_epoch(self, saves: bool) -> float:
        """How long an epoch takes, validation included, with one checkpoint or without."""
        started_at = time.perf_counter()
        batches = list(self.remaining_batches())
        for place, batch in enumerate(batches):
            self.train_batch(batch)
            if saves and place == len(batches) // 2:
                self.save_checkpoint()
        self.finish_epoch()
        return time.perf_counter() - started_at


def save_plainly(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def seconds_of(action: Any, *arguments: Any) -> float:
    started_at = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - started_at


def report_cost(case: Case, folder: Path, rounds: int) -> None:
    """Print what a checkpoint costs this training."""
    directory = SessionDirectory(folder / case.title)
    directory.create()
    trainer = EpochByEpoch(case.spec(), directory, JournalWriter(directory.events, 1), lambda: False, None)
    trainer.prepare()
    trainer.train_epoch(saves=True)  # warms up, and is the epoch after which every training saves
    extra, saving, plain, epochs = [], [], [], []
    for _ in range(rounds):
        without = trainer.train_epoch(saves=False)
        extra.append(trainer.train_epoch(saves=True) - without)
        epochs.append(without)
        state = {name: part.state_dict() for name, part in trainer.parts.items()}
        ours = seconds_of(trainer.store.save, state, 1, trainer.progress.step)
        saving.append(ours)
        plain.append(seconds_of(save_plainly, state, folder / "plain.pt") / ours)
    size_bytes = (folder / "plain.pt").stat().st_size
    costs, saves = statistics.median(extra), statistics.median(saving)
    print(
        f"{case.title:20}{size_bytes / 2**20:8.1f} MB{statistics.median(epochs):9.3f} s{1000 * costs:10.0f} ms"
        f"{1000 * saves:10.0f} ms{statistics.median(plain):9.2f}{max(costs, saves) / INTERVAL_SECONDS:10.2%}",
        flush=True,
    )


def events(directory: SessionDirectory, attempt: int, kind: str) -> list[dict[str, Any]]:
    found = read_events(directory.events, 0, limit=1 << 30).events
    return [event for event in found if event["event"] == kind and event["attempt"] == attempt]


def redone_seconds(directory: SessionDirectory, attempt: int, chance: random.Random) -> float:
    """Train until a random moment, kill the trainer, and give the time since its last checkpoint or its beginning."""
    command = [sys.executable, "-m", "training.engine", str(directory.root), "--attempt", str(attempt)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not events(directory, attempt, "epoch"):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 3 * SHORT_INTERVAL_SECONDS))
        process.kill()
        killed_at = time.time()
    kept = events(directory, attempt, "checkpoint") or events(directory, attempt, "start")
    return killed_at - datetime.fromisoformat(kept[-1]["at"]).timestamp()


def report_kills(case: Case, folder: Path, kills: int) -> None:
    """Print what trainers that were killed have to do again."""
    directory = SessionDirectory(folder / "killed")
    directory.create()
    case.spec(checkpoint_every_seconds=SHORT_INTERVAL_SECONDS).write(directory.spec)
    chance = random.Random(1)  # noqa: S311 - nobody is to be kept from guessing it
    redone = [redone_seconds(directory, attempt, chance) for attempt in range(1, kills + 1)]
    print(
        f"\nOf {kills} kills with a checkpoint every {SHORT_INTERVAL_SECONDS:g} s, "
        f"{statistics.median(redone):.2f} s had to be done again in the middle, {max(redone):.2f} s at most."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What checkpoints cost, and what a kill costs that has them.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kills", type=int, default=8)
    options = parser.parse_args()
    logging.disable()
    torch.set_num_threads(NUM_THREADS)
    with tempfile.TemporaryDirectory(
        dir=Path.cwd()
    ) as name:  # on a disk, where a folder for temporary files may not be
        folder = Path(name)
        random_numbers = np.random.default_rng(0)
        images = folder / "images.npz"
        np.savez(images, x=random_numbers.integers(0, 256, IMAGES, np.uint8), y=np.arange(IMAGES[0]) % 10)
        digits = folder / "digits.npz"
        digits.write_bytes(DIGITS.read_bytes())
        small = Case("digits mlp", digits, "mlp", {})
        print(f"{'':20}{'state':>11}{'epoch':>11}{'costs':>13}{'saving':>13}{'plain':>9}{'share':>10}")
        for case in (
            small,
            Case("mlp of 11 million", images, "mlp", {"width": 4096, "depth": 2}),
            Case("resnet18", images, "resnet18", {}),
        ):
            report_cost(case, folder, options.rounds)
        report_kills(small, folder, options.kills)


if __name__ == "__main__":
    main()
