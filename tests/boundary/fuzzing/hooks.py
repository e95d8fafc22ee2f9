"""What schemathesis cannot know from a description alone: which names are taken, and which fields go together.

A request that is right by its schemas is right for the server too, once it speaks of what is there. So each one is
pointed at sessions, datasets and models that exist, at a page that a collection gave, at files that are what they are
said to be, and its configuration is made to fit its dataset. schemathesis looks at a request once more after it was
changed here, and no check is told to expect less. Requests that are meant to be wrong stay as they are.
"""

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import requests
import schemathesis
from schemathesis.generation.meta import TestPhase

FILES = {
    "csv": "height,width,label\n1.5,2,cat\n3,4.5,dog\n",
    "text": "To be, or not to be, that is the question. " * 30,
    "json": '[{"height": 1.5, "label": "cat"}, {"height": 3, "label": "dog"}]',
}

server = httpx.Client(base_url=os.environ["FUZZED_SERVER"], headers={"X-API-Key": os.environ["FUZZED_KEY"]}, timeout=60)
turns = count()


class Pool:
    """Names of what is there, read anew every so often, since the run makes and deletes."""

    EVERY = 20

    def __init__(self, read: Callable[[], list[str]]) -> None:
        self.read = read
        self.lock = threading.Lock()
        self.names: Iterator[str] = iter(())

    def draw(self) -> str:
        with self.lock:
            name = next(self.names, None)
            if name is None:
                names = self.read()
                self.names = iter(names[: self.EVERY])
                name = next(self.names)
            return name


def some_sessions() -> list[str]:
    """The newest ones, between them those of the beginning, which are in every state."""
    newest = [session["session_id"] for session in server.get("/api/v1/training/sessions?limit=10").json()]
    return [name for pair in zip(newest, oldest[next(turns) % 10 :], strict=False) for name in pair]


def some_models() -> list[str]:
    names = [model["name"] for model in server.get("/api/v1/models?limit=20").json()]
    if len(names) < 5:
        for _ in range(10):
            fresh = f"again-{uuid.uuid4().hex}"
            server.post("/api/v1/models", params={"model_name": fresh}, files={"file": b"weights"})
            names.append(fresh)
    return names


def some_keys() -> list[str]:
    """Made for this, so that rotations and revocations have their fill; the run's own is one of the environment."""
    made = [
        server.post("/api/v1/keys", json={"name": "fuzzed", "scopes": ["models:read"]}).json()["id"] for _ in range(5)
    ]
    return list(map(str, made))


oldest = [session["session_id"] for session in server.get("/api/v1/training/sessions?limit=1000").json()]
sessions, models, keys = Pool(some_sessions), Pool(some_models), Pool(some_keys)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.meta is None:
        return
    give_key_of_its_own(case)
    if case.path.endswith("/events"):
        end_what_would_wait(case)
    if case.meta.generation.mode.is_positive:
        point_at_what_is_there(case)
        if "cursor" in (case.query or {}):
            take_cursor_that_was_given(case)
        if case.path.endswith("/logs"):
            case.query = log_query_that_fits(case.query or {})
        if "Last-Event-ID" in (case.headers or {}):
            # Like a cursor: one that was given. Of headers schemathesis also makes some that their pattern forbids.
            case.headers["Last-Event-ID"] = "0-0-0-0-0"
        if isinstance(case.body, dict):
            case.body = as_read(case.body)
        if case.path.endswith(("/training/start", "/training/validate")) and isinstance(case.body, dict):
            case.body = fitting(case.body)
        elif case.path.endswith("/keys") and isinstance(case.body, dict):
            case.body = key_that_can_be(case.body)
        elif case.path.endswith("/restart") and isinstance(case.body, dict):
            case.body = restart_that_fits(case.body)
        elif case.method == "POST" and case.path.endswith(("/datasets", "/models")):
            upload_what_is_right(case)


def give_key_of_its_own(case: Any) -> None:
    """Under one Idempotency-Key comes one request. Whether an answer comes again is looked at by a check below."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]([ -~]{0,253}[!-~])?", key):
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid.uuid4().hex}"


def end_what_would_wait(case: Any) -> None:
    """A stream that waits for what will happen does not end; what it tells until now, and refuses, is the same."""
    if (case.query or {}).get("follow") in (None, "true"):
        case.query = {**(case.query or {}), "follow": "false"}


def point_at_what_is_there(case: Any) -> None:
    """Three times in four; the fourth asks for what is not there. In a story a name comes from an earlier answer."""
    if not case.path_parameters or next(turns) % 4 == 0 or case.meta.phase.name is TestPhase.STATEFUL:
        return
    if "session_id" in case.path_parameters:
        case.path_parameters["session_id"] = sessions.draw()
    elif "key_id" in case.path_parameters:
        case.path_parameters["key_id"] = keys.draw()
    elif "name" in case.path_parameters:
        case.path_parameters["name"] = "digits" if "datasets" in case.path else models.draw()


def take_cursor_that_was_given(case: Any) -> None:
    """Cursors are signed: one that is right is one that the same collection gave, and a short one gives none."""
    page = server.get(case.formatted_path, params={"limit": 1})
    if "next" in page.links:
        case.query["cursor"] = httpx.URL(page.links["next"]["url"]).params["cursor"]
    else:
        del case.query["cursor"]


def log_query_that_fits(query: dict[str, Any]) -> dict[str, Any]:
    """Its regular expression is one of RE2, and its lines lie in their order and in that of its cursor."""
    mended = dict(query)
    if "regex" in query:
        mended["regex"] = re.sub("[^A-Za-z0-9]", ".", query["regex"])[:50]
    if "search" in query:
        mended["search"] = query["search"][:500]
    if "after" in query and ("before" in query or "cursor" in query):
        del mended["after"]
    return mended


def as_read(value: Any) -> Any:
    """The same with 32 for 32.0, which JSON Schema holds for one number, and the server, which is strict, for two.

    And without NUL characters, which no database takes, and no schema can refuse everywhere.
    """
    if isinstance(value, dict):
        return {as_read(name): as_read(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_read(inner) for inner in value]
    if isinstance(value, str):
        return value.replace("\0", "0")
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def fitting(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with what must fit the dataset, the machine and each other, and all else as it came."""
    fits: dict[str, Any] = {"model_architecture": "mlp", "dataset_name": "digits", "model_args": {}}
    fits |= {"loss_function": "cross_entropy", "class_weights": None, "normalize": "standard", "augment": "none"}
    fits |= {"device": "cpu", "gpus": 1, "initial_weights": None, "precision": "auto", "tokenizer": "characters"}
    mended = config | {name: value for name, value in fits.items() if name in config}
    if config.get("model_name") is not None:
        mended["model_name"] = uuid.uuid4().hex
    if config.get("optimizer", "adam") in ("adam", "adamw") and "momentum" in config:
        mended["momentum"] = None
    if config.get("scheduler") == "one_cycle" and "warmup_steps" in config:
        mended["warmup_steps"] = 0
    return mended


def key_that_can_be(body: dict[str, Any]) -> dict[str, Any]:
    """Its end lies in the future, and its name and owner can be seen, which no schema says."""
    texts = {
        name: "".join(filter(str.isprintable, body[name])).strip() or "robot"
        for name in ("name", "owner")
        if name in body
    }
    return body | texts | ({"expires_at": "2999-01-31T12:00:00Z"} if body.get("expires_at") else {})


def restart_that_fits(body: dict[str, Any]) -> dict[str, Any]:
    """The changes fit the session as those of a configuration do. What goes on from a checkpoint can change little."""
    changes = body.get("changes", {})
    if body.get("from_checkpoint") is not None:
        return body | {"changes": {}}
    if "optimizer" in changes:  # momentum is for some
        changes = changes | {"momentum": None}
    elif "momentum" in changes:
        changes = changes | {"optimizer": "sgd"}
    if "scheduler" in changes:
        changes = changes | {"warmup_steps": 0}
    elif "warmup_steps" in changes:
        changes = changes | {"scheduler": "cosine"}
    return body | {"changes": fitting(changes)}


def upload_what_is_right(case: Any) -> None:
    parameter = "dataset_name" if "datasets" in case.path else "model_name"
    if next(turns) % 4:
        case.query[parameter] = f"{case.query[parameter][:50]}{uuid.uuid4().hex}"
    if parameter == "dataset_name":
        if case.query.get("format") not in (None, *FILES):
            case.query["format"] = "csv"
        case.body["file"] = FILES[case.query.get("format", "csv")]
    elif not case.body["file"]:
        case.body["file"] = "weights"


@schemathesis.check
def comes_again(ctx: Any, response: Any, case: Any) -> None:
    """A POST that is sent once more under its Idempotency-Key is answered as the first time, and says so."""
    key = (case.headers or {}).get("Idempotency-Key")
    if case.method != "POST" or key is None or response.status_code != 200:
        return
    with requests.Session() as session:
        again = session.send(response.request, timeout=60)
    assert again.status_code == 200
    if case.path.startswith("/api/v1/keys"):  # a key is shown once, and never kept
        assert again.json() == response.json() | {"key": None}
    else:
        assert again.content == response.content
    assert again.headers["Idempotency-Replayed"] == "true"
