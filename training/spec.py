"""What a session is to train: the configuration a client sends, and the spec a trainer gets.

Both are frozen dataclasses; training.fields checks them. No Django and no torch here, so that a spec can be written,
read and refused anywhere. The HTTP schema, the command line and docs/configuration.md are made from the same fields.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from registry.files import replacing, write_to_disk
from training.fields import Problems, Within, check_object, option

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adamw")
CLASSIFICATION_LOSSES = ("cross_entropy", "bce")
REGRESSION_LOSSES = ("mse", "mae")
LOSS_FUNCTIONS = ("cross_entropy", "mse", "mae", "bce")
SCHEDULERS = ("none", "cosine", "step", "one_cycle", "plateau")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
EPOCH_METRICS = ("val_loss", "val_accuracy", "loss", "accuracy")
AUGMENTATIONS = ("none", "flip", "crop_flip", "affine", "color", "randaugment", "trivialaugment")
DEVICE = "auto|cpu|cuda(:[0-9]{1,3})?"
MODEL_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


class InvalidConfig(ValueError):
    """A configuration that cannot be trained; `errors` maps each wrong field to what is wrong with it."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(message for messages in self.errors.values() for message in messages))


@dataclass(frozen=True)
class Limits:
    """The ranges an installation accepts, each (lowest, highest), both included."""

    learning_rate: tuple[float, float] = (0.0001, 1.0)
    batch_size: tuple[int, int] = (1, 256)
    epochs: tuple[int, int] = (1, 1000)


@dataclass(frozen=True, kw_only=True)
class SchedulerArgs:
    """The details of a scheduler; each reads those that name it."""

    final_fraction: float = option(
        0.0, within=(0.0, 1.0), help="cosine: the learning rate at the end, as a fraction of learning_rate."
    )
    every_epochs: int = option(10, within=(1, 100_000), help="step: the epochs between two drops.")
    factor: float = option(0.1, within=(0.0, 1.0), help="step and plateau: what a drop multiplies the rate by.")
    peak_at: float = option(
        0.3, within=(0.01, 0.99), help="one_cycle: where learning_rate is reached, as a fraction of all steps."
    )
    patience: int = option(3, within=(0, 100_000), help="plateau: epochs without a better val_loss before a drop.")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """When to end before the last epoch."""

    metric: str = option("val_loss", choices=EPOCH_METRICS, help="The metric that must get better.")
    patience: int = option(5, within=(1, 100_000), help="So many epochs without a better value end the training.")
    min_delta: float = option(0.0, within=(0.0, 1e30), help="What counts as better is better by more than this.")
    keep_best: bool = option(True, help="Whether the model is that of the best epoch, not of the last.")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The configuration of a session, as a client sends it. Where null is the default, the server decides."""

    model_architecture: str = option(help="A known architecture, by name: see GET /api/v1/architectures.")
    dataset_name: str = option(help="The name of a registered dataset.")
    learning_rate: float = option(within=Limits.learning_rate, help="The optimizer's step size.")
    batch_size: int = option(within=Limits.batch_size, help="Samples in one forward pass.")
    epochs: int = option(within=Limits.epochs, help="Passes over the training split.")
    optimizer: str = option("adam", choices=OPTIMIZERS, help="The optimizer.")
    loss_function: str = option(
        "cross_entropy",
        choices=LOSS_FUNCTIONS,
        help="Names the problem too: cross_entropy and bce classify, mse and mae are regression.",
    )
    model_args: dict[str, Any] = option({}, length=100, help="Arguments of the architecture, as its JSON Schema says.")
    # The data
    validation_split: float = option(
        0.2,
        within=(0.001, 0.999),
        help="The fraction held back for validation, unless the dataset brings its own split.",
    )
    validation_from: str = option(
        "random",
        choices=("random", "end"),
        help="Which samples are held back: random ones, chosen by the seed, or the last (time series). Text: the last.",
    )
    normalize: str = option(
        "standard",
        choices=("standard", "unit", "none"),
        help="standard: mean 0 and spread 1 by feature or channel; unit: 8-bit images to 0…1; none: as they are.",
    )
    augment: str = option("none", choices=AUGMENTATIONS, help="How training images are varied.")
    tokenizer: str = option("characters", choices=("characters", "bytes"), help="Text: what a token is.")
    context_length: int = option(128, within=(2, 65_536), help="Text: tokens in one sample.")
    class_weights: dict[str, Any] | str | None = option(
        None,
        choices=("balanced",),
        within=(1e-9, 1e9),
        length=100_000,
        help="What an error costs, by class: an object from class names to numbers above 0, or balanced.",
    )
    label_smoothing: float = option(0.0, within=(0.0, 0.999), help="cross_entropy: the share spread over all classes.")
    # The optimizer
    weight_decay: float | None = option(
        None, within=(0.0, 10.0), help="Null is what the optimizer is known for: 0.01 for adamw, 0 for the others."
    )
    momentum: float | None = option(
        None, within=(0.0, 0.9999), help="sgd and rmsprop. Null is 0.9 for sgd, 0 for rmsprop."
    )
    scheduler: str = option("none", choices=SCHEDULERS, help="How the learning rate changes.")
    scheduler_args: SchedulerArgs = option(SchedulerArgs(), help="The details of the scheduler.")
    warmup_steps: int = option(0, within=(0, 10_000_000), help="Steps over which the learning rate rises from 0.")
    gradient_clip: float | None = option(None, within=(1e-12, 1e12), help="The largest norm of all gradients together.")
    gradient_accumulation: int = option(1, within=(1, 100_000), help="Batches whose gradients make one step.")
    # How it computes
    precision: str = option("auto", choices=PRECISIONS, help="auto is bf16 on a GPU that knows it, fp32 elsewhere.")
    compile: str = option(
        "auto", choices=("auto", "on", "off"), help="torch.compile; auto measures whether it pays, and logs its choice."
    )
    device: str | None = option(
        None, pattern=DEVICE, pattern_hint="auto, cpu, cuda or cuda:N", help="Null is the server's TRAINING_DEVICE."
    )
    gpus: int = option(1, within=(1, 64), help="GPUs of this machine that train together.")
    num_threads: int | None = option(None, within=(1, 1024), help="CPU threads; null shares the cores fairly.")
    deterministic: bool = option(False, help="Refuse operations that may differ from run to run, at some cost.")
    seed: int | None = option(
        None,
        within=(0, 2**63 - 1),
        help="Decides the split, the order of the data and the first weights; null is the server's TRAINING_SEED.",
    )
    # When it ends
    max_steps: int | None = option(None, within=(1, 2**53), help="Complete after so many steps, if not before.")
    max_seconds: float | None = option(None, within=(1.0, 1e9), help="Complete after so much training, if not before.")
    early_stopping: EarlyStopping | None = option(None, help="Complete when a metric gets no better.")
    # What is kept
    checkpoint_every_seconds: float | None = option(
        None, within=(0.0, 1e9), help="The most work a crash can cost; null is the server's CHECKPOINT_EVERY_SECONDS."
    )
    keep_checkpoints: int = option(2, within=(1, 1000), help="So many of the newest checkpoints are kept.")
    log_every_steps: int = option(10, within=(1, 1_000_000), help="Steps between two points of the step series.")
    # Where it starts
    initial_weights: str | None = option(
        None, length=200, help="A registered model, or a session's id: start from these weights where they fit."
    )
    freeze: tuple[str, ...] = option(
        (), length=1000, help="Parameters that keep their value: names or patterns such as network.0.*"
    )
    # For people
    priority: int = option(0, within=(-100, 100), help="Higher starts first; equal ones in the order they came.")
    tags: tuple[str, ...] = option(
        (),
        length=50,
        pattern="[^\\x00-\\x1f]{1,50}",
        pattern_hint="1 to 50 printable characters",
        help="Words to find the session by.",
    )
    notes: str = option("", length=10_000, may_be_empty=True, help="Anything worth remembering.")
    model_name: str | None = option(
        None,
        pattern=MODEL_NAME,
        pattern_hint="1 to 100 letters, digits, dots, underscores and hyphens, the first a letter or digit",
        help="The registered model's name; null makes one of architecture, dataset and session.",
    )

    @classmethod
    def check(cls, data: object, limits: Limits) -> tuple[dict[str, Any], Problems]:
        """The values that are right, defaults included, and for every wrong field what is wrong with it."""
        return check_object(cls, data, bounds=dataclasses.asdict(limits))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """A configuration that was checked before, from what as_dict() made of it."""
        values, problems = check_object(
            cls, data, bounds=dict.fromkeys(("learning_rate", "batch_size", "epochs"), OPEN)
        )
        if problems:
            raise InvalidConfig(problems)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as JSON knows it, every default filled in."""
        data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return data

    def effective(self, name: str) -> Any:
        """A field's value, or for null what that means for the optimizer that is chosen."""
        value = getattr(self, name)
        return OPTIMIZER_DEFAULTS[name].get(self.optimizer, 0.0) if value is None else value


OPEN: Within = (None, None)  # an installation may have narrowed its ranges since a session was accepted
OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, float]] = {"weight_decay": {"adamw": 0.01}, "momentum": {"sgd": 0.9}}


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """The file a session trains on, pinned by its hash. `format` is a name of registry.formats."""

    name: str
    path: str
    sha256: str
    format: str


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The weights a session starts from, pinned by their hash. `name` is what the configuration calls them."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """Everything a trainer needs to know, as it stands in spec.json: resolved, so that a session can be run again.

    In its configuration `seed`, `num_threads`, `device` and `checkpoint_every_seconds` are not null.
    """

    session_id: str
    config: TrainingConfig
    dataset: DatasetFile
    initial_weights: WeightsFile | None = None

    @property
    def seed(self) -> int:
        assert self.config.seed is not None
        return self.config.seed

    @property
    def num_threads(self) -> int:
        assert self.config.num_threads is not None
        return self.config.num_threads

    @property
    def device(self) -> str:
        """cpu, cuda, cuda:1, …; auto takes the GPU when there is one."""
        assert self.config.device is not None
        return self.config.device

    @property
    def checkpoint_every_seconds(self) -> float:
        assert self.config.checkpoint_every_seconds is not None
        return self.config.checkpoint_every_seconds

    def as_dict(self) -> dict[str, Any]:
        """The spec as JSON knows it."""
        return {**dataclasses.asdict(self), "config": self.config.as_dict()}

    def write(self, path: Path) -> None:
        """Write the spec whole or not at all."""
        with replacing(path) as aside:
            write_to_disk(aside, json.dumps(self.as_dict(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a spec back. The configuration in it was checked when it was accepted."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """A spec from what as_dict() made of it."""
        weights = data["initial_weights"]
        return cls(
            session_id=data["session_id"],
            config=TrainingConfig.from_json(data["config"]),
            dataset=DatasetFile(**data["dataset"]),
            initial_weights=WeightsFile(**weights) if weights else None,
        )
