"""The documentation names every setting, endpoint, command, error code and failure code that exists, and no other."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from drf_spectacular.generators import SchemaGenerator

from servermgmt import errors
from tests.configuration_page import REQUIRED, read_tables
from training.failures import REMEDIES
from training.fields import Field, default_of, fields_of
from training.spec import EarlyStopping, SchedulerArgs, TrainingConfig

ROOT = Path(__file__).resolve().parent.parent
OUR_APPS = {"servermgmt", "training", "registry", "monitoring", "authkeys"}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    code = read("servermgmt/settings.py") + read("Procfile")
    in_code = set(re.findall(r'(?:env\.\w+|number|number_range|rate)\(\s*"([A-Z_]+)"', code))
    in_code |= set(re.findall(r"\$\{([A-Z_]+):-", code))
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", read("docs/settings.md"), re.MULTILINE)) == in_code


def test_every_endpoint_is_documented() -> None:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]  # type: ignore[no-untyped-call]
    in_code = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    table = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)", read("docs/api.md"))
    assert set(table) >= in_code
    assert {call for call in table if "/api/" in call} <= in_code


def test_every_command_is_documented() -> None:
    in_code = {name for name, app in get_commands().items() if app in OUR_APPS}
    assert set(re.findall(r"`manage\.py (\w+)", read("docs/api.md"))) == in_code


@pytest.mark.parametrize("code", sorted(REMEDIES))
def test_every_failure_code_is_documented(code: str) -> None:
    assert f"`{code}`" in read("docs/api.md")


def test_every_error_code_is_documented() -> None:
    in_code = {*errors.CODES.values(), "INTERNAL_ERROR"}
    in_code |= {code for _, code in errors.DOMAIN.values()} | {code for _, code, _ in errors.FRAMEWORK.values()}
    in_code |= {code for _, code, _ in errors.STORAGE.values()}
    documented = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", read("docs/api.md").split("## Errors")[1].split("##")[0]))
    assert in_code == documented


DESCRIBED = {"A session": TrainingConfig, "scheduler_args": SchedulerArgs, "early_stopping": EarlyStopping}


@pytest.mark.parametrize(("title", "cls"), DESCRIBED.items())
def test_every_field_of_a_configuration_is_documented_with_its_default(title: str, cls: type) -> None:
    documented = read_tables()[title]
    in_code = {field.name: REQUIRED if field.required else default_of(field) for field in fields_of(cls)}
    if cls is TrainingConfig:
        in_code["scheduler_args"] = {}  # whose defaults stand in a table of their own
    assert documented == in_code
    assert list(documented) == list(in_code)


WITH_CHOICES = [field for cls in DESCRIBED.values() for field in fields_of(cls) if field.rule.choices]


@pytest.mark.parametrize("field", WITH_CHOICES, ids=lambda field: field.name)
def test_every_value_of_a_configuration_is_documented(field: Field) -> None:
    row = next(line for line in read("docs/configuration.md").splitlines() if line.startswith(f"| `{field.name}` |"))
    assert all(choice in row for choice in field.rule.choices or ())
