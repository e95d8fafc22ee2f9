"""An example of every error, word for word as the server gives it."""

from typing import Any

# By code: the message, and the details where there are some.
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "INVALID_CONFIG": (
        "epochs must be between 1 and 1000; colour is not a known field",
        {"epochs": ["epochs must be between 1 and 1000"], "colour": ["colour is not a known field"]},
    ),
    "INVALID_REQUEST": (
        "limit: must be a whole number from 1 to 10000",
        {"limit": ["must be a whole number from 1 to 10000"]},
    ),
    "INVALID_JSON": ("The body is not valid JSON: an object holds the same name twice.", {}),
    "INVALID_NAME": (
        "A name is 1 to 100 letters, digits, dots, underscores and hyphens, and starts with a letter or digit.",
        {},
    ),
    "INVALID_DATASET": ("line 3 has 2 columns, the lines before it 3", {}),
    "UNAUTHENTICATED": ("Send an API key with the request, as Authorization: Bearer KEY or as X-API-Key: KEY.", {}),
    "FORBIDDEN": ("This is not allowed.", {}),
    "NOT_FOUND": ("There is no such thing here; /docs lists what there is.", {}),
    "METHOD_NOT_ALLOWED": ('Method "PUT" not allowed.', {}),
    "NOT_ACCEPTABLE": ("Could not satisfy the request Accept header.", {}),
    "ILLEGAL_STATE": (
        "Session sess_0123456789ab is completed and cannot be stopped.",
        {"state": "completed", "allowed_actions": ["restart"]},
    ),
    "CANNOT_REPEAT": ("The dataset digits is not what it was, so sess_0123456789ab cannot be repeated.", {}),
    "NO_CHECKPOINT": (
        "The checkpoint of session sess_0123456789ab is not there: leave from_checkpoint out to train from the "
        "beginning.",
        {},
    ),
    "KEY_NOT_USABLE": ("The key nightly robot (tsk_Vx3a…) is expired; make a new one instead.", {}),
    "NAME_TAKEN": ("digits is registered already. Choose another name.", {}),
    "IDEMPOTENCY_KEY_IN_USE": (
        "A request with this Idempotency-Key is being carried out. Send it again later, to get its answer.",
        {},
    ),
    "IDEMPOTENCY_KEY_REUSED": (
        "This Idempotency-Key came with another request before. Send a new key with a new request.",
        {},
    ),
    "TOO_LARGE": ("The body of the request is too large.", {}),
    "UNSUPPORTED_MEDIA_TYPE": ('Unsupported media type "text/plain" in request.', {}),
    "THROTTLED": (
        "Other configurations are being validated; try again later. Expected available in 60 seconds.",
        {},
    ),
    "INTERNAL_ERROR": (
        "The server failed. Tell its operator the request id 8d1f1d2c0f5b4a7e9b1c2d3e4f5a6b7c.",
        {"request_id": "8d1f1d2c0f5b4a7e9b1c2d3e4f5a6b7c"},
    ),
    "AUDIT_UNAVAILABLE": ("The attempt could not be recorded, so nothing was done; try again later.", {}),
    "CATALOGUE_UNAVAILABLE": ("The engine could not list its architectures; the server's log says why.", {}),
    "TOO_MANY_STREAMS": (
        "The server has as many event streams open as it may have. Close some, or try again later.",
        {},
    ),
    "STREAMS_UNAVAILABLE": (
        "Only this server's own web process streams, as `make run` starts it. Ask with follow=false.",
        {},
    ),
    "DATABASE_UNAVAILABLE": (
        "The database cannot be used now: it is busy, or its disk is full or failing. Try again later.",
        {},
    ),
    "STORAGE_UNAVAILABLE": (
        "The server cannot use its disk or a folder there, so nothing was kept. Tell its operator; try again later.",
        {},
    ),
    "STORAGE_FULL": (
        "The server has no room on its disk, so nothing was kept. Have space freed, then send the request again.",
        {},
    ),
}


def example_of(code: str) -> dict[str, Any]:
    """The body of an error with this code."""
    message, details = EXAMPLES[code]
    return {"error": {"code": code, "message": message, "details": details}, "detail": message}
