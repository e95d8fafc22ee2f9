"""A real browser in front of the real server."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.processes.server import Server

# Taken for HTML it would ask for a picture, which is not there.
HOSTILE = "<img src=/nothing.png onerror=alert(1)>"
expect.set_options(timeout=20_000)  # these machines do other things, too
USER, PASSWORD = "ada", "a password of the tests"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
REPORT_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", event =>
        console.error(`refused by ${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`));
"""


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program; without it there is nothing to see, which only where the server is developed may pass."""
    if path := find_chromium():
        return path
    if os.environ.get("CI"):
        pytest.fail("There is no Chromium: .ci/run installs it.")
    pytest.skip("There is no Chromium on the PATH, which shows how pages look.")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an admin, something in every table, and names that try to be more than text."""
    server = Server(tmp_path_factory.mktemp("server"), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    try:
        server.manage("createsuperuser", "--noinput", "--username", USER, "--email", "ada@lab.example")
        server.manage("createapikey", HOSTILE)
        server.start_web()
        server.start_worker()
        server.start_sampler()
        server.upload_digits()
        server.client.post("/datasets?dataset_name=rows", files={"file": b"a,label\n1,0\n2,1\n"}).raise_for_status()
        server.client.post("/models?model_name=weights", files={"file": b"weights"}).raise_for_status()
        for rate in (0.001, 0.01):
            server.wait_for_end(server.submit(epochs=3, learning_rate=rate, tags=[HOSTILE[:50]], notes=HOSTILE))
        yield server
    finally:
        server.client.close()
        server.kill_everything()


@pytest.fixture(scope="session")
def trained(server: Server) -> list[str]:
    """The ids of the sessions that have trained already."""
    return [session["session_id"] for session in server.get("/training/sessions")[:-3:-1]]


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as browser:
        yield browser


@contextmanager
def launched(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


class Loading:
    """What a page has asked for and not got yet; a stream of events never ends, and does not count."""

    QUIET_SECONDS = 0.2

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pending: set[Request] = set()
        page.on("request", self.begin)
        page.on("requestfinished", self.end)
        page.on("requestfailed", self.end)

    def begin(self, request: Request) -> None:
        if request.resource_type != "eventsource":
            self.pending.add(request)

    def end(self, request: Request) -> None:
        self.pending.discard(request)

    def wait_for_end(self, seconds: float = 30) -> None:
        """Wait until nothing is asked for any more."""
        deadline = time.monotonic() + seconds
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < self.QUIET_SECONDS:
            self.page.wait_for_timeout(20)
            if self.pending:
                quiet_since = time.monotonic()
            assert quiet_since < deadline, f"still waiting for {[request.url for request in self.pending]}"


@dataclass
class Visitor:
    """Somebody who looks at pages, and keeps what goes wrong there."""

    context: BrowserContext
    origin: str
    wrong: list[str] = field(default_factory=list)

    def log_in(self) -> None:
        page = self.look_at("/admin/login/")
        page.fill("[name=username]", USER)
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/admin/")
        page.close()

    def look_at(self, path: str, status: int = 200, scheme: Literal["light", "dark"] = "light") -> Page:
        """The page, loaded and settled."""
        page = self.context.new_page()
        page.emulate_media(color_scheme=scheme)
        loading = Loading(page)
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", self.note_console)
        page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))
        page.on("request", self.note_request)
        answer = page.goto(self.origin + path)
        assert answer is not None
        assert answer.status == status
        loading.wait_for_end()
        return page

    def note_console(self, message: ConsoleMessage) -> None:
        # A page that is an error by itself, and is shown, is also reported as one that could not be loaded.
        is_the_page = message.text.startswith("Failed to load resource") and self.is_page(message.location["url"])
        if message.type in ("error", "warning") and not is_the_page:
            self.wrong.append(f"{message.location['url']}: {message.text}")

    def is_page(self, url: str) -> bool:
        return url in {page.url for page in self.context.pages}

    def note_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(self.origin + "/"):
            self.wrong.append(f"asked for {request.url}")


@contextmanager
def visit(browser: Browser, server: Server) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    yield Visitor(context, f"http://127.0.0.1:{server.port}")
    context.close()


@pytest.fixture
def stranger(browser: Browser, server: Server) -> Iterator[Visitor]:
    with visit(browser, server) as visitor:
        yield visitor


@pytest.fixture(scope="session")
def logged_in(browser: Browser, server: Server) -> Iterator[Visitor]:
    """A superuser, who came in by the form."""
    with visit(browser, server) as visitor:
        visitor.log_in()
        yield visitor


@pytest.fixture
def admin(logged_in: Visitor, server: Server) -> Iterator[Visitor]:
    """Who is logged in, with nothing left over from the test before: no page, no session in a place, an open queue."""
    logged_in.wrong.clear()
    yield logged_in
    for page in logged_in.context.pages:
        page.close()
    for session in server.get("/training/sessions?limit=20"):
        if session["status"]["state"] in ("queued", "running", "paused"):
            server.post(f"/training/{session['session_id']}/kill")
    server.post("/training/queue/resume")
