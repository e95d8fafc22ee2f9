"""GET /api/v1/architectures, and what POST /api/v1/training/start says of arguments."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from registry.models import Dataset
from tests.training.conftest import CONFIG
from training import installation
from training.models import TrainingSession

URL = "/api/v1/architectures"


def read(client: APIClient, path: str = "", **query: Any) -> Any:
    answer = client.get(f"{URL}{path}", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_it_lists_what_can_be_trained(client: APIClient) -> None:
    found = {entry["name"]: entry for entry in read(client)}
    assert {"mlp", "cnn", "lstm", "gpt", "resnet18", "vit_b_16"} <= found.keys()
    assert len(found) > 80
    gpt = found["gpt"]
    assert gpt.keys() == {"name", "takes", "arguments", "description", "source"}
    assert gpt["takes"] == ["text"]
    assert gpt["arguments"]["properties"]["width"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 16384,
        "default": 128,
        "description": "Values that stand for one step.",
    }
    assert found["resnet18"]["source"].startswith("torchvision 0.")


def test_every_entry_says_what_it_is_and_has_a_schema_that_accepts_its_defaults(client: APIClient) -> None:
    for entry in read(client):
        assert entry["description"].endswith(".")
        assert entry["source"]
        schema = entry["arguments"]
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate({name: rule["default"] for name, rule in schema["properties"].items()})


@pytest.mark.parametrize(
    ("kind", "has", "has_not"),
    [
        ("text", {"lstm", "gpt"}, {"mlp", "cnn"}),
        ("rows", {"mlp", "lstm"}, {"cnn", "gpt"}),
        ("images", {"cnn"}, {"gpt"}),
    ],
)
def test_takes_filters(client: APIClient, kind: str, has: set[str], has_not: set[str]) -> None:
    names = {entry["name"] for entry in read(client, takes=kind)}
    assert has <= names
    assert not has_not & names


@pytest.mark.parametrize("query", ["takes=sound", "takes=", "takes=Text", "limit=0", "cursor=x", "cursor=10"])
def test_a_wrong_query_is_refused_by_name(client: APIClient, query: str) -> None:
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["error"]["details"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("path", ["", "/left_out"])
def test_a_key_is_needed(stranger: APIClient, path: str) -> None:
    assert stranger.get(URL + path).status_code == 401


@pytest.mark.parametrize("query", ["?limit=7", "?limit=7&takes=images"])
def test_pages_follow_each_other_by_header(client: APIClient, query: str) -> None:
    whole = client.get(URL + query.replace("limit=7", "")).json()
    url, pages = URL + query, []
    while url:
        answer = client.get(url)
        pages.append(answer.json())
        link = answer.headers.get("Link", "")
        url = link.partition("<")[2].partition(">")[0].removeprefix("http://testserver")
    assert [entry for page in pages for entry in page] == whole
    assert [len(page) for page in pages[:-1]] == [7] * (len(pages) - 1)
    assert 1 <= len(pages[-1]) <= 7


def test_a_cursor_belongs_to_its_collection(client: APIClient) -> None:
    link = client.get(f"{URL}?limit=1").headers["Link"]
    cursor = link.partition("cursor=")[2].partition(">")[0].partition("&")[0]
    assert client.get(f"{URL}?limit=1&cursor={cursor}").status_code == 200
    assert client.get(f"{URL}/left_out?cursor={cursor}").status_code == 400


def test_nothing_of_ours_is_left_out(client: APIClient) -> None:
    assert read(client, "/left_out") == []


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(
    "arguments", [{}, {"width": 1}, {"width": 65_536, "depth": 100, "dropout": 0.99}, {"dropout": 0}, {"depth": 3.0}]
)
def test_arguments_that_fit_are_queued(client: APIClient, arguments: dict[str, Any]) -> None:
    answer = client.post("/api/v1/training/start", CONFIG | {"model_args": arguments}, format="json")
    assert answer.status_code == 200, answer.content
    assert TrainingSession.objects.get().config["model_args"] == arguments


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({"width": 0}, ["model_args.width must be between 1 and 65536"]),
        ({"width": 65_537}, ["model_args.width must be between 1 and 65536"]),
        ({"width": True}, ["model_args.width must be of type integer"]),
        ({"width": "64"}, ["model_args.width must be of type integer"]),
        ({"width": 1.5}, ["model_args.width must be of type integer"]),
        ({"width": None}, ["model_args.width must be of type integer"]),
        ({"width": [64]}, ["model_args.width must be of type integer"]),
        ({"dropout": True}, ["model_args.dropout must be of type number"]),
        ({"dropout": 1}, ["model_args.dropout must be between 0 and 0.99"]),
        ({"wdth": 64}, ["model_args.wdth is not known; mlp has width, depth, dropout"]),
        (
            {"wdth": 64, "depth": 0},
            [
                "model_args.wdth is not known; mlp has width, depth, dropout",
                "model_args.depth must be between 1 and 100",
            ],
        ),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    client: APIClient, arguments: dict[str, Any], messages: list[str]
) -> None:
    answer = client.post("/api/v1/training/start", CONFIG | {"model_args": arguments}, format="json")
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"model_args": messages}
    assert not TrainingSession.objects.exists()


def test_an_architecture_without_arguments_says_so(client: APIClient, dataset: Dataset) -> None:
    config = CONFIG | {"model_architecture": "resnet18", "model_args": {"width": 3}}
    answer = client.post("/api/v1/training/start", config, format="json")
    assert "model_args.width is not known; resnet18 has no arguments" in str(answer.json())


def test_an_engine_that_does_not_answer_is_a_503(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    installation._installation.cache_clear()
    monkeypatch.setattr(installation, "COMMAND", ["false"])
    answer = client.get(URL)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "CATALOGUE_UNAVAILABLE"
    monkeypatch.undo()
    assert client.get(URL).status_code == 200
