"""From a configuration to a spec: what was left to the server is decided, and every file pinned by its hash."""

import os
from dataclasses import replace
from typing import Any

from django.conf import settings

from registry.models import Dataset
from training.spec import DatasetFile, SessionSpec, TrainingConfig, WeightsFile


def resolve(
    session_id: str, config: TrainingConfig, dataset: Dataset, weights: WeightsFile | None, running: int
) -> SessionSpec:
    """The spec of a session that trains beside others, `running` with itself.

    Resolved once for all its attempts: the count of threads is part of an exact resume.
    """
    defaults: dict[str, Any] = {
        "seed": settings.TRAINING_SEED,
        "num_threads": max(1, (os.cpu_count() or 1) - running),
        "device": settings.TRAINING_DEVICE,
        "checkpoint_every_seconds": settings.CHECKPOINT_EVERY_SECONDS,
    }
    return SessionSpec(
        session_id=session_id,
        config=replace(config, **{name: value for name, value in defaults.items() if getattr(config, name) is None}),
        dataset=DatasetFile(name=dataset.name, path=str(dataset.path), sha256=dataset.sha256, format=dataset.format),
        initial_weights=weights,
    )
