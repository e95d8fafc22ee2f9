"""Datasets and models: rows in the database, files on the disk."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
