"""Keys and attempts, as the API's description shows them: one key and what was done with it."""

from typing import Any

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

NEW_KEY: dict[str, Any] = {
    "name": "nightly robot",
    "owner": "the vision lab",
    "scopes": ["sessions:read", "sessions:write"],
    "expires_at": None,
}
KEY: dict[str, Any] = {
    "id": 7,
    **NEW_KEY,
    "prefix": "tsk_Vx3a",
    "created_at": "2026-01-31T12:00:00.250000Z",
    "last_used_at": "2026-01-31T12:05:00.250000Z",
    "replaces": None,
    "is_usable": True,
}
# Of the right shape, and with a checksum that is wrong: nobody's key.
MADE_KEY = {"key": "tsk_Vx3aExampleExampleExampleExamp000000", **KEY, "last_used_at": None}
ROTATION = {"overlap_seconds": 3600}
OWN_KEY = {name: KEY[name] for name in ("id", "name", "owner", "prefix", "scopes", "expires_at", "last_used_at")}
REVOKED = {"message": "The key nightly robot (tsk_Vx3a…) is revoked."}
ATTEMPT = {
    "id": 1234,
    "timestamp": "2026-01-31T12:05:00.250000Z",
    "success": True,
    "reason": "ok",
    "key_hash": SHA256,
    "key_prefix": "tsk_Vx3a",
    "key_name": "nightly robot",
    "method": "POST",
    "endpoint": "/api/v1/training/start",
    "status": 200,
    "request_id": "8d1f1d2c0f5b4a7e9b1c2d3e4f5a6b7c",
    "client_address": "192.0.2.7",
    "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
}
EXPORT = (
    "id,timestamp,success,reason,key_hash,key_prefix,key_name,method,endpoint,status,request_id,client_address,hash\r\n"
    f"1234,2026-01-31T12:05:00.250000Z,True,ok,{SHA256},tsk_Vx3a,nightly robot,POST,/api/v1/training/start,200,"
    f"8d1f1d2c0f5b4a7e9b1c2d3e4f5a6b7c,192.0.2.7,{ATTEMPT['hash']}\r\n"
)
