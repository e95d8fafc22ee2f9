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
    assert {"type": "http", "scheme": "bearer"} in schemes.values()
    assert {"type": "apiKey", "in": "header", "name": "X-API-Key"} in schemes.values()
    closed = document["paths"]["/api/v1/system/info"]["get"]
    assert closed["security"] == [{name: []} for name in schemes]
    assert document["paths"]["/health"]["get"]["security"] == [{}]


def test_the_description_shows_the_error_body_of_every_operation(stranger: APIClient) -> None:
    document = stranger.get("/openapi.json").json()

    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    for operation in operations:
        schema = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}
    assert set(document["components"]["schemas"]["Error"]["properties"]) == {"error", "detail"}


def test_the_description_carries_the_version(stranger: APIClient) -> None:
    assert stranger.get("/openapi.json").json()["info"]["version"] == VERSION
