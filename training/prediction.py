"""What a trained model says of a few samples: asked of the engine, in a process of its own.

One at a time in each web process, and nobody waits for his turn: a page asks again.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from django.conf import settings

from registry.models import Dataset
from training.installation import engine_environment
from training.models import TrainingSession
from training.spec import CLASSIFICATION_LOSSES

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.engine.prediction"]
TRYING_SECONDS = 60.0
MAX_FILE_BYTES = 20 << 20

_turn = threading.Lock()


class NotPredicted(Exception):
    """The model said nothing. The message says why, for people."""


def why_untried(session: TrainingSession | None) -> str | None:
    """Why the model of a session cannot be tried at all; None where it can."""
    if session is None:
        return "The session that trained it is not known here, and so is the network that its weights belong to."
    if session.model is None or not session.model.path.exists():
        return "Its file is gone."
    if session.dataset.labels == Dataset.Labels.TEXT:
        return "It was trained on a text, and only models of rows and images can be tried."
    return None


def predict(session: TrainingSession, chunks: Iterable[bytes]) -> dict[str, Any]:
    """What the model of a session says of the samples in a file, as engine/prediction.py tells. Raises NotPredicted."""
    if (problem := why_untried(session)) is not None:
        raise NotPredicted(problem)
    if not _turn.acquire(blocking=False):
        raise NotPredicted("Another model is being tried at the moment: try again.")
    try:
        with NamedTemporaryFile(dir=settings.UPLOADS_DIR, prefix="tmp") as file:
            for chunk in chunks:
                file.write(chunk)
                if file.tell() > MAX_FILE_BYTES:
                    raise NotPredicted(f"The file is larger than {MAX_FILE_BYTES >> 20} MiB.")
            file.flush()
            return _ask_engine(request_for(session), Path(file.name))
    finally:
        _turn.release()


def request_for(session: TrainingSession) -> dict[str, Any]:
    """All that the engine has to know of the model (training.engine.prediction.Request)."""
    assert session.model is not None, "why_untried() was not asked"
    return {
        "config": session.training_config.as_dict(),
        "weights": str(session.model.path),
        "dimensions": [int(length) for length in session.dataset.dimensions.split("x")],
        "class_names": class_names(session),
        "has_sets": session.dataset.labels == Dataset.Labels.SETS,
        "images_are_bytes": images_are_bytes(session.dataset),
    }


def class_names(session: TrainingSession) -> list[str] | None:
    """The names of the classes in the order of the outputs, from its report; numbers where it left none.

    None for a model of numbers.
    """
    dataset = session.dataset
    if dataset.labels != Dataset.Labels.SETS and session.config["loss_function"] not in CLASSIFICATION_LOSSES:
        return None
    if session.report and session.report.get("classes"):
        return [entry["name"] for entry in session.report["classes"]]
    return [f"class {number}" for number in range(dataset.class_count or 0)]


def images_are_bytes(dataset: Dataset) -> bool:
    """Whether the images of a dataset have 8 bits, as far as is known without reading it whole."""
    if dataset.format == "images":
        return True
    try:
        kept = np.load(dataset.decoded_folder / dataset.format / "x.npy", mmap_mode="r")
    except (OSError, ValueError):
        return False
    return bool(kept.dtype == np.uint8)


def _ask_engine(request: dict[str, Any], path: Path) -> dict[str, Any]:
    with subprocess.Popen(
        [*COMMAND, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        env=engine_environment() | {"CUDA_VISIBLE_DEVICES": ""},  # GPUs are for those who train
        start_new_session=True,
    ) as process:
        try:
            output, log = process.communicate(json.dumps(request).encode(), TRYING_SECONDS)
        except subprocess.TimeoutExpired:
            raise NotPredicted(f"The model took longer than {TRYING_SECONDS:.0f} seconds.") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    if log:
        logger.info("trying a model:\n%s", log[-4000:].decode(errors="replace"))
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        logger.warning("trying a model failed:\n%s", log[-4000:].decode(errors="replace"))
        raise NotPredicted(f"The process that was to try the model died ({process.returncode}).") from None
    if "problem" in answer:
        raise NotPredicted(answer["problem"])
    prediction: dict[str, Any] = answer["prediction"]
    return prediction
