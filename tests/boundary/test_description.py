"""What the description promises of itself: it is OpenAPI 3.1, its examples are true, and it leaves nothing out."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from rest_framework.test import APIClient

from servermgmt import errors
from servermgmt.error_examples import EXAMPLES
from servermgmt.views import openapi_document
from tests.training.conftest import MakeSession
from tests.training.conftest import dataset as dataset
from tests.training.conftest import make_session as make_session
from training.state import State

DOCUMENT = openapi_document()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
STATUS_OF_CODE = {
    **{code: {status} for status, code in errors.CODES.items()},
    **{code: {status} for status, code in errors.DOMAIN.values()},
    **{code: {status} for status, code, _ in (*errors.FRAMEWORK.values(), *errors.STORAGE.values())},
    "INTERNAL_ERROR": {500},
    "INVALID_REQUEST": {400, 408, 414, 417, 431},  # the web server has one code for all that is no HTTP to it
}


def resolve(part: Any) -> Any:
    """What a reference into the document leads to."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    whole = {**schema, "components": DOCUMENT["components"]}  # where its references lead
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body of a request or an answer, with where it stands."""
    for name, (_, _, operation) in OPERATIONS.items():
        bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for place, body in bodies.items():
            for content in resolve(body).get("content", {}).values():
                yield f"{name} {place}", content


CONTENTS = dict(contents())


def test_it_is_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


@pytest.mark.parametrize("place", CONTENTS)
def test_every_example_is_valid(place: str) -> None:
    content = CONTENTS[place]
    assert content["examples"]
    for example in content["examples"].values():
        validator(content["schema"]).validate(example["value"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_a_client_must_know(name: str) -> None:
    _, path, operation = OPERATIONS[name]
    assert operation["description"]
    assert {tag["name"] for tag in DOCUMENT["tags"]}.issuperset(operation["tags"])
    if path.startswith("/api/"):
        scopes = [scope] if (scope := operation.get("x-required-scope")) else []
        assert operation["security"] == [{"bearer": scopes}, {"header": scopes}]
        assert {"401", "403", "429", "503"} <= operation["responses"].keys()
    else:
        assert operation["security"] == [{}]
    assert {status for status in operation["responses"] if status < "400"} == {"200"}
    assert all(status.isdigit() for status in operation["responses"])


def test_no_two_operations_have_one_name() -> None:
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_has_the_one_body_and_codes_of_its_status(name: str) -> None:
    for status, answer in OPERATIONS[name][2]["responses"].items():
        assert "X-Request-ID" in resolve(answer)["headers"]
        if status >= "400":
            (content,) = resolve(answer)["content"].values()
            error, narrowed = content["schema"]["allOf"]
            assert error == {"$ref": "#/components/schemas/Error"}
            codes = narrowed["properties"]["error"]["properties"]["code"]["enum"]
            assert codes == sorted(content["examples"])
            assert all(int(status) in STATUS_OF_CODE[code] for code in codes)


def test_every_error_has_an_example_and_nothing_else_has() -> None:
    assert EXAMPLES.keys() == STATUS_OF_CODE.keys()


HEADERS = [
    ("list_sessions", "200", "Link"),
    ("list_models", "200", "RateLimit-Remaining"),
    ("start_session", "401", "WWW-Authenticate"),
    ("validate_session", "429", "Retry-After"),
    ("restart_session", "409", "Retry-After"),
    ("upload_model", "200", "Idempotency-Replayed"),
    ("download_model", "200", "Content-Disposition"),
    ("download_tensorboard", "200", "Content-Disposition"),
]


@pytest.mark.parametrize(("name", "status", "header"), HEADERS)
def test_a_header_is_there_where_it_is_sent(name: str, status: str, header: str) -> None:
    assert header in resolve(OPERATIONS[name][2]["responses"][status])["headers"]


SCOPES = [
    ("list_sessions", "sessions:read"),
    ("start_session", "sessions:write"),
    ("take_out_of_queue", "sessions:write"),
    ("list_architectures", "sessions:read"),
    ("upload_dataset", "datasets:write"),
    ("download_model", "models:read"),
    ("system_info", "system:read"),
]


@pytest.mark.parametrize(("name", "scope"), SCOPES)
def test_the_scope_is_named(name: str, scope: str) -> None:
    assert OPERATIONS[name][2]["x-required-scope"] == scope


WRONG = [
    ("start_session", "request", {"model_architecture": "mlp"}),
    ("steer_sessions", "request", {"action": "stop", "session_ids": []}),
    ("move_in_queue", "request", {}),
    ("move_in_queue", "request", {"priority": None}),
    ("restart_session", "request", {"changes": {"colour": "red"}}),
    ("get_status", "200", {}),
    ("get_report", "200", {"problem": "classification"}),
    ("get_record", "200", {"versions": {}}),
    ("stop_session", "409", {"error": {"code": "NAME_TAKEN", "message": "x", "details": {}}, "detail": "x"}),
]


@pytest.mark.parametrize(("name", "place", "body"), WRONG)
def test_the_schemas_refuse_what_is_wrong(name: str, place: str, body: Any) -> None:
    assert not validator(CONTENTS[f"{name} {place}"]["schema"]).is_valid(body)


NO_JSON = ("download_tensorboard", "stream_session_events")


@pytest.mark.parametrize("state", State)
def test_an_answer_holds_what_its_schema_says(client: APIClient, make_session: MakeSession, state: State) -> None:
    session = make_session(state=state)
    for name, (method, path, operation) in OPERATIONS.items():
        if method != "GET" or "/training/" not in path or name in NO_JSON:
            continue
        answer = client.get(path.format(session_id=session.session_id))
        assert str(answer.status_code) in operation["responses"]
        validator(CONTENTS[f"{name} 200"]["schema"]).validate(answer.json())
