"""The main pages for everybody: in light and dark, on a phone, and for those who do not see them."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import Visitor
from tests.browser.main_pages import MAIN_PAGES, OPEN_PAGES

pytestmark = pytest.mark.slow

PHONE: ViewportSize = {"width": 390, "height": 844}
AXE = Axe()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RULES |= {"resultTypes": ["violations"]}


def serious_faults(page: Page) -> list[str]:
    """What keeps somebody from using the page: the rule, and the first element that breaks it."""
    found = AXE.run(page, options=RULES).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


def check_for_everybody(visitor: Visitor, path: str) -> None:
    dark = visitor.look_at(path, scheme="dark")
    assert serious_faults(dark) == [], "dark"
    page = visitor.look_at(path)
    assert serious_faults(page) == [], "light"
    page.set_viewport_size(PHONE)
    page.wait_for_function(f"document.documentElement.scrollWidth <= {PHONE['width']}", timeout=5000)
    assert serious_faults(page) == [], "on a phone"
    assert visitor.wrong == []


@pytest.mark.parametrize("path", OPEN_PAGES.values(), ids=list(OPEN_PAGES))
def test_an_open_page(stranger: Visitor, path: str) -> None:
    check_for_everybody(stranger, path)


@pytest.mark.parametrize("path", MAIN_PAGES.values(), ids=list(MAIN_PAGES))
def test_a_page_of_the_admin(admin: Visitor, trained: list[str], path: str) -> None:
    check_for_everybody(admin, path.format(session_id=trained[0], other_id=trained[1]))


def test_axe_finds_a_fault_where_there_is_one(admin: Visitor) -> None:
    page = admin.look_at("/admin/")
    page.evaluate("document.body.append(document.createElement('button'))")
    assert any(fault.startswith("button-name") for fault in serious_faults(page))
