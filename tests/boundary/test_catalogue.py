"""Every row of the catalogue against the live server, on SQLite and on PostgreSQL; and bytes that nobody thought of."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver, resolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boundary.catalogue import API, BROKEN_JSON, EVERY, JSON_ENDPOINTS, KINDS, ROWS, Row
from tests.boundary.live_server import KEY, LiveServer, live_server, timed
from tests.boundary.test_every_path_is_closed import CATCH_ALL, CLOSED, OPEN, patterns, sample

LONGEST_SECONDS = 1.0
LONGEST_BODY = 65_536
SAMPLES = {"queued": "x", "ended": "x", "model": "x", "dataset": "x", "key_id": "1"}


def test_no_two_rows_have_one_name() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []


def methods_of(view: Any) -> set[str]:
    """The methods that a view has, beside those that every view has."""
    names = getattr(view, "actions", None) or [name for name in ("get", "post") if hasattr(view.cls, name)]
    return {name.upper() for name in names} - {"HEAD", "OPTIONS"}


def test_every_method_of_every_path_has_rows() -> None:
    by_sample = {sample(*pattern): pattern[1] for pattern in patterns(get_resolver()) if pattern[0] != CATCH_ALL}
    exist = {(method, by_sample[path]) for path in CLOSED for method in methods_of(by_sample[path])}
    assert len(exist) > 40
    tried = Counter((row.method, resolve(API + path.format(**SAMPLES)).func)
                    for method, path in EVERY for row in ROWS
                    if row.method == method and row.path.partition("?")[0] == API + path)  # fmt: skip
    few = {f"{method} {view.__name__} {view.initkwargs}" for method, view in exist if tried[method, view] < 3}
    assert few == set()
    assert {row.path for row in ROWS} >= OPEN


def test_every_endpoint_that_takes_json_gets_broken_json() -> None:
    for method, path in JSON_ENDPOINTS:
        sent = {row.body for row in ROWS if (row.method, row.path) == (method, API + path)}
        assert sent >= set(BROKEN_JSON.values())


# --- Against the live server ---


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_refused_and_changes_nothing(server: LiveServer, kind: str) -> None:
    state, attempts = server.state(), server.attempts()
    faults = []
    for row in KINDS[kind]:
        request = row.request(server.values)
        answer, seconds = timed(server.send, request)
        wrong = faults_of(row, answer)
        before, state = state, server.state()
        wrong += [f"{name} was changed" for name in before | state if before.get(name) != state.get(name)]
        already, attempts = attempts, server.attempts()
        if attempts - already != row.audited:
            wrong.append(f"{attempts - already} audit rows")
        if seconds > LONGEST_SECONDS:
            # A machine that does something else is slow once; what is slow in itself is so each time.
            again = [timed(server.send, request)[1] for _ in range(2)]
            if min(again) > LONGEST_SECONDS:
                wrong.append(f"answered after {min(again):.1f} s")
            state, attempts = server.state(), server.attempts()
        if wrong:
            faults.append(f"{row.name}: {', '.join(wrong)}: {answer[:300]!r}")
    assert faults == [], f"{len(faults)} of {len(KINDS[kind])}\n" + "\n".join(faults)


def faults_of(row: Row, answer: bytes) -> list[str]:
    """What is wrong with an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    if not status_line.startswith("HTTP/1.1 "):
        return ["no answer"]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wrong = []
    if (status := int(status_line.split()[1])) != row.status:
        wrong.append(f"status {status} and not {row.status}")
    if not headers.get("content-type", "").startswith("application/json"):
        wrong.append("no JSON by its type")
    if len(body) > LONGEST_BODY:
        wrong.append(f"{len(body)} bytes of an error")
    if any(is_dangerous(character) for character in "".join(lines)) or "\n" in status_line:
        wrong.append("a control character in the headers")
    try:
        error = json.loads(body)
        code = error["error"]["code"]
        if set(error) != {"error", "detail"} or set(error["error"]) != {"code", "message", "details"}:
            wrong.append("another shape")
        if error["detail"] != error["error"]["message"] or not error["detail"]:
            wrong.append("no message")
        if code != row.code:
            wrong.append(f"code {code} and not {row.code}")
    except (ValueError, TypeError, KeyError):
        return [*wrong, "no JSON in the one shape"]
    if any(is_dangerous(character) for character in body.decode() + json.dumps(error, ensure_ascii=False)):
        wrong.append("a control character in the body")
    if any(map(is_dangerous, all_texts(error))):
        wrong.append("a control character in a string")
    return wrong


def all_texts(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(map(all_texts, [*value, *value.values()]))
    if isinstance(value, list):
        return "".join(map(all_texts, value))
    return value if isinstance(value, str) else ""


def is_dangerous(character: str) -> bool:
    return unicodedata.category(character[:1] or "x") in ("Cc", "Cf", "Cs", "Zl", "Zp")


@pytest.mark.slow
def test_no_line_of_the_log_is_forged(server: LiveServer) -> None:
    """After all that: every line begins as one of ours or of gunicorn's, or goes on with what stands above it."""
    forged = "%0a2026-01-01 00:00:00,000 ERROR forged: x"
    server.send(f"GET /api/v1/{forged} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n".encode())
    text = server.log.read_bytes().decode()
    ours = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.-]+: |\[\d{4}-[^]]+\] \[\d+\] \[[A-Z]+\] |    ")
    assert [line for line in text.splitlines() if not ours.match(line)] == []
    assert "ERROR forged" not in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_the_audit_log_is_whole_after_all_that(server: LiveServer) -> None:
    assert server.manage("verifyaudit")


# --- What nobody thought of ---

JUNK = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
PIECES = st.sampled_from([
    b"%00", b"%ff", b"%", b"..", b"/", b"//", b"?", b"&", b"=", b"limit=1", b"cursor=", b"\xff", b"{}", b"[", b'"',
    b"\\u0000", b"\\ud800", b"1e999", b"\r\n", b"--x", b";", b"charset=", b"hex", b"*=", b"''", b"null",
])  # fmt: skip
MIXED = st.lists(PIECES | st.binary(max_size=8), max_size=8).map(b"".join)
HEADERS = st.sampled_from([
    b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Accept", b"Cookie", b"Authorization", b"Host",
    b"Idempotency-Key", b"X-Forwarded-For", b"Range", b"If-Modified-Since", b"Expect", b"Connection", b"Upgrade",
    b"Forwarded", b"X-Forwarded-Proto", b"Origin", b"Referer", b"Accept-Language", b"Content-Length",
])  # fmt: skip
TYPES = st.sampled_from([
    b"application/json", b"multipart/form-data; boundary=x", b"multipart/form-data", b"text/plain",
    b"application/x-www-form-urlencoded", b"application/json; charset=",
])  # fmt: skip


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """Bytes that look like a request, more or less, to a path that is there, more or less."""
    method, path = draw(st.sampled_from([*EVERY, ("GET", "/../../admin/login/"), ("POST", "/../../admin/login/")]))
    method = draw(st.sampled_from([method, "GET", "POST", "PUT", "OPTIONS", "HEAD"]))
    # The end of a session, or of a model, would leave less to try.
    if (method, path) in {("DELETE", each) for _, each in EVERY}:
        method = "OPTIONS"
    target = (API + path).replace("/api/v1/../..", "").encode() + draw(st.just(b"") | MIXED)
    body = draw(MIXED | JUNK)
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: x", b"Connection: close", b"X-API-Key: {key}"]
    lines += [b"%s: %s" % (draw(HEADERS), draw(MIXED | JUNK)) for _ in range(draw(st.integers(0, 3)))]
    lines += [b"Content-Type: " + draw(TYPES) + draw(st.just(b"") | MIXED)] if draw(st.booleans()) else []
    lines += [b"Content-Length: %d" % len(body)] if draw(st.booleans()) else []
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=300)
@given(request=raw_requests())
def test_no_input_is_our_fault(server: LiveServer, request: bytes) -> None:
    for name, value in server.values.items():
        request = request.replace(b"{%s}" % name.encode(), value.encode())
    answer = server.send(request)
    if answer:
        assert 100 <= int(answer.split()[1]) < 500, answer
