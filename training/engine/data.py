"""A dataset as the loop wants it: one tensor of samples, one of targets, and the rows of each batch.

No DataLoader: choosing rows of a tensor is faster than collecting samples one by one, and the order of the
data is a function of seed and epoch alone, so that a resumed session sees what it would have seen.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from registry import formats
from training.catalogue import Catalogue, misfits
from training.engine.devices import has_room
from training.engine.failures import TrainingFailure
from training.engine.randomness import generator
from training.spec import CLASSIFICATION_LOSSES, DatasetFile, SessionSpec

# Epochs count from 1, which leaves this stream of random numbers to the split.
SPLIT_STREAM = 0
# How many numbers are held as float64 at once while moments are taken.
MOMENT_VALUES = 1 << 23


@dataclass(frozen=True)
class Moments:
    """Mean and scale (standard deviation), float64, one for each place on the last axis. A constant has the scale 1."""

    mean: Tensor
    scale: Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Samples, targets and which of them to train on.

    x: (N, F) float32, or (N, H, W, C) uint8 or float32. y: (N,) class indices int64, or labels float64.
    class_names is None for regression. Rows index x and y.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...] | None
    train_rows: Tensor
    validation_rows: Tensor
    seed: int

    @classmethod
    def load(cls, spec: SessionSpec, catalogue: Catalogue) -> Self:
        """Read the dataset of a session, checked against its hash and its configuration.

        Raises TrainingFailure (bad_dataset).
        """
        contents = _read(spec.dataset)
        problems = misfits(spec.config.as_dict(), formats.describe(contents), catalogue)
        if problems:
            raise _bad(spec.dataset, "; ".join(message for messages in problems.values() for message in messages))
        x, labels, train_count = contents.x, contents.y, None
        if contents.x_test is not None and contents.y_test is not None:
            train_count = len(x)
            x, labels = np.concatenate([x, contents.x_test]), np.concatenate([labels, contents.y_test])
        class_names = None
        if spec.config.loss_function in CLASSIFICATION_LOSSES:
            class_names = contents.class_names
            if class_names is None:
                values, labels = np.unique(labels, return_inverse=True)
                class_names = tuple(str(value) for value in values)
        elif np.abs(labels).max() > np.finfo(np.float32).max:
            raise _bad(spec.dataset, "it holds a label that does not fit in 32 bits; scale the labels down")
        train_rows, validation_rows = _split(len(x), train_count, spec)
        return cls(
            x=torch.from_numpy(np.require(x, np.uint8 if x.dtype == np.uint8 else np.float32, ["C", "W"])),
            y=torch.from_numpy(labels.astype(np.float64 if class_names is None else np.int64)),
            class_names=class_names,
            train_rows=train_rows,
            validation_rows=validation_rows,
            seed=spec.seed,
        )

    @property
    def holds_images(self) -> bool:
        return self.x.ndim == 4

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample as a network gets it: (F,) or (C, H, W)."""
        if self.holds_images:
            _, height, width, channels = self.x.shape
            return channels, height, width
        return tuple(self.x.shape[1:])

    def to(self, device: torch.device) -> Self:
        """The same data on the device if that has room for all of it; otherwise batches go there one by one."""
        if not has_room(device, self.x.nbytes + self.y.nbytes):
            return self
        return replace(
            self,
            x=self.x.to(device),
            y=self.y.to(device),
            train_rows=self.train_rows.to(device),
            validation_rows=self.validation_rows.to(device),
        )

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The rows of each batch of an epoch, in their order.

        A last batch of one sample joins the batch before it: batch normalisation has no spread to divide by there.
        """
        order = torch.randperm(len(self.train_rows), generator=generator(self.seed, epoch))
        batches = list(torch.split(self.train_rows[order.to(self.train_rows.device)], batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Samples and targets of these rows on the device; images as (N, C, H, W), channels last in memory."""
        x = self.x.index_select(0, rows).to(device, non_blocking=True)
        y = self.y.index_select(0, rows).to(device, non_blocking=True)
        return (x.permute(0, 3, 1, 2) if self.holds_images else x), y

    def input_moments(self) -> Moments:
        """Per feature (F,), or per channel (C,), over the training split."""
        return moments(self.x, self.train_rows)

    def label_moments(self) -> Moments:
        """Of the training split's labels, (1,)."""
        return moments(self.y[:, None], self.train_rows)


def moments(values: Tensor, rows: Tensor) -> Moments:
    """The moments of the chosen rows, in two passes: one would cancel where the mean is large beside the scale."""
    places = values.shape[-1]
    sample_values = values[0].numel()
    chunks = torch.split(rows, max(1, MOMENT_VALUES // sample_values))

    def average(quantity: Callable[[Tensor], Tensor]) -> Tensor:
        sums = [quantity(values[chunk].double().reshape(-1, places)).sum(0) for chunk in chunks]
        return torch.stack(sums).sum(0) / (len(rows) * sample_values // places)

    mean = average(lambda part: part)
    scale = average(lambda part: (part - mean).square()).sqrt()
    # What float32 cannot tell from its mean is constant, and must not be divided by.
    limits = torch.finfo(torch.float32)
    constant = scale <= limits.eps * mean.abs() + limits.tiny
    return Moments(mean, torch.where(constant, torch.ones_like(scale), scale))


def _bad(dataset: DatasetFile, problem: str) -> TrainingFailure:
    return TrainingFailure("bad_dataset", f"The dataset {dataset.name} cannot be trained on: {problem}.")


def _read(dataset: DatasetFile) -> formats.Contents:
    path = Path(dataset.path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise _bad(dataset, "its file is gone; register it again") from None
    if sha256 != dataset.sha256:
        raise _bad(dataset, "its file is not the one that was registered; register it again")
    try:
        return formats.read(path, dataset.format)
    except formats.InvalidDataset as error:
        raise _bad(dataset, str(error)) from error


def _split(count: int, train_count: int | None, spec: SessionSpec) -> tuple[Tensor, Tensor]:
    """The rows to train on and to validate with: the dataset's own split, or a seeded one of at least a row each."""
    if train_count is not None:
        return torch.arange(train_count), torch.arange(train_count, count)
    validation_count = min(max(1, round(count * spec.config.validation_split)), count - 1)
    if spec.config.validation_from == "end":
        return torch.arange(count - validation_count), torch.arange(count - validation_count, count)
    order = torch.randperm(count, generator=generator(spec.seed, SPLIT_STREAM))
    return order[validation_count:], order[:validation_count]
