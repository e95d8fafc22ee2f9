"""The live server is what its description says: schemathesis finds nothing, in any phase and by any check."""

from pathlib import Path

import pytest

from tests.boundary.fuzzing.run import PHASES, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = 5  # for each operation, beside 3,000 requests of the phases that choose their own; `make fuzz` runs longer


def test_every_request_is_answered_as_the_description_says(tmp_path: Path) -> None:
    outcome = run(tmp_path, EXAMPLES)

    assert outcome.exit_status == 0, outcome.output
    assert outcome.clean_phases == PHASES
    assert outcome.cases > 3000
    assert outcome.server_errors == 0
