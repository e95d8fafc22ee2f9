"""python -m tests.browser.screenshots: pictures of the main pages for the README, from a real server that trains."""

import shutil
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser

from tests.browser.conftest import PASSWORD, USER, Visitor, find_chromium, launched
from tests.processes.server import ROOT, Server

FOLDER = ROOT / "docs" / "screenshots"
WIDTH = 1280
COLORS = 200  # the pages have few, and the pictures stay small


@dataclass(frozen=True)
class Shot:
    """A picture: of which page, how high, and what has to be on it first. Paths may name what Stage has."""

    name: str
    path: str
    awaits: str = "#content"
    height: int = 800
    scheme: Literal["light", "dark"] = "light"


SESSION = "/admin/training/trainingsession/"
SHOTS = [
    Shot("dashboard", "/admin/"),
    Shot("dashboard-dark", "/admin/", scheme="dark"),
    Shot("session", SESSION + "{running}/change/", height=1100),
    Shot("session-dark", SESSION + "{running}/change/", height=1100, scheme="dark"),
    Shot(
        "start", SESSION + "start/?dataset_name=digits&model_architecture=cnn", "[data-estimate=figures]:visible", 1000
    ),
    Shot("compare", SESSION + "compare/?sessions={compared}", height=1000),
    Shot("dataset", "/admin/registry/dataset/1/change/"),
    Shot("model", "/admin/registry/model/1/change/"),
    Shot("keys", "/admin/authkeys/apikey/"),
]

COMPARED = [
    {"model_architecture": "mlp", "learning_rate": 0.001, "epochs": 30, "tags": ["baseline"]},
    {"model_architecture": "mlp", "learning_rate": 0.05, "epochs": 30, "optimizer": "sgd", "scheduler": "cosine"},
    {"model_architecture": "cnn", "learning_rate": 0.002, "epochs": 12, "model_args": {"width": 16}, "tags": ["conv"]},
]
# Long enough to be still under way when its pictures are taken.
RUNNING = {"model_architecture": "cnn", "learning_rate": 0.0005, "epochs": 200, "augment": "affine", "tags": ["live"]}
WAITING = {"model_architecture": "gpt", "dataset_name": "hamlet", "learning_rate": 0.001, "epochs": 5}


def set_stage(server: Server) -> dict[str, str]:
    """Fill the server with what there is to see, and say under which names it is found."""
    server.manage("createsuperuser", "--noinput", "--username", USER, "--email", "ada@lab.example")
    for owner in ("robot", "notebook"):
        server.manage("createapikey", owner)
    server.start_web()
    server.start_worker()
    server.start_sampler()
    server.upload_digits()
    for name in ("hamlet.txt", "diabetes.csv"):
        content = (ROOT / "examples" / name).read_bytes()
        server.post("/datasets", params={"dataset_name": name.partition(".")[0]}, files={"file": content})
    compared = [server.submit(**config) for config in COMPARED]
    for session_id in compared:
        assert server.wait_for_end(session_id, 300)["state"] == "completed"
    running = server.submit(**RUNNING)
    server.submit(**WAITING)
    server.wait_for_epoch(running, 25, 300)
    return {"running": running, "compared": ",".join(compared)}


def take(browser: Browser, server: Server, stage: dict[str, str]) -> None:
    context = browser.new_context(viewport={"width": WIDTH, "height": 800}, reduced_motion="reduce")
    visitor = Visitor(context, f"http://127.0.0.1:{server.port}")
    visitor.log_in()
    for shot in SHOTS:
        path = shot.path.format(**stage)
        page = visitor.look_at(path, scheme=shot.scheme)
        assert page.url == visitor.origin + path, f"{shot.name} leads to {page.url}"
        page.set_viewport_size({"width": WIDTH, "height": shot.height})
        page.locator(shot.awaits).first.wait_for(timeout=60_000)
        page.wait_for_timeout(1500)  # charts grow into their place
        save(page.screenshot(), FOLDER / f"{shot.name}.png")
        page.close()
    assert not visitor.wrong, visitor.wrong


def save(picture: bytes, path: Path) -> None:
    """Keep a picture in as few bytes as it takes."""
    path.parent.mkdir(exist_ok=True)
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB")


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("There is no Chromium on the PATH: install it (Debian, Ubuntu: apt install chromium), then try again.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    with TemporaryDirectory() as folder:
        server = Server(Path(folder), DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        try:
            stage = set_stage(server)
            with launched(chromium) as browser:
                take(browser, server, stage)
        finally:
            server.client.close()
            server.kill_everything()


if __name__ == "__main__":
    main()
