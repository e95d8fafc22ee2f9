import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

SOMETHING = "/api/v1/system/info"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.fixture
def browser(db: None) -> APIClient:
    """A browser in which a member of staff is logged in."""
    browser = APIClient()
    browser.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    return browser


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/*", BROWSER, "application/json; indent=4", "text/html, */*;q=0.1"],
)
def test_a_key_holder_gets_json(client: APIClient, accept: str) -> None:
    response = client.get(SOMETHING, HTTP_ACCEPT=accept)

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


def test_no_accept_means_json(client: APIClient) -> None:
    assert client.get(SOMETHING)["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/html", "image/png", "application/xml", "nonsense", ";;;", ","])
def test_what_cannot_be_met_is_a_406_in_json(client: APIClient, accept: str) -> None:
    response = client.get(SOMETHING, HTTP_ACCEPT=accept)

    assert response.status_code == 406
    assert response["Content-Type"] == "application/json"
    assert response.json()["error"]["code"] == "NOT_ACCEPTABLE"


@given(st.text())
def test_no_accept_makes_the_server_fail(client: APIClient, accept: str) -> None:
    assert client.get("/api/v1/nothing", HTTP_ACCEPT=accept).status_code in (404, 406)


def test_staff_see_a_page(browser: APIClient) -> None:
    response = browser.get(SOMETHING, HTTP_ACCEPT=BROWSER)

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")


def test_staff_see_errors_as_a_page_too(browser: APIClient) -> None:
    response = browser.get("/api/v1/<script>alert(1)</script>", HTTP_ACCEPT=BROWSER)

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert b"<script>alert" not in response.content


def test_staff_can_have_json(browser: APIClient) -> None:
    assert browser.get(SOMETHING, HTTP_ACCEPT="application/json")["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", [SOMETHING, "/api/v1/nothing"])
def test_a_stranger_gets_json_even_in_a_browser(stranger: APIClient, path: str) -> None:
    response = stranger.get(path, HTTP_ACCEPT="text/html")

    assert response.status_code == 401
    assert response["Content-Type"] == "application/json"


def test_the_query_does_not_choose_the_form(client: APIClient) -> None:
    for form in ("api", "json", "nothing"):
        response = client.get(SOMETHING, {"format": form})
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
