"""python -m training.engine.prediction FILE < request.json: print what a model says of a few samples, as JSON.

The network is built as the session built it, the model's file fills it, and the samples are a stranger's: an image, an
npy file or lines of csv. So this is a process of its own, on the CPU, with bounded memory.
"""

import contextlib
import csv
import json
import logging
import math
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from registry.formats import images, numpy
from registry.formats.contents import InvalidDataset
from registry.formats.limits import MAX_IMAGE_PIXELS
from training.engine.architectures import DataShape, build_model, check_model
from training.engine.data import Moments
from training.engine.failures import TrainingFailure, as_failure
from training.spec import TrainingConfig

MEMORY_BYTES = 16 << 30  # of address space: torch alone maps several GiB
SAMPLES = 10
CLASSES = 10


class UnfitFile(ValueError):
    """A file that holds no sample for this model; the message says what would be one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to predict with.

    dimensions are those of the dataset: (F,) or (H, W, C). class_names are in the order of the outputs; None for
    numbers. images_are_bytes tells whether the dataset's images have 8 bits, as those of image files do.
    """

    config: dict[str, Any]
    weights: str
    dimensions: list[int]
    class_names: list[str] | None
    has_sets: bool
    images_are_bytes: bool

    @property
    def is_image(self) -> bool:
        return len(self.dimensions) == 3

    @property
    def answers_yes_or_no(self) -> bool:
        """Whether one output decides between two classes."""
        is_binary = self.config["loss_function"] == "bce" and len(self.class_names or ()) == 2
        return is_binary and not self.has_sets

    @property
    def shape(self) -> DataShape:
        names = self.class_names
        return DataShape(
            kind="images" if self.is_image else "rows",
            sample_shape=(self.dimensions[2], *self.dimensions[:2]) if self.is_image else tuple(self.dimensions),
            output_count=1 if names is None or self.answers_yes_or_no else len(names),
            largest_batch=self.config["batch_size"],
        )


def predict(request: Request, path: Path) -> dict[str, Any]:
    """The scores of each sample, highest first, or its number. Raises UnfitFile, and what building a model raises."""
    samples, notes = read_samples(request, path)
    outputs = compute(request, samples)
    if not bool(outputs.isfinite().all()):
        notes.append("Some outputs are not finite: the values are far from what the model was trained on.")
    return {"samples": [describe(request, output) for output in outputs], "notes": notes}


@torch.inference_mode()
def compute(request: Request, samples: np.ndarray) -> Tensor:
    """The outputs (N, outputs) of the model, or (N,) numbers."""
    config, shape = TrainingConfig.from_json(request.config), request.shape
    places = request.dimensions[-1]
    blank = Moments(torch.zeros(places, dtype=torch.float64), torch.ones(places, dtype=torch.float64))
    of_labels = None if request.class_names is not None else Moments(*torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    model = build_model(config.model_architecture, config.model_args, shape, blank, of_labels)
    check_model(model, config.model_architecture, shape, torch.device("cpu"))
    model.load_state_dict(torch.load(request.weights, map_location="cpu", weights_only=True))
    x = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
    outputs: Tensor = model.eval()(x.permute(0, 3, 1, 2) if request.is_image else x)
    return outputs


def describe(request: Request, output: Tensor) -> dict[str, Any]:
    """What the outputs for one sample mean."""
    if request.class_names is None:
        value = output.item()
        return {"value": value if math.isfinite(value) else None, "scores": []}
    logits = output.double()
    if request.answers_yes_or_no:
        scores = torch.cat([-logits, logits]).sigmoid()
    elif request.config["loss_function"] == "cross_entropy" and not request.has_sets:
        scores = logits.softmax(0)
    else:
        scores = logits.sigmoid()
    best = scores.nan_to_num().argsort(descending=True)[:CLASSES].tolist()
    return {
        "value": None,
        "scores": [{"name": request.class_names[place], "score": scores.nan_to_num()[place].item()} for place in best],
    }


def read_samples(request: Request, path: Path) -> tuple[np.ndarray, list[str]]:
    """The first samples of a file, (N, F) float32 or (N, H, W, C), and what was done to them. Raises UnfitFile."""
    with path.open("rb") as file:
        is_npy = file.read(len(numpy.SIGNATURE)) == numpy.SIGNATURE
    if is_npy:
        return read_npy(request, path), []
    return read_image(request, path) if request.is_image else (read_csv(request, path), [])


def read_npy(request: Request, path: Path) -> np.ndarray:
    """One sample, or several along the first axis; of images with one channel its axis may be missing."""
    with path.open("rb") as file:
        array = numpy.read_array(file, path.stat().st_size, "the array")
    shape = tuple(request.dimensions)
    if array.dtype.kind not in numpy.NUMBERS:
        raise UnfitFile("The array must hold numbers.")
    if request.is_image and shape[2] == 1 and array.shape[-2:] == shape[:2]:
        array = array[..., np.newaxis]
    if array.shape == shape:
        array = array[np.newaxis]
    if array.shape[1:] != shape:
        raise UnfitFile(f"A sample of this model has the shape {shape}, and the array has {array.shape}.")
    return finite(array[:SAMPLES])


def read_csv(request: Request, path: Path) -> np.ndarray:
    """Lines of as many numbers as the model takes; a first line of other things is a header."""
    try:
        lines = [cells for cells in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if cells]
    except (UnicodeDecodeError, csv.Error):
        raise UnfitFile("The file is neither an npy file nor lines of numbers with commas between them.") from None
    rows: list[list[float]] = []
    for number, cells in enumerate(lines[: SAMPLES + 1], start=1):
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            if number > 1:
                raise UnfitFile(f"Line {number} holds something else than numbers.") from None
    width = request.dimensions[0]
    for row in rows:
        if len(row) != width:
            raise UnfitFile(f"A line has {len(row)} values, and a sample of this model {width}, without its label.")
    if not rows:
        raise UnfitFile("The file holds no line of numbers.")
    return finite(np.array(rows[:SAMPLES]))


def finite(array: np.ndarray) -> np.ndarray:
    """The numbers as float32. Raises UnfitFile."""
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UnfitFile("Every value must be a finite number that fits in 32 bits.")
    return numbers


def read_image(request: Request, path: Path) -> tuple[np.ndarray, list[str]]:
    """One image, brought to the size and the channels that the model takes."""
    height, width, channels = request.dimensions
    if not request.images_are_bytes:
        raise UnfitFile(
            "The model was trained on images of real numbers, which an image file does not hold: "
            f"send an npy file of shape {(height, width, channels)}."
        )
    try:
        pixels = images.decode(bytearray(path.read_bytes()), "the file")
    except InvalidDataset as error:
        raise UnfitFile(f"{error}; an npy file of shape {(height, width, channels)} is read, too.") from None
    picture, notes = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels), []
    if channels not in (1, 3):
        raise UnfitFile(f"The model takes images of {channels} channels: send an npy file.")
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
        notes.append("The image was made gray." if channels == 1 else "The gray image was given three channels.")
    if picture.size != (width, height):
        notes.append(f"The image was brought from {picture.width}x{picture.height} to {width}x{height} pixels.")
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(1, height, width, channels), notes


def bound_this_process() -> None:
    """No more memory than is said above; where it is short, the kernel takes this process first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    torch.set_num_threads(1)
    Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS


def main() -> int:
    """Read a request, print {"prediction": …}, or {"problem": …} with what is wrong, and then 1."""
    # What somebody's architecture prints must not stand in the answer.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        bound_this_process()
        try:
            json.dump({"prediction": predict(Request(**json.load(sys.stdin)), Path(sys.argv[1]))}, answer)
        except (UnfitFile, InvalidDataset, TrainingFailure) as error:
            json.dump({"problem": str(error)}, answer)
            return 1
        except Exception as error:
            logging.exception("the model could not be tried")
            json.dump({"problem": f"The model could not be tried: {as_failure(error)}"}, answer)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
