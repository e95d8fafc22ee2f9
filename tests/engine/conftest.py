"""Sessions as the trainer finds them: a directory with a spec, and a dataset beside it. No database."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.journal import SessionDirectory
from training.spec import DatasetFile, SessionSpec, TrainingConfig

DIGITS = Path(__file__).parents[2] / "examples" / "digits.npz"

Array = np.ndarray[Any, np.dtype[Any]]
MakeSession = Callable[..., SessionDirectory]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny networks are as fast on one thread, and the count is part of exactness."""
    torch.set_num_threads(1)


def rows(count: int = 24, features: int = 5) -> Array:
    return np.random.default_rng(1).normal(3.0, 10.0, (count, features)).astype(np.float32)


def images(count: int = 24, height: int = 8, width: int = 8, channels: int = 1) -> Array:
    return np.random.default_rng(2).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def classes(count: int = 24, names: int = 3) -> Array:
    return np.arange(count) % names


def numbers(count: int = 24) -> Array:
    return np.random.default_rng(3).normal(1000.0, 50.0, count)


@pytest.fixture
def make_session(tmp_path: Path) -> MakeSession:
    """Makes a session's directory from arrays (x, y, …) or from a file, with a configuration that may be changed."""

    def make(
        name: str = "session", *, file: Path | None = None, format: str = "npz", **options: Any
    ) -> SessionDirectory:
        arrays = {key: options.pop(key) for key in ("x", "y", "class_names") if key in options}
        arrays |= {key: options.pop(key) for key in ("x_train", "y_train", "x_test", "y_test") if key in options}
        if file is None:
            file = tmp_path / f"{name}.npz"
            np.savez(file, **arrays)
        elif file.parent != tmp_path:  # what is decoded is kept beside the file
            file = Path(shutil.copy(file, tmp_path))
        config: dict[str, Any] = {
            "model_architecture": "mlp",
            "dataset_name": name,
            "learning_rate": 0.001,
            "batch_size": 8,
            "epochs": 2,
            "seed": 7,
            "num_threads": 1,
            "device": "cpu",
            "checkpoint_every_seconds": 60.0,
            **options,
        }
        directory = SessionDirectory(tmp_path / name)
        directory.create()
        SessionSpec(
            session_id=name,
            config=TrainingConfig.from_json(config),
            dataset=DatasetFile(
                name=name, path=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest(), format=format
            ),
        ).write(directory.spec)
        return directory

    return make
