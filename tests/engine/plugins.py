"""Distributions with architectures, as pip would have installed them: a package and its dist-info on the path."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SIMPLE = '''
from typing import Annotated

from torch import nn

from training.engine.architectures import Between, DataShape, architecture


@architecture("NAME", takes=("rows",))
def build(data: DataShape, *, width: Annotated[int, Between(1, 64)] = 8) -> nn.Module:
    """A layer between two."""
    features, = data.sample_shape
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, data.output_count))
'''


def install(site: Path, package: str, files: Mapping[str, str], entry_point: str | None = None) -> None:
    """Put a package of these modules into a folder of packages, with an entry point unless told otherwise."""
    folder = site / package
    folder.mkdir(parents=True)
    for name, source in files.items():
        (folder / name).write_text(source)
    about = site / f"{package}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.2\n")
    if entry_point is not None:
        (about / "entry_points.txt").write_text(f"[training_server.architectures]\nnets = {entry_point}\n")


def environment(site: Path, modules: str = "") -> dict[str, str]:
    """The environment of a process that finds what is installed there."""
    return {**os.environ, "PYTHONPATH": str(site), "ARCHITECTURE_MODULES": modules}


def ask_engine(site: Path, modules: str = "") -> tuple[dict[str, dict[str, Any]], list[dict[str, str]], str]:
    """What the engine can train there by name, what is left out, and what it wrote to stderr."""
    answer = subprocess.run(
        [sys.executable, "-m", "training.engine.catalogue"],
        cwd=ROOT,
        env=environment(site, modules),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(answer.stdout)
    return {entry["name"]: entry for entry in found["architectures"]}, found["left_out"], answer.stderr
