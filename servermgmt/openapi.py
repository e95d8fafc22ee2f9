"""What the OpenAPI document says of every operation alike, made from what the server does.

How a key is sent and which scope it must have, what may be answered beside success, and the headers of answers. What
is special to an operation stands beside its view: in `responses`, an error's status names the codes that it may have,
as in `409: ["ILLEGAL_STATE"]`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from jsonschema import Draft202012Validator
from rest_framework.permissions import AllowAny

from authkeys.changes import ChangingView
from authkeys.idempotency import HEADER, LONGEST_KEY
from authkeys.permissions import required_scope
from servermgmt.error_examples import example_of
from servermgmt.webserver import STATUSES

Schema = dict[str, Any]
Refusals = dict[int, list[str]]  # the codes that an error of each status may have

ERROR: Schema = {
    "type": "object",
    "description": "Every error, whatever raised it.",
    "required": ["error", "detail"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "pattern": "^[A-Z]+(_[A-Z]+)*$", "description": "For programs."},
                "message": {"type": "string", "minLength": 1, "description": "What is wrong, for people."},
                "details": {
                    "type": "object",
                    "description": "More of it; after a 400, each wrong field with what is wrong with it.",
                },
            },
        },
        "detail": {"type": "string", "minLength": 1, "description": "The message once more, for older clients."},
    },
}

COUNT = {"type": "integer", "minimum": 0}
HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "By which the server's log and its audit find the request.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": "8d1f1d2c0f5b4a7e9b1c2d3e4f5a6b7c",
    },
    "Link": {
        "description": "The next page, as rel=next; the last one has none.",
        "schema": {"type": "string", "pattern": '^<[^>]+>; rel="next"$'},
        "example": '<http://localhost:8000/api/v1/training/sessions?cursor=WyIxIl0%3A1wKq>; rel="next"',
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
    "Allow": {
        "description": "The methods that this path knows.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
        "example": "GET, POST, HEAD, OPTIONS",
    },
    "Retry-After": {"description": "Seconds until it is worth asking again.", "schema": COUNT, "example": 1},
    "RateLimit-Limit": {"description": "The requests that this key may send in a while.", "schema": COUNT},
    "RateLimit-Remaining": {"description": "Those that are left of them.", "schema": COUNT},
    "RateLimit-Reset": {"description": "Seconds until all of them are there again.", "schema": COUNT},
    "Idempotency-Replayed": {
        "description": f"That this is the answer to an earlier request with the same {HEADER}.",
        "schema": {"type": "string", "const": "true"},
    },
    "Content-Disposition": {
        "description": "The name under which to save the file.",
        "required": True,
        "schema": {"type": "string", "pattern": "^attachment; filename"},
        "example": 'attachment; filename="mlp_digits_0123456789ab"',
    },
}
OF_EVERY_ANSWER = ("X-Request-ID",)
OF_KEYED_REQUESTS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
OF_STATUS = {401: ("WWW-Authenticate",), 405: ("Allow",), 409: ("Retry-After",), 429: ("Retry-After",)}

# Of what the web server refuses by itself, and of a stranger, nobody knows how much he may send.
BEFORE_THE_KEY = frozenset({401, *map(int, STATUSES.values())})
# What an Idempotency-Key brings again: what may be another answer a moment later is not kept.
REPLAYED = frozenset({400, 404, 409, 413})

DESCRIPTIONS = {
    400: "The request is wrong.",
    401: "There is no key, or none that is valid.",
    403: "The key is good, and lacks the scope.",
    404: "There is no such thing.",
    405: "The path does not know this method.",
    406: "The answer is JSON, and the request does not accept it.",
    408: "The request did not come to its end in time.",
    409: "It exists already, or is not in a state that allows this.",
    413: "The body is too large.",
    414: "The path with its query is too long.",
    415: "The body is of a type that this operation does not read.",
    417: "The request expects what this server does not do.",
    422: f"The {HEADER} came with another request before.",
    429: "There were too many requests.",
    431: "The headers are too large.",
    500: "The server failed.",
    501: "The body has a transfer coding that this server does not know.",
    503: "The server cannot do this now; nothing was done.",
    507: "The server's disk is full; nothing was kept.",
}


class KeyScheme(OpenApiAuthenticationExtension):
    """The two ways to send a key."""

    target_class = "authkeys.authentication.KeyAuthentication"
    name = ["bearer", "header"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Schema]:
        return [
            {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
            {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The key alone."},
        ]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        """In OpenAPI 3.1 a requirement may name what the key must be allowed, whatever its type."""
        scope = required_scope(auto_schema.view, auto_schema.method)
        return [{name: [scope] if scope else []} for name in self.name]


IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description="Makes it safe to send the request once more: with the same key it gets the first answer again.",
)


class OperationSchema(AutoSchema):
    """An operation with all that it may answer."""

    def get_override_parameters(self) -> list[Any]:
        parameters = super().get_override_parameters()
        return [*parameters, IDEMPOTENCY_KEY] if self.takes_idempotency_key else parameters

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        operation: Schema | None = super().get_operation(*args, **kwargs)
        if operation is not None and not self.is_open and (scope := required_scope(self.view, self.method)):
            operation["x-required-scope"] = scope
        return operation

    @property
    def is_open(self) -> bool:
        return any(isinstance(permission, AllowAny) for permission in self.view.get_permissions())

    @property
    def reads_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH")

    @property
    def takes_idempotency_key(self) -> bool:
        return self.method == "POST" and isinstance(self.view, ChangingView)

    @property
    def answers_file(self) -> bool:
        """Whether the answer has a type of its own, whatever the client says it accepts."""
        answers: Iterable[Any] = self._serializers_by_status()
        return any(isinstance(status, tuple) for status in answers)

    @property
    def answers_stream(self) -> bool:
        return any(
            isinstance(status, tuple) and "text/event-stream" in status for status in self._serializers_by_status()
        )

    def _is_list_view(self, serializer: Any = None) -> bool:
        """A stream is none, whatever its action is called."""
        is_list: bool = not self.answers_stream and super()._is_list_view(serializer)
        return is_list

    # --- Parameters and schemas ---

    def _resolve_path_parameters(self, variables: list[str]) -> list[Schema]:
        """With the schemas that the view knows of them, by `path_parameters`."""
        parameters: list[Schema] = super()._resolve_path_parameters(variables)
        known = getattr(self.view, "path_parameters", {})
        return [parameter | known.get(parameter["name"], {}) for parameter in parameters]

    def _get_request_body(self, direction: str = "request") -> Schema | None:
        """No body is read as an empty object: it must be sent unless that will do."""
        body: Schema | None = super()._get_request_body(direction)
        if body is not None:
            serializer: Any = self.get_request_serializer()
            schema = self.resolve_serializer(serializer, "request").schema
            body["required"] = not Draft202012Validator(schema).is_valid({})
        return body

    def _map_serializer(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> Schema:
        """An answer never lacks a field, be it null."""
        schema: Schema = super()._map_serializer(serializer, direction, bypass_extensions)
        if direction == "response" and schema.get("properties"):
            schema["required"] = list(schema["properties"])
        return schema

    # --- Answers ---

    def _serializers_by_status(self) -> dict[Any, Any]:
        """What the view says of its answers; success is 200 for every method."""
        serializers = self.get_response_serializers()
        return serializers if isinstance(serializers, dict) else {200: serializers}

    def _get_response_bodies(self, direction: str = "response") -> Schema:
        answers = {}
        refusals: Refusals = {}
        for status, said in self._serializers_by_status().items():
            if isinstance(said, list):
                refusals[status] = said
            else:
                code, media_types = (status[0], status[1:]) if isinstance(status, tuple) else (status, None)
                answer = self._get_response_for_code(said, str(code), media_types, direction)
                answer["description"] = answer["description"] or "Done."
                if getattr(said, "allow_null", False):
                    for content in answer["content"].values():
                        content["schema"] = {"anyOf": [content["schema"], {"type": "null"}]}
                answer["headers"] = answer.get("headers", {}) | self._headers(self._success_headers())
                answers[str(code)] = answer
        for status, codes in sorted(self._all_refusals(refusals).items()):
            answers[str(status)] = self._error_answer(status, codes)
        return answers

    def _success_headers(self) -> list[str]:
        names = [*OF_EVERY_ANSWER, *(() if self.is_open else OF_KEYED_REQUESTS)]
        if self.method == "GET" and self._get_paginator() and self._is_list_view():
            names.append("Link")
        if self.takes_idempotency_key:
            names.append("Idempotency-Replayed")
        if self.answers_file and not self.answers_stream and not self.is_open:
            names.append("Content-Disposition")
        return names

    def _all_refusals(self, special: Refusals) -> Refusals:
        """What the view says with what is true of all operations that are like it."""
        layers: list[Refusals] = [special, {400: ["INVALID_REQUEST"], 500: ["INTERNAL_ERROR"]}]
        layers.append({int(status): ["INVALID_REQUEST"] for status in STATUSES.values()})
        if not self.is_open:
            layers.append({401: ["UNAUTHENTICATED"], 403: ["FORBIDDEN"], 429: ["THROTTLED"]})
            layers.append({503: ["AUDIT_UNAVAILABLE", "DATABASE_UNAVAILABLE", "STORAGE_UNAVAILABLE"]})
            if not self.answers_file:
                layers.append({406: ["NOT_ACCEPTABLE"]})
        if "{" in self.path:
            layers.append({404: ["NOT_FOUND"]})
        if self.reads_body:
            layers.append({413: ["TOO_LARGE"], 415: ["UNSUPPORTED_MEDIA_TYPE"]})
            if "application/json" in self.map_parsers():
                layers.append({400: ["INVALID_JSON"]})
        if self.takes_idempotency_key:
            layers.append({409: ["IDEMPOTENCY_KEY_IN_USE"], 422: ["IDEMPOTENCY_KEY_REUSED"]})
        found: dict[int, set[str]] = {}
        for layer in layers:
            for status, codes in layer.items():
                found.setdefault(status, set()).update(codes)
        return {status: sorted(codes) for status, codes in found.items()}

    def _error_answer(self, status: int, codes: list[str]) -> Schema:
        """A reference to the answer of this status that may have these codes, which operations share."""
        replayed = ["Idempotency-Replayed"] if self.takes_idempotency_key and status in REPLAYED else []
        limits = [] if self.is_open or status in BEFORE_THE_KEY else OF_KEYED_REQUESTS
        names = [*OF_EVERY_ANSWER, *OF_STATUS.get(status, ()), *limits, *replayed]
        error = self._component("Error", ResolvedComponent.SCHEMA, ERROR)
        narrowed = {"properties": {"error": {"properties": {"code": {"type": "string", "enum": codes}}}}}
        answer = {
            "description": DESCRIPTIONS[status],
            "headers": self._headers(names),
            "content": {
                "application/json": {
                    "schema": {"allOf": [error, narrowed]},
                    "examples": {code: {"value": example_of(code)} for code in codes},
                }
            },
        }
        kind = "Open" if self.is_open else "Replayable" if replayed else ""
        name = f"{kind}{status}{''.join(code.title().replace('_', '') for code in codes)}"
        return self._component(name, ResolvedComponent.RESPONSE, answer)

    def _headers(self, names: Iterable[str]) -> Mapping[str, Schema]:
        return {name: self._component(name, ResolvedComponent.HEADER, HEADERS[name]) for name in names}

    def _component(self, name: str, kind: str, schema: Schema) -> Schema:
        component = ResolvedComponent(name=name, type=kind, object=name, schema=schema)
        self.registry.register_on_missing(component)
        reference: Schema = component.ref
        return reference
