"""API keys and the audit log. Knows no other app."""

from django.apps import AppConfig


class AuthkeysConfig(AppConfig):
    name = "authkeys"
    verbose_name = "API keys"

    def ready(self) -> None:
        from authkeys import logins  # noqa: F401 (listens from now on)
