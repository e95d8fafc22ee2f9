"""The endpoints that tell what happens while it does."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from authkeys import scopes
from authkeys.authentication import held_scopes, may_go_on
from training import examples
from training.events import POSITION, Interest, Position
from training.listener import Listener
from training.models import TrainingSession
from training.parameters import read_switch
from training.stream import broadcaster, told_at_once

MEDIA_TYPE = "text/event-stream"
# What a client waits before it comes back. It is also the first word, by which he knows that he is heard.
GREETING = b"retry: 1000\n\n"
LAST_EVENT_ID = "Last-Event-ID"
ONE_SESSION = ("transition", "metric", "points", "log", "resources")
ALL_SESSIONS = ("transition", "resources")
# Each event, of whose fields those that read event streams make an object.
EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": f"^{POSITION}$"},
        "event": {"type": "string", "enum": ["status", *ONE_SESSION]},
        "data": {"type": "string", "description": "JSON; docs/api.md has its fields."},
    },
}
View = TypeVar("View", bound=Callable[..., Any])
SWITCH = {"type": "string", "enum": ["true", "false"]}


class StreamsNeedTheWebServer(Exception):
    """The process that answers cannot hand a connection over to whoever goes on with it."""

    def __init__(self) -> None:
        super().__init__("Only this server's own web process streams, as `make run` starts it. Ask with follow=false.")


def described(operation_id: str, default_replay: str) -> Callable[[View], View]:
    """Describe an operation that streams."""
    decorator: Callable[[View], View] = extend_schema(
        operation_id=operation_id,
        parameters=[
            OpenApiParameter(
                "follow",
                SWITCH | {"default": "true"},
                description="Whether to wait for more. With false the answer ends with what has happened until now.",
            ),
            OpenApiParameter(
                "replay",
                SWITCH | {"default": "false"},
                description=f"Whether to begin with {default_replay}, and not now. A Last-Event-ID goes before it.",
            ),
            OpenApiParameter(
                LAST_EVENT_ID,
                {"type": "string", "pattern": f"^{POSITION}$"},
                OpenApiParameter.HEADER,
                examples=[OpenApiExample("example", examples.EVENT["id"])],
                description="The id of the last event that arrived: go on behind it. Browsers send it by themselves.",
            ),
        ],
        examples=[OpenApiExample("example", examples.EVENT, media_type=MEDIA_TYPE)],
        responses={(200, MEDIA_TYPE): EVENT, 503: ["TOO_MANY_STREAMS", "STREAMS_UNAVAILABLE"]},
    )
    return decorator


@extend_schema(tags=["sessions"])
class EventViewSet(GenericViewSet[Any]):
    """What happens to all sessions."""

    scope = "sessions"
    file_actions = ("list",)
    pagination_class = None

    @described("stream_events", "the first change of state that is kept")
    def list(self, request: Request) -> HttpResponseBase:
        """Tell each change of a session's state as it happens, the progress of what runs, and the machine's figures."""
        return stream(request, ALL_SESSIONS)


def stream(request: Request, kinds: tuple[str, ...], session: TrainingSession | None = None) -> HttpResponseBase:
    """Tell what happens from now on, or from where the client was. The machine's figures are for who may see them."""
    if not scopes.holds(held_scopes(request), "system:read"):
        kinds = tuple(kind for kind in kinds if kind != "resources")
    interest = Interest(kinds, session.pk if session else None)
    follows = read_switch(request, "follow", default=True)
    position = read_position(request)
    if request.method == "HEAD":
        told: Any = ()
    elif follows:
        told = HandedOver(request, interest, position)
    else:
        told = told_at_once(interest, position)
    return StreamingHttpResponse(
        told, content_type=MEDIA_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


class HandedOver:
    """An answer that begins as any other; then its connection is the broadcaster's, and no thread waits for it."""

    def __init__(self, request: Request, interest: Interest, position: Position) -> None:
        self._socket: Any = request.META.get("gunicorn.socket")
        if not hasattr(self._socket, "hand_over"):
            raise StreamsNeedTheWebServer
        broadcaster.take_place()
        self._has_place = True
        self._is_chunked = request.META["SERVER_PROTOCOL"] != "HTTP/1.0"
        self._wanted = interest, position, may_go_on(request, "sessions:read")

    def __iter__(self) -> Iterator[bytes]:
        yield GREETING
        listener = Listener(self._socket.hand_over(), *self._wanted, self._is_chunked)
        self._has_place = False  # but the listener has
        broadcaster.welcome(listener)

    def close(self) -> None:
        """Django calls this at the end of every answer, whether it was begun or not."""
        if self._has_place:
            self._has_place = False
            broadcaster.give_place_back()


def read_position(request: Request) -> Position:
    """Where the client was, or where it wants to begin."""
    replays = read_switch(request, "replay", default=False)
    newest = Position.newest()
    if (text := request.headers.get(LAST_EVENT_ID)) is not None:
        if not re.fullmatch(POSITION, text):
            raise ValidationError({LAST_EVENT_ID: ["must be the id of an event of this server"]})
        return Position.parse(text).not_beyond(newest)
    return Position() if replays else newest
