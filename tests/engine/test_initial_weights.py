"""Starting from weights: what fits is taken, the rest is fresh, what is frozen stays, byte for byte."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.conftest import MakeSession, classes, images, numbers, rows
from tests.engine.test_trainer import events, metrics, run, stop_after
from training.engine.architectures import DataShape, build_model
from training.engine.checkpoint import find_newest
from training.engine.data import Moments
from training.engine.failures import TrainingFailure
from training.engine.initial_weights import load_initial_weights, set_training_mode
from training.journal import SessionDirectory
from training.spec import WeightsFile

State = dict[str, Tensor]


def saved(path: Path, content: Any) -> WeightsFile:
    torch.save(content, path)
    return weights_file(path)


def weights_file(path: Path) -> WeightsFile:
    return WeightsFile(name="earlier", path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def model_for(
    architecture: str = "mlp", shape: tuple[int, ...] = (5,), outputs: int = 3, seed: int = 0, mean: float = 0.0
) -> nn.Module:
    torch.manual_seed(seed)
    data = DataShape(
        kind="images" if len(shape) == 3 else "rows", sample_shape=shape, output_count=outputs, largest_batch=4
    )
    moments = Moments(torch.full((shape[0],), mean).double(), torch.ones(shape[0]).double())
    return build_model(architecture, {}, data, moments, None)


def copies(model: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: State, other: State) -> set[str]:
    """The names under which both hold the same bytes."""
    return {name for name in one.keys() & other.keys() if torch.equal(one[name], other[name])}


HEAD = {"network.7.weight", "network.7.bias"}


def wrapped(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "optimizer": {"state": {}}, "progress": {"epoch": 3}},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: wrapped(state, "module."),
        lambda state: wrapped(state, "_orig_mod."),
        lambda state: {name.removeprefix("network."): tensor for name, tensor in state.items() if "network." in name},
        lambda state: {name: tensor.double() for name, tensor in state.items()},
        lambda state: state | {"more": torch.ones(3)},
    ],
    ids=["state_dict", "checkpoint", "lightning", "parallel", "compiled", "network alone", "float64", "more than that"],
)
def test_weights_are_taken_however_they_were_saved(tmp_path: Path, wrap: Any) -> None:
    earlier, model = model_for(seed=1), model_for(seed=2)
    load_initial_weights(model, saved(tmp_path / "earlier.pt", wrap(earlier.state_dict())), ())
    assert same(copies(model), copies(earlier)) == set(model.state_dict())


def test_what_does_not_fit_is_left_fresh_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    earlier, model = model_for(seed=1, outputs=7), model_for(seed=2, outputs=3)
    fresh = copies(model)
    with caplog.at_level(logging.INFO):
        load_initial_weights(model, saved(tmp_path / "earlier.pt", earlier.state_dict()), ())
    network = {name for name in fresh if name.startswith("network.")}
    assert same(copies(model), copies(earlier)) >= network - HEAD
    assert same(copies(model), fresh) >= HEAD
    assert caplog.messages == [
        "4 of the network's 6 tensors start from earlier; these start anew: network.7.weight, network.7.bias"
    ]


def test_the_scales_stay_those_of_the_data(tmp_path: Path) -> None:
    earlier, model = model_for(seed=1, mean=100.0), model_for(seed=2, mean=3.0)
    load_initial_weights(model, saved(tmp_path / "earlier.pt", earlier.state_dict()), ())
    assert (model.get_buffer("inputs.mean") == 3.0).all()
    network = earlier.get_submodule("network").eval()
    samples = torch.randn(4, 5)
    assert torch.allclose(model.eval()(samples + 3.0), network(samples), atol=1e-5)


def test_torchvisions_own_weights_fit_also_behind_a_change_of_size(tmp_path: Path) -> None:
    from training.engine.networks.torchvision import import_torchvision

    network = import_torchvision().models.squeezenet1_1(weights=None)
    file = saved(tmp_path / "squeezenet.pt", network.state_dict())
    for side, place in ((8, "network.1."), (32, "network.")):
        model = model_for("squeezenet1_1", (3, side, side))
        load_initial_weights(model, file, ())
        taken = {place + name for name in network.state_dict() if not name.startswith("classifier.")}
        found = copies(model)
        assert all(torch.equal(found[name], network.state_dict()[name.removeprefix(place)]) for name in taken)


class Strange:
    """Nothing that weights_only would read."""


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ([torch.ones(3)], "holds no tensors by name"),
        (torch.ones(3), "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"model": {}}, "holds no tensors by name"),
        ({"epoch": 3}, "holds no tensors by name"),
        ({1: torch.ones(3)}, "holds no tensors by name"),
        (Strange(), "no state_dict that torch.save wrote"),
        ({"network.1.weight": Strange()}, "no state_dict that torch.save wrote"),
        ({"network.1.weight": torch.ones(3)}, "none of its 1 tensors"),
        ({"network.1.weight": torch.ones(256, 5, dtype=torch.complex64)}, "none of its 1 tensors"),
        ({"inputs.mean": torch.ones(5), "inputs.scale": torch.ones(5)}, "none of its 2 tensors"),
    ],
)
def test_a_file_without_weights_that_fit_is_refused_in_words(tmp_path: Path, content: Any, hint: str) -> None:
    model = model_for()
    before = copies(model)
    with pytest.raises(TrainingFailure, match=hint) as failure:
        load_initial_weights(model, saved(tmp_path / "earlier.pt", content), ())
    assert failure.value.code == "bad_config"
    assert "the weights earlier" in str(failure.value)
    assert same(copies(model), before) == set(before)


def test_a_file_that_changed_is_gone_or_is_junk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "earlier.pt"
    file = saved(path, model_for().state_dict())
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(TrainingFailure, match="not the one that the session was queued with"):
        load_initial_weights(model_for(), file, ())
    path.write_bytes(b"junk")
    with pytest.raises(TrainingFailure, match="no state_dict"):
        load_initial_weights(model_for(), weights_file(path), ())
    path.unlink()
    with pytest.raises(TrainingFailure, match="No such file or directory"):
        load_initial_weights(model_for(), file, ())


@pytest.mark.parametrize(
    ("patterns", "learns"),
    [
        (("network.1.*", "network.4.*"), HEAD),
        (("network.[14].*",), HEAD),
        (("network.1.weight",), {"network.1.bias", "network.4.weight", "network.4.bias", *HEAD}),
        (("*.weight",), {"network.1.bias", "network.4.bias", "network.7.bias"}),
        ((), {"network.1.weight", "network.1.bias", "network.4.weight", "network.4.bias", *HEAD}),
    ],
)
def test_parameters_are_frozen_by_name_or_pattern(patterns: tuple[str, ...], learns: set[str]) -> None:
    model = model_for()
    load_initial_weights(model, None, patterns)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == learns


@pytest.mark.parametrize(
    ("patterns", "hint"),
    [
        (("network.1.*", "nothing.*"), "'nothing.*'; there are network.1.weight"),
        (("inputs.mean",), "'inputs.mean'"),
        (("*",), "nothing to learn"),
        (("*.weight", "*.bias"), "nothing to learn"),
    ],
)
def test_patterns_that_freeze_nothing_or_everything_are_refused(patterns: tuple[str, ...], hint: str) -> None:
    with pytest.raises(TrainingFailure) as failure:
        load_initial_weights(model_for(), None, patterns)
    assert failure.value.code == "bad_config"
    assert hint in str(failure.value)


def test_what_is_frozen_whole_stays_in_evaluation() -> None:
    model = model_for("cnn", (1, 8, 8))
    normalisations = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    first, second = normalisations[:2]
    load_initial_weights(model, None, (f"{first}.*", f"{second}.weight"))
    set_training_mode(model)
    assert not model.get_submodule(first).training
    assert model.get_submodule(second).training
    assert all(module.training for module in model.modules() if isinstance(module, nn.Dropout))
    before = copies(model)
    model(torch.rand(4, 1, 8, 8))
    moved = set(before) - same(before, copies(model))
    assert f"{first}.running_mean" not in moved
    assert f"{second}.running_mean" in moved


# --- Whole sessions ---


def start_from(directory: SessionDirectory, path: Path) -> None:
    spec = json.loads(directory.spec.read_text())
    file = weights_file(path)
    spec["initial_weights"] = {"name": file.name, "path": file.path, "sha256": file.sha256}
    spec["config"]["initial_weights"] = file.name
    directory.spec.write_text(json.dumps(spec))


def final(directory: SessionDirectory) -> State:
    state: State = torch.load(directory.weights / "model.pt", weights_only=True)
    return state


BODY = ("network.0.*", "network.1.*", "network.4.*", "network.5.*", "network.8.*", "network.9.*")


def test_a_model_is_tuned_to_other_classes_with_its_body_frozen(make_session: MakeSession) -> None:
    earlier = make_session("earlier", x=images(), y=classes(), model_architecture="cnn")
    run(earlier)
    tuned = make_session(
        "tuned", x=images(), y=classes(names=4), model_architecture="cnn", freeze=BODY, optimizer="adamw"
    )
    start_from(tuned, earlier.weights / "model.pt")
    run(tuned)
    before, after = final(earlier), final(tuned)
    body = {name for name in before if any(name.startswith(part.rstrip("*")) for part in BODY)}
    assert len([name for name in body if "running_mean" in name]) == 3
    assert body <= same(before, after)
    assert after["network.13.weight"].shape == (4, 128)
    assert events(tuned, "end")[0]["ending"] == "completed"


def test_a_resume_is_exact_with_frozen_parameters_and_without_the_file(make_session: MakeSession) -> None:
    earlier = make_session("earlier", x=images(), y=classes(), model_architecture="cnn")
    run(earlier)
    options: dict[str, Any] = {
        "x": images(),
        "y": classes(names=4),
        "model_architecture": "cnn",
        "freeze": BODY[:4],
        "epochs": 3,
    }
    whole, cut = make_session("whole", **options), make_session("cut", **options)
    for directory in (whole, cut):
        start_from(directory, earlier.weights / "model.pt")
    run(whole)
    run(cut, stop_after(4))
    assert find_newest(cut.checkpoints)[0] is not None
    (earlier.weights / "model.pt").unlink()
    run(cut, attempt=2)
    assert metrics(cut) == metrics(whole)
    assert (cut.weights / "model.pt").read_bytes() == (whole.weights / "model.pt").read_bytes()


def test_a_session_starts_from_a_checkpoint_of_another(make_session: MakeSession) -> None:
    earlier = make_session("earlier", x=rows(), y=classes(), epochs=3)
    run(earlier, stop_after(4))
    checkpoint, _ = find_newest(earlier.checkpoints)
    assert checkpoint is not None
    tuned = make_session("tuned", x=rows(), y=numbers(), loss_function="mse", freeze=("network.1.*",))
    start_from(tuned, checkpoint.folder / "state.pt")
    run(tuned)
    after, before = final(tuned), checkpoint.load()["model"]
    assert {"network.1.weight", "network.1.bias"} <= same(after, before)
    assert "network.4.weight" not in same(after, before)


def test_a_session_that_starts_from_a_good_model_is_good_at_once(make_session: MakeSession) -> None:
    options: dict[str, Any] = {"x": rows(60), "y": (rows(60)[:, 0] > 3).astype(int), "learning_rate": 0.01}
    earlier = make_session("earlier", epochs=20, **options)
    run(earlier)
    tuned = make_session("tuned", epochs=1, **options)
    start_from(tuned, earlier.weights / "model.pt")
    run(tuned)
    assert metrics(tuned)[1][0] < 0.5 * metrics(earlier)[1][0]
