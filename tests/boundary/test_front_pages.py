import re
from contextlib import closing
from typing import Any

import pytest
from rest_framework.test import APIClient

from servermgmt.version import VERSION


def test_health_says_what_the_contract_says(stranger: APIClient) -> None:
    response = stranger.get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "healthy", "service": "Server Management API", "version": VERSION}


def test_health_does_not_need_the_database(stranger: APIClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        stranger.get("/health")


def test_the_front_page_leads_on(stranger: APIClient) -> None:
    links = stranger.get("/").json()

    assert links["service"] == "Server Management API"
    for name in ("docs", "redoc", "openapi", "health"):
        assert stranger.get(links[name]).status_code == 200
    assert stranger.get(links["admin"]).status_code == 302


@pytest.mark.parametrize(("path", "script"), [("/docs", "/docs?script="), ("/redoc", "/redoc")])
def test_the_documentation_asks_nothing_of_other_hosts(stranger: APIClient, path: str, script: str) -> None:
    page = stranger.get(path).content.decode()

    assert script == path or f'src="{script}"' in page
    assert "/openapi.json" in stranger.get(script).content.decode()
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        with closing(stranger.get(asset)) as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("POST", 405), ("BREW", 405)])
def test_what_is_no_page_of_the_documentation_is_json(stranger: APIClient, path: str, method: str, status: int) -> None:
    answer = stranger.generic(method, path)

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"


def test_the_description_names_the_two_ways_to_send_a_key(stranger: APIClient) -> None:
    document = stranger.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    schemes = document["components"]["securitySchemes"]
    assert [schemes["bearer"][name] for name in ("type", "scheme")] == ["http", "bearer"]
    assert [schemes["header"][name] for name in ("type", "in", "name")] == ["apiKey", "header", "X-API-Key"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("TRACE", 405), ("POST", 405)])
def test_what_is_no_page_is_json_there_too(stranger: APIClient, path: str, method: str, status: int) -> None:
    response = stranger.generic(method, path)

    assert (response.status_code, response["Content-Type"]) == (status, "application/json")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_the_description_carries_the_version(stranger: APIClient) -> None:
    assert stranger.get("/openapi.json").json()["info"]["version"] == VERSION
