"""The rows of the audit log as a hash chain: each holds the hash of the one before it and of itself.

Whoever edits, removes, inserts or reorders rows breaks it. Whoever can write to the database can make it anew from
there on; therefore its head is logged every hour, also to a place of its own (HEADS), and held against the rows.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from authkeys.models import AuditChain, AuthLog

COLUMNS = (
    "timestamp",
    "success",
    "reason",
    "key_hash",
    "key_prefix",
    "key_name",
    "method",
    "endpoint",
    "status",
    "request_id",
    "client_address",
)
# In SQL: every request pays for its row, and by way of the models it would cost three times as much.
HEAD = "SELECT newest_hash FROM audit_chain WHERE id = 1"
INSERT = f"""
    INSERT INTO auth_logs ({", ".join(COLUMNS)}, hash) VALUES ({", ".join(["%s"] * (len(COLUMNS) + 1))}) RETURNING id
"""  # noqa: S608 (names of ours)
ADVANCE = "UPDATE audit_chain SET newest_id = %s, newest_hash = %s WHERE id = 1"
# In an expression SQLite gives what is stored; of the column alone, only whether it is 1, or the time it reads as.
AS_STORED = ", ".join(
    f"COALESCE({column}, NULL)" if column in ("timestamp", "success") else column for column in COLUMNS
)
ROWS = f"SELECT id, hash, {AS_STORED} FROM auth_logs WHERE id > %s ORDER BY id"  # noqa: S608

READ_AT_ONCE = 5_000
TRUTHS = (0, 1)
PRUNED_AT_ONCE = 10_000  # in one transaction; a fraction of a second
HEADS = "audit_heads.log"
HEAD_LINE = re.compile(r"\S+ (head|pruned) ([0-9]{1,19}) ([0-9a-f]{64})")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """A place in the chain: the row of this id has this hash."""

    id: int
    hash: str


@dataclass
class Findings:
    """What a look at the whole chain found."""

    rows: int = 0
    newest: Head = field(default_factory=lambda: Head(0, AuditChain.GENESIS))
    faults: list[str] = field(default_factory=list)


def append(values: Sequence[Any]) -> int:
    """Add a row to the chain and give its id. Must be called in a transaction; others wait for its end."""
    with connection.cursor() as cursor:
        cursor.execute(HEAD + (" FOR UPDATE" if connection.features.has_select_for_update else ""))
        head = cursor.fetchone()
        if head is None:
            head = (_begin().newest_hash,)
        timestamp, *others = values
        stored = (connection.ops.adapt_datetimefield_value(timestamp), *others)
        new_hash = link(head[0], [as_text(timestamp), *others])
        cursor.execute(INSERT, (*stored, new_hash))
        (new_id,) = cursor.fetchone()
        cursor.execute(ADVANCE, (new_id, new_hash))
    return int(new_id)


def _begin() -> AuditChain:
    """The row of the chain where there is none, as in a new database."""
    newest = AuthLog.objects.order_by("id").last()
    known = {"newest_id": newest.pk, "newest_hash": newest.hash} if newest else {}
    AuditChain.objects.get_or_create(pk=AuditChain.ONLY, defaults=known)
    return AuditChain.objects.select_for_update().get(pk=AuditChain.ONLY)


def link(previous: str, columns: Sequence[Any]) -> str:
    """The hash of a row with these columns, behind a row of that hash."""
    # What no row of ours holds, such as bytes, gets some hash, too: a wrong one.
    return hashlib.sha256(previous.encode() + orjson.dumps(columns, default=repr)).hexdigest()


def as_text(timestamp: datetime) -> str:
    """A time as SQLite stores it, and as it is hashed."""
    return str(timestamp.astimezone(UTC).replace(tzinfo=None))


def stored_rows(after: int) -> Iterator[tuple[int, str, list[Any]]]:
    """Id, hash and columns of each row behind an id, in order; the columns as they were hashed, unless touched."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(ROWS, [after])
        while rows := cursor.fetchmany(READ_AT_ONCE):
            for row_id, row_hash, *columns in rows:
                if isinstance(columns[0], datetime):  # from PostgreSQL
                    columns[0] = as_text(columns[0])
                # SQLite has numbers for it.
                if columns[1] in TRUTHS:
                    columns[1] = bool(columns[1])
                yield row_id, row_hash, columns


def verify(noted: Sequence[Head] = ()) -> Findings:
    """Hold every row against the one before it, both ends of the chain against their rows, and rows against heads.

    `noted` are heads that were noted elsewhere; those of the file are added. Requests may go on meanwhile.
    """
    while True:
        chain = _ends()
        findings = _verify(chain, noted)
        if _ends().pruned_id == chain.pruned_id:
            return findings


def _ends() -> AuditChain:
    return AuditChain.objects.filter(pk=AuditChain.ONLY).first() or AuditChain()


def _verify(chain: AuditChain, noted: Sequence[Head]) -> Findings:
    logged = read_heads()
    expected = {head.id: head.hash for head in (*noted, *logged["head"])}
    findings = Findings(newest=Head(chain.pruned_id, chain.pruned_hash))
    if chain.pruned_id and logged["pruned"] and Head(chain.pruned_id, chain.pruned_hash) not in logged["pruned"]:
        findings.faults.append(f"The log begins behind row {chain.pruned_id}, and no pruning up to there was logged.")
    if AuthLog.objects.filter(pk__lte=chain.pruned_id).exists():
        findings.faults.append(f"There are rows before the beginning, which is behind row {chain.pruned_id}.")
    while True:
        # Rows first: whatever comes meanwhile moves the end further, and never back.
        _follow(findings, expected)
        end = _ends()
        if end.newest_id <= findings.newest.id or not AuthLog.objects.filter(pk__gt=findings.newest.id).exists():
            break
    findings.faults += _faults_at_the_end(findings.newest, end)
    findings.faults += [
        f"Row {row_id}, which was noted as the newest once, is gone."
        for row_id in sorted(expected)
        if row_id > chain.pruned_id
    ]
    return findings


def _follow(findings: Findings, expected: dict[int, str]) -> None:
    """Go on from the newest row that was looked at; take out of `expected` the heads that were met."""
    newest_id, previous = findings.newest.id, findings.newest.hash
    for row_id, row_hash, columns in stored_rows(newest_id):
        if link(previous, columns) != row_hash:
            findings.faults.append(f"Row {row_id} was changed, or what stood before it was removed or moved.")
        if expected and (noted := expected.pop(row_id, row_hash)) != row_hash:
            findings.faults.append(f"Row {row_id} has another hash than was noted: {noted}.")
        # Where the chain is broken, the stored hash goes on, so that one fault is told once.
        newest_id, previous = row_id, row_hash
        findings.rows += 1
    findings.newest = Head(newest_id, previous)


def _faults_at_the_end(newest: Head, end: AuditChain) -> list[str]:
    if newest.id < end.newest_id:
        return [f"The rows behind {newest.id} are gone: the newest should be {end.newest_id}."]
    if newest.id > end.newest_id:
        return [f"The rows behind {end.newest_id} were not written by the server."]
    return [] if newest.hash == end.newest_hash else [f"Row {newest.id} is not the newest one that the server wrote."]


def log_head() -> Head:
    """Note the newest row where nobody who changes the database reaches: the log of the process, and HEADS."""
    chain = _ends()
    head = Head(chain.newest_id, chain.newest_hash)
    _log("head", head)
    return head


def _log(kind: str, head: Head) -> None:
    logger.info("The audit log's %s is row %d with the hash %s.", kind, head.id, head.hash)
    with heads_file().open("a", encoding="ascii") as file:
        file.write(f"{timezone.now():%Y-%m-%dT%H:%M:%SZ} {kind} {head.id} {head.hash}\n")


def heads_file() -> Path:
    return Path(settings.DATA_DIR) / HEADS


def read_heads() -> dict[str, list[Head]]:
    """The heads and the ends of prunings that the file holds. Lines that are none of ours are left out."""
    found: dict[str, list[Head]] = {"head": [], "pruned": []}
    try:
        lines = heads_file().read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        if match := HEAD_LINE.fullmatch(line):
            found[match[1]].append(Head(int(match[2]), match[3]))
    return found


def prune(older_than: timedelta) -> int:
    """Delete the rows at the beginning that are older; returns how many went. What is left stays verifiable.

    Nothing goes whose links are broken: it is all there is to see of what was done to it.
    """
    oldest = timezone.now() - older_than
    first_to_stay = AuthLog.objects.filter(timestamp__gte=oldest).order_by("id").values_list("id", flat=True).first()
    pruned = 0
    while True:
        chain = _ends()
        previous, last, count = chain.pruned_hash, None, 0
        for row_id, row_hash, columns in stored_rows(chain.pruned_id):
            if count == PRUNED_AT_ONCE or (first_to_stay is not None and row_id >= first_to_stay):
                break
            if link(previous, columns) != row_hash:
                logger.error("Row %d of the audit log was tampered with: see manage.py verifyaudit.", row_id)
                return pruned
            previous, last, count = row_hash, Head(row_id, row_hash), count + 1
        if last is None:
            return pruned
        _log("pruned", last)
        with transaction.atomic():
            AuditChain.objects.filter(pk=AuditChain.ONLY).update(pruned_id=last.id, pruned_hash=last.hash)
            AuthLog.objects.filter(pk__lte=last.id).delete()
        pruned += count
