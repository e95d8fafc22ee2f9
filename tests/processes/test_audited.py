"""Every change has its row, whenever the web server dies; `python -m tests.processes.audited` does more."""

import pytest

from tests.processes.audited import check, send
from tests.processes.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_change_has_its_row_whenever_the_web_server_dies(server: Server) -> None:
    server.start_web("--workers", "2")
    seen, kills = send(server, requests=2000, rate=150, kill_seconds=4)
    assert kills
    assert seen.made
    assert seen.revoked
    assert check(server, seen) == []
