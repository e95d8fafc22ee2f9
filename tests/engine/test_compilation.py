"""torch.compile: asked for, measured, failed, and the same on every resume."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.engine.conftest import MakeSession, classes, images, rows
from tests.engine.test_trainer import events, metrics, run, stop_after
from training.engine import compilation as module
from training.engine.devices import Environment
from training.engine.failures import TrainingFailure
from training.journal import SessionDirectory

TINY = {"model_args": {"width": 8, "depth": 1, "dropout": 0.3}, "epochs": 2, "log_every_steps": 1}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    """What was compiled for another test would hide what compiling does."""
    yield
    torch._dynamo.reset()


def said(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno == level and "compiled" in entry.message]


def environment(directory: SessionDirectory) -> dict[str, Any]:
    newest = max(directory.checkpoints.iterdir())
    found: dict[str, Any] = torch.load(newest / "state.pt")["environment"]
    return found


def result(directory: SessionDirectory) -> Any:
    return metrics(directory), events(directory, "end")[-1]["sha256"]


def test_what_is_short_is_not_compiled_and_says_so(make_session: MakeSession, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "training.engine")
    directory = make_session(x=rows(), y=classes(), **TINY)
    run(directory, stop_after(2))
    assert "too little to repay it" in said(caplog)[0]
    assert environment(directory)["compiled"] is False
    caplog.clear()
    run(directory, attempt=2)
    assert said(caplog) == []  # what was chosen is not looked at again


def test_looking_at_the_time_of_a_batch_changes_nothing(make_session: MakeSession) -> None:
    """Dropout takes random numbers and batch normalisation keeps averages: neither may notice."""
    options = {"x": images(), "y": classes(), "model_architecture": "cnn", "epochs": 1}
    looked, off = (make_session(mode, **options, compile=mode) for mode in ("auto", "off"))
    for directory in (looked, off):
        run(directory)
    assert result(looked) == result(off)


def test_a_model_that_cannot_be_compiled_is_trained_as_it_is(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "REPAYS_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(torch, "compile", refuse)
    directory = make_session(x=rows(), y=classes(), **TINY)
    off = make_session("off", x=rows(), y=classes(), **TINY, compile="off")
    run(directory)
    (warning,) = said(caplog, logging.WARNING)
    assert "no compiler here" in warning
    run(off)
    assert result(directory) == result(off)


def test_a_model_that_must_be_compiled_and_cannot_be_is_a_failure(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(TrainingFailure, match="no compiler here") as caught:
        run(make_session(x=rows(), y=classes(), **TINY, compile="on"))
    assert caught.value.code == "bad_config"


def refuse(model: torch.nn.Module, **options: Any) -> torch.nn.Module:
    """A compiler that fails as torch's do: not when it is asked for, but at the first batch."""

    class Uncompilable(torch.nn.Module):
        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler here")

    return Uncompilable()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, when its compiler is imported
def test_a_compiled_session_is_exact_too(make_session: MakeSession) -> None:
    whole, broken = (make_session(name, x=rows(), y=classes(), **TINY, compile="on") for name in ("whole", "broken"))
    run(whole)
    for attempt, count in ((1, 1), (2, 3), (3, 100)):
        torch._dynamo.reset()  # a new process has compiled nothing yet, and meets the sizes in another order
        run(broken, stop_after(count), attempt)
        assert environment(broken)["compiled"] is True
    assert result(broken) == result(whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_model_learns_what_it_would_learn_otherwise(make_session: MakeSession) -> None:
    options = {"x": rows(), "y": classes(), "model_args": {"width": 8, "depth": 1, "dropout": 0.0}, "epochs": 2}
    compiled, eager = (make_session(mode, **options, compile=mode) for mode in ("on", "off"))
    for directory in (compiled, eager):
        run(directory)
    for epoch, values in metrics(eager).items():
        assert metrics(compiled)[epoch] == pytest.approx(values, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, when its compiler is imported
def test_compiled_or_not_is_measured_once_and_kept(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "training.engine")
    monkeypatch.setattr(module, "REPAYS_AFTER_SECONDS", 0.0)
    directory = make_session(x=rows(), y=classes(), **TINY)
    run(directory, stop_after(2))
    (message,) = said(caplog)
    assert "ms as it is and" in message
    chosen = environment(directory)["compiled"]
    assert chosen is message.startswith("compiled")
    caplog.clear()
    run(directory, attempt=2)
    assert said(caplog) == []
    assert environment(directory)["compiled"] is chosen


@pytest.mark.parametrize(("faster", "expected"), [(0.5, "compiled"), (2.0, "not compiled")])
def test_the_faster_one_is_trained_and_a_kill_does_not_change_the_choice(
    make_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    faster: float,
    expected: str,
) -> None:
    caplog.set_level(logging.INFO, "training.engine")
    monkeypatch.setattr(module, "REPAYS_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(torch, "compile", lambda model, **options: torch.nn.Sequential(model))
    measured = iter([1.0, 1.0, 1.0, faster])  # a first batch, and some; then beside what was compiled
    monkeypatch.setattr(module.Compilation, "_batch_seconds", lambda *arguments, **options: next(measured))
    directory = make_session(x=rows(), y=classes(), **TINY)

    def die() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(directory, die)
    (message,) = said(caplog)
    assert message.startswith(f"{expected}: a batch takes 1e+03 ms as it is and {faster * 1000:.3g} ms compiled")
    if expected == "compiled":
        assert environment(directory)["compiled"] is True  # saved before the first step
        run(directory, attempt=2)
        assert events(directory, "end")[-1]["ending"] == "completed"


def test_an_environment_that_is_the_same_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before, after = (Environment.here(torch.device("cpu"), "fp32", processes=1) for _ in range(2))
    before.compiled = True
    after.load_state_dict(before.state_dict())
    assert after.compiled is True
    assert caplog.records == []
