"""The architectures by name, and what of a configuration fits a dataset. No torch and no Django here.

What there is is known to the engine alone, where the functions that build the networks are registered
(training/engine/architectures.py): it writes the catalogue down as JSON, and everybody else reads that.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, Protocol

from training.spec import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

if TYPE_CHECKING:
    from jsonschema import ValidationError

# Where the packages that bring architectures say so.
ENTRY_POINTS = "training_server.architectures"

DataKind = Literal["rows", "images", "text"]


@dataclass(frozen=True)
class Architecture:
    """A network by name: what data it takes, its arguments as a JSON Schema, and who brings it."""

    name: str
    takes: tuple[DataKind, ...]
    arguments: Mapping[str, Any]
    description: str
    source: str  # a distribution and its version


Catalogue = Mapping[str, Architecture]


@dataclass(frozen=True)
class LeftOut:
    """A module that should have brought architectures, who brings it, and why it could not."""

    module: str
    source: str
    reason: str


class Described(Protocol):
    """What is known of a dataset: a row of the registry or a description by registry.formats."""

    @property
    def dimensions(self) -> str: ...  # "28x28x1" for images, "64" for rows of features, "text" for text
    @property
    def sample_count(self) -> int: ...  # of a text: its characters
    @property
    def labels(self) -> str: ...  # "names", "integers", "numbers", "sets" (any number of classes each), "text"
    @property
    def class_count(self) -> int | None: ...  # None for numbers; of a text, its distinct characters


def data_kind(dataset: Described) -> DataKind:
    """What the samples of a dataset are."""
    if dataset.labels == "text":
        return "text"
    return "images" if "x" in dataset.dimensions else "rows"


@dataclass(frozen=True)
class Misfit:
    """A field that does not fit, and why."""

    field: str
    message: str


def misfits(config: Mapping[str, Any], dataset: Described | None, catalogue: Catalogue) -> dict[str, list[str]]:
    """What of a configuration does not fit: field → messages, empty when the session can be trained.

    `config` maps fields to right values. What depends on a field that is not there, or on a dataset that is not known,
    is left out: that has been refused already.
    """
    found: dict[str, list[str]] = {}
    architecture = catalogue.get(config.get("model_architecture", ""))
    for misfit in (
        *_architecture_misfits(config, architecture, catalogue),
        *_optimizer_misfits(config),
        *(_dataset_misfits(config, dataset, architecture, catalogue) if dataset else ()),
    ):
        found.setdefault(misfit.field, []).append(misfit.message)
    return found


def _architecture_misfits(
    config: Mapping[str, Any], architecture: Architecture | None, catalogue: Catalogue
) -> Iterator[Misfit]:
    name = config.get("model_architecture")
    if name and architecture is None:
        yield Misfit("model_architecture", _unknown(name, catalogue))
    if architecture and "model_args" in config:
        known = architecture.arguments["properties"]
        for argument in sorted(config["model_args"].keys() - known):
            has = f"{name} has {', '.join(known)}" if known else f"{name} has no arguments"
            yield Misfit("model_args", f"model_args.{argument[:60]} is not known; {has}")
        # Every argument has a default, so there is nothing wrong with none; and the validator is slow to import.
        for error in _errors(architecture.arguments, config["model_args"]) if config["model_args"] else ():
            if error.validator != "additionalProperties":
                place = ".".join(["model_args", *map(str, error.absolute_path)])
                yield Misfit("model_args", f"{place} {_against(error)}")


def _errors(schema: Mapping[str, Any], value: Any) -> Iterator["ValidationError"]:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema).iter_errors(value)


def _against(error: "ValidationError") -> str:
    """What an argument must be, in the words that follow its name."""
    rule: Any = error.schema
    if error.validator == "type":
        return f"must be of type {' or '.join([rule['type']] if isinstance(rule['type'], str) else rule['type'])}"
    if error.validator in ("minimum", "maximum"):
        return f"must be between {rule['minimum']} and {rule['maximum']}"
    return f"must be one of {', '.join(map(json.dumps, rule['enum']))}"


def _optimizer_misfits(config: Mapping[str, Any]) -> Iterator[Misfit]:
    """Settings that the chosen optimizer or loss would not look at: silence would mislead."""
    optimizer, loss = config.get("optimizer"), config.get("loss_function")
    if config.get("momentum") is not None and optimizer in ("adam", "adamw"):
        yield Misfit("momentum", f"momentum is for sgd and rmsprop; {optimizer} has none")
    if config.get("label_smoothing") and loss not in (None, "cross_entropy"):
        yield Misfit("label_smoothing", f"label_smoothing is for cross_entropy, not for {loss}")
    if config.get("class_weights") is not None and loss in REGRESSION_LOSSES:
        yield Misfit("class_weights", f"class_weights need classes, and {loss} is regression")
    warmup, scheduler = config.get("warmup_steps"), config.get("scheduler")
    if warmup and scheduler == "one_cycle":
        yield Misfit("warmup_steps", "one_cycle has a warm-up of its own; leave warmup_steps at 0")


def _dataset_misfits(
    config: Mapping[str, Any], dataset: Described, architecture: Architecture | None, catalogue: Catalogue
) -> Iterator[Misfit]:
    kind = data_kind(dataset)
    if architecture and kind not in architecture.takes:
        takes = " and ".join(architecture.takes)
        others = ", ".join([name for name, other in catalogue.items() if kind in other.takes][:5])
        yield Misfit(
            "model_architecture",
            f"{architecture.name} takes {takes}, and this dataset holds {_in_words(dataset)}; use {others}",
        )
    if dataset.sample_count < 2:
        yield Misfit(
            "dataset_name",
            "the dataset is too small: training needs a sample to learn from and another to validate with",
        )
    if kind == "text":
        yield from _text_misfits(config, dataset)
    else:
        yield from _label_misfits(config, dataset)
    if kind != "images" and config.get("augment", "none") != "none":
        yield Misfit("augment", f"augment varies images, and this dataset holds {_in_words(dataset)}")
    if kind != "images" and config.get("normalize") == "unit":
        yield Misfit("normalize", f"unit is for images of 8 bits, and this dataset holds {_in_words(dataset)}")
    if kind != "text" and config.get("tokenizer") == "bytes":
        yield Misfit("tokenizer", f"tokenizer is for text, and this dataset holds {_in_words(dataset)}")


def _text_misfits(config: Mapping[str, Any], dataset: Described) -> Iterator[Misfit]:
    loss, length = config.get("loss_function"), config.get("context_length")
    if loss not in (None, "cross_entropy"):
        yield Misfit("loss_function", f"a text is learnt with cross_entropy, not with {loss}")
    if config.get("class_weights") is not None:
        yield Misfit("class_weights", "class_weights are for classes, and this dataset is a text")
    split = config.get("validation_split")
    if length and split and math.floor(min(split, 1 - split) * dataset.sample_count) < length + 1:
        yield Misfit(
            "context_length",
            f"the text has {dataset.sample_count} characters: too few for a sample of {length} tokens "
            "and the one behind them in each split",
        )


def _label_misfits(config: Mapping[str, Any], dataset: Described) -> Iterator[Misfit]:
    loss = config.get("loss_function")
    weights, classes = config.get("class_weights"), dataset.class_count
    if isinstance(weights, Mapping) and classes is not None and len(weights) > classes:
        yield Misfit("class_weights", f"class_weights names {len(weights)} classes, and this dataset has {classes}")
    if dataset.labels == "sets":
        if loss not in (None, "bce"):
            yield Misfit("loss_function", "each sample of this dataset has any number of classes; use bce")
    elif loss in CLASSIFICATION_LOSSES:
        if dataset.labels == "numbers":
            yield Misfit(
                "loss_function", f"{loss} needs classes, and this dataset's labels are real numbers; use mse or mae"
            )
        elif dataset.class_count is None or dataset.class_count < 2:
            yield Misfit(
                "dataset_name", f"{loss} needs at least two classes, and this dataset's labels are all the same"
            )
    elif loss in REGRESSION_LOSSES and dataset.labels == "names":
        yield Misfit(
            "loss_function", f"{loss} needs numbers, and this dataset's labels are names; use cross_entropy or bce"
        )


def _in_words(dataset: Described) -> str:
    kind = data_kind(dataset)
    if kind == "text":
        return "text"
    return f"images of {dataset.dimensions}" if kind == "images" else f"rows of {dataset.dimensions} features"


def _unknown(name: str, catalogue: Catalogue) -> str:
    """Says that an architecture is not known, and which ones are."""
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    near = get_close_matches(shown.lower(), catalogue)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "known are mlp, cnn, lstm, gpt and torchvision's classification networks, such as resnet18; "
        "GET /api/v1/architectures lists all"
    )
    return f"{shown!r} is not a known architecture; {hint}"
