"""What holds the server together. Knows all other apps."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class ServermgmtConfig(AppConfig):
    name = "servermgmt"
    default = True

    def ready(self) -> None:
        from servermgmt import checks  # noqa: F401 (registers them)


class AdminConfig(admin.AdminConfig):
    """Django's admin, with our site."""

    default = False
    default_site = "servermgmt.adminsite.AdminSite"
