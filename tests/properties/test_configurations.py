"""Configurations: what is refused, and what is filled in."""

import functools
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from servermgmt.errors import printable
from tests.configuration_page import REQUIRED, read_tables
from tests.properties.api import ROOT, Api
from tests.properties.inputs import FITTING, OPTIMIZERS, configs, without_nul
from tests.properties.rules import for_all
from training.fields import fields_of
from training.spec import TrainingConfig

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("datasets")]

MISSING = object()  # the field is left out

no_number: st.SearchStrategy[Any] = st.sampled_from([True, False, None, "0.1", "8", [], [1], {}])
no_string: st.SearchStrategy[Any] = st.sampled_from([True, None, 0, 1.5, [], ["adam"], {}])
beyond = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**50), 10**50)
fractions = st.integers(1, 255).map(lambda number: number + 0.5)


def not_between(lowest: float, highest: float) -> st.SearchStrategy[Any]:
    return beyond.filter(lambda value: not lowest <= value <= highest)


def not_among(words: list[str]) -> st.SearchStrategy[Any]:
    near_misses = st.sampled_from([*(word.upper() for word in words), *(f" {word}" for word in words), ""])
    return near_misses | st.text(without_nul).filter(lambda text: text not in words)


# For each field, the values with which a configuration that was good is wrong.
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "model_architecture": no_string | not_among(["mlp", "cnn"]) | st.just(MISSING),
    "dataset_name": no_string | not_among(sorted(FITTING)) | st.just(MISSING),
    "learning_rate": no_number | not_between(0.0001, 1.0) | st.just(MISSING),
    "batch_size": no_number | fractions | not_between(1, 256) | st.just(MISSING),
    "epochs": no_number | fractions | not_between(1, 1000) | st.just(MISSING),
    "optimizer": no_string | not_among(OPTIMIZERS),
    "loss_function": no_string | not_among(["cross_entropy", "mse", "mae", "bce"]),
    # Beyond the contract, one for each kind of value.
    "validation_split": no_number | not_between(0.001, 0.999),
    "gradient_accumulation": no_number | fractions | not_between(1, 100_000),
    "keep_checkpoints": no_number | fractions | not_between(1, 1000),
    "weight_decay": no_number.filter(lambda value: value is not None) | not_between(0, 10),
    "priority": no_number | fractions | not_between(-100, 100),
    "gpus": no_number | fractions | not_between(1, 64),
    "deterministic": st.sampled_from([None, 0, 1, "true", [], {}]),
    "precision": no_string | not_among(["auto", "fp32", "bf16", "fp16"]),
    "device": st.sampled_from([1, True, [], "", "gpu", "cuda:", "cuda:-1", "cpu "]),
    "model_args": st.sampled_from([None, True, 1, "x", []]),
    "class_weights": st.sampled_from([True, 1, [], "even", {"0": 0}, {"0": "1"}, {"0": None}]),
    "tags": st.sampled_from([None, "one", {}, [1], [""], ["a\nb"], ["x" * 51], ["x"] * 51]),
    "notes": no_string | st.just("x" * 10_001),
    "model_name": st.sampled_from(["", "a/b", ".hidden", "ü", "x" * 101, 1, []]),
    "initial_weights": st.sampled_from(["", 1, [], "nothing known", "sess_000000000000"]),
}
# Inside an object the wrong field is named with its place.
WRONG_INSIDE: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "early_stopping": ("patience", no_number | fractions | not_between(1, 100_000)),
    "scheduler_args": ("factor", no_number | not_between(0, 1)),
}
wrong_fields = st.lists(st.sampled_from(sorted(WRONG)), unique=True, max_size=5).flatmap(
    lambda fields: st.fixed_dictionaries({field: WRONG[field] for field in fields})
)
wrong_objects = st.lists(st.sampled_from(sorted(WRONG_INSIDE)), unique=True).flatmap(
    lambda fields: st.fixed_dictionaries(
        {field: st.fixed_dictionaries(dict([WRONG_INSIDE[field]])) for field in fields}
    )
)
KNOWN = {field.name for field in fields_of(TrainingConfig)}
unknown_fields = st.dictionaries(
    st.text(without_nul, min_size=1, max_size=300).filter(lambda name: name not in KNOWN),
    st.none() | st.integers(),
    max_size=2,
)
# For each dataset, the values that are right by themselves and do not fit it.
MISFITS: dict[str, dict[str, list[str]]] = {
    "rows": {"model_architecture": ["cnn", "resnet18"]},
    "pictures": {"loss_function": ["mse", "mae"]},
    "measures": {"model_architecture": ["cnn", "vgg16"], "loss_function": ["cross_entropy", "bce"]},
}


@st.composite
def wrong_configs(draw: st.DrawFn) -> tuple[dict[str, Any], set[str]]:
    """A configuration, and the names of the fields that are wrong with it: at least one."""
    config = draw(configs())
    misfitting = draw(st.sets(st.sampled_from(sorted(MISFITS[config["dataset_name"]]))))
    changes = {field: draw(st.sampled_from(MISFITS[config["dataset_name"]][field])) for field in misfitting}
    objects = draw(wrong_objects)
    wrong = draw(wrong_fields) | draw(unknown_fields)
    named = {*wrong, *(f"{field}.{WRONG_INSIDE[field][0]}" for field in objects)}
    # What fits a dataset can be said only where there is one.
    misfitting = set() if "dataset_name" in wrong else misfitting
    assume(named or misfitting)
    sent = config | changes | wrong | objects
    return {field: value for field, value in sent.items() if value is not MISSING}, named | misfitting


@for_all(case=wrong_configs())
def test_property_19_an_invalid_configuration_is_a_400_that_names_each_wrong_field(
    api: Api, case: tuple[dict[str, Any], set[str]]
) -> None:
    config, wrong = case

    answer = api.client.post(f"{ROOT}/training/start", config, format="json")

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "INVALID_CONFIG"
    assert set(error["details"]) == set(map(printable, wrong))
    assert all(messages and all(messages) for messages in error["details"].values())
    assert api.get("/training/sessions") == []


CONTRACT = {"optimizer": "adam", "loss_function": "cross_entropy"}  # what the contract promises
classification = configs(datasets=("rows", "pictures"))


@for_all(config=classification, omitted=st.sets(st.sampled_from(sorted(CONTRACT))))
def test_property_20_omitted_options_take_their_documented_defaults(
    api: Api, config: dict[str, Any], omitted: set[str]
) -> None:
    """Those of the page for people and those of the schema for programs."""
    sent = {field: value for field, value in config.items() if field not in omitted}

    session_id = api.start(sent)

    for documented in (defaults_of_page(), defaults_of_schema(api)):
        assert documented.items() >= CONTRACT.items()
        expected = documented | sent
        for path in ("/training/sessions", "/training/queue"):
            assert {entry["session_id"]: entry["config"] for entry in api.get(path)} == {session_id: expected}


@functools.cache
def defaults_of_page() -> dict[str, Any]:
    """What docs/configuration.md says, objects put together from their own tables."""
    tables = read_tables()
    defaults = {name: default for name, default in tables["A session"].items() if default is not REQUIRED}
    return defaults | {"scheduler_args": tables["scheduler_args"]}


def defaults_of_schema(api: Api) -> dict[str, Any]:
    schema = api.client.get("/openapi.json").json()["components"]["schemas"]["SessionConfigRequest"]
    return {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
