"""Other people's architectures: found where they are installed, trained like ours, and left out whole when broken."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.conftest import DIGITS, MakeSession, classes, rows
from tests.engine.plugins import ROOT, SIMPLE, ask_engine, environment, install
from tests.engine.test_trainer import events
from training.journal import SessionDirectory

pytestmark = pytest.mark.slow


def train(directory: SessionDirectory, site: Path, modules: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-m", "training.engine", str(directory.root)],
        cwd=ROOT,
        env=environment(site, modules),
        capture_output=True,
        check=False,
    ).returncode


def test_an_installed_package_brings_architectures(tmp_path: Path) -> None:
    install(tmp_path, "fine_nets", {"__init__.py": "", "nets.py": SIMPLE}, "fine_nets.nets")
    found, left_out, errors = ask_engine(tmp_path)
    assert found["NAME"] == {
        "name": "NAME",
        "takes": ["rows"],
        "arguments": {
            "type": "object",
            "properties": {"width": {"type": "integer", "minimum": 1, "maximum": 64, "default": 8}},
            "additionalProperties": False,
        },
        "description": "A layer between two.",
        "source": "fine-nets 1.2",
    }
    assert (left_out, errors) == ([], "")
    assert found["mlp"]["source"] == "built in"


def test_a_module_that_is_named_by_the_setting_brings_architectures(tmp_path: Path) -> None:
    (tmp_path / "my_nets.py").write_text(SIMPLE)
    (tmp_path / "more_nets.py").write_text(SIMPLE.replace("NAME", "MORE"))
    found, left_out, _ = ask_engine(tmp_path, " my_nets , more_nets,")
    assert found["NAME"]["source"] == "my_nets"
    assert found["MORE"]["source"] == "more_nets"
    assert left_out == []


BROKEN = {
    "a missing package": ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
    "a slip": ("1 / 0", "ZeroDivisionError: division by zero"),
    "no python": ("def", "SyntaxError"),
    "an exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "a taken name": (SIMPLE.replace("NAME", "mlp"), "ValueError: the name mlp is taken already: built in"),
    "a name that is none": (SIMPLE.replace("NAME", "a/b"), "'a/b' is no name"),
    "no type": (SIMPLE.replace(": Annotated[int, Between(1, 64)]", ""), "the argument width must have a type"),
    "no default": (SIMPLE.replace(" = 8", ""), "the argument width must be keyword-only and have a default"),
    "unknown data": (SIMPLE.replace('("rows",)', '("sound",)'), "must take some of rows, images, text"),
    "no data": (SIMPLE.replace('("rows",)', "()"), "must take some of rows, images, text"),
}


def test_a_package_that_is_broken_is_left_out_whole_and_keeps_nobody_else_away(tmp_path: Path) -> None:
    for number, (source, _) in enumerate(BROKEN.values()):
        whole = SIMPLE.replace("NAME", f"HALF{number}") + source
        install(tmp_path, f"broken_{number}", {"__init__.py": whole}, f"broken_{number}")
    install(tmp_path, "fine_nets", {"__init__.py": SIMPLE}, "fine_nets")
    install(tmp_path, "no_module", {"__init__.py": ""}, "no_module.nets:build")
    found, left_out, errors = ask_engine(tmp_path)
    assert {"NAME", "mlp", "resnet18"} <= found.keys()
    assert not [name for name in found if name.startswith("HALF")]
    reasons = {entry["module"]: entry["reason"] for entry in left_out}
    for number, (_, reason) in enumerate(BROKEN.values()):
        assert reason in reasons.pop(f"broken_{number}")
    assert reasons == {"no_module.nets": "ModuleNotFoundError: No module named 'no_module.nets'"}
    assert left_out[0]["source"] == "broken-0 1.2"
    assert "ZeroDivisionError" in errors
    assert str(tmp_path / "broken_1" / "__init__.py") in errors  # where it went wrong


def test_a_module_that_a_broken_one_imports_is_not_broken(tmp_path: Path) -> None:
    install(tmp_path, "a_broken", {"__init__.py": "import b_fine\n1 / 0"}, "a_broken")
    install(tmp_path, "b_fine", {"__init__.py": SIMPLE}, "b_fine")
    found, left_out, _ = ask_engine(tmp_path)
    assert found["NAME"]["source"] == "b-fine 1.2"
    assert [entry["module"] for entry in left_out] == ["a_broken"]


def test_a_package_that_fails_later_takes_its_first_modules_with_it(tmp_path: Path) -> None:
    files = {"__init__.py": "from half_nets import fine, broken", "fine.py": SIMPLE, "broken.py": "1 / 0"}
    install(tmp_path, "half_nets", files, "half_nets")
    found, left_out, _ = ask_engine(tmp_path)
    assert "NAME" not in found
    assert [entry["module"] for entry in left_out] == ["half_nets"]


def test_what_a_package_prints_does_not_stand_in_the_answer(tmp_path: Path) -> None:
    noise = "import os\nprint('welcome to my nets')\nos.write(1, b'from below')\n"
    install(tmp_path, "loud_nets", {"__init__.py": noise + SIMPLE}, "loud_nets")
    found, _, errors = ask_engine(tmp_path)
    assert "NAME" in found
    assert "welcome to my nets" in errors
    assert "from below" in errors


@pytest.mark.parametrize("by_setting", [True, False])
def test_a_strangers_network_trains_with_its_arguments(
    make_session: MakeSession, tmp_path: Path, by_setting: bool
) -> None:
    site = tmp_path / "site"
    install(site, "fine_nets", {"__init__.py": "", "nets.py": SIMPLE}, None if by_setting else "fine_nets.nets")
    directory = make_session(x=rows(), y=classes(), model_architecture="NAME", model_args={"width": 5.0}, epochs=1)
    assert train(directory, site, "fine_nets.nets" if by_setting else "") == 0
    (end,) = events(directory, "end")
    assert end["ending"] == "completed"
    weights = torch.load(directory.weights / "model.pt", weights_only=True)
    assert weights["network.0.weight"].shape == (5, 5)


WRONG = {
    "outputs of another shape": (
        "nn.Linear(width, data.output_count)",
        "nn.Linear(width, 7)",
        "user_code",
        "NAME must give outputs of shape (2, 3) for two of these samples, and gave (2, 7).",
    ),
    "no tensor": (
        "nn.Linear(width, data.output_count))",
        "nn.Linear(width, data.output_count), nn.LSTM(data.output_count, 3))",
        "user_code",
        "and gave a tuple.",
    ),
    "a layer that does not fit": (
        "nn.Linear(features, width)",
        "nn.Linear(features + 1, width)",
        "user_code",
        "NAME failed on samples of shape (2, 5): RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "an error while it is built": (
        "features, = data.sample_shape",
        "features = data.sample_shape[3]",
        "user_code",
        "NAME could not be built: IndexError: tuple index out of range",
    ),
    "no module": (
        "return nn.Sequential",
        "return 'a network'\n    nn.Sequential",
        "user_code",
        "NAME built no nn.Module but a str.",
    ),
    "arguments that it refuses": (
        "features, = data.sample_shape",
        "raise ValueError('width 8 is too odd')",
        "bad_config",
        "NAME refuses its model_args or this dataset: width 8 is too odd",
    ),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_a_strangers_network_that_is_wrong_ends_with_a_sentence_that_says_how(
    make_session: MakeSession, tmp_path: Path, what: str
) -> None:
    before, after, code, message = WRONG[what]
    source = SIMPLE.replace(before, after)
    assert source != SIMPLE
    site = tmp_path / "site"
    install(site, "wrong_nets", {"__init__.py": source}, "wrong_nets")
    directory = make_session(x=rows(), y=classes(), model_architecture="NAME", epochs=1)
    assert train(directory, site) == 1
    (end,) = events(directory, "end")
    assert end["failure_code"] == code
    assert message in end["error_message"]
    (entry,) = [event for event in events(directory, "log") if event["level"] == "ERROR"]
    assert "Traceback" in entry["message"]


def example() -> str:
    """The whole module that docs/architectures.md shows."""
    (found,) = re.findall("```python\n(.*?)```", (ROOT / "docs" / "architectures.md").read_text(), re.DOTALL)
    return str(found)


def test_the_documented_example_trains(make_session: MakeSession, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "my_nets.py").write_text(example())
    found, left_out, errors = ask_engine(site, "my_nets")
    assert (left_out, errors) == ([], "")
    assert found["residual_mlp"]["description"] == "Fully connected layers, each of which adds to what came before it."
    digits = np.load(DIGITS)
    directory = make_session(
        x=digits["x"].reshape(-1, 64).astype(np.float32),
        y=digits["y"],
        model_architecture="residual_mlp",
        model_args={"depth": 2, "activation": "relu"},
        epochs=5,
        batch_size=32,
    )
    assert train(directory, site, "my_nets") == 0
    assert events(directory, "epoch")[-1]["val_accuracy"] > 0.9
