"""The one registry of architectures: ours, torchvision's and anybody's, all registered the same way.

    from training.engine.architectures import DataShape, architecture

    @architecture("my_net", takes=("images",))
    def my_net(data: DataShape, *, width: Annotated[int, Between(1, 4096)] = 64) -> nn.Module:
        \"\"\"One line that says what it is.\"\"\"

A stranger's module is found by an entry point of the group `training_server.architectures`, or by the setting
ARCHITECTURE_MODULES. The keyword arguments are what a configuration gives as `model_args`; their annotations become
the JSON Schema that checks them before anything is queued.
"""

import inspect
import os
import sys
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, Literal

from torch import Tensor, nn

from training.catalogue import ENTRY_POINTS, Architecture, Catalogue, DataKind
from training.engine.data import Moments

OURS = "training.engine.networks"
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """What a network is built for.

    sample_shape: (F,) of rows, (C, H, W) of images, (L,) of text, where a sample is L token indices (int64).
    A network takes (N, *sample_shape) and gives (N, output_count); of text (N, L, output_count), a logit for each token
    of the vocabulary at each place, from the tokens up to there alone.
    """

    kind: DataKind
    sample_shape: Shape
    output_count: int
    largest_batch: int  # a batch of one sample has no spread for batch normalisation


Build = Callable[..., nn.Module]


@dataclass(frozen=True)
class Between:
    """For Annotated: the lowest and the highest value of an argument, both included."""

    lowest: float
    highest: float


@dataclass(frozen=True)
class Registered:
    """An architecture and the function that builds it."""

    entry: Architecture
    build: Build


_registered: dict[str, Registered] = {}


def architecture(
    name: str, *, takes: tuple[DataKind, ...], description: str = "", source: str = ""
) -> Callable[[Build], Build]:
    """Register the function that builds a network. Raises ValueError when the name is taken or an argument is unclear.

    The catalogue shows `description`, by default the first line of the function's docstring, and `source`, by default
    the distribution that the function's module belongs to.
    """

    def register(build: Build) -> Build:
        if name in _registered:
            raise ValueError(f"the architecture {name} is registered already, by {_registered[name].entry.source}")
        entry = Architecture(
            name=name,
            takes=takes,
            arguments=arguments_schema(build),
            description=description or (inspect.getdoc(build) or "").partition("\n")[0],
            source=source or _distribution_of(build),
        )
        _registered[name] = Registered(entry, build)
        return build

    return register


def arguments_schema(build: Build) -> dict[str, Any]:
    """The JSON Schema of a builder's keyword arguments. Raises ValueError for one without a type or a default."""
    hints = typing.get_type_hints(build, include_extras=True)
    properties = {}
    for parameter in list(inspect.signature(build).parameters.values())[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise ValueError(f"the argument {parameter.name} must be keyword-only and have a default")
        properties[parameter.name] = _schema_of(hints.get(parameter.name)) | {"default": parameter.default}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schema_of(hint: Any) -> dict[str, Any]:
    """The JSON Schema of an annotation: int, float, bool, str, a Literal of these, or one of them Annotated."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        bounds = next((note for note in notes if isinstance(note, Between)), None)
        return _schema_of(inner) | ({"minimum": bounds.lowest, "maximum": bounds.highest} if bounds else {})
    if typing.get_origin(hint) is Literal:
        return {"enum": list(typing.get_args(hint))}
    types = {int: "integer", float: "number", bool: "boolean", str: "string"}
    if hint not in types:
        raise ValueError(f"{hint} is no annotation that a JSON Schema can be made of")
    return {"type": types[hint]}


def _distribution_of(build: Build) -> str:
    package = build.__module__.partition(".")[0]
    names = metadata.packages_distributions().get(package)
    return f"{names[0]} {metadata.version(names[0])}" if names else package


@cache
def load() -> Mapping[str, Registered]:
    """Everything that is registered, after importing all that brings architectures.

    A stranger's module that cannot be imported must not keep ours from training: what is wrong goes to stderr.
    """
    import_module(OURS)
    modules = [point.value for point in metadata.entry_points(group=ENTRY_POINTS)]
    modules += [name.strip() for name in os.environ.get("ARCHITECTURE_MODULES", "").split(",") if name.strip()]
    for name in modules:
        try:
            import_module(name.partition(":")[0])
        except Exception as error:
            print(f"The architectures of {name} are left out: {type(error).__name__}: {error}", file=sys.stderr)
    return _registered


def catalogue() -> Catalogue:
    """What is registered, without the functions."""
    return {name: registered.entry for name, registered in load().items()}


class Standardise(nn.Module):
    """(N, F) or (N, C, H, W) of any number type to float32 of mean 0 and spread 1, per feature or per channel."""

    mean: Tensor
    scale: Tensor

    def __init__(self, moments: Moments, sample_shape: Shape) -> None:
        super().__init__()
        shape = (-1,) + (1,) * (len(sample_shape) - 1)
        self.register_buffer("mean", moments.mean.float().reshape(shape))
        self.register_buffer("scale", moments.scale.float().reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.scale


class LabelUnits(nn.Module):
    """(N, 1) standardised outputs to (N,) numbers in the units of the labels."""

    mean: Tensor
    scale: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self.register_buffer("mean", moments.mean.float())
        self.register_buffer("scale", moments.scale.float())

    def forward(self, outputs: Tensor) -> Tensor:
        return (outputs * self.scale + self.mean).squeeze(1)


def build_model(
    name: str,
    model_args: Mapping[str, Any],
    data: DataShape,
    input_moments: Moments | None,
    label_moments: Moments | None,
) -> nn.Module:
    """A model for raw samples: the network, and around it what it has to know of the data's scale.

    A model takes raw data and gives logits, or numbers in the units of the labels; the scales lie in its buffers, so
    that its state_dict alone can be used. `input_moments` are None for text; `label_moments` are given for regression.
    The parameters come from the global generator of torch.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if input_moments is not None:
        layers["inputs"] = Standardise(input_moments, data.sample_shape)
    layers["network"] = load()[name].build(data, **model_args)
    if label_moments is not None:
        layers["outputs"] = LabelUnits(label_moments)
    return nn.Sequential(layers)
