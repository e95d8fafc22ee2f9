"""The page of a session, and sessions side by side, in a browser before the real server that trained them."""

import re
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visitor
from tests.processes.server import Server

pytestmark = pytest.mark.slow

TRAINED = re.compile(r"Training, by epoch: from \d")
LINES = """figure => Chart.getChart(figure.querySelector("canvas")).data.datasets.map(({key, data}) => ({
    key, xs: data.map(({x}) => x), ys: data.map(({y}) => y)
}))"""
SCALE = """(figure, axis) => {
    const {type, min, max} = Chart.getChart(figure.querySelector("canvas")).scales[axis];
    return {type, min, max};
}"""
LOSS = "document.querySelector('[data-chart=loss]')"
HOSTILE = "<img src=x onerror=alert(1)>"
# Entries as no trainer writes them, and more than one page of the tail.
LOG = f"""
from training.models import TrainingSession
session = TrainingSession.objects.get(session_id="SESSION")
for number in range(300):
    session.log("INFO", f"entry {{number:03}}")
session.log("ERROR", "it broke {HOSTILE}")
session.log("WARNING", "it may break")
"""


@pytest.fixture(scope="module")
def pair(server: Server) -> list[str]:
    """Two sessions that have ended, with different learning rates."""
    common: dict[str, Any] = {"epochs": 4, "notes": HOSTILE, "log_every_steps": 1, "batch_size": 64}
    sessions = [server.submit(learning_rate=rate, **common) for rate in (0.002, 0.02)]
    for session in sessions:
        assert server.wait_for_end(session)["state"] == "completed"
    server.manage("shell", "-c", LOG.replace("SESSION", sessions[0]))
    return sessions


@pytest.fixture
def page(admin: Visitor, pair: list[str]) -> Page:
    return open_page(admin, pair[0])


def open_page(admin: Visitor, session: str) -> Page:
    page = admin.look_at(f"/admin/training/trainingsession/{session}/change/")
    expect(page.locator("[data-chart=loss] canvas")).to_have_attribute("aria-label", TRAINED)
    return page


def chart(page: Page, name: str) -> Locator:
    return page.locator(f"[data-chart='{name}']")


def drawn(page: Page, name: str) -> list[dict[str, Any]]:
    """What Chart.js draws there: the key of each line and its points."""
    found: list[dict[str, Any]] = chart(page, name).evaluate(LINES)
    return found


def scale(page: Page, name: str, axis: str) -> dict[str, Any]:
    """What kind of scale it is, and from where to where it goes."""
    found: dict[str, Any] = chart(page, name).evaluate(SCALE, axis)
    return found


def wait_for_lines(page: Page, name: str, keys: list[str], points: int) -> None:
    """Until these lines, and no others, are drawn with so many points or more."""
    page.wait_for_function(
        f"""([selector, keys, points]) => {{
            const lines = ({LINES})(document.querySelector(selector));
            return lines.map(line => line.key).join() === keys.join() && lines.every(line => line.xs.length >= points);
        }}""",
        arg=[f"[data-chart='{name}']", keys, points],
    )


def test_the_page_shows_what_was_learnt(admin: Visitor, page: Page) -> None:
    expect(page.locator("[data-field=epoch]")).to_have_text("4 of 4")
    assert page.locator("progress").evaluate("bar => bar.value") == 1
    lines = {line["key"]: line for line in drawn(page, "loss")}
    assert lines["loss"]["xs"] == lines["val_loss"]["xs"] == [1, 2, 3, 4]
    assert len(lines["train/loss"]["xs"]) > 50
    assert lines["train/loss"]["xs"][-1] == 4
    assert drawn(page, "rate")[0]["ys"][0] == 0.002
    assert drawn(page, "other")[0]["key"] == "gradient_norm"
    chart(page, "other").locator("select").select_option("samples_per_second")
    wait_for_lines(page, "other", ["samples_per_second"], 50)
    expect(page.locator("#checkpoints")).to_contain_text("The model is registered as mlp_digits_")
    expect(page.locator("#record")).to_contain_text("versions.torch")
    page.get_by_text("The epochs as a table").click()
    expect(page.locator("#epochs tr")).to_have_count(4)
    assert admin.wrong == []


def test_what_people_wrote_stays_text(admin: Visitor, page: Page) -> None:
    assert page.locator("#configuration").get_by_text(HOSTILE).count() == 1
    assert page.locator(".log-lines").get_by_text(HOSTILE).count() == 1
    assert page.locator("#session img").count() == 0
    assert admin.wrong == []


@pytest.mark.parametrize("axis", ["step", "time", "epoch"])
def test_the_charts_are_drawn_over_another_axis(admin: Visitor, page: Page, axis: str) -> None:
    page.locator(".chart-controls").get_by_text(axis.capitalize(), exact=True).click()
    page.wait_for_timeout(200)
    lines = {line["key"]: line["xs"] for line in drawn(page, "loss")}
    steps = lines["train/loss"]
    assert len(lines["loss"]) == 4
    if axis == "step":
        assert steps[:2] == [1, 2]
    assert steps == sorted(steps)
    assert lines["loss"][-1] == pytest.approx(steps[-1], abs=1.5 if axis == "time" else 0)
    assert admin.wrong == []


def test_smoothing_and_the_logarithm(admin: Visitor, page: Page) -> None:
    before = {line["key"]: line["ys"] for line in drawn(page, "loss")}["train/loss"]
    page.locator("[name=smoothing]").fill("0.9")
    after = {line["key"]: line["ys"] for line in drawn(page, "loss")}
    assert after["train/loss as measured"] == before
    assert after["train/loss"][0] == before[0]  # not drawn towards zero
    swings = [sum(abs(b - a) for a, b in pairwise(ys)) for ys in (before, after["train/loss"])]
    assert swings[1] < swings[0] / 2
    assert scale(page, "loss", "y")["type"] == "linear"
    page.locator("[name=logarithmic]").check()
    assert scale(page, "loss", "y")["type"] == "logarithmic"
    assert scale(page, "accuracy", "y")["type"] == "linear"
    assert admin.wrong == []


def test_zooming_by_hand_and_by_buttons(admin: Visitor, page: Page) -> None:
    whole = scale(page, "loss", "x")
    box = chart(page, "loss").locator("canvas").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=5)
    page.mouse.up()
    zoomed = scale(page, "loss", "x")
    assert whole["min"] < zoomed["min"] < zoomed["max"] < whole["max"]
    assert scale(page, "rate", "x") == zoomed  # all that lie over the same axis
    page.mouse.dblclick(box["x"] + box["width"] / 2, y)
    assert scale(page, "loss", "x") == whole
    page.get_by_role("button", name="Zoom in").press("Enter")
    narrow = scale(page, "loss", "x")
    assert narrow["max"] - narrow["min"] == pytest.approx((whole["max"] - whole["min"]) / 2)
    page.get_by_role("button", name="Look further right").press("Enter")
    assert scale(page, "loss", "x")["min"] > narrow["min"]
    page.get_by_role("button", name="See all").press("Enter")
    assert scale(page, "loss", "x") == whole
    assert admin.wrong == []


def test_a_line_is_hidden_and_shown(admin: Visitor, page: Page) -> None:
    switch = chart(page, "loss").get_by_role("button", name="Validation")
    switch.press("Space")
    expect(switch).to_have_attribute("aria-pressed", "false")
    assert "val_loss" not in {line["key"] for line in drawn(page, "loss")}
    switch.press("Space")
    assert "val_loss" in {line["key"] for line in drawn(page, "loss")}


def test_the_log_is_filtered_searched_and_read_backwards(admin: Visitor, page: Page) -> None:
    lines = page.locator(".log-line")
    expect(lines).to_have_count(200)
    expect(lines.last).to_contain_text("it may break")
    at_the_end = "list => list.scrollHeight - list.scrollTop - list.clientHeight < 24"
    assert page.locator(".log-lines").evaluate(at_the_end)
    page.get_by_role("button", name="Show older entries").click()
    expect(lines.first).to_have_attribute("data-line", "1")
    expect(page.get_by_role("button", name="Show older entries")).to_be_hidden()
    numbers = lines.evaluate_all("all => all.map(({dataset}) => Number(dataset.line))")
    assert numbers == list(range(1, len(numbers) + 1))
    page.locator("#log [name=level]").select_option("errors")
    expect(lines).to_have_count(1)
    expect(lines.first).to_contain_text("it broke")
    assert lines.first.evaluate("line => getComputedStyle(line.querySelector('.log-message')).color") != page.locator(
        "h2"
    ).first.evaluate("title => getComputedStyle(title).color")
    page.locator("#log [name=level]").select_option("all")
    page.locator("#log [name=search]").fill("entry 29")
    expect(lines).to_have_count(10)
    page.locator("#log [name=search]").fill("entry 2[01]5$")
    expect(page.locator("#log [role=status]")).to_have_text("No entry is like that.")
    page.locator("#log [name=regex]").check()
    expect(lines).to_have_count(2)
    assert admin.wrong == []


def test_a_wrong_expression_is_said_and_not_thrown(admin: Visitor, page: Page) -> None:
    page.locator("#log [name=regex]").check()
    page.locator("#log [name=search]").fill("(")
    expect(page.locator("#log [role=status]")).to_contain_text("regex")


def test_sessions_side_by_side(admin: Visitor, pair: list[str]) -> None:
    page = admin.look_at("/admin/training/trainingsession/")
    for session in pair:
        page.locator("tr", has_text=session).locator("[name=_selected_action]").check()
    page.locator("[name=action]").select_option("compare")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/compare/?sessions=*")
    for name in ("val_loss", "val_accuracy", "loss", "accuracy", "train/loss", "learning_rate"):
        wait_for_lines(page, name, pair, 4)
    row = page.locator("#configurations tbody tr")
    expect(row).to_have_count(1)
    assert row.locator("th, td").all_inner_texts() == ["learning_rate", "0.002", "0.02"]
    assert admin.wrong == []


def test_a_session_is_watched_live_and_steered(admin: Visitor, pair: list[str], server: Server) -> None:
    session = server.submit(epochs=1000, learning_rate=0.001, log_every_steps=1, batch_size=64)
    server.wait_for_epoch(session, 2)
    page = open_page(admin, session)
    expect(page.locator("#live")).to_have_text("live")
    epochs = len(drawn(page, "loss")[1]["xs"])
    lines = page.locator(".log-line").count()
    page.wait_for_function("count => document.querySelectorAll('.log-line').length > count", arg=lines)
    page.wait_for_function(f"count => ({LINES})({LOSS})[1].xs.length > count + 2", arg=epochs)
    page.wait_for_function(f"count => ({LINES})({LOSS})[0].xs.length > 45 * (count + 2)", arg=epochs)
    by_step, by_epoch, _ = (line["xs"] for line in drawn(page, "loss"))
    assert by_step == sorted(set(by_step))
    assert by_epoch == list(range(1, len(by_epoch) + 1))
    numbers = page.locator(".log-line").evaluate_all("all => all.map(({dataset}) => Number(dataset.line))")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    page.get_by_role("button", name="Pause the log").click()
    expect(page.get_by_role("button", name="Follow the log (")).to_be_visible()
    held = page.locator(".log-line").count()
    page.get_by_role("button", name="Follow the log (").click()
    page.wait_for_function("count => document.querySelectorAll('.log-line').length > count", arg=held)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator("[data-part=state]")).to_contain_text("paused", ignore_case=True, timeout=20_000)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("[data-part=history]")).to_contain_text("paused → queued", timeout=20_000)
    server.post(f"/training/{session}/kill")
    expect(page.locator("[data-part=state]")).to_contain_text("stopped", ignore_case=True, timeout=20_000)
    expect(page.get_by_role("button", name="Restart")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("it has ended", timeout=20_000)
    assert admin.wrong == []


def test_an_ended_session_is_restarted_and_killed(admin: Visitor, pair: list[str], server: Server) -> None:
    page = open_page(admin, pair[0])
    server.post("/training/queue/pause")
    page.get_by_role("button", name="Restart").click()
    page.wait_for_url(lambda url: pair[0] not in url and url.endswith("/change/"))
    expect(page.locator("#checkpoints")).to_contain_text(f"A restart of {pair[0]}")
    page.get_by_role("button", name="Kill", exact=True).click()
    page.get_by_role("button", name="Leave it alone").click()
    expect(page.locator("#kill-dialog")).not_to_be_visible()
    page.get_by_role("button", name="Kill", exact=True).click()
    page.get_by_role("button", name="Kill it").click()
    expect(page.locator("[data-part=state]")).to_contain_text("stopped", ignore_case=True)


def test_a_session_that_the_form_starts_grows_before_ones_eyes_and_is_stopped(admin: Visitor, server: Server) -> None:
    wanted = "dataset_name=digits&model_architecture=mlp&epochs=1000&learning_rate=0.001&batch_size=64"
    page = admin.look_at(f"/admin/training/trainingsession/start/?{wanted}")
    page.get_by_role("button", name="Start the session").click()
    page.wait_for_url("**/change/")
    for points in (2, 6):
        wait_for_lines(page, "accuracy", ["accuracy", "val_accuracy"], points)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("[data-part=state]")).to_contain_text("stopped", ignore_case=True, timeout=20_000)
    (newest, *_) = server.get("/training/sessions")
    assert (newest["config"]["epochs"], newest["status"]["state"]) == (1000, "stopped")
    assert admin.wrong == []
