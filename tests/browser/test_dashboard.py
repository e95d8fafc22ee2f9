"""The dashboard and the pages of datasets, models and keys, as a browser shows them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import PASSWORD, USER, Visitor, visit
from tests.processes.server import Server

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
# A server without a worker, so that what is made here stays as it is.
SEED = """
from datetime import timedelta
from django.utils import timezone
from authkeys.models import APIKey
from monitoring.models import Sample
from registry.models import Dataset, Model
from training.models import TrainingSession

HOSTILE = "<img src=x onerror='window.broken = 1'>"
now = timezone.now()
def start(**columns):
    config = {"model_architecture": "mlp", "dataset_name": "digits", "learning_rate": 0.01, "batch_size": 8}
    session = TrainingSession.objects.submit(config | {"epochs": 5}, by="test")
    TrainingSession.objects.filter(pk=session.pk).update(**columns)
    session.refresh_from_db()
    return session

start(state="running", heard_at=now, steps_done=10, steps_planned=100, current_epoch=1, seconds_left=600)
start(), start()
for number in range(4):
    start(state="failed", ended_at=now - timedelta(days=number), failure_code="cuda_oom", error_message=HOSTILE * 20)
report = {"problem": "classification", "accuracy": 0.9, "classes": [{"name": HOSTILE if n == 0 else str(n), "count": 5,
    "precision": 0.5, "recall": 0.5, "f1": 0.5, "roc_auc": None} for n in range(10)],
    "confusion_matrix": [[5 if a == b else 0 for a in range(10)] for b in range(10)]}
done = start(state="completed", ended_at=now, report=report)
model = Model.objects.store("trained", [b"no weights"], session_id=done.session_id)
TrainingSession.objects.filter(pk=done.pk).update(model=model)
for number in range(60):
    gpu = {"index": 0, "name": HOSTILE, "usage_percent": number}
    gpu |= {"memory_used_bytes": 1 << 30, "memory_total_bytes": 4 << 30}
    Sample.objects.create(timestamp=now - timedelta(seconds=60 - number), cpu_usage_percent=number,
        memory_used_bytes=3 << 30, memory_total_bytes=8 << 30, disk_free_bytes=1, disk_total_bytes=2, gpus=[gpu])
key, _ = APIKey.objects.create_key(HOSTILE)
print("ids", model.pk, key.pk, *Dataset.objects.order_by("name").values_list("pk", flat=True))
"""


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("quiet"), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    try:
        server.manage("createsuperuser", "--noinput", "--username", USER, "--email", "ada@lab.example")
        server.start_web()
        for name, file in (("digits", "digits.npz"), ("rows", "diabetes.csv"), ("text", "hamlet.txt")):
            content = (EXAMPLES / file).read_bytes()
            server.client.post(f"/datasets?dataset_name={name}", files={"file": content}).raise_for_status()
        yield server
    finally:
        server.client.close()
        server.kill_everything()


@pytest.fixture(scope="module")
def places(quiet_server: Server) -> dict[str, str]:
    """The paths of the pages."""
    seeded = quiet_server.manage("shell", "--verbosity", "0", "-c", SEED).partition("ids ")[2].split()
    names = ("model/{}", "apikey/{}", "dataset/{}", "dataset/{}", "dataset/{}")
    model, key, digits, rows, text = (name.format(pk) for name, pk in zip(names, seeded, strict=True))
    return {
        "dashboard": "/admin/",
        "model": f"/admin/registry/{model}/change/",
        "key": f"/admin/authkeys/{key}/change/",
        "digits": f"/admin/registry/{digits}/change/",
        "rows": f"/admin/registry/{rows}/change/",
        "text": f"/admin/registry/{text}/change/",
    }


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


class Stream:
    """Plays the server's events."""

    def __init__(self) -> None:
        self.events = ""

    def answer(self, route: Route) -> None:
        route.fulfill(content_type="text/event-stream", body=f"retry: 600000\n\n{self.events}")


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture(scope="module")
def cookies(browser: Browser, quiet_server: Server) -> list[Any]:
    with visit(browser, quiet_server) as visitor:
        page = visitor.look_at("/admin/login/")
        page.fill("[name=username]", USER)
        page.fill("[name=password]", PASSWORD)
        visitor.context.route("**/api/v1/events", Stream().answer)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/admin/")
        return [*visitor.context.cookies()]


@pytest.fixture
def staff(browser: Browser, quiet_server: Server, cookies: list[Any], stream: Stream) -> Iterator[Visitor]:
    with visit(browser, quiet_server) as visitor:
        visitor.context.add_cookies(cookies)
        visitor.context.route("**/api/v1/events", stream.answer)
        yield visitor


PAGES = ["dashboard", "model", "key", "digits", "rows", "text"]


def settled(visitor: Visitor, path: str) -> Page:
    """The page with what it asks for behind itself."""
    page = visitor.look_at(path)
    page.wait_for_function("!document.body.innerText.match(/Counting …|Looking at the file …/)", timeout=60_000)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_drawn_and_anybody_can_use_it(
    staff: Visitor, places: dict[str, str], name: str, theme: str
) -> None:
    staff.context.add_init_script(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")
    page = settled(staff, places[name])
    assert page.evaluate("document.documentElement.classList.contains('dark')") == (theme == "dark")
    found = Axe().run(page, context="#content", options={"resultTypes": ["violations"]}).response["violations"]
    faults = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in faults] == []
    assert page.evaluate("window.broken") is None
    assert staff.wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_sideways_scrolling(staff: Visitor, places: dict[str, str], name: str) -> None:
    page = settled(staff, places[name])
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert staff.wrong == []


def test_the_dashboard_follows_the_stream(staff: Visitor, places: dict[str, str], stream: Stream) -> None:
    page = settled(staff, places["dashboard"])
    session_id = page.locator("[data-session]").get_attribute("data-session")
    points = page.locator("[data-gauge=cpu] polyline").get_attribute("points")
    assert points is not None
    assert len(points.split()) == 60
    resources = {"cpu_usage_percent": 93.4, "memory_percent": 50.0, "memory_used_mb": 4096, "memory_total_mb": 8192}
    gpu = {"index": 0, "usage_percent": None, "memory_used_bytes": 2 << 30, "memory_total_bytes": 4 << 30}
    status = {"session_id": session_id, "state": "running", "progress": 0.5, "current_epoch": 3, "eta": None}
    stream.events = event("resources", resources | {"gpus": [gpu]}) + event("status", status)
    page = settled(staff, places["dashboard"])
    page.get_by_text("93 %").wait_for(state="visible")
    assert page.locator(f"[data-session={session_id}] progress").evaluate("element => element.value") == 0.5
    assert "50 %, epoch 3 of 5" in page.locator(f"[data-session={session_id}]").inner_text()
    assert page.locator("[data-gauge=memory]").inner_text().split("\n") == ["Memory", "50 %", "4.0 of 8.0 GiB"]
    assert page.locator("[data-gauge=gpu-0]").inner_text().split("\n") == ["GPU 0", "not known", "2.0 of 4.0 GiB"]
    assert len((page.locator("[data-gauge=cpu] polyline").get_attribute("points") or "").split()) == 61
    assert staff.wrong == []


@pytest.mark.parametrize("news", ["transition", "status"])
def test_the_lists_are_loaded_anew_when_something_changes(
    staff: Visitor, places: dict[str, str], stream: Stream, news: str
) -> None:
    asked: list[Route] = []

    def answer(route: Route) -> None:
        """As the server does, and one can tell that it did."""
        asked.append(route)
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("Last failures", "Newest failures"))

    staff.context.route("**/admin/lists/", answer)
    stream.events = 5 * event(news, {"session_id": "sess_0123456789ab", "state": "running", "progress": 0})
    page = settled(staff, places["dashboard"])
    page.get_by_text("Newest failures").wait_for(state="visible")
    page.wait_for_timeout(1500)
    assert len(asked) == 1  # for all five
    assert [page.locator(part).count() for part in ("#sessions", "#days", "#failures")] == [1, 1, 1]
    assert page.get_by_text("Last failures").count() == 0
    assert page.locator(".live").inner_text() != ""
    assert staff.wrong == []


def test_images_of_each_class_are_shown(staff: Visitor, places: dict[str, str]) -> None:
    page = settled(staff, places["digits"])
    strips = page.locator(".strip img")
    assert strips.count() == 10
    assert all(strips.nth(number).evaluate("image => image.naturalWidth") > 100 for number in range(10))
    assert staff.wrong == []


def test_a_model_is_tried_on_its_page(staff: Visitor, places: dict[str, str]) -> None:
    page = settled(staff, places["model"])
    row = {"name": "row.npy", "mimeType": "application/octet-stream", "buffer": b"no array"}
    page.set_input_files("#try-file", row)  # type: ignore[arg-type]
    page.get_by_role("button", name="Try").click()
    page.locator("#prediction .notice").wait_for(state="visible", timeout=60_000)
    assert "npy file" in page.locator("#prediction").inner_text()
    assert staff.wrong == []


def test_a_key_is_revoked_on_its_page(staff: Visitor, places: dict[str, str]) -> None:
    page = settled(staff, places["key"])
    page.get_by_role("button", name="Rotate").click()
    page.get_by_text("Copy the key of").wait_for(state="visible")
    page = settled(staff, places["key"])
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("1 revoked.").wait_for(state="visible")
    page = settled(staff, places["key"])
    assert page.get_by_role("button", name="Revoke").count() == 0
    assert staff.wrong == []
