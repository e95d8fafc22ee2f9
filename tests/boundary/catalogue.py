"""The catalogue of bad input: what is sent to which endpoint, and what the answer has to be.

To add an endpoint, name it in ENDPOINTS, and in JSON_ENDPOINTS if it takes JSON: the rows of every kind come by
themselves. In paths and bodies `{queued}`, `{ended}`, `{model}`, `{dataset}`, `{key_id}` and `{key}` stand for what the
server has: two sessions, a model, a dataset, a key's number, and the key that is sent.
"""

# ruff: noqa: RUF001  (characters that look like others are the point of some rows)

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from urllib.parse import quote

API = "/api/v1"
Headers = tuple[str | bytes, ...]
WITH_KEY: Headers = ("X-API-Key: {key}",)
JSON = "Content-Type: application/json"
MADE_UP = "tsk_0000000000000000000000000000000000000"


@dataclass(frozen=True)
class Row:
    """One bad request and the answer to it.

    `length` is what its Content-Length says: by default the truth, and None for no such header. `raw` is all that is
    sent, where no such request could be made of the rest. A request that is `audited` has one row in the audit log;
    others are refused before anybody asks who sends them, or go to a path that asks for no key.
    """

    name: str
    method: str
    path: str
    status: int
    code: str
    headers: Headers = WITH_KEY
    body: bytes = b""
    length: str | None = "true"
    raw: bytes | None = None
    audited: bool = True

    def request(self, values: dict[str, str]) -> bytes:
        """The bytes to send."""
        if self.raw is not None:
            return filled(self.raw, values)
        body = filled(self.body, values) if len(self.body) < 10_000 else self.body
        lines: list[str | bytes] = [f"{self.method} {self.path} HTTP/1.1", "Host: x", "Connection: close"]
        lines += self.headers
        if self.length is not None and (body or self.length != "true" or self.method not in ("GET", "HEAD")):
            lines.append(f"Content-Length: {len(body) if self.length == 'true' else self.length}")
        encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
        return filled(b"\r\n".join(encoded), values) + b"\r\n\r\n" + body


def filled(text: bytes, values: dict[str, str]) -> bytes:
    for name, value in values.items():
        text = text.replace(b"{%s}" % name.encode(), value.encode())
    return text


# --- What there is: every path of ours that asks for a key, with its methods ---

ENDPOINTS: dict[str, tuple[str, ...]] = {
    "/training/start": ("POST",),
    "/training/validate": ("POST",),
    "/training/bulk": ("POST",),
    "/training/sessions": ("GET",),
    "/training/queue": ("GET",),
    "/training/queue/{queued}": ("PATCH", "DELETE"),
    "/training/queue/state": ("GET",),
    "/training/queue/pause": ("POST",),
    "/training/queue/resume": ("POST",),
    "/training/queue/drain": ("POST",),
    "/training/{queued}/pause": ("POST",),
    "/training/{queued}/resume": ("POST",),
    "/training/{queued}/stop": ("POST",),
    "/training/{queued}/kill": ("POST",),
    "/training/{queued}/restart": ("POST",),
    "/training/{queued}/status": ("GET",),
    "/training/{queued}/metrics": ("GET",),
    "/training/{queued}/history": ("GET",),
    "/training/{queued}/logs": ("GET",),
    "/training/{queued}/series": ("GET",),
    "/training/{queued}/tensorboard": ("GET",),
    "/training/{queued}/record": ("GET",),
    "/training/{queued}/report": ("GET",),
    "/training/{queued}/transitions": ("GET",),
    "/training/{queued}/events": ("GET",),
    "/events": ("GET",),
    "/architectures": ("GET",),
    "/architectures/left_out": ("GET",),
    "/models": ("GET", "POST"),
    "/models/{model}": ("GET", "DELETE"),
    "/datasets": ("GET", "POST"),
    "/datasets/{dataset}": ("GET",),
    "/system/info": ("GET",),
    "/keys": ("GET", "POST"),
    "/keys/{key_id}": ("GET", "DELETE"),
    "/keys/{key_id}/rotate": ("POST",),
    "/keys/self": ("GET",),
    "/audit": ("GET",),
    "/audit/export": ("GET",),
}
# Those that take JSON, with the code of what is JSON but not what they take.
JSON_ENDPOINTS: dict[tuple[str, str], str] = {
    ("POST", "/training/start"): "INVALID_CONFIG",
    ("POST", "/training/validate"): "INVALID_CONFIG",
    ("POST", "/training/bulk"): "INVALID_CONFIG",
    ("POST", "/training/{ended}/restart"): "INVALID_CONFIG",
    ("PATCH", "/training/queue/{queued}"): "INVALID_CONFIG",
    ("POST", "/keys"): "INVALID_REQUEST",
    ("POST", "/keys/{key_id}/rotate"): "INVALID_REQUEST",
}
UPLOADS = {"/models": "model_name", "/datasets": "dataset_name"}
PAGED: tuple[str, ...] = (
    "/training/sessions",
    "/training/queue",
    "/training/{ended}/history",
    "/training/{ended}/logs",
)
PAGED += ("/training/{ended}/transitions", "/models", "/datasets", "/architectures", "/keys", "/audit")
EVERY = [(method, path) for path, methods in ENDPOINTS.items() for method in methods]


# --- Who asks ---

NOBODY: Headers = ()
CREDENTIALS: dict[str, Headers] = {
    "an empty key": ("X-API-Key:",),
    "an empty bearer": ("Authorization: Bearer",),
    "another scheme": ("Authorization: Basic c2VjcmV0OnNlY3JldA==",),
    "the key without a scheme": ("Authorization: {key}",),
    "the scheme glued to the key": ("Authorization: Bearer{key}",),
    "the key in quotes": ('X-API-Key: "{key}"',),
    "a key of the right shape that is none": (f"X-API-Key: {MADE_UP}",),
    "a key with one more character": ("X-API-Key: {key}x",),
    "the key in capitals": ("X-API-Key: CATALOGUE-KEY",),
    "look-alikes": ("X-API-Key: сatalogue-key",),
    "full width": ("Authorization: Bearer ｃatalogue-key",),
    "latin-1": (b"X-API-Key: \xe9\xff\xa0{key}",),
    "a no-break space behind it": (b"X-API-Key: {key}\xa0",),
    "broken UTF-8": (b"Authorization: Bearer \xc3\x28\xf0\x9f",),
    "8,000 characters": ("X-API-Key: " + "k" * 8000,),
    "SQL": ("X-API-Key: ' OR '1'='1' --",),
    "a null in words": ("X-API-Key: null",),
    "a wildcard": ("X-API-Key: %",),
    "a path": ("X-API-Key: ../../api_data.db",),
    "an escaped line break": ("X-API-Key: {key}\\r\\nX-Admin: true",),
    "two different keys": ("Authorization: Bearer {key}", "X-API-Key: other"),
    "a good key behind a bad one": ("Authorization: Bearer other", "X-API-Key: {key}"),
    "the header twice": ("X-API-Key: {key}", "X-API-Key: {key}"),
    "the header twice, one of them empty": ("X-API-Key:", "X-API-Key: {key}"),
    "two bearers": ("Authorization: Bearer {key}", "Authorization: Bearer other"),
    "underscores": ("X_API_KEY: {key}",),
    "a key in a cookie": ("Cookie: X-API-Key={key}; api_key={key}",),
    "a made-up session": ("Cookie: sessionid=0123456789abcdef0123456789abcdef",),
    "a session with a NUL": ('Cookie: sessionid="aaaaaaaa\\000aaaa"',),
    "a session that is long": ("Cookie: sessionid=" + "a" * 7000,),
    "who they say they are": ("X-Forwarded-User: admin", "Remote-User: admin", "X-Original-URL: /health"),
}


def credentials() -> Iterator[Row]:
    for method, path in EVERY:
        yield Row(f"no key: {method} {path}", method, API + path, 401, "UNAUTHENTICATED", NOBODY)
        made_up: Headers = (f"Authorization: Bearer {MADE_UP}",)
        yield Row(f"a made-up key: {method} {path}", method, API + path, 401, "UNAUTHENTICATED", made_up)
    for name, headers in CREDENTIALS.items():
        for method, path in (("GET", "/models"), ("DELETE", "/models/{model}")):
            yield Row(f"{name}: {method} {path}", method, API + path, 401, "UNAUTHENTICATED", headers)
    query = f"{API}/models?api_key={{key}}&X-API-Key={{key}}"
    yield Row("a key in the query", "GET", query, 401, "UNAUTHENTICATED", NOBODY)
    yield Row("an unknown path without a key", "GET", "/api/v1/nothing", 401, "UNAUTHENTICATED", NOBODY)
    yield Row("a broken body without a key", "POST", f"{API}/training/start", 401, "UNAUTHENTICATED", (JSON,), b"[" * 9)


# --- JSON ---

BROKEN_JSON: dict[str, bytes] = {
    "half an object": b"{",
    "a blank": b" ",
    "single quotes": b"{'epochs': 1}",
    "a comma too many": b'{"epochs": 1,}',
    "something behind it": b"{} {}",
    "a NUL behind it": b"{}\0",
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without BOM": '{"epochs": 1}'.encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32"),
    "latin-1": b'{"notes": "\xe9"}',
    "overlong UTF-8": b'{"notes": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"notes": "\xed\xa0\x80"}',
    "a name twice": b'{"epochs": 1, "epochs": 2}',
    "a name twice, once escaped": b'{"epochs": 1, "\\u0065pochs": 2}',
    "NaN": b'{"learning_rate": NaN}',
    "Infinity": b'{"learning_rate": Infinity}',
    "minus Infinity": b'{"learning_rate": -Infinity}',
    "1e400": b'{"learning_rate": 1e400}',
    "5,000 digits": b'{"epochs": ' + b"9" * 5000 + b"}",
    "a million digits": b'{"epochs": ' + b"9" * 1_000_000 + b"}",
    "a leading zero": b'{"epochs": 01}',
    "a plus": b'{"epochs": +1}',
    "hexadecimal": b'{"epochs": 0x1}',
    "Arabic digits": '{"epochs": ٣}'.encode(),
    "an underscore": b'{"epochs": 1_0}',
    "half a surrogate pair": b'{"notes": "\\ud800"}',
    "half a surrogate pair as a name": b'{"\\udfff": 1}',
    "a NUL": b'{"notes": "a\\u0000b"}',
    "a NUL as a name": b'{"\\u0000": 1}',
    "a raw line break": b'{"notes": "a\nb"}',
    "a raw escape": b'{"notes": "\x1b[31m"}',
    "a bad escape": b'{"notes": "\\x41"}',
    "a comment": b'{} // "epochs"',
    "33 levels": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets, closed": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "10,001 items": b'{"tags": [' + b"0," * 10_000 + b"0]}",
    "a form": b"epochs=1&learning_rate=0.1",
    "a page": b"<html></html>",
    "YAML": b"epochs: 1",
}
NO_OBJECT: dict[str, bytes] = {
    "a list": b"[]",
    "a list of objects": b"[{}]",
    "null": b"null",
    "a number": b"1",
    "a string": b'"epochs"',
    "true": b"true",
    "10,000 unknown keys": json.dumps(dict.fromkeys(map("no_such_{}".format, range(10_000)), 1)).encode(),
    "a name that reverses": json.dumps({"\u202egnihtemos": 1, "x\u2028y\x1b[31m": 2}).encode(),
    "a name of 100,000 characters": json.dumps({"n" * 100_000: 1}).encode(),
    "a proto": b'{"__proto__": {"admin": true}, "constructor": 1}',
}
WRONG_TYPES: dict[str, Headers] = {
    "text": ("Content-Type: text/plain",),
    "a form": ("Content-Type: application/x-www-form-urlencoded",),
    "multipart": ("Content-Type: multipart/form-data; boundary=x",),
    "XML": ("Content-Type: application/xml",),
    "no type": (),
    "an empty type": ("Content-Type:",),
    "nonsense": ("Content-Type: nonsense",),
    "two types in one": ("Content-Type: application/json, text/plain",),
    "a type of bytes": (b"Content-Type: \xff\xfe/\x80",),
    "many blanks": ("Content-Type: application/json;" + " ;" * 3000 + " x",),
    "latin-1": ("Content-Type: application/json; charset=latin-1",),
    "UTF-16": ("Content-Type: application/json; charset=utf-16",),
    "a codec that is no charset": ("Content-Type: application/json; charset=hex",),
    "an unknown charset": ("Content-Type: application/json; charset=klingon",),
    "an unknown charset, extended": ("Content-Type: application/json; charset*=klingon''%41",),
    "a NUL as charset": ("Content-Type: application/json; charset*=utf-8''%00",),
    "two charsets": ("Content-Type: application/json; charset=utf-8; charset=utf-16",),
    "gzip": (JSON, "Content-Encoding: gzip"),
    "an unknown coding": (JSON, "Content-Encoding: nonsense"),
    "two codings": (JSON, "Content-Encoding: identity, gzip"),
}


def json_bodies() -> Iterator[Row]:
    as_json = (*WITH_KEY, JSON)
    for (method, path), code in JSON_ENDPOINTS.items():
        for name, body in BROKEN_JSON.items():
            yield Row(f"{name}: {method} {path}", method, API + path, 400, "INVALID_JSON", as_json, body)
        for name, body in NO_OBJECT.items():
            yield Row(f"{name}: {method} {path}", method, API + path, 400, code, as_json, body)
        for name, headers in WRONG_TYPES.items():
            title = f"the type is {name}: {method} {path}"
            yield Row(title, method, API + path, 415, "UNSUPPORTED_MEDIA_TYPE", (*WITH_KEY, *headers), b"{}")
        too_large = b'{"notes": "' + b"x" * 3_000_000 + b'"}'
        yield Row(f"3 MB: {method} {path}", method, API + path, 413, "TOO_LARGE", as_json, too_large)
    for path in ("/training/start", "/keys"):
        huge = b'{"notes": "' + b"x" * 50_000_000 + b'"}'
        yield Row(f"a string of 50 MB: {path}", "POST", API + path, 413, "TOO_LARGE", as_json, huge)


CONFIG = {"model_architecture": "mlp", "dataset_name": "{dataset}", "learning_rate": 0.1, "batch_size": 1, "epochs": 1}
WRONG_VALUES: tuple[tuple[str, Any], ...] = (
    ("epochs", "1"),
    ("epochs", "٣"),
    ("epochs", "1_0"),
    ("epochs", True),
    ("epochs", 1.5),
    ("epochs", 0),
    ("epochs", -1),
    ("epochs", 10**99),
    ("epochs", None),
    ("epochs", [1]),
    ("learning_rate", "0.1"),
    ("learning_rate", 1e308),
    ("learning_rate", False),
    ("batch_size", 2**63),
    ("model_architecture", "../../etc/passwd"),
    ("model_architecture", "mlр"),  # the last letter is Cyrillic
    ("model_architecture", "m" * 100_000),
    ("model_architecture", {"$ne": ""}),
    ("dataset_name", "' OR 1=1 --"),
    ("dataset_name", "\u202e" * 100),
    ("dataset_name", ["{dataset}"]),
    ("optimizer", "adam\n"),
    ("loss_function", "ｍse"),
    ("device", "cuda:٣"),
    ("device", "cpu; rm -rf /"),
    ("seed", 2**63),
    ("tags", "not a list"),
    ("tags", ["a\nb"]),
    ("tags", ["t"] * 51),
    ("notes", "n" * 10_001),
    ("model_name", ".hidden"),
    ("model_name", "a/b"),
    ("model_name", "weights\n"),
    ("model_name", "wеights"),  # with a Cyrillic e
    ("initial_weights", "../../secret_key"),
    ("model_args", {"hidden_sizes": "a" * 1000}),
    ("class_weights", {"\u202e": "x"}),
    ("no_such_field", 1),
)


def configurations() -> Iterator[Row]:
    as_json = (*WITH_KEY, JSON)
    for number, (field, value) in enumerate(WRONG_VALUES):
        body = json.dumps(CONFIG | {field: value}).encode()
        for path in ("/training/start", "/training/validate"):
            title = f"{field} is wrong ({number}): {path}"
            yield Row(title, "POST", API + path, 400, "INVALID_CONFIG", as_json, body)
        changed = json.dumps({"changes": {field: value}}).encode()
        restart = API + "/training/{ended}/restart"
        yield Row(f"{field} is wrong ({number}): restart", "POST", restart, 400, "INVALID_CONFIG", as_json, changed)
    others: dict[tuple[str, str], tuple[Any, ...]] = {
        ("POST", "/training/bulk"): (
            {"action": "stop"},
            {"action": "stop", "session_ids": "sess_1"},
            {"action": "stop", "session_ids": [1]},
            {"action": "stop", "session_ids": ["x"] * 1001},
            {"action": "stop\n", "session_ids": []},
            {"action": "\u202epots", "session_ids": ["x"]},
        ),
        ("PATCH", "/training/queue/{queued}"): (
            {"priority": "1"},
            {"priority": 101},
            {"position": 0},
            {"position": "٣"},
            {"position": True},
            {"position": 1.5},
        ),
        ("POST", "/training/{ended}/restart"): (
            {"from_checkpoint": 1},
            {"from_checkpoint": "../../secret_key"},
            {"from_checkpoint": "\u202e"},
            {"changes": []},
            {"changes": "epochs"},
        ),
        ("POST", "/keys"): (
            {"name": "n"},
            {"name": 1, "scopes": ["admin"]},
            {"name": "n\n", "scopes": ["admin"]},
            {"name": "\u202en", "scopes": ["admin"]},
            {"name": "n" * 101, "scopes": ["admin"]},
            {"name": "", "scopes": ["admin"]},
            {"name": "n", "scopes": []},
            {"name": "n", "scopes": ["root"]},
            {"name": "n", "scopes": "admin"},
            {"name": "n", "scopes": ["admin"] * 1000},
            {"name": "n", "scopes": ["admin"], "expires_at": "yesterday"},
            {"name": "n", "scopes": ["admin"], "expires_at": "2001-01-01T00:00:00Z"},
            {"name": "n", "scopes": ["admin"], "expires_at": 10**20},
            {"name": "n", "scopes": ["admin"], "id": 1},
        ),
        ("POST", "/keys/{key_id}/rotate"): (
            {"overlap_seconds": "1"},
            {"overlap_seconds": "٣"},
            {"overlap_seconds": -1},
            {"overlap_seconds": True},
            {"overlap_seconds": 1.5},
            {"overlap_seconds": 10**30},
        ),
    }
    for (method, path), bodies in others.items():
        for number, body in enumerate(bodies):
            title = f"wrong ({number}): {method} {path}"
            code = JSON_ENDPOINTS[method, path]
            yield Row(title, method, API + path, 400, code, as_json, json.dumps(body).encode())


# --- Names ---

BAD_NAMES: dict[str, str] = {
    "climbs": "../../secret_key",
    "climbs, encoded": "%2e%2e%2fsecret_key",
    "climbs, as on Windows": "..\\..\\secret_key",
    "climbs, double-encoded": "%252e%252e%252f",
    "is a dot": ".",
    "is two dots": "..",
    "is absolute": "/etc/passwd",
    "is a drive": "C:\\x",
    "is a device": "/dev/null",
    "is a URL": "file:///etc/passwd",
    "hides": ".hidden",
    "is a hyphen": "-rf",
    "mimics": "dаtа",  # with Cyrillic letters
    "is full width": "ｄata",
    "reverses": "a\u202etp.x",
    "has no width": "a\u200bb",
    "ends in a line break": "name\n",
    "ends in a carriage return": "name\r",
    "ends in a line separator": "name\u2028",
    "holds an escape": "a\x1b[31mb",
    "is empty": "",
    "is blank": " ",
    "has blanks around it": " name ",
    "is long": "n" * 101,
    "is 2,000 characters": "n" * 2000,
    "is a glob": "*",
    "is SQL": "x'; DROP TABLE models; --",
    "is a template": "{{7*7}}${7*7}",
    "is a command": "$(reboot)`id`|cat",
    "is an emoji": "😀",
}


def names() -> Iterator[Row]:
    for path, parameter in UPLOADS.items():
        headers = (*WITH_KEY, f"Content-Type: multipart/form-data; boundary={BOUNDARY}")
        for title, name in BAD_NAMES.items():
            target = f"{API}{path}?{parameter}={quote(name, safe='')}"
            yield Row(f"a name that {title}: {path}", "POST", target, 400, "INVALID_NAME", headers, form(FILE))
        for title, name in BAD_NAMES.items():
            for method in ("GET",) if path == "/datasets" else ("GET", "DELETE"):
                target = f"{API}{path}/{quote(name, safe='')}"
                # An empty name is the collection itself, which is there, or has no such method.
                if name:
                    yield Row(f"a name that {title}: {method} {path}/…", method, target, 404, "NOT_FOUND")
        with_nul = f"{API}{path}?{parameter}=a%00b"
        yield Row(f"a name with a NUL: {path}", "POST", with_nul, 400, "INVALID_REQUEST", headers, form(FILE))
        yield Row(f"a name with a NUL: {path}/…", "GET", f"{API}{path}/a%00b", 404, "NOT_FOUND")
        yield Row(f"a name that is broken UTF-8: {path}/…", "GET", f"{API}{path}/a%ff%c3", 404, "NOT_FOUND")
        taken = "{model}" if path == "/models" else "{dataset}"
        target = f"{API}{path}?{parameter}={taken}"
        yield Row(f"a name that is taken: {path}", "POST", target, 409, "NAME_TAKEN", headers, form(FILE))
        yield Row(f"without a name: {path}", "POST", API + path, 400, "INVALID_NAME", headers, form(FILE))


IDS: tuple[str, ...] = (
    "x",
    "sess_",
    "sess_٣٣٣٣٣٣٣٣٣٣٣٣",
    "sess_0123456789AB",
    "{queued}x",
    "1",
    "-1",
    "0",
    "null",
    "%20{queued}",
)
IDS += ("{queued}%0a", "{queued}%00", "%2e%2e", "' OR 1=1 --", "s" * 2000, "%e2%80%ae{queued}", "{queued}%2fstatus")
KEY_IDS = ("x", "٣", "1_0", "+1", "-1", "1e3", "0", "%201", "1%0a", "1%00", "9" * 19, "9" * 25, "9" * 2000, "1.0")


def ids() -> Iterator[Row]:
    for text in IDS:
        target = quote(text, safe="%{}")
        for method, path in (
            ("GET", "/training/{}/status"),
            ("POST", "/training/{}/stop"),
            ("DELETE", "/training/queue/{}"),
        ):
            yield Row(f"an id {text[:26]}: {method} {path}", method, API + path.replace("{}", target), 404, "NOT_FOUND")
    for method, path in EVERY:
        if "{queued}" in path:
            body, headers = (b"{}", (*WITH_KEY, JSON)) if method in ("POST", "PATCH") else (b"", WITH_KEY)
            target = API + path.replace("{queued}", "sess_000000000000")
            status, code = (400, "INVALID_CONFIG") if method == "PATCH" else (404, "NOT_FOUND")
            yield Row(f"an unknown session: {method} {path}", method, target, status, code, headers, body)
    for text in KEY_IDS:
        target = quote(text, safe="%")
        for method, path in (("GET", "/keys/{}"), ("DELETE", "/keys/{}"), ("POST", "/keys/{}/rotate")):
            yield Row(f"a key {text[:26]}: {method} {path}", method, API + path.replace("{}", target), 404, "NOT_FOUND")


NO_NUMBERS: tuple[str, ...] = (
    "٣",
    "1_0",
    "%201",
    "1%20",
    "%2B1",
    "+1",
    "1e3",
    "-1",
    "0",
    "1.0",
    "0x1",
    "",
    "NaN",
    "9" * 30,
    "10001",
)
NO_NUMBERS += ("1%0a", "１", "true", "1,2", "' OR 1=1", "a" * 3000)
NO_CURSORS = ("x", "", "1", "a:b:c", "eyJhIjoxfQ", "%F0%9F%98%80", "c" * 3000, "' OR 1=1 --", "%0a", "..%2f")


def queries() -> Iterator[Row]:
    def row(title: str, target: str, method: str = "GET") -> Row:
        return Row(title, method, API + quote(target, safe="/?&=%{}+"), 400, "INVALID_REQUEST")

    for path in PAGED:
        for text in NO_NUMBERS:
            yield row(f"limit {text[:20]}: {path}", f"{path}?limit={text}")
        for text in NO_CURSORS:
            yield row(f"cursor {text[:20]}: {path}", f"{path}?cursor={text}")
    for text in NO_NUMBERS:
        if text not in ("0", "10001"):
            yield row(f"after {text[:20]}", f"/training/{{ended}}/series?after={text}")
        if text != "10001":
            yield row(f"points {text[:20]}", f"/training/{{ended}}/series?points={text}")
        yield row(f"status {text[:20]}", f"/audit?status={text}")
    for text in ("", ",", "a,,b", "n" * 101, "a%0ab", "a%1b"):
        yield row(f"series {text[:20]}", f"/training/{{ended}}/series?names={text}")
    for path in ("/training/{ended}/events", "/events"):
        for name in ("follow", "replay"):
            for text in ("", "1", "yes", "TRUE", "true%0a", "%ef%bd%94rue"):
                yield row(f"{name} {text}: {path}", f"{path}?{name}={text}")
        for text in ("", "1", "1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-+5", "1-2-3-4- 5", "1-2-3-4-5;", "9" * 3000):
            headers = (*WITH_KEY, f"Last-Event-ID: {text}")
            title = f"Last-Event-ID {text[:20]}: {path}"
            yield Row(title, "GET", f"{API}{path}?follow=false", 400, "INVALID_REQUEST", headers)
    for text in ("", "nothing", "rows,images", "ROWS", "%e2%80%ae"):
        yield row(f"takes {text}", f"/architectures?takes={text}")
    for method, path in EVERY:
        yield row(f"a parameter twice: {method} {path}", f"{path}?a=1&b=2&%61=3", method)
    for name, query in {
        "broken UTF-8": "a=%ff%fe",
        "a broken name": "%c3=1",
        "half an escape": "a=%4",
        "no escape": "a=%zz",
        "a NUL": "a=%00",
        "a surrogate": "a=%ed%a0%80",
    }.items():
        for path in ("/models", "/training/sessions", "/system/info", "/audit"):
            target = f"{API}{path}?{query}"
            yield Row(f"{name} in the query: {path}", "GET", target, 400, "INVALID_REQUEST")


# --- Uploads ---

BOUNDARY = "catalogue"
FILE = b'Content-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\na,b\r\n1,2\r\n'


def form(*parts: bytes, boundary: str = BOUNDARY, end: bytes | None = None) -> bytes:
    dashes = b"--" + boundary.encode()
    closing = dashes + b"--\r\n" if end is None else end
    return b"".join(dashes + b"\r\n" + part + b"\r\n" for part in parts) + closing


def part(disposition: str, content: bytes = b"x") -> bytes:
    return f"Content-Disposition: {disposition}\r\n\r\n".encode() + content


NO_UPLOADS: dict[str, bytes] = {
    "nothing": b"",
    "no part": form(),
    "no multipart": b"a,b\r\n1,2\r\n",
    "no file": form(part('form-data; name="other"')),
    "a field in place of the file": form(part('form-data; name="file"')),
    "a file of another name": form(part('form-data; name="File"; filename="x"')),
    "the file twice": form(FILE, FILE),
    "two files": form(FILE, part('form-data; name="other"; filename="x"')),
    "five files": form(*[FILE] * 5),
    "1,001 fields": form(FILE, *[part('form-data; name="x"')] * 1001),
    "a field of 2 MB": form(part('form-data; name="x"', b"x" * 2_000_000)),
    "an empty file": form(part('form-data; name="file"; filename="x"', b"")),
    "no disposition": form(b"X: y\r\n\r\nx"),
    "another disposition": form(part('attachment; filename="x"')),
    "a part without a name": form(part('form-data; filename="x"')),
    "an empty name": form(part('form-data; name=""; filename="x"')),
    "a disposition that is nonsense": form(part("=;=;=")),
    "an unknown encoding of its name": form(part("form-data; name*=klingon''%41; filename=x")),
    "a NUL as encoding": form(part("form-data; name=\"file\"; filename*=utf-8%00''x")),
    "a head of 3,000 characters": form(part(f'form-data; name="file"; filename="{"x" * 3000}"')),
    "a head without end": form(b"Content-Disposition: form-data; name=file; filename=x"),
    "the end missing": form(FILE, end=b"")[:-9],
    "another boundary": form(FILE, boundary="other"),
}
BAD_BOUNDARIES = {
    "no boundary": "",
    "a quoted empty boundary": '; boundary=""',
    "a boundary of 201": "; boundary=" + "b" * 202,
    "a boundary that ends in a blank": '; boundary="b "',
}


def uploads() -> Iterator[Row]:
    multipart = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    for path, parameter in UPLOADS.items():
        target = f"{API}{path}?{parameter}=fresh"
        headers: Headers = (*WITH_KEY, multipart)
        for title, body in NO_UPLOADS.items():
            row = Row(f"{title}: {path}", "POST", target, 400, "INVALID_REQUEST", headers, body)
            yield replace(row, status=413, code="TOO_LARGE") if title == "a field of 2 MB" else row
        for title, boundary in BAD_BOUNDARIES.items():
            headers = (*WITH_KEY, f"Content-Type: multipart/form-data{boundary}")
            yield Row(f"{title}: {path}", "POST", target, 400, "INVALID_REQUEST", headers, form(FILE))
        for title, types in WRONG_TYPES.items():
            if title != "multipart":
                headers = (*WITH_KEY, *types)
                title = f"the type is {title}: {path}"
                yield Row(title, "POST", target, 415, "UNSUPPORTED_MEDIA_TYPE", headers, form(FILE))
        for title, rest in (
            ("in UTF-16", f"; boundary={BOUNDARY}; charset=utf-16"),
            ("with an empty boundary", "; boundary="),
            ("with a boundary of 5,000", "; boundary=" + "b" * 5000),
        ):
            headers = (*WITH_KEY, f"Content-Type: multipart/form-data{rest}")
            title = f"multipart {title}: {path}"
            yield Row(title, "POST", target, 415, "UNSUPPORTED_MEDIA_TYPE", headers, form(FILE))
        title = f"a length beyond the largest file: {path}"
        headers = (*WITH_KEY, multipart)
        yield Row(title, "POST", target, 413, "TOO_LARGE", headers, b"x", str(1 << 50))
        yield Row(f"more than the body: {path}", "POST", target, 400, "INVALID_REQUEST", headers, form(FILE), "9999")
        keyed = (*headers, "Idempotency-Key: \u202e")
        yield Row(f"a bad Idempotency-Key: {path}", "POST", target, 400, "INVALID_REQUEST", keyed, form(FILE))
    contents = {
        "nothing known": b"\x00\x01\x02\x03",
        "a zip that is none": b"PK\x03\x04" + b"\0" * 100,
        "an npy that is none": b"\x93NUMPY\x01\x00\xff\xff",
        "JSON too deep": b"[" * 100_000,
        "a gzip that is none": b"\x1f\x8b\x08" + b"\0" * 20,
    }
    target = f"{API}/datasets?dataset_name=fresh"
    for title, content in contents.items():
        body = form(part('form-data; name="file"; filename="x"', content))
        yield Row(f"a dataset of {title}", "POST", target, 400, "INVALID_DATASET", (*WITH_KEY, multipart), body)
    for format in ("", "exe", "../csv", "CSV", "%e2%80%ae"):
        bad = f"{target}&format={format}"
        yield Row(f"a format {format}", "POST", bad, 400, "INVALID_DATASET", (*WITH_KEY, multipart), form(FILE))


# --- HTTP ---

OPEN = ("/", "/health", "/docs", "/redoc", "/openapi.json")


def methods() -> Iterator[Row]:
    for path, allowed in ENDPOINTS.items():
        for method in {"GET", "PUT", "PATCH", "DELETE", "POST", "TRACE", "BREW"} - set(allowed):
            if "{" in path or method in ("PUT", "TRACE", "BREW"):  # other names may be those of something else
                yield Row(f"{method} {path}", method, API + path, 405, "METHOD_NOT_ALLOWED")
    for path in OPEN:
        for method in ("POST", "DELETE", "BREW"):
            yield Row(f"{method} {path}", method, path, 405, "METHOD_NOT_ALLOWED", NOBODY, audited=False)
    for header in ("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"):
        yield Row(header, "PUT", API + "/models/{model}", 405, "METHOD_NOT_ALLOWED", (*WITH_KEY, header))
        target = API + "/models/{model}?_method=DELETE"
        yield Row(f"POST with {header}", "POST", target, 405, "METHOD_NOT_ALLOWED", (*WITH_KEY, header))


def accepted_types() -> Iterator[Row]:
    for accept in ("text/html", "image/png", "application/xml", "text/plain;q=x", "nonsense", "a/b" * 500):
        for path in ("/models", "/training/sessions", "/system/info"):
            headers = (*WITH_KEY, f"Accept: {accept}")
            yield Row(f"Accept: {accept[:20]}: {path}", "GET", API + path, 406, "NOT_ACCEPTABLE", headers)


def unknown_paths() -> Iterator[Row]:
    for path in (
        "/api",
        "/api/v1",
        "/api/v2/models",
        "/api/v1//models",
        "//api/v1/models",
        "/api/v1/models//",
        "/api/v1/nothing",
        "/api/v1/%6dodels%2f..%2fkeys",
        "/api/v1/../../etc/passwd",
        "/api/v1/..%2f..%2fetc%2fpasswd",
        "/api/v1/%2e%2e/%2e%2e/secret_key",
        "/api/v1/models/a/b",
        "/api/v1/%00",
        "/api/v1/%0a",
        "/api/v1/%ff%fe",
        "/api/v1/%e2%80%ae",
        "/api/v1/models;x=1",
        "/api/v1/MODELS",
        "/static/../settings.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/.env",
        "/.git/config",
        "/wp-login.php",
        "/server-status",
        "/" + "a/" * 2000,
    ):
        yield Row(f"an unknown path: {path[:60]}", "GET", path, 404, "NOT_FOUND")


def lengths() -> Iterator[Row]:
    """Lies about the length. Those that the web server sees reach nobody who keeps an audit log."""
    start = f"{API}/training/start"
    as_json = (*WITH_KEY, JSON)
    body = b'{"epochs": 1}'
    yield Row("a length too large", "POST", start, 400, "INVALID_REQUEST", as_json, body, "1000")
    yield Row("a length too large, of nothing", "POST", start, 400, "INVALID_REQUEST", as_json, b"", "1000")
    yield Row("a length too small", "POST", start, 400, "INVALID_JSON", as_json, body, "5")
    yield Row("a length beyond all bounds", "POST", start, 400, "INVALID_REQUEST", as_json, body, "9" * 18)
    for text in ("-1", "+5", "1_0", "0x5", "5.0", "five", "", " ", "5, 5", "5 5", "٣", "9" * 5000):
        title = f"a length {text[:20]!r}"
        yield Row(title, "POST", start, 400, "INVALID_REQUEST", as_json, body, text, audited=False)
    twice = (*as_json, "Content-Length: 5")
    yield Row("two lengths", "POST", start, 400, "INVALID_REQUEST", twice, body, audited=False)
    chunked = (*as_json, "Transfer-Encoding: chunked")
    in_chunks = b"2\r\n{}\r\n0\r\n\r\n"
    yield Row("a length and chunks", "POST", start, 400, "INVALID_REQUEST", chunked, in_chunks, audited=False)
    for coding in ("gzip", "chunked, chunked", "xchunked", "identity", "gzip, nonsense"):
        headers = (*as_json, f"Transfer-Encoding: {coding}")
        title = f"Transfer-Encoding: {coding}"
        yield Row(title, "POST", start, 400, "INVALID_REQUEST", headers, in_chunks, None, audited=False)
    for title, chunks in {
        "chunks that are no number": b"zz\r\n{}\r\n0\r\n\r\n",
        "chunks without end": b"2\r\n{}\r\n",
        "a chunk that is longer than it says": b"1\r\n{}\r\n0\r\n\r\n",
        "a negative chunk": b"-2\r\n{}\r\n0\r\n\r\n",
        "a chunk of 2**70": b"4000000000000000000\r\n{}",
    }.items():
        yield Row(title, "POST", start, 400, "INVALID_REQUEST", chunked, chunks, None)
    large = b"200000\r\n" + b" " * 0x200000 + b"\r\n0\r\n\r\n"
    yield Row("a chunk of 2 MiB", "POST", start, 413, "TOO_LARGE", chunked, large, None)


NO_HTTP: dict[str, tuple[bytes, int]] = {
    "rubbish": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /api/v1/models\r\n\r\n", 400),
    "HTTP/9.9": (b"GET /api/v1/models HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    "lower case": (b"get /api/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a blank in the path": (b"GET /api/v1/models x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a NUL in the path": (b"GET /api/v1/\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bytes in the path": (b"GET /api/v1/\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bare line feeds": (b"GET /api/v1/models HTTP/1.1\nHost: x\n\n", 400),
    "a header without colon": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400),
    "a header without name": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n", 400),
    "a blank before the colon": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key : {key}\r\n\r\n", 400),
    "a folded header": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n x\r\n\r\n", 400),
    "a NUL in a key": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\0\r\n\r\n", 400),
    "an escape in a key": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: \x1b[31m\r\n\r\n", 400),
    "a bare CR in a key": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: a\rX-Admin: 1\r\n\r\n", 400),
    "two hosts": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "two types": (b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
    "somebody else's host": (b"GET /api/v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400),
    "an impossible host": (b"GET /api/v1/models HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", 400),
    "an Expect that nobody knows": (b"POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417),
    "a path of 9,000": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a key of 10,000": (b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: " + b"x" * 10_000 + b"\r\n\r\n", 431),
    "a header name of 10,000": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x" * 10_000 + b": y\r\n\r\n", 431),
    "101 headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    "a megabyte of headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200_000 + b"\r\n", 431),
}


def no_http() -> Iterator[Row]:
    for title, (raw, status) in NO_HTTP.items():
        yield Row(title, "", "", status, "INVALID_REQUEST", raw=raw, audited=False)
    absolute = (
        b"GET http://evil.example/api/v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {key}\r\n\r\n"
    )
    yield Row("an absolute target", "", "", 404, "NOT_FOUND", raw=absolute)
    star = b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    yield Row("OPTIONS *", "", "", 404, "NOT_FOUND", raw=star, audited=False)
    connect = b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    yield Row("CONNECT", "", "", 404, "NOT_FOUND", raw=connect, audited=False)
    ranges = (*WITH_KEY, "Range: bytes=9-1,-,x", "If-Range: x", "If-Modified-Since: x")
    yield Row("a Range of nonsense", "GET", f"{API}/models/none", 404, "NOT_FOUND", ranges)
    idempotent = {"is empty": "", "is long": "k" * 256, "is no ASCII": "é", "reverses": "\u202e"}
    for title, key in idempotent.items():
        headers = (*WITH_KEY, JSON, f"Idempotency-Key: {key}")
        name = f"an Idempotency-Key that {title}"
        yield Row(name, "POST", f"{API}/training/start", 400, "INVALID_REQUEST", headers, b"{}")


KINDS: dict[str, list[Row]] = {
    kind.__name__: list(kind())
    for kind in (
        credentials,
        json_bodies,
        configurations,
        names,
        ids,
        queries,
        uploads,
        methods,
        accepted_types,
        unknown_paths,
        lengths,
        no_http,
    )
}
ROWS: list[Row] = list(chain(*KINDS.values()))
