"""The version that /health, the OpenAPI document and every session's record name."""

VERSION = "0.1.0"
