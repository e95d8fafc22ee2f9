"""API keys and the audit log. Knows no other app."""

from django.apps import AppConfig


class AuthkeysConfig(AppConfig):
    name = "authkeys"
    verbose_name = "API keys"
