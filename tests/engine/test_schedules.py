"""The learning rate over the steps, beside torch's own schedulers, and what the optimizers are given."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.engine.optimizers import OPTIMIZERS, build_optimizer
from training.engine.schedules import Schedule
from training.spec import OPTIMIZERS as OPTIMIZER_NAMES
from training.spec import SCHEDULERS, TrainingConfig

RATE = 0.1


def config(**options: Any) -> TrainingConfig:
    required = {"model_architecture": "mlp", "dataset_name": "digits", "batch_size": 8, "epochs": 3}
    return TrainingConfig.from_json({**required, "learning_rate": RATE, **options})


def optimizer_of(**options: Any) -> torch.optim.Optimizer:
    return build_optimizer(config(**options), [nn.Parameter(torch.ones(3))])


def schedule(total_steps: int, steps_per_epoch: int = 1, **options: Any) -> Schedule:
    return Schedule(config(**options), optimizer_of(), total_steps, steps_per_epoch)


def rates(total_steps: int, steps_per_epoch: int = 1, **options: Any) -> list[float]:
    chosen = schedule(total_steps, steps_per_epoch, **options)
    return [chosen.rate(step) for step in range(total_steps)]


def rates_of_torch(make: Any, total_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=RATE)
    scheduler = make(optimizer)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_every_scheduler_of_a_configuration_exists() -> None:
    assert all(rates(4, scheduler=name)[0] > 0 for name in SCHEDULERS)


@given(total_steps=st.integers(1, 60), final=st.sampled_from([0.0, 0.1, 1.0]))
def test_cosine_is_that_of_torch(total_steps: int, final: float) -> None:
    expected = rates_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps, RATE * final), total_steps
    )
    assert rates(total_steps, scheduler="cosine", scheduler_args={"final_fraction": final}) == pytest.approx(expected)


@given(epochs=st.integers(1, 12), steps_per_epoch=st.integers(1, 5), every=st.integers(1, 4))
def test_step_is_that_of_torch(epochs: int, steps_per_epoch: int, every: int) -> None:
    expected = rates_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, every * steps_per_epoch, 0.3),
        epochs * steps_per_epoch,
    )
    arguments = {"every_epochs": every, "factor": 0.3}
    found = rates(epochs * steps_per_epoch, steps_per_epoch, scheduler="step", scheduler_args=arguments)
    assert found == pytest.approx(expected)


@given(total_steps=st.integers(4, 60), peak_at=st.floats(0.3, 0.7))
def test_one_cycle_is_that_of_torch(total_steps: int, peak_at: float) -> None:
    expected = rates_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, RATE, total_steps=total_steps + 1, pct_start=peak_at, cycle_momentum=False
        ),
        total_steps,
    )
    # One more than is taken, since torch refuses the step behind its last.
    chosen = schedule(total_steps + 1, scheduler="one_cycle", scheduler_args={"peak_at": peak_at})
    assert [chosen.rate(step) for step in range(total_steps)] == pytest.approx(expected)


@given(losses=st.lists(st.floats(0.1, 10.0), max_size=20), patience=st.integers(0, 3))
def test_a_plateau_is_that_of_torch(losses: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=RATE)
    of_torch = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    ours = schedule(1, scheduler="plateau", scheduler_args={"patience": patience, "factor": 0.5})
    for loss in losses:
        of_torch.step(loss)
        ours.finish_epoch(loss)
        assert ours.rate(0) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_loss_that_is_no_number_is_no_better_one() -> None:
    ours = schedule(1, scheduler="plateau", scheduler_args={"patience": 1, "factor": 0.5})
    ours.finish_epoch(2.0)
    ours.finish_epoch(math.nan)
    ours.finish_epoch(math.inf)
    assert ours.rate(0) == pytest.approx(RATE / 2)


@given(
    scheduler=st.sampled_from(SCHEDULERS),
    warmup=st.integers(0, 20),
    total_steps=st.integers(1, 20),
    peak_at=st.floats(0.01, 0.99),
)
def test_a_rate_is_never_negative_and_never_above_the_one_that_is_asked_for(
    scheduler: str, warmup: int, total_steps: int, peak_at: float
) -> None:
    found = rates(total_steps, scheduler=scheduler, warmup_steps=warmup, scheduler_args={"peak_at": peak_at})
    assert all(0 <= rate <= RATE * (1 + 1e-12) for rate in found)
    assert found[0] > 0


def test_a_warm_up_rises_to_the_full_rate_and_the_cosine_follows() -> None:
    found = rates(8, scheduler="cosine", warmup_steps=4)
    assert found[:5] == pytest.approx([RATE / 4, RATE / 2, RATE * 3 / 4, RATE, RATE])
    assert found[4:] == sorted(found[4:], reverse=True)
    assert found[6] == pytest.approx(RATE / 2)


def test_only_what_changes_costs_something_in_a_step() -> None:
    assert schedule(9).is_constant
    assert not schedule(9, warmup_steps=1).is_constant
    assert not any(schedule(9, scheduler=name).is_constant for name in SCHEDULERS if name != "none")


def test_a_rate_is_given_to_the_optimizer() -> None:
    optimizer = optimizer_of()
    Schedule(config(warmup_steps=10), optimizer, 100, 10).set_rate(4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE / 2)


def test_a_plateau_goes_on_where_it_was() -> None:
    before, after = (schedule(1, scheduler="plateau", scheduler_args={"patience": 1}) for _ in range(2))
    for loss in (1.0, 2.0):
        before.finish_epoch(loss)
    after.load_state_dict(before.state_dict())
    after.finish_epoch(2.0)
    assert after.rate(0) == pytest.approx(RATE / 10)


def test_every_optimizer_of_a_configuration_exists() -> None:
    assert tuple(OPTIMIZERS) == OPTIMIZER_NAMES


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"optimizer": "adam"}, {"weight_decay": 0.0}),
        ({"optimizer": "adamw"}, {"weight_decay": 0.01}),
        ({"optimizer": "adamw", "weight_decay": 0.0}, {"weight_decay": 0.0}),
        ({"optimizer": "sgd"}, {"weight_decay": 0.0, "momentum": 0.9}),
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.5}, {"weight_decay": 0.5, "momentum": 0.0}),
        ({"optimizer": "rmsprop"}, {"weight_decay": 0.0, "momentum": 0.0}),
        ({"optimizer": "rmsprop", "momentum": 0.5}, {"momentum": 0.5}),
    ],
)
def test_weight_decay_and_momentum_reach_the_optimizer(options: dict[str, Any], expected: dict[str, float]) -> None:
    (group,) = optimizer_of(**options).param_groups
    assert {name: group[name] for name in expected} == expected
    assert group["lr"] == RATE
