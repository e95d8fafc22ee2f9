"""Hold the audit log against its chain of hashes."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from authkeys.chain import Head, heads_file, verify

SHOWN = 20


def head(text: str) -> Head:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if not match:
        raise ArgumentTypeError(f"must be the id of a row and its hash, as in 1234:8c5e…, not {text!r}")
    return Head(int(match[1]), match[2])


class Command(BaseCommand):
    help = (
        "Check that no row of the audit log was edited, removed, added, reordered or cut off at the end. "
        "Ends with status 1 when one was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head",
            type=head,
            action="append",
            default=[],
            metavar="ID:HASH",
            help="a row that was the newest once, as the worker's log told it; may be given several times",
        )

    def handle(self, *args: Any, head: list[Head], **options: Any) -> None:
        try:
            findings = verify(head)
        except DatabaseError as error:
            raise CommandError(f"The audit log cannot be read: {error}") from error
        for fault in findings.faults[:SHOWN]:
            self.stderr.write(fault)
        if findings.faults:
            more = f", {len(findings.faults) - SHOWN} more than shown" if len(findings.faults) > SHOWN else ""
            raise CommandError(f"{len(findings.faults)} faults in {findings.rows} rows{more}.")
        if not heads_file().exists():
            self.stderr.write(f"{heads_file()} is not there: only the database itself could be asked.")
        newest = findings.newest
        self.stdout.write(f"{findings.rows} rows are as they were written. The newest: {newest.id}:{newest.hash}")
