"""What reproducing a session takes: versions, packages, code, hardware, and the hashes of what went in.

Made at the start of every attempt, so it must cost next to nothing: packages are known by the names of their folders
(reading the metadata of each takes thirty times as long), and git is asked once where the code is the server's own.
"""

import inspect
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.engine.architectures import load
from training.spec import SessionSpec

SERVER = Path(__file__).resolve().parents[2]
INSTALLED = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(-py[0-9.]+)?\.(dist|egg)-info")
GIT_SECONDS = 2.0


def describe(spec: SessionSpec, device: torch.device) -> dict[str, Any]:
    """The record of an attempt, as JSON knows it. What cannot be found out is null; nothing is raised."""
    installed = packages()
    return {
        "versions": {
            "server": _server_version(),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": installed.get("torchvision"),
            "numpy": np.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,  # type: ignore[no-untyped-call]
        },
        "platform": platform.platform(),
        "cpu": {"name": _cpu_name(), "cores": os.cpu_count()},
        "gpus": _gpus() if device.type == "cuda" else [],
        "gpu_driver": _gpu_driver() if device.type == "cuda" else None,
        "packages": installed,
        "git": _code(spec.config.model_architecture),
        "device": str(device),
        "seed": spec.seed,
        "threads": torch.get_num_threads(),
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        },
        "dataset_sha256": spec.dataset.sha256,
        "initial_weights_sha256": spec.initial_weights.sha256 if spec.initial_weights else None,
        "spec": spec.as_dict(),
    }


def packages() -> dict[str, str]:
    """Every installed distribution and its version, as `pip freeze` would list them."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - a thousand paths would be made for eighty names
        except OSError:
            continue  # sys.path may name what is no folder, such as a zip archive
        for match in filter(None, map(INSTALLED.fullmatch, names)):
            # The first on the path is the one that is imported.
            found.setdefault(re.sub("[-_.]+", "-", match["name"]).lower(), match["version"])
    return dict(sorted(found.items()))


def _server_version() -> str | None:
    try:
        project = tomllib.loads((SERVER / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
    except (OSError, ValueError, KeyError):
        return None


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    match = re.search(r"^model name\s*:\s*(.+)$", lines, re.MULTILINE)
    return match[1] if match else platform.processor() or None


def _gpus() -> list[dict[str, Any]]:
    """Every GPU that this process sees."""
    return [
        {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
        }
        for properties in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ]


def _gpu_driver() -> str | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # no NVML, or one that is older or newer than its binding: the record goes without
        return None


def _code(architecture: str) -> dict[str, Any]:
    """The commits of the server's code and of the architecture's, which is the server's own for ours."""
    server = git_state(SERVER)
    folder = _folder_of(architecture)
    if folder is None or "site-packages" in folder.parts:
        return {"server": server, "architecture": None}  # a package, and known by its version
    inside = folder.is_relative_to(SERVER / "training")
    return {"server": server, "architecture": server if inside else git_state(folder)}


def _folder_of(architecture: str) -> Path | None:
    """Where the function lies that builds the network."""
    try:
        return Path(inspect.getfile(inspect.unwrap(load().architectures[architecture].build))).resolve().parent
    except (KeyError, TypeError, OSError):
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that is checked out around a folder, and whether files in git were changed since. None without git."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # only look
        )
    except (OSError, subprocess.SubprocessError):
        return None
    commit = re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", answer.stdout, re.MULTILINE)
    changed = re.search(r"^[^#]", answer.stdout, re.MULTILINE) is not None
    return {"commit": commit[1], "changed": changed} if commit else None
