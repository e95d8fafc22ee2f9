"""The names and addresses by which requests may call this machine."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator

import psutil

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", ".localhost")  # Django's dot: every name below it, too


def own_hosts(listens_on: str) -> list[str]:
    """What this machine is called without anybody having said so.

    Nothing is looked up: a name server that does not answer would hold up the start.
    """
    return list(dict.fromkeys([*LOOPBACK, *_names(socket.gethostname()), *_addresses(), *_concrete(listens_on)]))


def origins(hosts: Iterable[str]) -> list[str]:
    """The origins of the pages that a proxy shows under these names with TLS. Addresses have no certificate."""
    names = (host for host in hosts if host not in LOOPBACK and _address(host) is None)
    return [f"https://*{name}" if name.startswith(".") else f"https://{name}" for name in names]


def _names(hostname: str) -> Iterator[str]:
    """The host name, without its domain, and as neighbours find it by multicast DNS."""
    name = hostname.lower()
    if not name or _address(name):
        return
    short = name.partition(".")[0]
    yield from (name, short, f"{short}.local")


def _addresses() -> Iterator[str]:
    """The addresses of this machine's network interfaces."""
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                yield from _concrete(entry.address)


def _concrete(host: str) -> Iterator[str]:
    """The host as a request names it, unless it stands for all addresses."""
    address = _address(host)
    if address is None and host:
        yield host.lower()
    elif address is not None and not address.is_unspecified:
        yield f"[{address}]" if address.version == 6 else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is; None when it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])  # no scope, as in fe80::1%eth0
    except ValueError:
        return None
