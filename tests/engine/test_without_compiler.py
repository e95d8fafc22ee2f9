"""Sessions that compile nothing must not pay for torch's compiler, which takes as long to import as torch itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.spec import OPTIMIZERS

ROOT = Path(__file__).parents[2]

# What a session does with an optimizer, in a process that has done nothing else.
SCRIPT = """
import sys
import torch
from training.engine.without_compiler import do_without_compiler, use_deterministic_algorithms

use_deterministic_algorithms(True, warn_only=False)
assert torch.are_deterministic_algorithms_enabled()
assert not torch.is_deterministic_algorithms_warn_only_enabled()
do_without_compiler()
model = torch.nn.Linear(3, 2)
optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD,
             "rmsprop": torch.optim.RMSprop}[sys.argv[1]](model.parameters(), lr=0.1)
for _ in range(2):
    model(torch.ones(4, 3)).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    before = model.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(model.weight, before)
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
assert torch.is_grad_enabled()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_steps_without_the_compiler(optimizer: str) -> None:
    """When a new torch calls on its compiler in another way, training.engine.without_compiler has to follow."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, optimizer], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
