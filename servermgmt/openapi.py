"""What the OpenAPI document says of every operation alike: how a key is sent, and what an error looks like."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

from authkeys.changes import ChangingView
from authkeys.idempotency import HEADER, LONGEST_KEY

ERROR = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "description": "The kind of error, for programs.", "example": "NOT_FOUND"},
                "message": {"type": "string", "description": "What is wrong, for people."},
                "details": {
                    "type": "object",
                    "description": "More of it; after a 400, each wrong field with what is wrong with it.",
                },
            },
        },
        "detail": {"type": "string", "description": "The message once more, for older clients."},
    },
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The two ways to send a key."""

    target_class = "authkeys.authentication.KeyAuthentication"
    name = ["bearer", "header"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [{"type": "http", "scheme": "bearer"}, {"type": "apiKey", "in": "header", "name": "X-API-Key"}]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]


IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description="Makes it safe to send the request once more: with the same key it gets the first answer again.",
)


class OperationSchema(AutoSchema):
    """Adds the error body to every operation, and the Idempotency-Key to those that take one."""

    def get_override_parameters(self) -> list[Any]:
        parameters = super().get_override_parameters()
        takes_key = self.method == "POST" and isinstance(self.view, ChangingView)
        return [*parameters, IDEMPOTENCY_KEY] if takes_key else parameters

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        component = ResolvedComponent(name="Error", type=ResolvedComponent.SCHEMA, object="Error", schema=ERROR)  # type: ignore[no-untyped-call]
        self.registry.register_on_missing(component)
        answer = {"description": "An error.", "content": {"application/json": {"schema": component.ref}}}
        operation["responses"] |= {"4XX": answer, "5XX": answer}
        return operation
