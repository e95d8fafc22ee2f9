import django.db.models.deletion
from django.db import migrations, models

import authkeys.models.api_keys


class Migration(migrations.Migration):
    dependencies = [("authkeys", "0002_kept_answers")]

    operations = [
        migrations.CreateModel(
            name="AuditChain",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("newest_id", models.BigIntegerField(default=0)),
                ("newest_hash", models.CharField(default="0" * 64, max_length=64)),
                ("pruned_id", models.BigIntegerField(default=0)),
                ("pruned_hash", models.CharField(default="0" * 64, max_length=64)),
            ],
            options={"db_table": "audit_chain"},
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                ("subject", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("empty_at", models.FloatField(help_text="In seconds since 1970.")),
            ],
            options={"db_table": "rates"},
        ),
        migrations.AlterModelOptions(
            name="apikey",
            options={
                "ordering": ["-created_at", "-id"],
                "permissions": [
                    ("scope_sessions_read", "API: sessions:read"),
                    ("scope_sessions_write", "API: sessions:write"),
                    ("scope_models_read", "API: models:read"),
                    ("scope_models_write", "API: models:write"),
                    ("scope_datasets_read", "API: datasets:read"),
                    ("scope_datasets_write", "API: datasets:write"),
                    ("scope_system_read", "API: system:read"),
                    ("scope_keys_manage", "API: keys:manage"),
                    ("scope_audit_read", "API: audit:read"),
                    ("scope_admin", "API: admin"),
                ],
                "verbose_name": "API key",
            },
        ),
        migrations.AlterModelOptions(
            name="authlog", options={"ordering": ["-id"], "verbose_name": "authentication attempt"}
        ),
        migrations.AddField(
            model_name="apikey",
            name="owner",
            field=models.CharField(
                blank=True, default="", help_text="Who answers for the key: a person, a team.", max_length=100
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="apikey",
            name="replaces",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="authkeys.apikey",
            ),
        ),
        # Until now every key opened everything.
        migrations.AddField(
            model_name="apikey",
            name="scopes",
            field=models.JSONField(
                default=lambda: ["admin"],
                help_text="What the key may do.",
                validators=[authkeys.models.api_keys.require_known_scopes],
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="authlog",
            name="hash",
            field=models.CharField(
                default="", help_text="SHA-256 of the hash before it and of this row.", max_length=64
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="authlog",
            name="status",
            field=models.PositiveSmallIntegerField(
                help_text="Of the answer. None: of a row that is older than this column.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="authlog",
            name="reason",
            field=models.CharField(
                choices=[
                    ("ok", "Ok"),
                    ("missing", "no key"),
                    ("malformed", "not the shape of a key"),
                    ("unknown", "Unknown"),
                    ("expired", "Expired"),
                    ("revoked", "Revoked"),
                    ("ambiguous", "two different keys"),
                    ("csrf", "no CSRF token"),
                    ("password", "wrong name or password"),
                    ("throttled", "too many requests"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(model_name="authlog", name="timestamp", field=models.DateTimeField(db_index=True)),
    ]
