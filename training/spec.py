"""What a session is to train: the configuration a client sends, and the spec a trainer gets.

Both are frozen dataclasses that check themselves. No Django and no torch here, so that a spec can be
written, read and refused anywhere. The rules of every configuration field stand beside the field, in its
metadata; the HTTP schema and the documentation are made from them.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adamw")
CLASSIFICATION_LOSSES = ("cross_entropy", "bce")
REGRESSION_LOSSES = ("mse", "mae")
LOSS_FUNCTIONS = ("cross_entropy", "mse", "mae", "bce")


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
class TrainingConfig:
    """The configuration of a session, as a client sends it."""

    model_architecture: str = field(
        metadata={"help": "A known architecture: mlp, cnn, or one of torchvision's, by name."}
    )
    dataset_name: str = field(metadata={"help": "The name of a registered dataset."})
    learning_rate: float = field(metadata={"help": "The optimizer's step size."})
    batch_size: int = field(metadata={"help": "Samples in one forward pass."})
    epochs: int = field(metadata={"help": "Passes over the training split."})
    optimizer: str = field(default="adam", metadata={"choices": OPTIMIZERS, "help": "The optimizer."})
    loss_function: str = field(
        default="cross_entropy",
        metadata={
            "choices": LOSS_FUNCTIONS,
            "help": "Names the problem too: cross_entropy and bce classify, mse and mae are regression.",
        },
    )

    @classmethod
    def check(cls, data: object, limits: Limits) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """The values that are right, defaults included, and for every wrong field what is wrong with it.

        Wrong is what is missing, unknown, of the wrong type (`true` and `"0.1"` are no numbers), or outside `limits`.
        """
        if not isinstance(data, Mapping):
            return {}, {"non_field_errors": ["the configuration must be a JSON object"]}
        fields = {f.name: f for f in dataclasses.fields(cls)}
        errors = {str(name): [f"{name} is not a known field"] for name in data if name not in fields}
        values: dict[str, Any] = {}
        for name, rule in fields.items():
            if name in data:
                problem = _problem(rule, data[name], getattr(limits, name, None))
                value = data[name]
            else:
                problem = f"{name} is required" if rule.default is dataclasses.MISSING else None
                value = rule.default
            if problem:
                errors[name] = [problem]
            else:
                values[name] = float(value) if rule.type is float else value
        return values, errors

    def as_dict(self) -> dict[str, Any]:
        """The configuration as JSON knows it, every default filled in."""
        return dataclasses.asdict(self)


def _problem(rule: dataclasses.Field[Any], value: object, bounds: tuple[float, float] | None) -> str | None:
    """What is wrong with one value, in a sentence; None when it is right."""
    name = rule.name
    if rule.type is str:
        if not isinstance(value, str):
            return f"{name} must be a string"
        choices = rule.metadata.get("choices")
        if choices and value not in choices:
            return f"{name} must be one of {', '.join(choices)}"
        return None if value else f"{name} must not be empty"
    if rule.type is int and (isinstance(value, bool) or not isinstance(value, int)):
        return f"{name} must be an integer"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} must be a number"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} must be a finite number"
    if bounds and not bounds[0] <= value <= bounds[1]:
        return f"{name} must be between {bounds[0]} and {bounds[1]}"
    return None


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """The file a session trains on, pinned by its hash. `format` is a name of registry.formats."""

    name: str
    path: str
    sha256: str
    format: str


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """Everything a trainer needs to know, as it stands in spec.json: resolved, so that a session can be run again."""

    session_id: str
    config: TrainingConfig
    dataset: DatasetFile
    seed: int
    num_threads: int
    device: str  # "cpu", "cuda", "cuda:1", …; "auto" takes the GPU when there is one
    validation_split: float = 0.2  # the fraction of samples held back, unless the dataset brings its own split
    checkpoint_every_seconds: float = 60.0
    keep_checkpoints: int = 2

    def write(self, path: Path) -> None:
        """Write the spec whole or not at all."""
        aside = path.with_name(f".{path.name}.part")
        aside.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        aside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a spec back. The configuration in it was checked when it was accepted."""
        values = json.loads(path.read_text(encoding="utf-8"))
        values["config"] = TrainingConfig(**values["config"])
        values["dataset"] = DatasetFile(**values["dataset"])
        return cls(**values)
