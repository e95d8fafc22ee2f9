import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys.models import AuthLog

pytestmark = pytest.mark.urls("tests.boundary.views_that_fail")


def post(client: APIClient, body: bytes, content_type: str = "application/json") -> Any:
    return client.post("/echo", body, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"{", "Expecting"),
        (b" ", "Expecting"),
        (b"{'a': 1}", "Expecting"),
        (b"[1,]", ""),
        (b"1 2", "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "twice"),
        (b"NaN", "NaN"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"1e400", "too large"),
        (b"[-1e400]", "too large"),
        (b"9" * 5000, "too large"),
        (b"-" + b"9" * 101, "too large"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'[{"a": ["\\ud800x"]}]', "surrogate"),
        (b"[" * 33 + b"]" * 33, "nested"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested"),
        (b"[" * 100_000, "nested"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'"a\nb"', "control character"),
        (b'"\\x41"', "escape"),
        (b'"a\\u0000b"', "NUL"),
        (b'{"a\\u0000b": 1}', "NUL"),
        (b"[" + b"0," * 10_000 + b"0]", "10000 items"),
        (b'{"a": [[' + b"0," * 10_000 + b"0]]}", "10000 items"),
        (json.dumps(dict.fromkeys(map(str, range(100_001)), 0), separators=(",", ":")).encode(), "100000"),
    ],
)
def test_what_is_no_clear_json_is_refused(client: APIClient, body: bytes, hint: str) -> None:
    response = post(client, body)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_JSON"
    assert hint in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b"null", None),
        (b' {"a": [1, 2.5, true]} \n', {"a": [1, 2.5, True]}),
        ('"é \U0001f600"'.encode(), "é \U0001f600"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"1e308", 1e308),
        (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
        (b'{"": {"": 0}}', {"": {"": 0}}),
    ],
)
def test_clear_json_is_taken(client: APIClient, body: bytes, value: Any) -> None:
    response = post(client, body)

    assert response.status_code == 200
    assert response.json() == value


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_type_may_be_written_as_http_allows(client: APIClient, content_type: str) -> None:
    assert post(client, b"[1]", content_type).json() == [1]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense", "x" * 9000],
)
def test_other_types_are_refused(client: APIClient, content_type: str) -> None:
    response = post(client, b"{}", content_type)

    assert response.status_code == 415
    assert response.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_a_body_without_a_type_is_refused(client: APIClient) -> None:
    response = client.generic("POST", "/echo", "{}", content_type="", CONTENT_LENGTH=2)

    assert response.status_code == 415


def test_a_post_without_a_body_has_no_fields(client: APIClient) -> None:
    assert client.generic("POST", "/echo").json() == {}


def test_a_body_may_be_as_large_as_the_setting_says(client: APIClient, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    assert post(client, b'"' + b"x" * 998 + b'"').status_code == 200
    response = post(client, b'"' + b"x" * 999 + b'"')
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "TOO_LARGE"


def test_a_stranger_is_refused_before_his_body_is_read(stranger: APIClient) -> None:
    assert post(stranger, b"{").status_code == 401
    assert AuthLog.objects.get().reason == "missing"


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**99), 10**99) | finite | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values, st.booleans())
def test_what_python_writes_as_json_arrives_unchanged(client: APIClient, value: Any, ascii_only: bool) -> None:
    response = post(client, json.dumps(value, ensure_ascii=ascii_only).encode())

    assert response.status_code == 200
    assert response.json() == value


@given(st.binary())
def test_no_bytes_make_the_server_fail(client: APIClient, body: bytes) -> None:
    assert post(client, body).status_code in (200, 400)


@given(st.text(alphabet='[]{}":,0123456789eE+-.\\utrfnalsNI \n'))
def test_whatever_is_taken_is_finite_and_means_one_thing(client: APIClient, body: str) -> None:
    response = post(client, body.encode())

    if response.status_code == 200 and body:
        assert response.json() == json.loads(body)
        assert not any(isinstance(number, float) and not math.isfinite(number) for number in [response.json()])
