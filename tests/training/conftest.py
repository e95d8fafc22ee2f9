"""A tiny dataset, and sessions in any state."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from registry.models import Dataset
from training.models import TrainingSession

MakeSession = Callable[..., TrainingSession]

CONFIG = {
    "model_architecture": "mlp",
    "dataset_name": "tiny",
    "learning_rate": 0.01,
    "batch_size": 8,
    "epochs": 3,
}


@pytest.fixture
def dataset(db: None) -> Dataset:
    """Forty rows of four features in two classes."""
    file = io.BytesIO()
    labels = np.arange(40) % 2
    features = np.random.default_rng(0).normal(size=(40, 4)) + labels[:, None]
    np.savez(file, x=features.astype(np.float32), y=labels)
    return Dataset.objects.store("tiny", [file.getvalue()])


@pytest.fixture
def make_session(dataset: Dataset) -> MakeSession:
    def make(config: dict[str, Any] | None = None, **columns: Any) -> TrainingSession:
        """A session as if it had come to be in this state by itself."""
        session = TrainingSession.objects.submit(CONFIG | (config or {}), by="test")
        session.transitions.all().delete()
        TrainingSession.objects.filter(pk=session.pk).update(**columns)
        session.refresh_from_db()
        return session

    return make
