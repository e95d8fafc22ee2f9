import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.test import APIClient

from authkeys.models import AuthLog

pytestmark = pytest.mark.urls(__name__)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class RowSerializer(serializers.ModelSerializer[AuthLog]):
    class Meta:
        model = AuthLog
        fields = ("id", "key_name", "timestamp")


class NewestFirst(ListAPIView[AuthLog]):
    # What the requests of the test itself leave behind is newer, and is not looked at.
    queryset = AuthLog.objects.filter(timestamp__lt=LONG_AGO + timedelta(days=1)).order_by("-timestamp")
    serializer_class = RowSerializer


class ByName(NewestFirst):
    ordering = ("key_name", "-timestamp")


class FewAtATime(NewestFirst):
    page_size = 2


class OldestFirst(NewestFirst):
    queryset = NewestFirst.queryset.order_by("timestamp")


urlpatterns = [
    path("newest", NewestFirst.as_view()),
    path("names", ByName.as_view()),
    path("few", FewAtATime.as_view()),
    path("oldest", OldestFirst.as_view()),
]

ORDERS: dict[str, Any] = {
    "/newest": lambda row: (-row.timestamp.timestamp(), -row.pk),
    "/names": lambda row: (row.key_name, -row.timestamp.timestamp(), -row.pk),
    "/oldest": lambda row: (row.timestamp.timestamp(), row.pk),
}


def add(name: str, seconds: float) -> AuthLog:
    moment = LONG_AGO + timedelta(seconds=seconds)
    return AuthLog.objects.create(
        timestamp=moment, success=True, reason="ok", method="GET", endpoint="/", key_name=name
    )


def next_url(response: Any) -> str | None:
    match = re.fullmatch(r'<(http://testserver/[^>]*)>; rel="next"', response.headers.get("Link", ""))
    return match[1] if match else None


def walk(client: APIClient, url: str | None) -> list[list[int]]:
    """The ids on each page, from the first to the last."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200
        pages.append([row["id"] for row in response.json()])
        url = next_url(response)
    return pages


# Few names and few times, so that many rows are equal in them.
rows = st.lists(st.tuples(st.sampled_from(["a", "b", "é"]), st.sampled_from([0, 0.000001, 1])), max_size=12)


@given(rows, st.integers(1, 5), st.sampled_from(sorted(ORDERS)))
def test_the_pages_hold_every_row_once_and_in_order(
    client: APIClient, values: list[tuple[str, float]], limit: int, url: str
) -> None:
    AuthLog.objects.all().delete()
    expected = [row.pk for row in sorted([add(*value) for value in values], key=ORDERS[url])]

    pages = walk(client, f"{url}?limit={limit}")

    assert [row for page in pages for row in page] == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert not expected or 1 <= len(pages[-1]) <= limit


def test_a_small_collection_never_notices(client: APIClient) -> None:
    ids = [add("a", second).pk for second in range(1000)]

    response = client.get("/oldest")

    assert [row["id"] for row in response.json()] == ids
    assert "Link" not in response.headers


def test_the_default_page_ends(client: APIClient) -> None:
    for second in range(1001):
        add("a", second)

    assert [len(page) for page in walk(client, "/oldest")] == [1000, 1]


def test_a_view_can_have_its_own_default(client: APIClient) -> None:
    for second in range(5):
        add("a", second)

    assert [len(page) for page in walk(client, "/few")] == [2, 2, 1]
    assert len(client.get("/few?limit=4").json()) == 4


def test_rows_that_come_and_go_between_pages_move_nothing(client: APIClient) -> None:
    first, second, third, fourth = [add("a", second) for second in (1, 2, 4, 5)]
    response = client.get("/oldest?limit=2")
    assert [row["id"] for row in response.json()] == [first.pk, second.pk]

    first.delete()
    second.delete()
    add("late", 0)
    between = add("late", 3)

    url = next_url(response)
    assert url
    assert [row["id"] for row in client.get(url).json()] == [between.pk, third.pk]
    assert walk(client, url) == [[between.pk, third.pk], [fourth.pk]]


def test_the_link_keeps_the_rest_of_the_query(client: APIClient) -> None:
    add("a", 1)
    add("a", 2)

    url = next_url(client.get("/oldest?limit=1&state=a+b%26c"))

    assert url
    assert "limit=1" in url
    assert "state=a+b%26c" in url


@pytest.mark.parametrize(
    "limit", ["", "0", "-1", "x", "1.0", "٣", "1_0", " 1", "+1", "1\n", "10001", "9" * 5000, "1e3"]
)
def test_a_limit_that_is_no_number_in_range_is_refused(client: APIClient, limit: str) -> None:
    response = client.get("/newest", {"limit": limit})

    assert response.status_code == 400
    assert list(response.json()["error"]["details"]) == ["limit"]
    assert "10000" in response.json()["detail"]


@pytest.mark.parametrize("limit", ["1", "10000", "007"])
def test_a_limit_in_range_is_taken(client: APIClient, limit: str) -> None:
    assert client.get("/newest", {"limit": limit}).status_code == 200


@given(st.text())
def test_a_made_up_cursor_is_refused(client: APIClient, cursor: str) -> None:
    response = client.get("/newest", {"cursor": cursor})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_REQUEST"
    assert list(response.json()["error"]["details"]) == ["cursor"]


def test_a_cursor_serves_only_the_collection_that_gave_it(client: APIClient) -> None:
    add("a", 1)
    add("a", 2)
    url = next_url(client.get("/oldest?limit=1"))

    assert url
    assert client.get(url.replace("/oldest", "/newest")).status_code == 400


def test_a_page_far_down_costs_one_query_like_the_first(client: APIClient, django_assert_num_queries: Any) -> None:
    for second in range(4):
        add("a", second)
    client.get("/oldest?limit=1")  # notes the use of the key
    url = next_url(client.get("/oldest?limit=1"))

    assert url
    for page in ("/oldest?limit=1", url):
        # The key, the rows, and for the attempt: the end of the chain, the row, the new end, in a transaction.
        with django_assert_num_queries(7):
            client.get(page)
