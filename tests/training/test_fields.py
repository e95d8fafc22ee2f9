"""Every field of a configuration refuses what is wrong and keeps what is right, whatever came to be its kind."""

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from training.fields import Field, fields_of, schema_of
from training.spec import AUGMENTATIONS, PRECISIONS, SCHEDULERS, EarlyStopping, Limits, SchedulerArgs, TrainingConfig

REQUIRED = {"model_architecture": "mlp", "dataset_name": "tiny", "learning_rate": 0.01, "batch_size": 8, "epochs": 3}
FIELDS = fields_of(TrainingConfig)
NESTED = {"scheduler_args": SchedulerArgs, "early_stopping": EarlyStopping}

no_texts = st.booleans() | st.integers() | st.floats() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
no_numbers = st.booleans() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers())
no_lists = st.booleans() | st.integers() | st.text() | st.dictionaries(st.text(), st.text())
no_objects = st.booleans() | st.integers() | st.floats() | st.lists(st.integers())
no_truths = st.integers() | st.floats() | st.text() | st.lists(st.booleans())
endless = st.sampled_from([float("nan"), float("inf"), float("-inf")])


def wrong_values(field: Field) -> st.SearchStrategy[Any]:
    """Values that are of another type than the field's, or against its rule."""
    wrong: dict[type, st.SearchStrategy[Any]] = {
        str: no_texts,
        bool: no_truths,
        int: no_numbers | endless | st.floats(allow_nan=False).map(lambda number: number // 1 + 0.5),
        float: no_numbers | endless,
        tuple: no_lists | st.lists(no_texts, min_size=1),
        dict: no_objects,
    }
    found = wrong.get(field.kind, no_objects | st.text())
    lowest, highest = field.rule.within
    if field.kind in (int, float):
        outside = [lowest - 1] if lowest is not None else []
        outside += [highest * 2, 10**400] if highest is not None else []
        found |= st.sampled_from(outside)
    if field.rule.choices:
        found |= st.text().filter(lambda text: text not in (field.rule.choices or ()))
    return found if field.nullable else found | st.none()


def is_json(value: Any) -> bool:
    """JSON Schema speaks of what JSON can hold, without NaN, and where 5.0 is a whole number."""
    return not (isinstance(value, float) and (value.is_integer() or not math.isfinite(value)))


@given(field=st.sampled_from(FIELDS), data=st.data())
def test_a_value_of_another_kind_is_refused_under_the_fields_name(field: Field, data: st.DataObject) -> None:
    value = data.draw(wrong_values(field))
    values, problems = TrainingConfig.check(REQUIRED | {field.name: value}, Limits())
    assert list(problems) == [field.name]
    assert problems[field.name][0].startswith(field.name)
    assert values.keys() == {other.name for other in FIELDS} - {field.name}


@pytest.mark.parametrize("name", NESTED)
@given(data=st.data())
def test_inside_an_object_the_wrong_one_is_named_with_its_place(name: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(fields_of(NESTED[name])))
    value = data.draw(wrong_values(field))
    _, problems = TrainingConfig.check(REQUIRED | {name: {field.name: value}}, Limits())
    assert list(problems) == [f"{name}.{field.name}"]
    assert problems[f"{name}.{field.name}"][0].startswith(f"{name}.{field.name} ")


WRONG = [
    ("scheduler", "Cosine", "scheduler must be one of none, cosine, step, one_cycle, plateau"),
    ("device", "gpu", "device must be auto, cpu, cuda or cuda:N"),
    ("device", "cuda:1\n", "device must be auto, cpu, cuda or cuda:N"),
    ("model_name", "a/b", "model_name must be 1 to 100 letters"),
    ("model_name", "", "model_name must be 1 to 100 letters"),
    ("tags", "one", "tags must be a list of strings"),
    ("tags", ["ok", ""], "tags must hold strings that are 1 to 50 printable characters"),
    ("tags", ["x"] * 51, "tags must have 50 items at most"),
    ("notes", "x" * 10_001, "notes must be 10000 characters at most"),
    ("seed", 2**63, "seed must be between 0 and"),
    ("gradient_clip", 0, "gradient_clip must be between 1e-12 and"),
    ("gpus", True, "gpus must be an integer"),
    ("deterministic", 1, "deterministic must be true or false"),
    ("model_args", [], "model_args must be a JSON object"),
    ("model_args", {"width": float("nan")}, "model_args must hold what JSON can write"),
    ("model_args", {str(number): 1 for number in range(101)}, "model_args must have 100 keys at most"),
    ("class_weights", "even", "class_weights must be an object or balanced"),
    ("class_weights", {"cat": 0}, "class_weights must map names to numbers: 'cat' must be between 1e-09"),
    ("class_weights", {"cat": 1, "dog": -1}, "class_weights must map names to numbers: 'dog' must be between 1e-09"),
    ("class_weights", {"cat": True}, "class_weights must map names to numbers: 'cat' must be a number"),
    ("class_weights", {"cat": "1"}, "class_weights must map names to numbers: 'cat' must be a number"),
    ("class_weights", {"cat": None}, "class_weights must map names to numbers: 'cat' must be a number"),
    ("class_weights", {"cat": 10**400}, "class_weights must map names to numbers: 'cat' must be between"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_the_message_says_what_is_asked_for(name: str, value: Any, message: str) -> None:
    _, problems = TrainingConfig.check(REQUIRED | {name: value}, Limits())
    assert list(problems) == [name]
    assert problems[name][0].startswith(message)


WRONG_INSIDE = [
    ({"early_stopping": {"patience": 0}}, {"early_stopping.patience"}),
    ({"early_stopping": {"patience": "5", "metric": "f1"}}, {"early_stopping.patience", "early_stopping.metric"}),
    ({"early_stopping": {"patients": 5}}, {"early_stopping.patients"}),
    ({"early_stopping": {"keep_best": None}}, {"early_stopping.keep_best"}),
    ({"early_stopping": True}, {"early_stopping"}),
    ({"scheduler_args": None}, {"scheduler_args"}),
    ({"scheduler_args": {"peak_at": 1}}, {"scheduler_args.peak_at"}),
    ({"scheduler_args": {"factor": []}, "epochs": 0}, {"scheduler_args.factor", "epochs"}),
]


@pytest.mark.parametrize(("changes", "named"), WRONG_INSIDE)
def test_every_wrong_one_inside_an_object_is_named_at_once(changes: dict[str, Any], named: set[str]) -> None:
    _, problems = TrainingConfig.check(REQUIRED | changes, Limits())
    assert set(problems) == named


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "model_args": st.dictionaries(st.text(), json_values, max_size=3),
    "augment": st.sampled_from(AUGMENTATIONS),
    "class_weights": st.none() | st.just("balanced") | st.dictionaries(st.text(), st.floats(1e-9, 1e9), max_size=3),
    "scheduler": st.sampled_from(SCHEDULERS),
    "scheduler_args": st.fixed_dictionaries(
        {}, optional={"final_fraction": st.floats(0, 1), "every_epochs": st.integers(1, 100_000)}
    ),
    "early_stopping": st.none()
    | st.fixed_dictionaries({}, optional={"patience": st.integers(1, 9), "min_delta": st.floats(0, 1e30)}),
    "precision": st.sampled_from(PRECISIONS),
    "device": st.none() | st.from_regex("auto|cpu|cuda(:[0-9]{1,3})?", fullmatch=True),
    "deterministic": st.booleans(),
    "seed": st.none() | st.integers(0, 2**63 - 1),
    "max_seconds": st.none() | st.floats(1, 1e9),
    "gradient_clip": st.none() | st.floats(1e-12, 1e12) | st.integers(1, 9),
    "tags": st.lists(st.from_regex("[^\x00-\x1f]{1,50}", fullmatch=True), max_size=5),
    "freeze": st.lists(st.text(), max_size=5),
    "notes": st.text(max_size=100),
    "model_name": st.none() | st.from_regex("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
    "priority": st.integers(-100, 100),
}


@given(st.fixed_dictionaries({}, optional=RIGHT))
def test_what_is_right_survives_being_stored(changes: dict[str, Any]) -> None:
    values, problems = TrainingConfig.check(REQUIRED | changes, Limits())
    assert not problems
    config = TrainingConfig(**values)
    stored = json.loads(json.dumps(config.as_dict(), allow_nan=False))
    assert TrainingConfig.from_json(stored) == config
    assert stored.keys() == {field.name for field in FIELDS}
    for name, value in changes.items():
        if name in NESTED and value is not None:
            assert stored[name].items() >= value.items()
        else:
            assert stored[name] == value


def test_no_two_configurations_share_a_default() -> None:
    first, second = (TrainingConfig(**TrainingConfig.check(REQUIRED, Limits())[0]) for _ in range(2))
    first.model_args["width"] = 1
    assert second.model_args == {}


def test_a_bound_may_be_open_on_either_side() -> None:
    config = {**REQUIRED, "epochs": 5}
    for within, message in (((6, None), "epochs must be 6 or more"), ((None, 4), "epochs must be 4 or less")):
        _, problems = TrainingConfig.check(config, Limits(epochs=within))  # type: ignore[arg-type]
        assert problems == {"epochs": [message]}


SCHEMA = schema_of(TrainingConfig, asdict(Limits()))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["required"] == list(REQUIRED)
    assert SCHEMA["properties"]["epochs"]["maximum"] == 1000


@given(st.fixed_dictionaries({}, optional=RIGHT))
def test_the_schema_takes_what_the_check_takes(changes: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(REQUIRED | changes)


@given(field=st.sampled_from(FIELDS), data=st.data())
def test_the_schema_refuses_what_the_check_refuses(field: Field, data: st.DataObject) -> None:
    value = data.draw(wrong_values(field).filter(is_json))
    assert not Draft202012Validator(SCHEMA).is_valid(REQUIRED | {field.name: value})


@pytest.mark.parametrize("changes", [changes for changes, _ in WRONG_INSIDE] + [{"more": 1}])
def test_the_schema_looks_inside_objects_too(changes: dict[str, Any]) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(REQUIRED | changes)


def test_the_schemas_defaults_are_those_that_are_stored() -> None:
    stored = TrainingConfig(**TrainingConfig.check(REQUIRED, Limits())[0]).as_dict()
    defaults = {name: schema["default"] for name, schema in SCHEMA["properties"].items() if "default" in schema}
    assert defaults == {name: value for name, value in stored.items() if name not in REQUIRED}
