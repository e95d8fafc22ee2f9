"""Makes a chain of the attempts that were recorded before there was one."""

from django.db import migrations

from authkeys.chain import as_text, link

COLUMNS = ("reason", "key_hash", "key_prefix", "key_name", "method", "endpoint", "status", "request_id")
WRITTEN_AT_ONCE = 5_000


def link_attempts(apps, schema_editor):
    attempts = apps.get_model("authkeys", "AuthLog").objects
    chain = apps.get_model("authkeys", "AuditChain")()
    rows = []
    for row in attempts.order_by("id").iterator(chunk_size=WRITTEN_AT_ONCE):
        known = [getattr(row, name) for name in COLUMNS]
        row.hash = link(chain.newest_hash, [as_text(row.timestamp), row.success, *known, row.client_address])
        chain.newest_id, chain.newest_hash = row.pk, row.hash
        rows.append(row)
        if len(rows) == WRITTEN_AT_ONCE:
            attempts.bulk_update(rows, ["hash"], batch_size=500)
            rows = []
    attempts.bulk_update(rows, ["hash"], batch_size=500)
    chain.pk = 1
    chain.save()


class Migration(migrations.Migration):
    dependencies = [("authkeys", "0003_scopes_and_chain")]

    operations = [migrations.RunPython(link_attempts, migrations.RunPython.noop)]
