"""The configuration checks itself: hypothesis for what is right, a table for what is wrong."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.spec import LOSS_FUNCTIONS, OPTIMIZERS, DatasetFile, Limits, SessionSpec, TrainingConfig

REQUIRED = {
    "model_architecture": "mlp",
    "dataset_name": "digits",
    "learning_rate": 0.01,
    "batch_size": 32,
    "epochs": 3,
}

FIELDS = {field.name for field in dataclasses.fields(TrainingConfig)}

configurations = st.fixed_dictionaries(
    {
        "model_architecture": st.text(min_size=1),
        "dataset_name": st.text(min_size=1),
        "learning_rate": st.floats(0.0001, 1.0) | st.just(1),
        "batch_size": st.integers(1, 256),
        "epochs": st.integers(1, 1000),
    },
    optional={"optimizer": st.sampled_from(OPTIMIZERS), "loss_function": st.sampled_from(LOSS_FUNCTIONS)},
)


@given(configurations)
def test_a_valid_configuration_is_kept_as_it_came(data: dict[str, object]) -> None:
    values, errors = TrainingConfig.check(data, Limits())
    assert values.items() >= ({"optimizer": "adam", "loss_function": "cross_entropy"} | data).items()
    assert values.keys() == FIELDS
    assert not errors


@given(configurations)
def test_a_spec_is_read_as_it_was_written(data: dict[str, object]) -> None:
    spec = SessionSpec(
        session_id="sess_0123456789ab",
        config=TrainingConfig(**TrainingConfig.check(data, Limits())[0]),
        dataset=DatasetFile(name="digits", path="/somewhere", sha256="0" * 64, format="npz"),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        spec.write(path)
        assert SessionSpec.read(path) == spec


WRONG = [
    ("learning_rate", True, "must be a number"),
    ("learning_rate", "0.1", "must be a number"),
    ("learning_rate", None, "must be a number"),
    ("learning_rate", float("nan"), "must be a finite number"),
    ("learning_rate", float("inf"), "must be a finite number"),
    ("learning_rate", 0.00009, "must be between 0.0001 and 1.0"),
    ("learning_rate", 1.0001, "must be between 0.0001 and 1.0"),
    ("learning_rate", 10**400, "must be between 0.0001 and 1.0"),
    ("batch_size", 0, "must be between 1 and 256"),
    ("batch_size", 257, "must be between 1 and 256"),
    ("batch_size", 32.0, "must be an integer"),
    ("batch_size", "32", "must be an integer"),
    ("batch_size", False, "must be an integer"),
    ("epochs", 0, "must be between 1 and 1000"),
    ("epochs", 1001, "must be between 1 and 1000"),
    ("epochs", [3], "must be an integer"),
    ("optimizer", "Adam", "must be one of adam, sgd, rmsprop, adamw"),
    ("optimizer", 1, "must be a string"),
    ("loss_function", "", "must be one of"),
    ("model_architecture", {}, "must be a string"),
    ("model_architecture", "", "must not be empty"),
    ("dataset_name", None, "must be a string"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_field_is_named(name: str, value: object, message: str) -> None:
    values, errors = TrainingConfig.check(REQUIRED | {name: value}, Limits())
    assert list(errors) == [name]
    assert errors[name][0].startswith(f"{name} {message}")
    assert values.keys() == FIELDS - {name}


@given(st.sets(st.sampled_from(sorted(REQUIRED)), min_size=1))
def test_every_missing_field_is_named(missing: set[str]) -> None:
    _, errors = TrainingConfig.check({name: REQUIRED[name] for name in REQUIRED.keys() - missing}, Limits())
    assert errors == {name: [f"{name} is required"] for name in missing}


@given(st.dictionaries(st.text().filter(lambda name: name not in FIELDS), st.none(), min_size=1))
def test_every_unknown_field_is_named(unknown: dict[str, None]) -> None:
    _, errors = TrainingConfig.check(REQUIRED | unknown, Limits())
    assert errors.keys() == unknown.keys()


@pytest.mark.parametrize("data", [None, [], "x", 1, True, [REQUIRED]])
def test_what_is_no_object_is_refused(data: object) -> None:
    values, errors = TrainingConfig.check(data, Limits())
    assert not values
    assert errors == {"non_field_errors": ["the configuration must be a JSON object"]}


def test_an_installation_can_widen_the_ranges() -> None:
    _, errors = TrainingConfig.check(REQUIRED | {"epochs": 5000}, Limits(epochs=(1, 10_000)))
    assert not errors
