"""The one registry of architectures: ours, torchvision's and anybody's, all registered the same way.

    from training.engine.architectures import Between, DataShape, architecture

    @architecture("my_net", takes=("images",))
    def my_net(data: DataShape, *, width: Annotated[int, Between(1, 4096)] = 64) -> nn.Module:
        \"\"\"One line that says what it is.\"\"\"

A stranger's module is found by an entry point of the group `training_server.architectures`, or by the setting
ARCHITECTURE_MODULES. The keyword arguments are what a configuration gives as `model_args`; their annotations become
the JSON Schema that checks them before anything is queued. docs/architectures.md has the whole of it.
"""

import inspect
import os
import re
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, get_args

import torch
from torch import Tensor, nn

from training.catalogue import ENTRY_POINTS, Architecture, Catalogue, DataKind, LeftOut
from training.engine.arguments import Between, arguments_schema, typed
from training.engine.data import Moments
from training.engine.failures import TrainingFailure, as_failure

__all__ = ["Between", "DataShape", "architecture", "build_model", "catalogue", "check_model", "load"]

OURS = "training.engine.networks"
BUILT_IN = "built in"
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,59}"  # it becomes part of a model's name
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
class Registered:
    """An architecture and the function that builds it."""

    entry: Architecture
    build: Build


class Registry:
    """What is registered, and what could not be."""

    def __init__(self) -> None:
        self.architectures: dict[str, Registered] = {}
        self.left_out: list[LeftOut] = []
        self._source = BUILT_IN

    def add(self, entry: Architecture, build: Build) -> None:
        """Register one. Raises ValueError when it cannot be."""
        if not re.fullmatch(NAME, entry.name):
            raise ValueError(f"{entry.name!r} is no name: up to 60 letters, digits, dots, underscores and hyphens")
        if not entry.takes or not set(entry.takes) <= set(get_args(DataKind)):
            raise ValueError(f"{entry.name} must take some of {', '.join(get_args(DataKind))}, not {entry.takes}")
        if entry.name in self.architectures:
            taken_by = self.architectures[entry.name].entry.source
            raise ValueError(f"the name {entry.name} is taken already: {taken_by}")
        self.architectures[entry.name] = Registered(entry, build)

    def import_from(self, module: str, source: str) -> None:
        """Import a stranger's module. What cannot be imported whole is left out whole, and keeps nobody waiting."""
        before = dict(self.architectures)
        try:
            with self._brought_by(source):
                import_module(module)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            for name in self.architectures.keys() - before.keys():
                # Another module may import this one too, and then it has to register anew.
                sys.modules.pop(self.architectures[name].build.__module__, None)
            self.architectures = before
            self.left_out.append(LeftOut(module, source, f"{type(error).__name__}: {error}"))

    @property
    def source(self) -> str:
        """Who brings what is being registered."""
        return self._source

    @contextmanager
    def _brought_by(self, source: str) -> Iterator[None]:
        before, self._source = self._source, source
        try:
            yield
        finally:
            self._source = before


_registry = Registry()


def architecture(
    name: str, *, takes: tuple[DataKind, ...], description: str = "", source: str = ""
) -> Callable[[Build], Build]:
    """Register the function that builds a network. Raises ValueError when the name is taken or an argument is unclear.

    The catalogue shows `description`, by default the first line of the function's docstring, and `source`, by default
    the distribution or the module that the function came with.
    """

    def register(build: Build) -> Build:
        entry = Architecture(
            name=name,
            takes=tuple(takes),
            # The defaults of our own are checked by the tests, and not at the start of every session.
            arguments=arguments_schema(build, check_defaults=_registry.source != BUILT_IN),
            description=description or (inspect.getdoc(build) or "").partition("\n")[0],
            source=source or _registry.source,
        )
        _registry.add(entry, build)
        return build

    return register


@cache
def load() -> Registry:
    """Everything that is registered, after importing all that brings architectures."""
    import_module(OURS)
    named = [name.strip() for name in os.environ.get("ARCHITECTURE_MODULES", "").split(",")]
    sources = {name: name for name in named if name}
    for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.value):
        module = point.value.partition(":")[0].strip()
        sources[module] = f"{point.dist.name} {point.dist.version}" if point.dist else module
    for module, source in sources.items():
        _registry.import_from(module, source)
    return _registry


def catalogue() -> Catalogue:
    """What is registered, without the functions."""
    return {name: registered.entry for name, registered in load().architectures.items()}


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

    Raises TrainingFailure: bad_config for arguments that the architecture refuses by a ValueError, user_code for
    anything else that goes wrong in it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if input_moments is not None:
        layers["inputs"] = Standardise(input_moments, data.sample_shape)
    layers["network"] = _build_network(name, model_args, data)
    if label_moments is not None:
        layers["outputs"] = LabelUnits(label_moments)
    return nn.Sequential(layers)


def _build_network(name: str, model_args: Mapping[str, Any], data: DataShape) -> nn.Module:
    registered = load().architectures[name]
    try:
        network = registered.build(data, **typed(dict(model_args), registered.entry.arguments))
    except ValueError as error:
        raise TrainingFailure("bad_config", f"{name} refuses its model_args or this dataset: {error}") from error
    except Exception as error:
        raise _in_strange_code(error, f"{name} could not be built") from error
    if not isinstance(network, nn.Module):
        raise TrainingFailure("user_code", f"{name} built no nn.Module but a {type(network).__name__}.")
    return network


@torch.no_grad()
def check_model(model: nn.Module, name: str, data: DataShape, device: torch.device) -> None:
    """Give the network two samples of zeros, and see whether what comes out has the right shape.

    Lazy layers get their parameters by this. No random number is spent, and no running average moves. Raises
    TrainingFailure (user_code), which names what was expected and what was found.
    """
    samples = _zeros(data, 2, device)
    expected = (2, *(data.sample_shape if data.kind == "text" else ()), data.output_count)
    model.eval()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            if isinstance(inputs := getattr(model, "inputs", None), nn.Module):
                samples = inputs(samples)
            outputs = model.get_submodule("network")(samples)
        except Exception as error:
            raise _in_strange_code(error, f"{name} failed on samples of shape {tuple(samples.shape)}") from error
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if found != expected:
        raise TrainingFailure(
            "user_code", f"{name} must give outputs of shape {expected} for two of these samples, and gave {found}."
        )


def _zeros(data: DataShape, count: int, device: torch.device) -> Tensor:
    """Samples as the loop has them: images lie with their channels last in memory."""
    if data.kind == "text":
        return torch.zeros(count, *data.sample_shape, dtype=torch.int64, device=device)
    samples = torch.zeros(count, *data.sample_shape, device=device)
    return samples.to(memory_format=torch.channels_last) if data.kind == "images" else samples


def _in_strange_code(error: Exception, what_happened: str) -> TrainingFailure:
    """The failure behind an error in somebody's network; a lack of memory is no error in it."""
    failure = as_failure(error)
    if failure.code != "user_code" or isinstance(error, TrainingFailure):
        return failure
    return TrainingFailure("user_code", f"{what_happened}: {type(error).__name__}: {error}")
