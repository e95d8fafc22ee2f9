"""Keeps torch's compiler out of processes that compile nothing: importing it takes as long as torch itself.

The optimizers call on the compiler in two ways that mean nothing to code which is not compiled, and the engine never
compiles an optimizer. Marked functions import it when one is called first, to be left alone by it. And `step` breaks
the compiler's graph around itself. Where torch is not as it was, nothing is changed, and the first step is slow.
The switch to deterministic algorithms imports it too.
"""

from collections.abc import Iterator
from types import FunctionType
from typing import Any

import torch
from torch.optim import Optimizer

# Under this name torch keeps, on a marked function, what is called in its place; torch._compile reads it.
CACHED = "__dynamo_disable"


def do_without_compiler() -> None:
    """Let the optimizers work without the compiler. Before the first of them is made; a second time changes nothing."""
    for function in _marked_functions():
        setattr(function, CACHED, function)
    for optimizer in _all_optimizers(Optimizer):
        step = vars(optimizer).get("step")
        if isinstance(step, FunctionType) and step.__code__.co_name == "_use_grad":
            optimizer.step = torch.no_grad()(step.__wrapped__)  # type: ignore[method-assign,attr-defined]


def use_deterministic_algorithms(wanted: bool, warn_only: bool) -> None:
    """Set it without telling the compiler, which torch's function of this name imports in order to tell it."""
    torch._C._set_deterministic_algorithms(wanted, warn_only=warn_only)


def tell_compiler() -> None:
    """Let the compiler know whether algorithms have to be deterministic. Before anything is compiled."""
    torch.use_deterministic_algorithms(
        torch.are_deterministic_algorithms_enabled(), warn_only=torch.is_deterministic_algorithms_warn_only_enabled()
    )


def _marked_functions() -> Iterator[Any]:
    marker = torch._compile._disable_dynamo.__code__.co_filename
    for member in vars(Optimizer).values():
        if isinstance(member, FunctionType) and member.__code__.co_filename == marker:
            yield member.__wrapped__  # type: ignore[attr-defined]


def _all_optimizers(family: type[Optimizer]) -> Iterator[type[Optimizer]]:
    for optimizer in family.__subclasses__():
        yield optimizer
        yield from _all_optimizers(optimizer)
