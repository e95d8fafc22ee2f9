"""A dataset as the loop wants it: one tensor of samples, one of targets, and the rows of each batch.

No DataLoader: choosing rows of a tensor is faster than collecting samples one by one, and the order of the
data is a function of seed and epoch alone, so that a resumed session sees what it would have seen.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from registry import formats
from registry.files import sha256_of
from registry.formats.decoded import Decoded, read_decoded
from training.catalogue import Catalogue, DataKind, misfits
from training.engine.augmentation import Augmentation, build_augmentation
from training.engine.devices import has_room
from training.engine.failures import TrainingFailure
from training.engine.randomness import generator
from training.engine.reading_ahead import ReadAhead
from training.engine.tokens import bytes_of_tokens, tokenize
from training.spec import CLASSIFICATION_LOSSES, DatasetFile, SessionSpec

# Epochs count from 1, which leaves this stream of random numbers to the split.
SPLIT_STREAM = 0
# How many numbers are held as float64 at once while moments are taken.
MOMENT_VALUES = 1 << 18


@dataclass(frozen=True)
class Moments:
    """Mean and scale (standard deviation), float64, one for each place on the last axis. A constant has the scale 1."""

    mean: Tensor
    scale: Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Samples, targets and which of them to train on. `Text` is the same for a text.

    x: (N, F) float32, or (N, H, W, C) uint8 or float32. y: (N,) class indices int64, or labels float64, or sets of
    classes (N, K) uint8. class_names is None for regression. Rows index x and y. output_count is what a network is to
    give for a sample. `ahead` reads the next batches while the training computes, where x lies on the disk.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...] | None
    output_count: int
    train_rows: Tensor
    validation_rows: Tensor
    seed: int
    normalize: str = "standard"
    augmentation: Augmentation | None = None
    ahead: ReadAhead | None = None

    @classmethod
    def load(cls, spec: SessionSpec, catalogue: Catalogue, decoded_folder: Path | None = None) -> "TrainingData":
        """Read the dataset of a session, checked against its hash and its configuration.

        What was decoded is kept in `decoded_folder`, by default beside the dataset's file. Raises TrainingFailure
        (bad_dataset, or bad_config for what only the data itself could tell).
        """
        decoded = _read(spec.dataset, decoded_folder)
        problems = misfits(spec.config.as_dict(), decoded.description, catalogue)
        if problems:
            raise _bad(spec.dataset, "; ".join(message for messages in problems.values() for message in messages))
        if decoded.description.labels == "text":
            return Text.of(decoded, spec)
        return cls.of(decoded, spec)

    @classmethod
    def of(cls, decoded: Decoded, spec: SessionSpec) -> Self:
        """The rows or images of a dataset that fits the session's configuration."""
        class_names, labels = _targets(decoded, spec)
        train_rows, validation_rows = _split(len(decoded.x), decoded.train_count, spec)
        in_memory = fits_into_memory(decoded.x.nbytes)
        x = decoded.x_in_memory() if in_memory else decoded.x
        _require_normalizable(x, spec)
        yes_or_no = spec.config.loss_function == "bce" and labels.ndim == 1 and len(class_names or ()) == 2
        data = cls(
            x=torch.from_numpy(np.require(x, np.uint8 if x.dtype == np.uint8 else np.float32, ["C", "W"])),
            y=torch.from_numpy(np.require(labels, requirements=["W"])),
            class_names=class_names,
            output_count=1 if class_names is None or yes_or_no else len(class_names),
            train_rows=train_rows,
            validation_rows=validation_rows,
            seed=spec.seed,
            normalize=spec.config.normalize,
            augmentation=build_augmentation(spec.config.augment, spec.dataset.name, x.dtype == np.uint8, x.shape[-1]),
        )
        return data if in_memory else replace(data, ahead=ReadAhead(data.gather))

    @property
    def kind(self) -> DataKind:
        return "images" if self.x.ndim == 4 else "rows"

    @property
    def has_sets(self) -> bool:
        """Whether a sample has any number of classes."""
        return self.y.ndim == 2

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample as a network gets it: (F,), (C, H, W), or (L,) for text."""
        if self.kind == "images":
            _, height, width, channels = self.x.shape
            return channels, height, width
        return tuple(self.x.shape[1:])

    @property
    def train_count(self) -> int:
        """The samples of an epoch."""
        return len(self.train_rows)

    @property
    def token_bytes(self) -> Tensor | None:
        """How many bytes of the text each token of the vocabulary stands for, (V,) int64; None where there is none."""
        return None

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
            ahead=self.ahead if device.type == "cpu" else None,
        )

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The rows of each batch of an epoch, in their order.

        A last batch of one sample joins the batch before it: batch normalisation has no spread to divide by there.
        """
        return _in_random_order(self.train_rows, batch_size, generator(self.seed, epoch))

    def validation_batches(self, batch_size: int) -> list[Tensor]:
        """The rows of each batch of the validation split."""
        return list(torch.split(self.validation_rows, batch_size))

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Say which rows will be asked for next, in this order: what lies on the disk is read ahead of time."""
        if self.ahead is not None:
            self.ahead.announce(batches)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Samples and targets of these rows, where the data lies; images as (N, C, H, W), channels last in memory."""
        x, y = self.x.index_select(0, rows), self.y.index_select(0, rows)
        return (x.permute(0, 3, 1, 2) if self.kind == "images" else x), (y.float() if self.has_sets else y)

    def batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Samples and targets of these rows on the device, as they are."""
        samples, targets = self._taken(rows)
        return samples.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    def training_batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """As batch(), the samples varied as the configuration asks, by the random numbers of torch's generator."""
        samples, targets = self._taken(rows)
        if self.augmentation is not None:
            samples = self.augmentation(samples)
        return samples.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    def _taken(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.gather(rows) if self.ahead is None else self.ahead.take(rows)

    def input_moments(self) -> Moments | None:
        """What inputs are brought to mean 0 and scale 1 with, per feature (F,) or per channel (C,); None for text.

        Of the training split; with `unit` those that bring bytes to 0…1, with `none` those that change nothing.
        """
        if self.normalize == "standard":
            return moments(self.x, self.train_rows)
        places = self.x.shape[-1]
        mean, scale = torch.zeros(places, dtype=torch.float64), torch.ones(places, dtype=torch.float64)
        return Moments(mean, scale * 255 if self.normalize == "unit" else scale)

    def label_moments(self) -> Moments | None:
        """Of the training split's labels, (1,); None when these are classes."""
        return moments(self.y[:, None], self.train_rows) if self.class_names is None else None

    def train_class_counts(self) -> Tensor | None:
        """How many samples of the training split have each class, (K,) int64; None where there are no classes."""
        if self.class_names is None:
            return None
        labels = self.y.index_select(0, self.train_rows).cpu()
        return labels.sum(0) if self.has_sets else torch.bincount(labels, minlength=len(self.class_names))


@dataclass(frozen=True, kw_only=True)
class Text(TrainingData):
    """A text to learn by guessing the next token. A sample is context_length tokens, its targets are the next ones.

    x: (T,) tokens, uint8 or int32; class_names is the vocabulary, y is empty. Rows are where samples start. The last
    part of the text validates. An epoch takes the training part once, cut without overlap from a place that seed and
    epoch decide; train_rows are the starts that the cut at place 0 has.
    """

    context_length: int
    bytes_by_token: tuple[int, ...]

    @classmethod
    def of(cls, decoded: Decoded, spec: SessionSpec) -> Self:
        """The text of a dataset, as tokens."""
        length = spec.config.context_length
        tokens, vocabulary = tokenize(decoded.x_in_memory(), spec.config.tokenizer)
        boundary = len(tokens) - math.floor(len(tokens) * spec.config.validation_split)
        # As many samples in each epoch, wherever the cuts lie: up to length - 1 tokens are left over in front.
        train_count = max(1, (boundary - length) // length)
        return cls(
            x=torch.from_numpy(np.require(tokens, requirements=["C", "W"])),
            y=torch.zeros(0, dtype=torch.int64),
            class_names=vocabulary,
            output_count=len(vocabulary),
            train_rows=torch.arange(train_count) * length,
            validation_rows=torch.arange(boundary, len(tokens) - length, length),
            seed=spec.seed,
            context_length=length,
            bytes_by_token=bytes_of_tokens(vocabulary, spec.config.tokenizer),
        )

    @property
    def kind(self) -> DataKind:
        return "text"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.context_length,)

    @property
    def token_bytes(self) -> Tensor | None:
        return torch.tensor(self.bytes_by_token)

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        random = generator(self.seed, epoch)
        end = int(self.validation_rows[0])
        spare = end - 1 - self.train_count * self.context_length
        offset = torch.randint(min(self.context_length - 1, spare) + 1, (1,), generator=random)
        return _in_random_order(self.train_rows + offset.to(self.train_rows.device), batch_size, random)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and those behind them, both (N, L) int64."""
        places = rows[:, None] + torch.arange(self.context_length + 1, device=rows.device)
        tokens = self.x.index_select(0, places.flatten()).view(places.shape).long()
        return tokens[:, :-1], tokens[:, 1:]

    def input_moments(self) -> Moments | None:
        return None

    def label_moments(self) -> Moments | None:
        return None

    def train_class_counts(self) -> Tensor | None:
        return None


def moments(values: Tensor, rows: Tensor) -> Moments:
    """The moments of the chosen rows, in two passes: one would cancel where the mean is large beside the scale."""
    places = values.shape[-1]
    sample_values = values[0].numel()
    # Sorted, since from a disk neighbours come together.
    chunks = torch.split(rows.sort().values, max(1, MOMENT_VALUES // sample_values))

    def average(quantity: Callable[[Tensor], Tensor]) -> Tensor:
        # Into one tensor: small ones kept between large ones would keep the memory of these, too.
        total = torch.zeros(places, dtype=torch.float64, device=values.device)
        for chunk in chunks:
            total += quantity(values[chunk].double().reshape(-1, places)).sum(0)
        return total / (len(rows) * sample_values // places)

    mean = average(lambda part: part)
    scale = average(lambda part: (part - mean).square()).sqrt()
    # What float32 cannot tell from its mean is constant, and must not be divided by.
    limits = torch.finfo(torch.float32)
    constant = scale <= limits.eps * mean.abs() + limits.tiny
    return Moments(mean, torch.where(constant, torch.ones_like(scale), scale))


def fits_into_memory(size_bytes: int) -> bool:
    """Whether data of this size may be read into memory and leave half of what is available to the training."""
    return size_bytes <= available_memory_bytes() // 2


def available_memory_bytes() -> int:
    """What the machine could give to a process now."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _bad(dataset: DatasetFile, problem: str) -> TrainingFailure:
    return TrainingFailure("bad_dataset", f"The dataset {dataset.name} cannot be trained on: {problem}.")


def _read(dataset: DatasetFile, decoded_folder: Path | None) -> Decoded:
    path = Path(dataset.path)
    try:
        sha256 = sha256_of(path)
        if sha256 != dataset.sha256:
            raise _bad(dataset, "its file is not the one that was registered; register it again")
        return read_decoded(path, dataset.format, sha256, decoded_folder)
    except FileNotFoundError:
        raise _bad(dataset, "its file is gone; register it again") from None
    except formats.InvalidDataset as error:
        raise _bad(dataset, str(error)) from error


def _targets(decoded: Decoded, spec: SessionSpec) -> tuple[tuple[str, ...] | None, np.ndarray]:
    """The names of the classes, None for regression, and the labels as TrainingData has them."""
    labels, class_names = decoded.y, decoded.class_names
    if decoded.description.labels == "sets":
        return class_names, labels
    if spec.config.loss_function in CLASSIFICATION_LOSSES:
        if class_names is None:
            values, labels = np.unique(labels, return_inverse=True)
            class_names = tuple(str(value) for value in values)
        return class_names, labels.astype(np.int64)
    if np.abs(labels).max() > np.finfo(np.float32).max:
        raise _bad(spec.dataset, "it holds a label that does not fit in 32 bits; scale the labels down")
    return None, labels.astype(np.float64)


def _require_normalizable(x: np.ndarray, spec: SessionSpec) -> None:
    if spec.config.normalize == "unit" and x.dtype != np.uint8:
        raise TrainingFailure(
            "bad_config",
            f"normalize unit is for images of 8 bits, and the dataset {spec.dataset.name} holds real numbers: "
            "use standard or none.",
        )


def _in_random_order(rows: Tensor, batch_size: int, random: torch.Generator) -> list[Tensor]:
    order = torch.randperm(len(rows), generator=random)
    batches = list(torch.split(rows[order.to(rows.device)], batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _split(count: int, train_count: int | None, spec: SessionSpec) -> tuple[Tensor, Tensor]:
    """The rows to train on and to validate with: the dataset's own split, or a seeded one of at least a row each."""
    if train_count is not None:
        return torch.arange(train_count), torch.arange(train_count, count)
    validation_count = min(max(1, round(count * spec.config.validation_split)), count - 1)
    if spec.config.validation_from == "end":
        return torch.arange(count - validation_count), torch.arange(count - validation_count, count)
    order = torch.randperm(count, generator=generator(spec.seed, SPLIT_STREAM))
    return order[validation_count:], order[:validation_count]
