"""A session's log over HTTP: all lines, by number, and what is searched for among them."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.training.conftest import MakeSession
from training import log_search
from training.ingest import Rows
from training.log_search import LogSearch
from training.models import LogEntry, TrainingSession

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db

Written = Sequence[tuple[str, str]]  # level and message


def write(session: TrainingSession, written: Written) -> None:
    """Put entries into a log as ingest does."""
    rows = Rows(session)
    for level, message in written:
        rows.add({"event": "log", "at": "2026-01-31T12:00:00Z", "level": level, "message": message})
    rows.store()


def path_of(session: TrainingSession) -> str:
    return f"{BASE}/{session.session_id}/logs"


def walk(client: APIClient, url: str, query: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Every page, from the first to the last."""
    pages = []
    answer = client.get(url, query)
    while True:
        assert answer.status_code == 200, answer.content
        pages.append(answer.json())
        link = answer.headers.get("Link")
        if link is None:
            return pages
        match = re.fullmatch(r'<(http://testserver/[^>]*)>; rel="next"', link)
        assert match
        answer = client.get(match[1])


def lines_of(pages: Sequence[Sequence[dict[str, Any]]]) -> list[int]:
    return [entry["line"] for page in pages for entry in page]


# --- Numbers ---


def test_lines_count_from_1_in_each_session_whoever_writes(client: APIClient, make_session: MakeSession) -> None:
    one, other = make_session(), make_session()
    write(one, [("INFO", "first"), ("INFO", "second")])
    other.log("INFO", "another log")
    one.log("WARNING", "the server's own")
    write(other, [("INFO", "another's second")])
    write(one, [("INFO", "fourth")])
    entries = client.get(path_of(one)).json()
    assert [(entry["line"], entry["message"]) for entry in entries] == [
        (1, "first"),
        (2, "second"),
        (3, "the server's own"),
        (4, "fourth"),
    ]
    assert entries[0].keys() == {"session_id", "line", "timestamp", "level", "message"}
    assert lines_of([client.get(path_of(other)).json()]) == [1, 2]


def test_messages_are_as_a_terminal_shows_them(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    write(session, [("INFO", " 50%|##  |\r100%|####|")])
    session.log("ERROR", "it died\n\x1b[31mloading\rready\x1b[0m")
    assert [entry["message"] for entry in client.get(path_of(session)).json()] == ["100%|####|", "it died\nreadyng"]


def test_a_message_that_no_writer_of_ours_made_is_cut(make_session: MakeSession) -> None:
    session = make_session()
    write(session, [("INFO", "x" * 3_000_000)])
    assert 16_000 < len(session.log_entries.get().message) < 17_000


# --- Pages ---

MESSAGES = ["", "loss 0.5", "LOSS 0.25\nval_loss 1", "Größe 3", "GRÖSSE", "the end", "100 % of a_b"]
LEVELS = ["INFO", "WARNING", "ERROR", "TRACE"]
written_logs = st.lists(st.tuples(st.sampled_from(LEVELS), st.sampled_from(MESSAGES)), max_size=30)
queries = st.fixed_dictionaries(
    {},
    optional={
        "level": st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map(",".join),
        "search": st.sampled_from(["loss", "LOSS 0", "größe", "GROSSE", "ss", "%", "a_b", ".", "\n", "nothing"]),
        "regex": st.sampled_from([r"^loss", r"\d$", "(?i)LOSS|end", "(?m)^val", "^$", "[ÄÖ]", ".", r"\bof\b"]),
        "after": st.integers(0, 32),
        "before": st.integers(1, 32),
    },
)


def fits(line: int, level: str, message: str, query: dict[str, Any]) -> bool:
    return (
        query.get("after", 0) < line < query.get("before", 99)
        and ("level" not in query or level in query["level"].split(","))
        and ("search" not in query or query["search"].casefold() in message.casefold())
        and ("regex" not in query or re.search(query["regex"], message) is not None)
    )


@settings(max_examples=300)
@given(written_logs, queries, st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_all_pages_together_are_all_that_fits_once_and_in_order(
    client: APIClient, make_session: MakeSession, written: Written, query: dict[str, Any], limit: int, block: int,
    hurried: bool,
) -> None:  # fmt: skip
    assume(query.get("after", -1) < query.get("before", 99))
    assume("TRACE" not in query.get("level", "") or "TRACE" in [level for level, _ in written])
    session, other = make_session(), make_session()
    write(other, written)
    write(session, written)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_search, "BLOCK", block)
        patch.setattr(log_search, "LOOK_SECONDS", -1 if hurried else 60)
        pages = walk(client, path_of(session), query | {"limit": limit})
    expected = [line for line, entry in enumerate(written, start=1) if fits(line, *entry, query)]
    assert lines_of(pages if "after" in query else pages[::-1]) == expected
    assert all(entry["message"] == written[entry["line"] - 1][1] for page in pages for entry in page)
    assert all(entry["session_id"] == session.session_id for page in pages for entry in page)
    if not hurried or not query.keys() & {"search", "regex"}:
        assert all(len(page) == limit for page in pages[:-1])
        assert len(pages) == max(1, -(-len(expected) // limit))


def test_a_search_that_finds_nothing_leads_on_and_ends(
    client: APIClient, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "LOOK_SECONDS", -1)
    session = make_session()
    write(session, [("INFO", "a line")] * 5)
    for query in ({"search": "nothing"}, {"regex": "nothing", "after": 0}):
        assert walk(client, path_of(session), query) == [[]] * 6


def test_a_log_is_followed_by_the_last_line_seen(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    seen: list[int] = []
    for number in range(1, 6):
        write(session, [("INFO", f"line {number}")] * number)
        seen += lines_of(walk(client, path_of(session), {"after": seen[-1] if seen else 0, "limit": 2}))
    assert seen == list(range(1, 16))
    assert client.get(path_of(session), {"after": 15}).json() == []


def test_a_page_stays_where_it_was_while_the_log_grows(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    write(session, [("INFO", "old")] * 6)
    first = client.get(path_of(session), {"limit": 2})
    write(session, [("INFO", "new")] * 3)
    second = client.get(first.headers["Link"].split(">")[0].removeprefix("<"))
    assert lines_of([first.json(), second.json()]) == [5, 6, 3, 4]


def test_a_cursor_serves_only_its_log_and_its_direction(client: APIClient, make_session: MakeSession) -> None:
    session, other = make_session(), make_session()
    for each in (session, other):
        write(each, [("INFO", "a line")] * 3)
    url = client.get(path_of(session), {"limit": 1}).headers["Link"].split(">")[0].removeprefix("<")
    assert client.get(url).status_code == 200
    for wrong in (url.replace(session.session_id, other.session_id), f"{url}&after=0"):
        answer = client.get(wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]["details"].keys() == {"cursor"}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reads a table this small without its indexes")
@pytest.mark.parametrize("search", [
    {},
    {"before": 50_000},
    {"after": 50_000},
    {"levels": ("ERROR",)},
    {"levels": ("ERROR", "WARNING"), "before": 50_000},
    {"text": "x", "after": 3},
])  # fmt: skip
def test_no_page_sorts_or_reads_what_it_does_not_show(make_session: MakeSession, search: dict[str, Any]) -> None:
    session = make_session()
    write(session, [("INFO", "a line"), ("ERROR", "x")] * 10)
    with CaptureQueriesContext(connection) as queries:
        LogSearch(session, **search).page_behind(None, 5)
    assert len(queries) <= 3
    with connection.cursor() as cursor:
        for query in queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            (plan,) = (row[3] for row in cursor.fetchall())
            index = "logs_by_level" if "level, line" in query["sql"] else "one_entry_per_line|sqlite_autoindex_logs_1"
            assert re.search(f"^SEARCH logs USING (COVERING )?INDEX ({index}) \\(\\(?session_id", plan), plan


# --- What is wrong with a query ---

WRONG: list[tuple[dict[str, Any], list[str], str]] = [
    ({"level": ""}, ["level"], "1 to 10 levels"),
    ({"level": ","}, ["level"], "1 to 10 levels"),
    ({"level": "INFO,"}, ["level"], "1 to 10 levels"),
    ({"level": ",".join(map(str, range(11)))}, ["level"], "1 to 10 levels"),
    ({"level": "WARN"}, ["level"], "which WARN is not"),
    ({"level": "INFO,info"}, ["level"], "which info is not"),
    ({"level": "INFO, ERROR"}, ["level"], "which  ERROR is not"),
    ({"search": ""}, ["search"], "1 to 500 characters"),
    ({"search": "x" * 501}, ["search"], "1 to 500 characters"),
    ({"regex": ""}, ["regex"], "1 to 500 characters"),
    ({"regex": "x" * 501}, ["regex"], "1 to 500 characters"),
    ({"regex": "loss ("}, ["regex"], "missing ) at character 1: loss ("),
    ({"regex": "loss [0-9"}, ["regex"], "missing ] at character 6: [0-9"),
    ({"regex": "Größe *+"}, ["regex"], "bad repetition operator at character 7: *+"),
    ({"regex": "a(?=b)"}, ["regex"], "invalid perl operator at character 2: (?="),
    ({"regex": r"(a)\1"}, ["regex"], "invalid escape sequence at character 4: \\1"),
    ({"regex": "a{1001}"}, ["regex"], "invalid repetition size at character 2: {1001}"),
    ({"regex": "x\\"}, ["regex"], "trailing \\"),
    ({"regex": r"\pL{900}"}, ["regex"], "too large"),
    ({"regex": ".{900}z"}, ["regex"], "too large"),
    ({"after": "-1"}, ["after"], "whole number from 0"),
    ({"after": "x"}, ["after"], "whole number from 0"),
    ({"after": 2**53 + 1}, ["after"], "whole number from 0"),
    ({"before": "0"}, ["before"], "whole number from 1"),
    ({"before": "1.5"}, ["before"], "whole number from 1"),
    ({"after": "7", "before": "7"}, ["before"], "larger than after"),
    ({"level": "", "search": "", "regex": "(", "after": "x", "before": "x"},
     ["level", "search", "regex", "after", "before"], "1 to 10 levels"),
    ({"limit": "0", "level": "INFO"}, ["limit"], "whole number from 1"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "names", "words"), WRONG)
def test_what_is_wrong_is_named(
    client: APIClient, make_session: MakeSession, query: dict[str, Any], names: list[str], words: str
) -> None:
    session = make_session()
    session.log("INFO", "a line")
    answer = client.get(path_of(session), query)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert list(error["details"]) == names
    assert words in error["details"][names[0]][0]


def test_a_level_that_only_this_log_has_can_be_asked_for(client: APIClient, make_session: MakeSession) -> None:
    session, other = make_session(), make_session()
    write(session, [("TRACE", "detail"), ("INFO", "a line")])
    assert lines_of([client.get(path_of(session), {"level": "TRACE"}).json()]) == [1]
    assert client.get(path_of(other), {"level": "TRACE"}).status_code == 400
    assert client.get(path_of(other), {"level": "CRITICAL"}).json() == []


# Each of these takes long in other engines, or in this one with less memory.
NASTY = [r"(x+x+)+y", r"(a?){199}a{199}", r"[a-z]*[^a]{99}q", r"(a?b?){90}q", r"(\pL*\pN*)*!", r"(.?){30}[^x]{20}q"]


@pytest.mark.parametrize("regex", NASTY)
def test_no_pattern_holds_the_server_up(client: APIClient, make_session: MakeSession, regex: str) -> None:
    session = make_session()
    for text in ("a", "xa", "é", "語a"):
        write(session, [("INFO", text * (16_000 // len(text)))] * 30)
    answer = client.get(path_of(session), {"regex": regex})
    assert answer.status_code == 200


# --- The whole ---


def download(client: APIClient, session: TrainingSession, **headers: Any) -> Any:
    return client.get(f"{path_of(session)}/download", **headers)


def test_the_whole_log_is_a_file(client: APIClient, make_session: MakeSession) -> None:
    session, other = make_session(), make_session()
    other.log("INFO", "another log")
    write(session, [("INFO", f"line {number}") for number in range(1, 2501)])
    write(session, [("ERROR", "Traceback\n2501 2026-01-31T12:00:00.000000Z INFO forged\nüber")])
    answer = download(client, session, HTTP_ACCEPT="text/plain")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="{session.session_id}.log"'
    lines = b"".join(answer).decode().splitlines()
    at = "2026-01-31T12:00:00.000000Z"
    assert lines[:2] == [f"1 {at} INFO line 1", f"2 {at} INFO line 2"]
    assert lines[2499:] == [
        f"2500 {at} INFO line 2500",
        f"2501 {at} ERROR Traceback",
        f"    2501 {at} INFO forged",
        "    über",
    ]


def test_a_download_ends_where_the_log_ended_when_it_began(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    write(session, [("INFO", "old")] * 1500)
    chunks = iter(download(client, session))
    first = next(chunks)
    write(session, [("INFO", "new")] * 1500)
    rest = b"".join(chunks)
    assert (first + rest).count(b" old\n") == 1500
    assert b"new" not in rest


def test_the_log_of_a_session_that_has_said_nothing_is_empty(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    assert client.get(path_of(session)).json() == []
    assert b"".join(download(client, session)) == b""
    assert client.get(f"{BASE}/sess_000000000000/logs/download").status_code == 404


def test_no_two_entries_have_one_line(make_session: MakeSession) -> None:
    session = make_session()
    session.log("INFO", "a line")
    entry = session.log_entries.get()
    with pytest.raises(Exception, match=r"(?i)unique"):
        LogEntry.objects.create(session=session, line=1, timestamp=entry.timestamp, level="INFO", message="")
