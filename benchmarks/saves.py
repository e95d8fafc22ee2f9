"""What a SIGKILL in the middle of saving leaves: `torch.save` over the same file, beside our checkpoints.

    .venv/bin/python -m benchmarks.saves [KILLS]

A process saves a state of 64 MB again and again and is killed at a random moment; then the newest checkpoint is read.
It is lost when it cannot be read, or is not one state as it was saved.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("torch.save", "ours")
TENSORS = 16
TENSOR_VALUES = 1 << 20
# So long a process is left to save; some saves of either kind.
LONGEST_SECONDS = 2.0


def state_of(step: int) -> dict[str, Any]:
    import torch

    return {str(number): torch.full((TENSOR_VALUES,), float(step)) for number in range(TENSORS)}


def saver(way: str, folder: Path) -> Callable[[int], object]:
    """What saves the state of a step."""
    import torch

    from training.engine.checkpoint import CheckpointStore

    if way == "ours":
        store = CheckpointStore(folder, keep=2)
        return lambda step: store.save(state_of(step), epoch=0, step=step)
    return lambda step: torch.save(state_of(step), folder / "checkpoint.pt")


def save_for_ever(way: str, folder: Path) -> None:
    save = saver(way, folder)
    step = 1
    while True:
        save(step)
        print(step, flush=True)
        step += 1


def is_lost(way: str, folder: Path, saved: int) -> bool:
    """Whether the newest checkpoint is anything but a state as it was saved, no older than the one we heard of last."""
    import torch

    from training.engine.checkpoint import find_newest

    try:
        if way == "ours":
            checkpoint, _ = find_newest(folder)
            if checkpoint is None:
                return True
            state = checkpoint.load()
        else:
            state = torch.load(folder / "checkpoint.pt", weights_only=True)
    except Exception:  # each kind of damage is reported in a way of its own
        return True
    values = {float(value) for tensor in state.values() for value in tensor.unique()}
    return len(state) != TENSORS or len(values) != 1 or values.pop() < saved


def kill_one(way: str, chance: random.Random) -> bool:
    """Whether the newest checkpoint was lost to one kill."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.saves", way, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            saved = int(process.stdout.readline())  # there is one that could be lost
            time.sleep(chance.uniform(0, LONGEST_SECONDS))
            process.kill()
            saved = max([saved, *map(int, process.stdout.read().split())])
        return is_lost(way, Path(folder), saved)


def main(kills: int) -> None:
    chance = random.Random(0)  # noqa: S311 - nobody is to be kept from guessing it
    lost = dict.fromkeys(WAYS, 0)
    for _ in range(kills):
        for way in WAYS:
            lost[way] += kill_one(way, chance)
    for way in WAYS:
        print(f"{way:12} {lost[way]:3} of {kills} newest checkpoints lost")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        save_for_ever(sys.argv[1], Path(sys.argv[2]))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
