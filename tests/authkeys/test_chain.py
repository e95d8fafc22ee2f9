"""The chain of the audit log: whoever touches it is found out."""

import random
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from authkeys import chain, keys, tasks
from authkeys.chain import Head
from authkeys.models import AuditChain, AuthLog, Reason

pytestmark = pytest.mark.django_db

ROWS = 25
TAMPERINGS = 1000


def add(count: int = 1, days_ago: float = 0) -> None:
    for number in range(count):
        reason = random.choice(Reason.values)
        with transaction.atomic():
            chain.append(
                (
                    timezone.now() - timedelta(days=days_ago),
                    reason == Reason.OK,
                    reason,
                    keys.digest(str(number).encode()),
                    "tsk_abcd",
                    "robot",
                    "GET",
                    f"/api/v1/{number}",
                    200,
                    "0" * 32,
                    "192.0.2.7",
                )
            )


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def ids() -> list[int]:
    return list(AuthLog.objects.order_by("id").values_list("id", flat=True))


def verify(*noted: Head) -> list[str]:
    return chain.verify(noted).faults


# --- What may be done to the log, each by somebody who can write to the database and knows nothing of hashes ---


def edit(chance: random.Random) -> None:
    row, column = chance.choice(list(AuthLog.objects.all())), chance.choice(chain.COLUMNS)
    old = getattr(row, column)
    match old:
        case bool():
            new: Any = not old
        case int():
            new = old + chance.choice([-1, 1])
        case str():
            place = chance.randrange(len(old) + 1)
            new = old[:place] + chance.choice("Zz!") + old[place:]
        case _:
            new = old + timedelta(microseconds=chance.choice([-1, 1]))
    AuthLog.objects.filter(pk=row.pk).update(**{column: new})


def edit_hash(chance: random.Random) -> None:
    AuthLog.objects.filter(pk=chance.choice(ids())).update(hash=keys.digest(chance.randbytes(9)))


def change_a_type(chance: random.Random) -> None:
    """What a column of SQLite takes beside what it is declared to hold."""
    column, value = chance.choice(
        [("endpoint", b"/api"), ("success", 2), ("success", "x"), ("status", "x"), ("timestamp", 1), ("reason", b"ok")]
    )
    sql(f"UPDATE auth_logs SET {column} = %s WHERE id = %s", value, chance.choice(ids()))


def remove(chance: random.Random) -> None:
    AuthLog.objects.filter(pk__in=chance.sample(ids(), chance.randint(1, 5))).delete()


def remove_the_beginning(chance: random.Random) -> None:
    AuthLog.objects.filter(pk__lte=chance.choice(ids())).delete()


def cut_the_tail(chance: random.Random) -> None:
    AuthLog.objects.filter(pk__gte=chance.choice(ids())).delete()


def swap(chance: random.Random) -> None:
    one, other = chance.sample(ids(), 2)
    for old, new in ((one, -1), (other, one), (-1, other)):
        sql("UPDATE auth_logs SET id = %s WHERE id = %s", new, old)


def insert(chance: random.Random) -> None:
    """A copy of a row, somewhere."""
    row = chance.choice(list(AuthLog.objects.all()))
    row.pk = chance.choice([max(ids()) + chance.randint(1, 3), -chance.randint(1, 3)])
    row.save(force_insert=True)


def relink_one(chance: random.Random) -> None:
    """An edit by somebody who knows how a hash is made, but goes no further."""
    row = chance.choice(list(AuthLog.objects.all()))
    before = AuthLog.objects.filter(pk__lt=row.pk).order_by("id").last()
    row.endpoint += "x"
    columns = [chain.as_text(row.timestamp), *(getattr(row, name) for name in chain.COLUMNS[1:])]
    row.hash = chain.link(before.hash if before else AuditChain.GENESIS, columns)
    row.save()


def move_the_end(chance: random.Random) -> None:
    row = chance.choice(list(AuthLog.objects.order_by("id"))[:-1])
    AuditChain.objects.update(newest_id=row.pk, newest_hash=row.hash)


def pretend_pruning(chance: random.Random) -> None:
    AuditChain.objects.update(pruned_id=chance.choice(ids()), pruned_hash=keys.digest(chance.randbytes(9)))


TAMPERS: list[Callable[[random.Random], None]] = [
    edit,
    edit_hash,
    change_a_type,
    remove,
    remove_the_beginning,
    cut_the_tail,
    swap,
    insert,
    relink_one,
    move_the_end,
    pretend_pruning,
]


@pytest.mark.parametrize("tamper", TAMPERS)
def test_every_tampering_is_found(tamper: Callable[[random.Random], None]) -> None:
    add(ROWS)
    assert verify() == []
    for seed in range(TAMPERINGS // len(TAMPERS)):
        with transaction.atomic():
            tamper(random.Random(seed))
            assert verify(), f"{tamper.__name__} with seed {seed} was not found"
            transaction.set_rollback(True)
    assert verify() == []


def rewrite_from(first: int) -> None:
    """What somebody does who knows all and can write everything in the database."""
    row = AuthLog.objects.filter(pk__lt=first).order_by("id").last()
    previous = row.hash if row else AuditChain.GENESIS
    for row in AuthLog.objects.filter(pk__gte=first).order_by("id"):
        row.hash = previous = chain.link(
            previous, [chain.as_text(row.timestamp), *(getattr(row, name) for name in chain.COLUMNS[1:])]
        )
        row.save()
        AuditChain.objects.update(newest_id=row.pk, newest_hash=row.hash)


def test_a_chain_made_anew_is_found_by_the_head_that_was_logged(data_dir: Path) -> None:
    add(20)
    tasks.log_audit_head()
    add(20)
    AuthLog.objects.filter(pk=ids()[10]).update(endpoint="/harmless")
    rewrite_from(ids()[10])
    assert "another hash than was noted" in verify()[0]
    (data_dir / chain.HEADS).unlink()
    assert verify() == []  # which is why the head is logged elsewhere, too


def test_a_head_from_the_log_of_the_worker_finds_it_without_the_file(data_dir: Path) -> None:
    add(20)
    head = chain.log_head()
    (data_dir / chain.HEADS).unlink()
    AuthLog.objects.filter(pk=ids()[3]).delete()
    rewrite_from(ids()[3])
    assert verify() == []
    assert "another hash than was noted" in verify(head)[0]


def test_a_cut_tail_that_was_covered_up_is_found_by_its_head() -> None:
    add(20)
    tasks.log_audit_head()
    AuthLog.objects.filter(pk__gt=ids()[9]).delete()
    rewrite_from(ids()[9])
    assert "which was noted as the newest once, is gone" in verify()[0]


def test_the_log_goes_on_behind_a_fault_which_stays() -> None:
    add(5)
    AuthLog.objects.filter(pk=ids()[2]).update(status=201)
    add(5)
    assert len(verify()) == 1
    assert f"Row {ids()[2]}" in verify()[0]


def test_an_empty_log_is_whole() -> None:
    assert verify() == []
    tasks.log_audit_head()
    assert verify() == []
    add()
    assert verify() == []


def test_old_rows_are_pruned_and_the_rest_stays_verifiable(settings: Settings) -> None:
    settings.AUDIT_RETENTION_DAYS = 30
    add(6, days_ago=31)
    add(4, days_ago=29)
    assert tasks.prune_audit_log() == 6
    assert AuthLog.objects.count() == 4
    assert verify() == []
    add(2)
    assert verify() == []
    assert tasks.prune_audit_log() == 0
    settings.AUDIT_RETENTION_DAYS = 0
    AuthLog.objects.update(timestamp=timezone.now() - timedelta(days=9999))
    assert tasks.prune_audit_log() == 0


def test_everything_can_be_pruned_and_the_chain_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PRUNED_AT_ONCE", 4)
    settings.AUDIT_RETENTION_DAYS = 1
    add(10, days_ago=2)
    tasks.log_audit_head()
    assert tasks.prune_audit_log() == 10
    assert verify() == []
    add(1)
    assert verify() == []
    AuthLog.objects.all().delete()
    assert verify()


def test_a_beginning_that_nobody_pruned_is_found(settings: Settings, data_dir: Path) -> None:
    """Even where both ends of the chain were made to fit."""
    settings.AUDIT_RETENTION_DAYS = 30
    add(3, days_ago=31)
    add(9)
    tasks.prune_audit_log()
    fourth = AuthLog.objects.order_by("id")[3]
    AuthLog.objects.filter(pk__lte=fourth.pk).delete()
    AuditChain.objects.update(pruned_id=fourth.pk, pruned_hash=fourth.hash)
    assert "no pruning up to there was logged" in verify()[0]


def test_what_was_tampered_with_is_not_pruned(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.AUDIT_RETENTION_DAYS = 30
    add(6, days_ago=31)
    AuthLog.objects.filter(pk=ids()[2]).update(endpoint="/harmless")
    assert tasks.prune_audit_log() == 0
    assert f"Row {ids()[2]} of the audit log was tampered with" in caplog.text
    assert AuthLog.objects.count() == 6


def test_the_head_is_logged_where_the_database_is_not(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(3)
    with caplog.at_level("INFO"):
        assert tasks.log_audit_head() == ids()[-1]
    newest = AuthLog.objects.latest("id")
    assert f"head is row {newest.pk} with the hash {newest.hash}" in caplog.text
    assert (data_dir / chain.HEADS).read_text().endswith(f" head {newest.pk} {newest.hash}\n")


def test_lines_of_the_file_that_are_none_of_ours_do_not_count(data_dir: Path) -> None:
    add(3)
    (data_dir / chain.HEADS).write_bytes(b"\xff\xfe\nhead 1 x\n2026 head 99999999999999999999 " + b"0" * 64 + b"\n")
    assert verify() == []


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("verifyaudit", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_says_that_all_is_well() -> None:
    add(3)
    out, err = run()
    newest = AuthLog.objects.latest("id")
    assert out == f"3 rows are as they were written. The newest: {newest.pk}:{newest.hash}\n"
    assert "is not there" in err
    tasks.log_audit_head()
    assert run("--head", f"{newest.pk}:{newest.hash}") == (out, "")


def test_the_command_names_what_is_not() -> None:
    add(30)
    for row in AuthLog.objects.all():
        AuthLog.objects.filter(pk=row.pk).update(hash=keys.digest(row.hash.encode()))
    err = StringIO()
    with pytest.raises(CommandError, match="31 faults in 30 rows, 11 more than shown"):
        call_command("verifyaudit", stderr=err)
    assert len(err.getvalue().splitlines()) == 20


def test_the_command_says_when_it_cannot_read(data_dir: Path) -> None:
    add(3)
    sql("UPDATE auth_logs SET endpoint = CAST(x'ff' AS TEXT) WHERE id = %s", ids()[1])
    with pytest.raises(CommandError, match="cannot be read"):
        run()


@pytest.mark.parametrize("head", ["", "1", "x:y", f"1:{'g' * 64}", f"-1:{'0' * 64}", f"٣:{'0' * 64}"])
def test_the_command_refuses_a_head_that_is_none(head: str) -> None:
    with pytest.raises(CommandError, match="must be the id of a row and its hash"):
        run(f"--head={head}")
