"""By which names a machine is called when nobody has said so."""

import socket
from collections import namedtuple

import psutil
import pytest
from django.http.request import split_domain_port, validate_host

from servermgmt.hosts import origins, own_hosts

Address = namedtuple("Address", ["family", "address"])


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a name and two interfaces, and no name server."""

    def look_up(*args: object, **kwargs: object) -> None:
        raise AssertionError("a name was looked up")

    interfaces = {
        "lo": [Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET6, "::1")],
        "eth0": [
            Address(socket.AF_INET, "192.0.2.7"),
            Address(socket.AF_INET6, "fe80::1%eth0"),
            Address(psutil.AF_LINK, "52:54:00:12:34:56"),
        ],
    }
    monkeypatch.setattr(socket, "gethostname", lambda: "Tower.Lab.example")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getfqdn"):
        monkeypatch.setattr(socket, name, look_up)


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("train.localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.0.2.7:8000", True),
        ("[fe80::1]:8000", True),
        ("tower", True),
        ("TOWER:8000", True),
        ("tower.local", True),
        ("tower.lab.example", True),
        ("train.example.org", True),
        ("0.0.0.0:8000", False),
        ("52:54:00:12:34:56", False),
        ("lab.example", False),
        ("192.0.2.8", False),
        ("tower.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example", False),
        ("", False),
    ],
)
def test_what_requests_may_call_it(host: str, taken: bool) -> None:
    name = split_domain_port(host.lower())[0]
    assert validate_host(name, own_hosts("train.example.org")) is taken


@pytest.mark.parametrize("everywhere", ["", "0.0.0.0", "::", "[::]"])
def test_an_address_that_stands_for_all_adds_nothing(everywhere: str) -> None:
    assert own_hosts(everywhere) == own_hosts("127.0.0.1")


@pytest.mark.parametrize("listens_on", ["2001:db8::5", "[2001:db8::5]"])
def test_an_ipv6_address_stands_in_brackets(listens_on: str) -> None:
    assert own_hosts(listens_on)[-1] == "[2001:db8::5]"


@pytest.mark.parametrize("hostname", ["", "192.0.2.7"])
def test_a_host_without_a_name(monkeypatch: pytest.MonkeyPatch, hostname: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    assert "" not in own_hosts("")
    assert not [host for host in own_hosts("") if host.endswith(".local")]


def test_only_names_have_origins_with_tls() -> None:
    hosts = ["train.example.org", ".lab.example", "10.0.0.5", "[2001:db8::5]", "localhost", ".localhost"]
    assert origins(hosts) == ["https://train.example.org", "https://*.lab.example"]
