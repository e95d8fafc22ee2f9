"""What a request says of its body, before Django sees it."""

import io
import time
from typing import Any

import pytest

from servermgmt.readable_bodies import ReadableBodies, WholeInput, is_readable


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; charset=UTF8 ; x=y",
        "multipart/form-data; boundary=abc",
        'multipart/form-data; boundary="a b;charset=utf-8"',
        "text/plain;",
    ],
)
def test_a_media_type_in_utf_8_is_readable(content_type: str) -> None:
    assert is_readable(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "nonsense",
        "/",
        "a/b/c",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8x",
        "application/json; charset=",
        "application/json; charset*=utf-8''utf-16",
        "application/json; charset=utf-8; charset=hex",
        'application/json; x="',
        "application/json; x=\x80",
        "application/json\n",
    ],
)
def test_others_are_not(content_type: str) -> None:
    assert not is_readable(content_type)


@pytest.mark.parametrize(
    "rest", [" ;" * 4000, ";" + " " * 8000, "; a=b" * 1600 + "\x80", '; a="' + "\\" * 8000, "x" * 8000]
)
def test_no_header_takes_long_to_read(rest: str) -> None:
    began = time.monotonic()
    is_readable(f"application/json{rest}")
    assert time.monotonic() - began < 0.1


def seen_by_django(**environ: str) -> dict[str, Any]:
    """What is left of an environment."""
    seen: dict[str, Any] = environ | {"wsgi.input": io.BytesIO(b"body")}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return []

    ReadableBodies(application)(seen, lambda *_: lambda _: None)
    return seen


def test_a_coded_body_has_no_type() -> None:
    assert seen_by_django(CONTENT_TYPE="a/b", HTTP_CONTENT_ENCODING="gzip")["CONTENT_TYPE"] == ""
    assert seen_by_django(CONTENT_TYPE="a/b", HTTP_CONTENT_ENCODING="Identity")["CONTENT_TYPE"] == "a/b"


@pytest.mark.parametrize("length", ["5", "1000"])
def test_a_body_that_ends_early_cannot_be_read(length: str) -> None:
    with pytest.raises(OSError, match="shorter"):
        seen_by_django(CONTENT_LENGTH=length)["wsgi.input"].read(2000)


def test_a_body_that_is_whole_can() -> None:
    assert seen_by_django(CONTENT_LENGTH="4")["wsgi.input"].read() == b"body"
    assert seen_by_django(CONTENT_LENGTH="2")["wsgi.input"].read(100) == b"bo"


def test_lines_are_read_to_the_length_and_no_further() -> None:
    stream = WholeInput(io.BytesIO(b"a\nbc\nd"), 4)
    assert [stream.readline(), stream.readline(100), stream.readline()] == [b"a\n", b"bc", b""]
    early = WholeInput(io.BytesIO(b"a"), 4)
    assert early.readline() == b"a"
    with pytest.raises(OSError, match="shorter"):
        early.readline()
