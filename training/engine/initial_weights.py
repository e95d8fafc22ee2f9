"""Starting from weights that are there already: as many as fit, and some of them kept as they are."""

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from registry.files import sha256_of
from training.engine.failures import TrainingFailure, as_failure
from training.spec import WeightsFile

logger = logging.getLogger(__name__)

# Where a network's names begin: in a file of its own, in a model of ours, and there behind a change of image size.
PLACES = ("", "network.", "network.1.")
SHOWN = 5


def load_initial_weights(model: nn.Module, weights: WeightsFile | None, freeze: Sequence[str]) -> None:
    """Copy the tensors of a file that fit the model by name and shape, and freeze parameters by name or pattern.

    Only the network is filled: the scales of samples and labels around it stay those of this session's data. So the
    network meets what it is used to, inputs of mean 0 and spread 1, whatever their units. A head for other classes does
    not fit, and starts anew.

    Raises TrainingFailure (bad_config): the file holds no weights or none that fits, or a pattern matches nothing.
    """
    if weights is not None:
        _copy(_read(weights), model, weights.name)
    _freeze(model, freeze)


def set_training_mode(model: nn.Module) -> None:
    """What model.train() does, save that a module whose parameters are all frozen stays as it is in evaluation.

    Its running averages do not move then, and its dropout leaves nothing out.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _read(weights: WeightsFile) -> dict[str, Tensor]:
    """The tensors of a file by name: a state_dict, or a checkpoint with one. Raises TrainingFailure (bad_config)."""
    try:
        sha256 = sha256_of(Path(weights.path))
    except OSError as error:
        raise _bad(weights.name, f"the file cannot be read ({error.strerror}); register the model again") from error
    if sha256 != weights.sha256:
        raise _bad(weights.name, "the file is not the one that the session was queued with; start the session again")
    try:
        content = torch.load(weights.path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises of everything for what it cannot read
        if as_failure(error).code == "host_oom":
            raise
        raise _bad(weights.name, "the file is no state_dict that torch.save wrote") from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {name: value for name, value in _items(content) if isinstance(value, Tensor) and not value.is_sparse}
    if not tensors:
        raise _bad(weights.name, "the file holds no tensors by name")
    return tensors


def _items(content: Any) -> list[tuple[str, Any]]:
    """What a file holds by name. What wrapped a model when it was saved has left its mark on each name."""
    if not isinstance(content, Mapping):
        return []
    return [
        (name.removeprefix("_orig_mod.").removeprefix("module."), value)
        for name, value in content.items()
        if isinstance(name, str)
    ]


@torch.no_grad()
def _copy(found: Mapping[str, Tensor], model: nn.Module, source: str) -> None:
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("network.")}
    fits = max((_fits(found, state, theirs, ours) for ours in PLACES[1:] for theirs in PLACES), key=len)
    if not any(name in fits for name, _ in model.named_parameters()):
        raise _bad(source, f"none of its {len(found)} tensors has the name and the shape of one of this network")
    for name, tensor in fits.items():
        state[name].copy_(tensor)
    fresh = [name for name in state if name not in fits]
    logger.info(
        "%d of the network's %d tensors start from %s%s",
        len(fits),
        len(state),
        source,
        f"; these start anew: {', '.join(fresh[:SHOWN])}{', …' if len(fresh) > SHOWN else ''}" if fresh else "",
    )


def _fits(found: Mapping[str, Tensor], state: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """The tensors that fit when the network begins at `theirs` in the file and at `ours` in the model."""
    moved = ((ours + name.removeprefix(theirs), found[name]) for name in found if name.startswith(theirs))
    return {
        name: tensor
        for name, tensor in moved
        if name in state and tensor.shape == state[name].shape and tensor.is_complex() == state[name].is_complex()
    }


def _freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            raise TrainingFailure(
                "bad_config",
                f"freeze: no parameter is called {pattern!r}; there are {', '.join([*parameters][:SHOWN])}"
                f"{', …' if len(parameters) > SHOWN else ''}.",
            )
        for name in matching:
            parameters[name].requires_grad_(False)
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if parameters and len(frozen) == len(parameters):
        raise TrainingFailure("bad_config", "freeze leaves nothing to learn: name fewer parameters.")
    if patterns:
        logger.info("%d of %d parameters are frozen", len(frozen), len(parameters))


def _bad(name: str, problem: str) -> TrainingFailure:
    return TrainingFailure("bad_config", f"The session cannot start from the weights {name}: {problem}.")
