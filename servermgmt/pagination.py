"""Paging by header, as GitHub does it: the body stays a bare array."""

import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

LARGEST_LIMIT = 10_000


@runtime_checkable
class OwnPages(Protocol):
    """A collection that knows its own pages. Places in it are values of JSON, and the salt tells whose they are."""

    @property
    def salt(self) -> str: ...

    def page_behind(self, place: Any, limit: int) -> tuple[list[Any], Any]:
        """A page behind a place, or the first, and the place where the next one goes on; None where none follows."""


class LinkHeaderPagination(BasePagination):
    """`?limit=` and an opaque `?cursor=`; the next page is in `Link: <…>; rel="next"`.

    The order is the view's `ordering`, a tuple such as `("-created_at",)`, else the queryset's own; the primary key
    is added to it, so that no row is shown twice or left out. The fields must be columns of the model and not null.
    A page starts where the last row shown stood, so a page far down costs what the first one does, and rows that
    come or go meanwhile move nothing. A view's `page_size` is its default limit. A generic view pages by itself; any
    other calls `paginate_queryset` and `get_paginated_response`. A list that is no rows is paged by position, and what
    knows its pages (`OwnPages`) is asked for them.
    """

    next_url: str | None = None

    def paginate_queryset(
        self, queryset: "QuerySet[Any] | Sequence[Any] | OwnPages", request: Request, view: APIView | None = None
    ) -> list[Any]:
        limit = read_limit(request, default_limit(view))
        if isinstance(queryset, OwnPages):
            return self._page_of(queryset, limit, request)
        if not isinstance(queryset, QuerySet):
            return self._part_of(queryset, limit, request, salt=f"cursor:{request.path}")
        ordering = Ordering(queryset, view)
        rows = queryset.order_by(*ordering.names)
        cursor = request.query_params.get("cursor")
        if cursor is not None:
            rows = rows.filter(ordering.after(cursor))
        page = list(rows[: limit + 1])
        if len(page) > limit:
            page.pop()
            self._lead_on(request, ordering.cursor(page[-1]))
        return page

    def _page_of(self, collection: "OwnPages", limit: int, request: Request) -> list[Any]:
        cursor = request.query_params.get("cursor")
        place = None if cursor is None else read_cursor(cursor, collection.salt)
        page, place = collection.page_behind(place, limit)
        if place is not None:
            self._lead_on(request, signing.dumps(place, salt=collection.salt))
        return page

    def _part_of(self, entries: Sequence[Any], limit: int, request: Request, salt: str) -> list[Any]:
        cursor = request.query_params.get("cursor")
        start = 0 if cursor is None else read_cursor(cursor, salt)
        if start + limit < len(entries):
            self._lead_on(request, signing.dumps(start + limit, salt=salt))
        return list(entries[start : start + limit])

    def _lead_on(self, request: Request, cursor: str) -> None:
        self.next_url = replace_query_param(request.build_absolute_uri(), "cursor", cursor)

    def get_paginated_response(self, data: Any) -> Response:
        return Response(data, headers={"Link": f'<{self.next_url}>; rel="next"'} if self.next_url else {})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return schema

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": default_limit(view)}
        return [
            {"name": "limit", "in": "query", "schema": limit, "description": "The most entries to answer with."},
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "Where to go on; taken from the Link header of the page before.",
            },
        ]


def default_limit(view: APIView | None) -> int:
    """The size of a page that nobody chose: the view's `page_size`, else that of the installation."""
    size: int | None = getattr(view, "page_size", None) or api_settings.PAGE_SIZE
    assert size, "the settings name no PAGE_SIZE"
    return size


def read_limit(request: Request, default: int) -> int:
    """The size of the page that was asked for. Raises ValidationError for anything but a number in range."""
    text = request.query_params.get("limit", str(default))
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise ValidationError({"limit": [f"must be a whole number from 1 to {LARGEST_LIMIT}"]})
    return int(text)


def read_cursor(cursor: str, salt: str) -> Any:
    """What a cursor of ours says. Raises ValidationError for any other."""
    try:
        return signing.loads(cursor, salt=salt)
    except signing.BadSignature:
        raise ValidationError({"cursor": ["is not one that this collection gave; start without it"]}) from None


class Ordering:
    """The columns by which a collection is ordered, the last of them unique, and places between its rows."""

    def __init__(self, queryset: QuerySet[Any], view: APIView | None) -> None:
        options = queryset.model._meta
        names = [
            str(name) for name in getattr(view, "ordering", None) or queryset.query.order_by or options.ordering or ()
        ]
        self.columns: list[tuple[Field[Any, Any], bool]] = [
            (options.get_field(name.removeprefix("-")), name.startswith("-")) for name in names
        ]
        if not any(column.primary_key for column, _ in self.columns):
            descending = bool(self.columns) and self.columns[-1][1]
            self.columns.append((options.pk, descending))
        self.names = [f"-{column.attname}" if descending else column.attname for column, descending in self.columns]
        # A cursor of one collection means nothing in another.
        self.salt = f"cursor:{options.label}:{','.join(self.names)}"

    def cursor(self, row: Model) -> str:
        """The place behind this row, signed: what a client sends back is what it was given."""
        return signing.dumps([column.value_to_string(row) for column, _ in self.columns], salt=self.salt)

    def after(self, cursor: str) -> Q:
        """The rows behind a place. Raises ValidationError when the cursor is not one of ours."""
        texts = read_cursor(cursor, self.salt)
        behind = Q()
        equal = Q()
        for (column, descending), text in zip(self.columns, texts, strict=True):
            value = column.to_python(text)
            beyond = f"{column.attname}__{'lt' if descending else 'gt'}"
            if not behind:
                bound = Q(**{f"{beyond}e": value})  # says nothing new, but lets the database start there in its index
            behind |= equal & Q(**{beyond: value})
            equal &= Q(**{column.attname: value})
        return bound & behind
