"""manage.py prepare: what must be done before the server can start."""

import fcntl
import os
import secrets
import socket
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from authkeys import scopes
from authkeys.models import APIKey
from training.installation import CatalogueUnavailable, installation

ANY_HOST = "0.0.0.0"  # noqa: S104 (a server is for others)
ADMIN = "admin"


class Command(BaseCommand):
    help = (
        "Checks that the port is free, migrates the database, makes an API key and an admin the first time, "
        "and lists the architectures."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--without-credentials", action="store_true", help="Make no API key and no admin.")

    def handle(self, *args: Any, **options: Any) -> None:
        check_address_is_free(os.environ.get("API_HOST") or ANY_HOST, os.environ.get("API_PORT") or "8000")
        self.stdout.write(f"Preparing the database in {settings.DATA_DIR} …")
        with alone():
            call_command("migrate", verbosity=0, interactive=False)
            if not options["without_credentials"]:
                self.make_first_credentials()
            self.list_architectures()

    def list_architectures(self) -> None:
        """Have the engine say what it can train, and show what should have been there and is not."""
        try:
            found = installation()
        except CatalogueUnavailable as error:
            self.stderr.write(f"{error} Until then no session can be started; all else works.")
            return
        for left_out in found.left_out:
            self.stderr.write(
                f"The architectures of {left_out.source} are left out, since its module {left_out.module} "
                f"cannot be imported: {left_out.reason}"
            )

    def make_first_credentials(self) -> None:
        """Make and show one API key and one admin, each only if there has never been any."""
        # Shown before it is committed: what could not be shown is not kept, and is made again by the next start.
        with transaction.atomic():
            lines = []
            if not APIKey.objects.exists():
                _, key = APIKey.objects.create_key("first", scopes=[scopes.ADMIN])
                lines.append(f"API key         {key}")
            if not User.objects.filter(is_superuser=True).exists():
                password = secrets.token_urlsafe(15)
                User.objects.create_superuser(ADMIN, password=password)
                lines.append(f"Admin           {ADMIN}")
                lines.append(f"Admin password  {password}")
            if lines:
                self.show(lines)

    def show(self, lines: list[str]) -> None:
        """Print the credentials in a frame, in ASCII: any terminal can show it."""
        rule = "=" * 76
        body = "".join(f"    {line}\n" for line in lines)
        self.stdout.write(
            f"\n{rule}\n  Made for the first start. Keep them: they are shown this once, and only hashes\n"
            f"  of them are stored.\n\n{body}{rule}\n"
        )
        self.stdout.flush()


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other `prepare` works on this DATA_DIR."""
    with (settings.DATA_DIR / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_address_is_free(host: str, port: str) -> None:
    """Raise CommandError, with the remedy, when the web server could not listen there."""
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise CommandError(f"API_PORT must be a number from 1 to 65535, not {port!r}.")
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        raise CommandError(
            f"The server cannot listen on port {port} of {host} ({error.strerror}). "
            "Stop what is there, or choose another port, as in: API_PORT=8123 make run"
        ) from error
