"""Every page as a browser shows it: it looks as it should, and asks for nothing that its policy refuses."""

import pytest
from django.contrib.admin import site
from playwright.sync_api import Page

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.slow

LISTINGS = sorted(f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in site._registry)
API = "/api/v1"


def style(page: Page, selector: str, name: str) -> str:
    value = page.locator(selector).first.evaluate("(element, name) => getComputedStyle(element)[name]", name)
    assert isinstance(value, str)
    return value


def check_admin_is_drawn(page: Page) -> None:
    """The theme has its colors, and Alpine has been over the page."""
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--color-primary-600')")
    assert page.locator("[x-cloak]").count() == 0
    assert page.locator("body").inner_text().strip()


def test_the_front_page(stranger: Visitor) -> None:
    page = stranger.look_at("/")
    assert "Server Management API" in page.locator("body").inner_text()
    assert stranger.wrong == []


def test_swagger(stranger: Visitor) -> None:
    page = stranger.look_at("/docs")
    operation = page.locator(".opblock-summary").first
    operation.wait_for(state="visible")
    assert page.locator(".opblock").count() > 20
    assert style(page, "body", "margin") == "0px"
    operation.click()
    page.locator(".opblock.is-open .opblock-body").first.wait_for(state="visible")
    page.get_by_role("button", name="Authorize").click()
    page.locator(".modal-ux").wait_for(state="visible")
    assert stranger.wrong == []


def test_redoc(stranger: Visitor) -> None:
    page = stranger.look_at("/redoc")
    page.get_by_role("heading", name="Server Management API").wait_for(state="visible")
    assert style(page, ".menu-content", "backgroundColor") == "rgb(250, 250, 250)"
    assert page.locator("img").count() == 0
    page.fill("[role=search] input", "dataset")
    page.locator("[role=search] [role=menuitem]").first.wait_for(state="visible")
    assert stranger.wrong == []


def test_the_login(stranger: Visitor) -> None:
    page = stranger.look_at("/admin/login/")
    check_admin_is_drawn(page)
    page.fill("[name=username]", "nobody")
    page.fill("[name=password]", "wrong")
    page.press("[name=password]", "Enter")
    page.get_by_text("Please enter the correct username").wait_for(state="visible")
    assert stranger.wrong == []


def test_the_admins_index(admin: Visitor) -> None:
    page = admin.look_at("/admin/")
    check_admin_is_drawn(page)
    assert page.get_by_text("API keys").first.is_visible()
    assert admin.wrong == []


@pytest.mark.parametrize("path", LISTINGS)
def test_a_listing_and_its_forms(admin: Visitor, path: str) -> None:
    page = admin.look_at(path)
    check_admin_is_drawn(page)
    add = page.locator("a[href*='/add/']")
    if add.count():
        check_admin_is_drawn(admin.look_at(f"{path}add/"))
    row = page.locator("#result_list tbody th a, #result_list tbody td a").first
    if row.count():
        check_admin_is_drawn(admin.look_at(row.get_attribute("href") or ""))
    assert admin.wrong == []


def test_the_bar_of_actions_is_as_wide_as_the_listing(admin: Visitor) -> None:
    page = admin.look_at("/admin/authkeys/apikey/")
    page.locator("#result_list tbody [name=_selected_action]").first.check()
    bar = page.locator("#changelist-actions")
    bar.wait_for(state="visible")
    assert bar.evaluate("element => element.style.width").endswith("px")
    assert admin.wrong == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models", 200),
        ("/datasets", 200),
        ("/datasets/rows", 200),
        ("/training/sessions", 200),
        ("/training/queue", 200),
        ("/training/queue/state", 200),
        ("/system/info", 200),
        ("/training/start", 405),
        ("/training/bulk", 405),
        ("/nothing", 404),
    ],
)
def test_the_browsable_api(admin: Visitor, path: str, status: int) -> None:
    page = admin.look_at(API + path, status)
    assert page.locator(".response-info").is_visible()
    assert style(page, ".navbar", "backgroundColor") == "rgb(44, 44, 44)"
    assert admin.wrong == []


def test_the_browsable_api_leads_on(admin: Visitor) -> None:
    page = admin.look_at(f"{API}/training/sessions")
    page.locator("ul.list-inline").get_by_text("Bulk").click()
    page.wait_for_url(f"**{API}/training/bulk")
    page.locator("textarea[name=_content]").wait_for(state="visible")


# What refuses it, and the script that tries it.
INTRUSIONS = [
    ("style-src-attr: inline", "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')"),
    ("style-src-elem: inline", "document.body.insertAdjacentHTML('beforeend', '<style>p { color: red }</style>')"),
    ("script-src-elem: inline", "document.body.append(make('script', {textContent: 'window.broken = 1'}))"),
    ("script-src-elem: https://evil", "document.body.append(make('script', {src: 'https://evil.example/x.js'}))"),
    ("script-src-attr: inline", "document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.broken = 1\">')"),
    ("frame-src: https://evil", "document.body.append(make('iframe', {src: 'https://evil.example/'}))"),
    ("connect-src: https://evil", "fetch('https://evil.example/').catch(() => {})"),
]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/admin/", f"{API}/models"])
def test_what_is_smuggled_into_a_page_is_refused(admin: Visitor, path: str) -> None:
    page = admin.look_at(path)
    page.evaluate("window.make = (name, values) => Object.assign(document.createElement(name), values)")
    for refusal, intrusion in INTRUSIONS:
        with page.expect_console_message(lambda message: f"refused by {refusal}" in message.text):  # noqa: B023
            page.evaluate(f"{{ {intrusion} }}")
    assert page.evaluate("window.broken") is None
