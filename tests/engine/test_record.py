"""The record of a session says what reproducing it takes, quickly, and whatever is missing on the machine."""

import json
import re
import subprocess
import time
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path

import pytest
import torch

from servermgmt.version import VERSION
from tests.engine.conftest import MakeSession, classes, rows
from training.engine import record
from training.engine.architectures import load
from training.engine.record import describe, git_state, packages
from training.spec import SessionSpec

CPU = torch.device("cpu")


@pytest.fixture
def spec(make_session: MakeSession) -> SessionSpec:
    return SessionSpec.read(make_session(x=rows(), y=classes()).spec)


def test_a_record_is_json_and_names_what_went_in(spec: SessionSpec) -> None:
    found = json.loads(json.dumps(describe(spec, CPU), allow_nan=False))
    assert found["versions"]["server"] == VERSION
    assert found["versions"]["torch"] == torch.__version__
    assert (found["seed"], found["threads"], found["device"]) == (7, 1, "cpu")
    assert found["dataset_sha256"] == spec.dataset.sha256
    assert found["initial_weights_sha256"] is None
    assert SessionSpec.from_json(found["spec"]) == spec
    assert found["cpu"]["cores"] >= 1
    assert (found["gpus"], found["gpu_driver"]) == ([], None)


def test_the_packages_are_those_that_pip_would_list() -> None:
    names = {re.sub("[-_.]+", "-", found.metadata["Name"]).lower() for found in metadata.distributions()}
    found = packages()
    assert found.keys() == names
    assert all(metadata.version(name) == version for name, version in found.items())


def test_determinism_is_recorded_as_it_is(spec: SessionSpec) -> None:
    assert describe(spec, CPU)["determinism"]["deterministic_algorithms"] is False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        found = describe(spec, CPU)["determinism"]
    finally:
        torch.use_deterministic_algorithms(False)
    assert (found["deterministic_algorithms"], found["warn_only"]) == (True, True)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    answer = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)
    return answer.stdout.decode().strip()


def test_the_commit_of_code_is_known_and_whether_it_was_changed(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None  # nothing is committed
    (tmp_path / "net.py").write_text("width = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "changed": False}
    (tmp_path / "beside.txt").write_text("not in git")
    assert git_state(tmp_path) == {"commit": commit, "changed": False}
    (tmp_path / "net.py").write_text("width = 2\n")
    assert git_state(tmp_path) == {"commit": commit, "changed": True}


def test_the_code_of_the_server_and_of_the_architecture_is_named(
    spec: SessionSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = git_state(Path(record.__file__).parent)
    assert describe(spec, CPU)["git"] == {"server": ours, "architecture": ours}

    (tmp_path / "their_net.py").write_text(
        "from torch import nn\nfrom training.engine.architectures import architecture\n"
        "@architecture('theirs', takes=('rows',))\ndef theirs(data):\n    return nn.Linear(5, 3)\n"
    )
    git(tmp_path, "init")
    git(tmp_path, "add", "their_net.py")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.syspath_prepend(str(tmp_path))
    import_module("their_net")
    config = replace(spec.config, model_architecture="theirs")
    try:
        found = describe(replace(spec, config=config), CPU)["git"]
    finally:
        del load().architectures["theirs"]
    assert found == {"server": ours, "architecture": {"commit": git(tmp_path, "rev-parse", "HEAD"), "changed": False}}


def test_without_git_the_record_goes_without(spec: SessionSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert describe(spec, CPU)["git"] == {"server": None, "architecture": None}


def test_a_record_takes_next_to_no_time(spec: SessionSpec) -> None:
    describe(spec, CPU)  # the registry of architectures is read once, by the training itself
    times = []
    for _ in range(5):
        start = time.perf_counter()
        describe(spec, CPU)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
