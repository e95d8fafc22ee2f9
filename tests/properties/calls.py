"""Requests to every endpoint, good ones and bad ones, each with the status that it deserves.

A path may hold {queued}, {running}, {ended}, {model}, {dataset} and {other_key}: what is there when the call is made.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.properties.api import ROOT, Api
from tests.properties.dataset_files import dataset_files
from tests.properties.endpoints import CLOSED, METHODS
from tests.properties.inputs import configs, header_texts, names, session_ids, texts

Done = Callable[[Api, dict[str, str]], bool]

# The largest bodies: of JSON, and the largest file, which the tests set.
MAX_BODY_BYTES = 1 << 20
MAX_UPLOAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Call:
    """A request.

    `status` is what the answer must say, None where that cannot be told beforehand; `done` looks whether what was
    asked for has been done.
    """

    method: str
    path: str
    status: int | None
    body: Any = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: dict[str, Any] = field(default_factory=dict)
    done: Done = lambda api, existing: True

    def make(self, client: APIClient, existing: dict[str, str]) -> Any:
        return client.generic(self.method, self.path.format(**existing), self.body, self.content_type, **self.headers)


def escaped(text: str) -> str:
    """A text as one segment of a path that str.format leaves alone."""
    return quote(text, safe="")


def start(config: Any, status: int, **rest: Any) -> Call:
    return Call("POST", f"{ROOT}/training/start", status, json.dumps(config).encode(), **rest)


def upload(path: str, content: bytes | None, status: int, **rest: Any) -> Call:
    """An upload; without a file when there is no content."""
    fields = {} if content is None else {"file": SimpleUploadedFile("file", content)}
    body = encode_multipart(BOUNDARY, fields)
    return Call("POST", ROOT + path, status, body, MULTIPART_CONTENT, **rest)


# --- Good ones ---

READABLE = [
    "/",
    "/health",
    "/openapi.json",
    f"{ROOT}/system/info",
    f"{ROOT}/models",
    f"{ROOT}/datasets",
    f"{ROOT}/datasets/{{dataset}}",
    f"{ROOT}/training/sessions",
    f"{ROOT}/training/queue",
    f"{ROOT}/architectures",
    f"{ROOT}/architectures/left_out",
]
COLLECTIONS = [
    "/architectures",
    "/architectures/left_out",
    "/models",
    "/datasets",
    "/training/sessions",
    "/training/queue",
    "/training/{running}/history",
    "/training/{running}/logs",
]
OF_A_SESSION = ["status", "metrics", "history", "logs", "series", "report", "record"]

reads = st.sampled_from(READABLE).map(lambda path: Call("GET", path, 200))
pages = st.builds(
    lambda path, limit: Call("GET", f"{ROOT}{path}?limit={limit}", 200),
    st.sampled_from(COLLECTIONS),
    st.integers(1, 10_000),
)
reads_of_sessions = st.builds(
    lambda which, what: Call("GET", f"{ROOT}/training/{{{which}}}/{what}", 200),
    st.sampled_from(["queued", "running", "ended"]),
    st.sampled_from(OF_A_SESSION),
)
downloads = st.sampled_from(
    [
        Call("GET", f"{ROOT}/models/{{model}}", 200),
        Call("GET", f"{ROOT}/training/{{ended}}/tensorboard", 200),
        Call("GET", f"{ROOT}/training/{{running}}/logs/download", 200),
    ]
)
starts = configs().map(
    lambda config: start(
        config, 200, done=lambda api, existing: api.get("/training/sessions")[0]["config"].items() >= config.items()
    )
)
stops = st.just(
    Call(
        "POST",
        f"{ROOT}/training/{{queued}}/stop",
        200,
        done=lambda api, existing: api.status(existing["queued"])["state"] == "stopped",
    )
)
cancels = st.just(
    Call(
        "DELETE",
        f"{ROOT}/training/queue/{{queued}}",
        200,
        done=lambda api, existing: api.status(existing["queued"])["state"] == "stopped",
    )
)
deletes = st.just(Call("DELETE", f"{ROOT}/models/{{model}}", 200, done=lambda api, existing: api.get("/models") == []))
new_names = names().map(lambda name: f"n{name}"[:100])  # none of those that are there begins with an n
model_uploads = st.builds(
    lambda name, content: upload(
        f"/models?model_name={name}", content, 200, done=lambda api, existing: api.download_model(name) == content
    ),
    new_names,
    st.binary(min_size=1, max_size=200),
)
dataset_uploads = st.builds(
    lambda name, file: upload(
        f"/datasets?dataset_name={name}",
        file.content,
        200,
        done=lambda api, existing: api.get(f"/datasets/{name}")["sample_count"] == file.sample_count,
    ),
    new_names,
    dataset_files(),
)


def good_calls() -> st.SearchStrategy[Call]:
    changes = starts | stops | cancels | deletes | model_uploads | dataset_uploads
    return reads | reads_of_sessions | pages | downloads | changes


# --- Bad ones ---

ABOUT_A_SESSION = [("GET", f"/training/{{}}/{what}") for what in OF_A_SESSION]
ABOUT_A_SESSION += [("POST", "/training/{}/stop"), ("DELETE", "/training/queue/{}")]
ABOUT_A_FILE = [("GET", "/models/{}"), ("DELETE", "/models/{}"), ("GET", "/datasets/{}")]


def calls_about_nothing(what: list[tuple[str, str]], unknown: st.SearchStrategy[str]) -> st.SearchStrategy[Call]:
    """Well-formed calls about what does not exist."""
    return st.builds(
        lambda call, name: Call(call[0], ROOT + call[1].format(escaped(name)), 404), st.sampled_from(what), unknown
    )


unknown_sessions = calls_about_nothing(ABOUT_A_SESSION, session_ids() | texts())
unknown_files = calls_about_nothing(ABOUT_A_FILE, new_names | texts())
wrong_methods = st.sampled_from(
    [
        Call(method, ROOT + path, 405)
        for path, allowed in {
            "/training/start": ["POST"],
            "/training/{queued}/stop": ["POST"],
            "/training/{running}/status": ["GET"],
            "/training/queue/{queued}": ["PATCH", "DELETE"],
            "/training/sessions": ["GET"],
            "/architectures": ["GET"],
            "/architectures/left_out": ["GET"],
            "/models": ["GET", "POST"],
            "/models/{model}": ["GET", "DELETE"],
            "/datasets/{dataset}": ["GET"],
            "/system/info": ["GET"],
        }.items()
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"]
        if method not in allowed
    ]
)
unknown_paths = st.builds(
    lambda method, segment: Call(method, f"/api/v1/nothing/{escaped(segment)}", 404), st.sampled_from(METHODS), texts()
)
wrong_states = st.sampled_from(
    [
        Call("POST", f"{ROOT}/training/{{ended}}/stop", 409),
        Call("DELETE", f"{ROOT}/training/queue/{{ended}}", 409),
        Call("DELETE", f"{ROOT}/training/queue/{{running}}", 409),
    ]
)
not_a_config: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | texts() | st.lists(st.integers()) | st.just({})
)
wrong_configs = not_a_config.map(lambda value: start(value, 400)) | st.builds(
    lambda config, field, value: start(config | {field: value}, 400),
    configs(),
    st.sampled_from(
        ["model_architecture", "dataset_name", "learning_rate", "batch_size", "epochs", "optimizer", "more"]
    ),
    st.sampled_from([None, True, -1, 10**50, 1e300, "", "nothing known", [], {}]),
)
NO_JSON = [
    b"{",
    b"[" * 100_000,
    b'{"epochs": NaN}',
    b'{"epochs": 1e999}',
    b'{"a": 1, "a": 1}',
    b'{"a": "\\ud800"}',
    b"\xff",
]
bodies_that_are_no_json = (st.sampled_from(NO_JSON) | st.binary(min_size=1).map(lambda junk: b"{" + junk)).map(
    lambda body: Call("POST", f"{ROOT}/training/start", 400, body)
)
unusable_types = st.sampled_from(
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/octet-stream"]
)
wrong_types = st.builds(
    lambda config, kind: start(config, 415, content_type=kind), configs(), unusable_types
) | st.sampled_from(
    [
        Call("POST", f"{ROOT}/models?model_name=new", 415, b"{}"),
        Call("POST", f"{ROOT}/datasets?dataset_name=new", 415, b"{}"),
    ]
)
too_large = st.integers(1, 1000).flatmap(
    lambda more: st.sampled_from(
        [
            Call("POST", f"{ROOT}/training/start", 413, b" " * (MAX_BODY_BYTES + more)),
            upload("/models?model_name=new", bytes(MAX_UPLOAD_BYTES + more), 413),
            upload("/datasets?dataset_name=new", bytes(MAX_UPLOAD_BYTES + more), 413),
        ]
    )
)
refused_uploads = st.sampled_from(
    [
        upload("/models?model_name={model}", b"weights", 409),
        upload("/datasets?dataset_name={dataset}", b"1,2\n", 409),
        upload("/models", b"weights", 400),
        upload("/models?model_name=", b"weights", 400),
        upload("/datasets", b"1,2\n", 400),
        upload("/models?model_name=new", None, 400),
        upload("/datasets?dataset_name=new", None, 400),
    ]
)
misnamed_uploads = st.builds(
    lambda query, name: upload(f"/{query}={quote(name)}", b"1,2\n", 400),
    st.sampled_from(["models?model_name", "datasets?dataset_name"]),
    st.text().map(lambda text: f"{text}/{text}"),
)
# Text in one column is nothing to learn from, whatever it says, and what begins with a zero is of no format at all.
junk = st.text("abc\n", min_size=1).map(str.encode) | st.binary(max_size=200).map(lambda rest: b"\x00" + rest)
uploads_of_junk = junk.map(lambda content: upload("/datasets?dataset_name=new", content, 400))
wrong_queries = st.builds(
    lambda path, query: Call("GET", f"{ROOT}{path}?{query}", 400),
    st.sampled_from(COLLECTIONS),
    st.sampled_from(
        ["limit=0", "limit=-1", "limit=x", "limit=10001", "limit=", "limit=%D9%A3", "cursor=x", "cursor=", "limit=%00"]
    ),
)
wrong_queries |= st.sampled_from(["takes=", "takes=sound", "takes=%00"]).map(
    lambda query: Call("GET", f"{ROOT}/architectures?{query}", 400)
)
wrong_queries |= st.builds(
    lambda query: Call("GET", f"{ROOT}/training/{{running}}/series?{query}", 400),
    st.sampled_from(
        ["points=9", "points=10001", "points=", "points=%D9%A3", "after=-1", "after=x", "names=", "names=%00"]
    ),
)
not_acceptable = st.sampled_from(["image/png", "text/html", "application/xml"]).flatmap(
    lambda accept: reads.filter(lambda call: call.path.startswith(ROOT)).map(
        lambda call: replace(call, status=406, headers={"HTTP_ACCEPT": accept})
    )
)
NO_ACCESS = [{"HTTP_AUTHORIZATION": ""}, {"HTTP_AUTHORIZATION": "Bearer made-up"}, {"HTTP_AUTHORIZATION": "Basic x"}]
no_access = st.builds(
    lambda method, template, headers: Call(
        method, template.format(session_id="{queued}", name="{model}", key_id="{other_key}"), 401, headers=headers
    ),
    st.sampled_from(METHODS),
    st.sampled_from(CLOSED),
    st.sampled_from(NO_ACCESS),
)


def bad_calls() -> st.SearchStrategy[Call]:
    return st.one_of(
        unknown_sessions,
        unknown_files,
        unknown_paths,
        wrong_methods,
        wrong_states,
        wrong_configs,
        bodies_that_are_no_json,
        wrong_types,
        too_large,
        refused_uploads,
        misnamed_uploads,
        uploads_of_junk,
        wrong_queries,
        not_acceptable,
        no_access,
    )


# --- Faults of ours ---

# Answered while the hardware cannot be read.
our_faults = st.sampled_from(["", "/", "?limit=1"]).map(lambda end: Call("GET", f"{ROOT}/system/info{end}", 500))

# --- Anything ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
parameters = st.fixed_dictionaries(
    {
        "session_id": st.sampled_from(["{queued}", "{running}", "{ended}"]) | texts().map(escaped),
        "name": st.sampled_from(["{model}", "{dataset}"]) | texts().map(escaped),
        "key_id": st.just("{other_key}") | texts().map(escaped),
    }
)
queries = st.dictionaries(
    st.sampled_from(["limit", "cursor", "format", "model_name", "dataset_name"]), st.text() | names(), max_size=3
)


@st.composite
def any_calls(draw: st.DrawFn) -> Call:
    path = draw(st.sampled_from(CLOSED)).format(**draw(parameters))
    query = urlencode(draw(queries))
    headers = {"HTTP_ACCEPT": draw(st.sampled_from(["*/*", "application/json", "text/html", "x", ""]) | header_texts())}
    body = draw(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
    content_type = draw(st.sampled_from(["application/json", MULTIPART_CONTENT, "text/plain", "x"]))
    return Call(draw(st.sampled_from(METHODS)), f"{path}?{query}", None, body, content_type, headers)
