"""The networks that come with the server: for every data they claim, with every argument they declare."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.engine.conftest import MakeSession
from tests.engine.test_trainer import metrics, run, stop_after
from training.catalogue import DataKind
from training.engine.architectures import DataShape, build_model, check_model, load
from training.engine.data import Moments
from training.engine.failures import TrainingFailure
from training.journal import SessionDirectory

OURS = ("mlp", "cnn", "lstm", "gpt")
CPU = torch.device("cpu")


def text(length: int, tokens: int) -> DataShape:
    return DataShape(kind="text", sample_shape=(length,), output_count=tokens, largest_batch=4)


def built(name: str, data: DataShape, **arguments: Any) -> nn.Module:
    ones = torch.ones(data.sample_shape[0], dtype=torch.float64)
    return build_model(name, arguments, data, None if data.kind == "text" else Moments(ones, ones), None)


shapes: dict[DataKind, st.SearchStrategy[tuple[int, ...]]] = {
    "rows": st.tuples(st.integers(1, 9)),
    "images": st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    "text": st.tuples(st.integers(2, 9)),
}
VALUES: dict[str, Callable[[Any], st.SearchStrategy[Any]]] = {
    "integer": lambda rule: st.integers(rule["minimum"], rule["maximum"]),
    "number": lambda rule: st.floats(rule["minimum"], rule["maximum"]),
    "boolean": lambda rule: st.booleans(),
}


@st.composite
def networks(draw: st.DrawFn) -> tuple[str, dict[str, Any], DataShape]:
    name = draw(st.sampled_from(OURS))
    entry = load().architectures[name].entry
    kind = draw(st.sampled_from(entry.takes))
    data = DataShape(kind=kind, sample_shape=draw(shapes[kind]), output_count=draw(st.integers(1, 50)), largest_batch=4)
    rules = entry.arguments["properties"]
    arguments = draw(
        st.fixed_dictionaries({}, optional={key: VALUES[rule["type"]](rule) for key, rule in rules.items()})
    )
    if kind == "text":
        arguments.pop("bidirectional", None)
    return name, arguments, data


@pytest.mark.slow
@given(networks())
@settings(max_examples=40)
def test_every_declared_argument_builds_a_network_of_the_right_shape(
    network: tuple[str, dict[str, Any], DataShape],
) -> None:
    name, arguments, data = network
    with torch.device("meta"):  # shapes alone: the largest would not fit in any memory
        check_model(built(name, data, **arguments), name, data, torch.device("meta"))


@given(networks())
@settings(max_examples=20)
def test_every_parameter_learns(network: tuple[str, dict[str, Any], DataShape]) -> None:
    name, arguments, data = network
    arguments |= {"width": 8, "depth": min(2, arguments.get("depth", 2)), "dropout": 0.0}
    model = built(name, data, **arguments).train()
    samples = (
        torch.randint(0, data.output_count, (3, *data.sample_shape))
        if data.kind == "text"
        else torch.randn(3, *data.sample_shape)
    )
    model(samples).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("lstm", {}), ("lstm", {"depth": 2}), ("gpt", {}), ("gpt", {"heads": 3, "width": 20, "depth": 2})],
)
def test_a_language_model_never_looks_ahead(name: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = built(name, text(12, 9), **arguments).eval()
    tokens = torch.randint(0, 9, (2, 12))
    before = model(tokens)
    for place in range(12):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 9
        after = model(changed)
        assert torch.allclose(after[:, :place], before[:, :place], atol=1e-6)
        assert not torch.allclose(after[:, place:], before[:, place:], atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_a_language_model_looks_back(name: str) -> None:
    torch.manual_seed(0)
    model = built(name, text(12, 9)).eval()
    tokens = torch.randint(1, 9, (1, 12))
    changed = tokens.clone()
    changed[0, 0] = 0
    assert not torch.equal(model(tokens)[:, 11], model(changed)[:, 11])


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_a_language_model_learns_what_repeats(name: str) -> None:
    """Which letter follows in "abcabd…" hangs on more than the letter before it."""
    torch.manual_seed(0)
    pattern = torch.tensor([0, 1, 2, 0, 1, 3, 0, 4])
    tokens = pattern.repeat(40)
    model = built(name, text(16, 5), width=32, **({"depth": 2} if name == "gpt" else {})).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(100):
        windows = torch.stack([tokens[start : start + 17] for start in torch.randint(0, 300, (8,)).tolist()])
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    guesses = model.eval()(tokens[:256].reshape(16, 16)).argmax(2)
    # At the first places of a window nobody can know where in the pattern it stands.
    assert (guesses[:, 4:] == tokens[1:257].reshape(16, 16)[:, 4:]).double().mean() > 0.95


def test_the_gpt_starts_by_holding_all_tokens_for_equally_likely() -> None:
    torch.manual_seed(0)
    logits = built("gpt", text(64, 50)).eval()(torch.randint(0, 50, (4, 64)))
    loss = F.cross_entropy(logits.flatten(0, 1), torch.randint(0, 50, (4, 64)).flatten())
    assert abs(loss.item() - torch.tensor(50.0).log().item()) < 0.3


def test_the_gpt_takes_a_text_shorter_than_its_context() -> None:
    assert built("gpt", text(64, 50))(torch.zeros(1, 5, dtype=torch.int64)).shape == (1, 5, 50)


def test_a_bidirectional_lstm_for_text_is_refused_in_words() -> None:
    with pytest.raises(TrainingFailure, match=re.escape("bidirectional must be false for text")) as failure:
        built("lstm", text(8, 5), bidirectional=True)
    assert failure.value.code == "bad_config"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_reads_every_step_of_a_sequence(bidirectional: bool) -> None:
    torch.manual_seed(0)
    data = DataShape(kind="rows", sample_shape=(20,), output_count=3, largest_batch=4)
    model = built("lstm", data, bidirectional=bidirectional).eval()
    samples = torch.randn(1, 20, requires_grad=True)
    model(samples).sum().backward()
    assert samples.grad is not None
    assert (samples.grad != 0).all()


def test_images_reach_the_lstm_standardised_line_by_line() -> None:
    data = DataShape(kind="images", sample_shape=(1, 5, 7), output_count=3, largest_batch=4)
    mean, scale = torch.tensor([33.0]).double(), torch.tensor([80.0]).double()
    model = build_model("lstm", {}, data, Moments(mean, scale), None).eval()
    seen: list[torch.Tensor] = []
    model.get_submodule("network.lstm").register_forward_hook(lambda module, given, result: seen.append(given[0]))
    images = torch.randint(0, 256, (4, 1, 5, 7), dtype=torch.uint8)
    model(images)
    assert torch.allclose(seen[0], (images[:, 0].float() - 33) / 80)


def test_a_whole_number_written_as_a_float_builds_the_same_network() -> None:
    model = built("gpt", text(8, 5), depth=2.0, heads=2.0, width=16.0)
    assert model.get_parameter("network.tokens.weight").shape == (5, 16)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gpt", text(8, 5)),
        ("lstm", text(8, 5)),
        ("lstm", DataShape(kind="images", sample_shape=(1, 5, 7), output_count=3, largest_batch=4)),
        ("cnn", DataShape(kind="images", sample_shape=(1, 5, 7), output_count=3, largest_batch=4)),
        ("mlp", DataShape(kind="rows", sample_shape=(5,), output_count=3, largest_batch=4)),
    ],
)
def test_every_network_learns_in_half_precision_and_deterministically(
    name: str, data: DataShape, precision: torch.dtype
) -> None:
    model = built(name, data).train()
    samples = torch.randint(0, 5, (4, *data.sample_shape))
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            outputs = model(samples)
        outputs.float().square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


VERSES = "In Xanadu did Kubla Khan a stately pleasure-dome decree: " * 12


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_a_session_on_a_text_learns_and_goes_on_exactly_where_it_was_cut(
    make_session: MakeSession, tmp_path: Path, name: str
) -> None:
    (tmp_path / "verses.txt").write_text(VERSES)

    def session(which: str) -> SessionDirectory:
        return make_session(
            which,
            file=tmp_path / "verses.txt",
            format="text",
            model_architecture=name,
            model_args={"width": 32, "depth": 2, "dropout": 0.1},
            context_length=16,
            learning_rate=0.01,
            epochs=6,
        )

    whole, cut = session("whole"), session("cut")
    run(whole)
    run(cut, stop_after(7))
    run(cut, attempt=2)
    assert metrics(cut) == metrics(whole)
    assert (cut.weights / "model.pt").read_bytes() == (whole.weights / "model.pt").read_bytes()
    assert metrics(whole)[6][0] < 0.8 * metrics(whole)[1][0]
