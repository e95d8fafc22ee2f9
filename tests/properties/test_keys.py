"""Who is let in, and what is recorded of it."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import assume
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import keys
from authkeys.models import APIKey, AuthLog
from authkeys.scopes import ADMIN
from tests.properties.api import Api, read
from tests.properties.endpoints import CLOSED, METHODS
from tests.properties.inputs import header_texts, made_up_keys, names
from tests.properties.rules import for_all

pytestmark = pytest.mark.django_db

Headers = dict[str, Any]

methods = st.sampled_from(METHODS)
ways = st.sampled_from(
    [
        ("HTTP_AUTHORIZATION", "Bearer {}"),
        ("HTTP_AUTHORIZATION", "bearer {}"),
        ("HTTP_AUTHORIZATION", "BEARER   {}"),
        ("HTTP_X_API_KEY", "{}"),
    ]
)
# What a key of the environment can be: visible characters of any script, and no comma, which separates them. The last
# byte of à and Å looks like white space to whoever takes it for Latin-1.
visible_texts = st.builds(
    str.__add__,
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=","), min_size=1),
    st.sampled_from(["", "à", "Å"]),
)


def ask(client: APIClient, method: str, path: str, headers: Headers, body: Any = b"", content_type: str = "") -> Any:
    """Any request at all."""
    answer = client.generic(method, path, body, content_type, **headers)
    read(answer)
    return answer


def header(way: tuple[str, str], key: str) -> Headers:
    name, form = way
    return {name: form.format(key)}


no_keys: st.SearchStrategy[Headers] = st.one_of(
    st.just({}),
    st.sampled_from(["", "Bearer", "bearer ", "Basic dXNlcjpwYXNz", "Token abc"]).map(
        lambda text: {"HTTP_AUTHORIZATION": text}
    ),
    header_texts()
    .filter(lambda text: text.split(" ")[0].lower() != "bearer")
    .map(lambda text: {"HTTP_AUTHORIZATION": text}),
    st.sampled_from(["", " "]).map(lambda text: {"HTTP_X_API_KEY": text}),
)


@for_all(
    method=methods,
    no_key=no_keys,
    body=st.binary(max_size=100),
    content_type=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "text/strange", ""]),
    query=st.sampled_from(["", "?limit=x", "?model_name=new&dataset_name=new", "?format=api"]),
)
def test_property_26_without_a_key_every_endpoint_answers_401(
    api: Api,
    existing: dict[str, str],
    stranger: APIClient,
    method: str,
    no_key: Headers,
    body: bytes,
    content_type: str,
    query: str,
) -> None:
    """And does nothing."""
    paths = ("/training/sessions", "/models", "/datasets")
    before = [api.get(path) for path in paths]

    for template in CLOSED:
        answer = ask(stranger, method, template.format(**existing) + query, no_key, body, content_type)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert method == "HEAD" or answer.json()["error"]["code"] == "UNAUTHENTICATED"

    assert [api.get(path) for path in paths] == before


@for_all(method=methods, way=ways, name=names(), of_environment=st.none() | visible_texts)
def test_property_27_a_valid_key_is_never_answered_401(
    existing: dict[str, str],
    stranger: APIClient,
    settings: Settings,
    method: str,
    way: tuple[str, str],
    name: str,
    of_environment: str | None,
) -> None:
    if of_environment is None:
        key = APIKey.objects.create_key(name, scopes=[ADMIN])[1]
    else:
        settings.API_KEYS = ["another", of_environment]
        key = of_environment.encode().decode("latin-1")  # as WSGI hands a header over

    for template in CLOSED:
        answer = ask(stranger, method, template.format(**existing), header(way, key))
        assert answer.status_code not in (401, 403)


@st.composite
def near_misses(draw: st.DrawFn) -> tuple[int, str]:
    """Where to change a good key, and into what."""
    return draw(st.integers(0, 39)), draw(st.sampled_from(["", "x", "xx", "0", "_", " "]))


@for_all(
    method=methods, template=st.sampled_from(CLOSED), way=ways, made_up=header_texts() | made_up_keys() | near_misses()
)
def test_property_28_any_made_up_key_is_a_401(
    key: str,
    existing: dict[str, str],
    stranger: APIClient,
    method: str,
    template: str,
    way: tuple[str, str],
    made_up: str | tuple[int, str],
) -> None:
    if isinstance(made_up, tuple):
        place, change = made_up
        made_up = key[:place] + change + key[place + 1 :]
        assume(made_up.strip() != key)

    answer = ask(stranger, method, template.format(**existing), header(way, made_up))

    assert answer.status_code == 401
    assert method == "HEAD" or answer.json()["error"]["code"] == "UNAUTHENTICATED"


KINDS = ["good", "of the environment", "revoked", "expired", "unknown", "malformed", "none"]
attempts = st.tuples(st.sampled_from(KINDS), st.sampled_from(CLOSED), methods, ways, made_up_keys(), visible_texts)


@for_all(story=st.lists(attempts, min_size=1, max_size=5))
def test_property_29_every_attempt_is_in_the_audit_log(
    key: str, existing: dict[str, str], stranger: APIClient, settings: Settings, story: list[Any]
) -> None:
    """Good or bad; and no key is."""
    settings.API_KEYS = ["secret-of-the-environment"]
    revoked_row, revoked = APIKey.objects.create_key("revoked")
    revoked_row.revoke()
    expired = APIKey.objects.create_key("expired", timezone.now() - timedelta(seconds=1))[1]
    for kind, template, method, way, unknown, text in story:
        sent = {
            "good": key,
            "of the environment": "secret-of-the-environment",
            "revoked": revoked,
            "expired": expired,
            "unknown": unknown,
            "malformed": f"{text}!",
        }.get(kind)
        raw = sent.encode() if sent else b""
        path = template.format(**existing)
        before = timezone.now()
        count = AuthLog.objects.count()

        ask(stranger, method, path, header(way, raw.decode("latin-1")) if sent else {})

        assert AuthLog.objects.count() == count + 1
        row = AuthLog.objects.latest("id")
        assert row.success == (kind in ("good", "of the environment"))
        assert row.key_hash == (hashlib.sha256(raw).hexdigest() if sent else "")
        assert (row.method, row.endpoint) == (method, path)
        assert before <= row.timestamp <= timezone.now()
        columns = AuthLog.objects.filter(pk=row.pk).values().get()
        assert sent is None or len(sent) <= keys.PREFIX_LENGTH or sent not in map(str, columns.values())
