"""Every kind of process is killed at a random moment while a client keeps the server busy; `make faults` does more."""

import os
import secrets

import pytest

from tests.processes.campaign import ENVIRONMENT, Campaign, run
from tests.processes.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("server", [ENVIRONMENT], indirect=True)
def test_whoever_is_killed_no_promise_is_broken(server: Server) -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    violations = run(Campaign(server, seed), kills=1)
    assert not violations, f"SEED={seed}: {violations}"
