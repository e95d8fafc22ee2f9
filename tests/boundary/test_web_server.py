"""Against the real web server: bodies in chunks, and what is no HTTP at all."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from django.conf import settings

pytestmark = pytest.mark.slow

LIMIT_BYTES = 100_000
CHUNKED = b"POST /api/v1/training/start HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a web server with an empty database, which takes the key `secret`."""
    folder = tmp_path_factory.mktemp("server")
    environment = os.environ | {
        "DATA_DIR": str(folder),
        "API_KEYS": "secret",
        "ALLOWED_HOSTS": "x",
        "MAX_UPLOAD_BYTES": str(LIMIT_BYTES),
        "DJANGO_SETTINGS_MODULE": "servermgmt.settings",
    }
    start = [sys.executable, "-m"]
    options = {"cwd": settings.BASE_DIR, "env": environment}
    subprocess.run([*start, "django", "migrate", "--verbosity", "0"], check=True, **options)  # type: ignore[call-overload]
    path = folder / "http"
    serve = [*start, "gunicorn", "servermgmt.wsgi", "--bind", f"unix:{path}", "--threads", "4", "--no-control-socket"]
    serve += ["--worker-class", "servermgmt.webserver.JSONErrorWorker"]
    process = subprocess.Popen(serve, **options)  # type: ignore[call-overload]
    try:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield path
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def http(server: Path) -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(server)), base_url="http://x", timeout=60) as http:
        yield http


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def post(http: httpx.Client, body: bytes, key: str = "secret") -> httpx.Response:
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    return http.post("/api/v1/training/start", content=in_chunks(body), headers=headers)


def send(server: Path, request: bytes) -> bytes:
    """The answer to bytes sent as they are, and then no more."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(30)
        connection.connect(str(server))
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_chunked_body_is_read(http: httpx.Client) -> None:
    response = post(http, b'{"no_such_field": 1}' + b" " * 5000)

    assert response.status_code == 400
    assert "no_such_field" in response.json()["error"]["details"]


def test_a_chunked_body_without_chunks_is_empty(http: httpx.Client) -> None:
    response = post(http, b"")

    assert response.json()["error"]["code"] == "INVALID_CONFIG"


def test_a_chunked_body_that_is_too_large_is_refused(http: httpx.Client) -> None:
    response = post(http, b" " * (LIMIT_BYTES + 1))

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "TOO_LARGE"


def test_a_stranger_with_a_large_chunked_body_is_answered_401(http: httpx.Client) -> None:
    assert post(http, b" " * (LIMIT_BYTES + 1), key="made-up").status_code == 401


def test_a_file_sent_in_chunks_arrives_whole(http: httpx.Client) -> None:
    content = os.urandom(50_000)
    form = httpx.Request("POST", "http://x", files={"file": ("m.pt", content)})
    headers = {"X-API-Key": "secret", "Content-Type": form.headers["Content-Type"]}

    response = http.post("/api/v1/models?model_name=whole", content=in_chunks(form.read()), headers=headers)

    assert response.status_code == 200
    assert http.get("/api/v1/models/whole", headers=headers).content == content


def test_a_file_beyond_the_limit_is_refused_and_not_kept_in_part(http: httpx.Client) -> None:
    form = httpx.Request("POST", "http://x", files={"file": ("m.pt", b"x" * LIMIT_BYTES)})
    headers = {"X-API-Key": "secret", "Content-Type": form.headers["Content-Type"]}

    response = http.post("/api/v1/models?model_name=half", content=in_chunks(form.read()), headers=headers)

    assert response.status_code == 413
    assert http.get("/api/v1/models/half", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}",
        b"2\r\n{}xx0\r\n\r\n",
        b"ffffffffffffffff\r\n{}",
        b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"2\r\n{}\r\n0\r\n:\r\n\r\n",
        b"",
    ],
)
def test_broken_chunks_are_a_400(server: Path, body: bytes) -> None:
    answer = send(server, CHUNKED + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"INVALID_REQUEST"' in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_http_is_answered_in_the_one_shape(server: Path, request_bytes: bytes, status: int) -> None:
    head, _, body = send(server, request_bytes).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"
    assert json.loads(body)["detail"]
    assert b"default-src 'none'" in head


def test_a_truncated_file_is_refused(server: Path) -> None:
    form = httpx.Request("POST", "http://x", files={"file": ("m.pt", b"x" * 1000)})
    head = "POST /api/v1/models?model_name=cut HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\nConnection: close\r\n"
    head += f"Content-Type: {form.headers['Content-Type']}\r\nContent-Length: {form.headers['Content-Length']}\r\n\r\n"

    answer = send(server, head.encode() + form.read()[:500])

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_header_with_underscores_is_no_key(server: Path) -> None:
    answer = send(server, b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX_API_Key: secret\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 401 ")
