"""The form that starts a session, with its script: checked as one types, and at its end there is a session."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import HOSTILE, Visitor
from tests.processes.server import Server

pytestmark = pytest.mark.slow

PAGE = "/admin/training/trainingsession/start/"


def request_shown(page: Page) -> Any:
    return json.loads(page.locator("[data-preview=json]").inner_text())


def error_of(page: Page, name: str) -> Locator:
    return page.locator(f"[id='id_{name}_error']")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"[name='{name}']")


def choose_digits(page: Page) -> None:
    field(page, "dataset_name").select_option("digits")
    field(page, "model_architecture").select_option("mlp")


def test_a_session_is_started_by_the_form(admin: Visitor, server: Server) -> None:
    page = admin.look_at(PAGE)
    choose_digits(page)
    field(page, "epochs").fill("2")
    field(page, "model_args.mlp.width").fill("32")
    shown = request_shown(page)
    assert admin.wrong == []
    page.get_by_role("button", name="Start the session").click()
    page.wait_for_url(re.compile("/admin/training/trainingsession/[^/]+/change/"))
    newest = server.get("/training/sessions")[0]
    assert page.get_by_text(f"Session {newest['session_id']}").first.is_visible()
    assert newest["config"].items() >= shown.items()
    assert (newest["config"]["epochs"], newest["config"]["model_args"]) == (
        2,
        {**newest["config"]["model_args"], "width": 32},
    )
    assert server.wait_for_end(newest["session_id"])["state"] == "completed"


def test_what_is_typed_is_checked_without_being_sent(admin: Visitor, server: Server) -> None:
    page = admin.look_at(PAGE)
    sessions = len(server.get("/training/sessions"))
    choose_digits(page)
    rate = field(page, "learning_rate")
    rate.fill("5")
    expect(error_of(page, "learning_rate")).to_have_text("learning_rate must be between 0.0001 and 1.0")
    expect(rate).to_have_attribute("aria-invalid", "true")
    rate.fill("0.01")
    expect(error_of(page, "learning_rate")).to_be_empty()
    expect(rate).not_to_have_attribute("aria-invalid", "true")
    page.get_by_text("More: data").click()
    field(page, "tags").fill("x" * 60)
    expect(error_of(page, "tags")).to_contain_text("1 to 50 printable characters")
    field(page, "model_args.mlp.width").fill(HOSTILE)
    expect(error_of(page, "model_args.mlp.width")).to_contain_text("model_args.width must be of type integer")
    field(page, "initial_weights").fill(HOSTILE)
    expect(error_of(page, "initial_weights")).to_contain_text(HOSTILE)
    assert len(server.get("/training/sessions")) == sessions
    # A browser notes every answer that is a refusal; beyond these there is nothing.
    assert [fault for fault in admin.wrong if "validate" not in fault] == []


def test_nobody_is_scolded_for_what_he_has_not_come_to_yet(admin: Visitor) -> None:
    page = admin.look_at(PAGE)
    expect(page.locator("[data-estimate=state]")).to_have_text("Still to fill in: dataset name, model architecture.")
    field(page, "notes").evaluate("notes => notes.closest('details').open = true")
    with page.expect_response(re.compile("validate")):
        field(page, "notes").fill("first of all")
    expect(page.locator("[data-estimate=state]")).to_have_text("Still to fill in: dataset name, model architecture.")
    assert page.locator(".start-field.errors").count() == 0


def test_the_estimate_is_shown(admin: Visitor) -> None:
    page = admin.look_at(PAGE)
    choose_digits(page)
    figures = page.locator("[data-estimate=figures]")
    expect(figures).to_contain_text("Parameters", timeout=60_000)
    assert all(name in figures.inner_text() for name in ("Time", "Steps", "Memory", "Disk", "Device"))
    field(page, "epochs").fill("20")
    expect(figures).to_have_attribute("data-outdated", "")
    assert admin.wrong == []


def test_an_architecture_shows_its_arguments_and_only_data_that_it_takes(admin: Visitor) -> None:
    page = admin.look_at(PAGE)
    assert page.locator("[data-arguments-of]:visible").count() == 0
    choose_digits(page)
    assert page.locator("[data-arguments-of]:visible").get_attribute("data-arguments-of") == "mlp"
    expect(page.locator("option[value=gpt]")).to_be_disabled()
    expect(page.locator("option[value=cnn]")).to_be_enabled()
    field(page, "model_architecture").select_option("resnet18")
    assert page.locator("[data-arguments-of]:visible").count() == 0


def test_the_request_is_shown_as_a_client_would_send_it(admin: Visitor) -> None:
    page = admin.look_at(PAGE)
    choose_digits(page)
    wanted = {"dataset_name": "digits", "model_architecture": "mlp", "learning_rate": 0.001, "batch_size": 32}
    assert request_shown(page) == wanted | {"epochs": 10}
    page.locator("details").evaluate("details => details.open = true")
    field(page, "seed").fill(str(2**63 - 1))
    field(page, "tags").fill(f"one\n{HOSTILE}")
    field(page, "early_stopping").check()
    field(page, "class_weights").fill("balanced")
    more = {"seed": 2**63 - 1, "tags": ["one", HOSTILE], "early_stopping": {}, "class_weights": "balanced"}
    assert request_shown(page) == wanted | {"epochs": 10} | more
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("[data-preview=copied]")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith('curl -H "X-API-Key: $KEY"')
    assert f"{admin.origin}/api/v1/training/start -d '" in copied


def test_a_fork_begins_with_the_session_and_keeps_what_it_must(
    admin: Visitor, server: Server, trained: list[str]
) -> None:
    page = admin.look_at(f"{PAGE}?from={trained[0]}")
    assert request_shown(page) == {}
    assert field(page, "notes").input_value() == HOSTILE
    field(page, "learning_rate").fill("0.002")
    assert request_shown(page) == {"changes": {"learning_rate": 0.002}}
    field(page, "learning_rate").fill("0.001")
    name = field(page, "from_checkpoint").locator("option").nth(1).get_attribute("value")
    field(page, "from_checkpoint").select_option(name)
    expect(field(page, "learning_rate")).to_be_disabled()
    field(page, "epochs").fill("4")
    field(page, "tags").fill("")
    assert request_shown(page) == {"from_checkpoint": name, "changes": {"epochs": 4, "tags": []}}
    assert admin.wrong == []
    page.get_by_role("button", name="Start it again").click()
    page.wait_for_url(re.compile("/change/"))
    newest = server.get("/training/sessions")[0]
    assert newest["status"]["parent_session_id"] == trained[0]
    assert (newest["status"]["parent_checkpoint"], newest["config"]["tags"]) == (name, [])
    assert server.wait_for_end(newest["session_id"])["current_epoch"] == 4
