"""python -m tests.boundary.fuzzing [EXAMPLES] [OPTION…]: a run as long as you like; 230 make over 10,000 requests."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.boundary.fuzzing.run import run

examples, *options = sys.argv[1:] or ["230"]
with TemporaryDirectory() as folder:
    outcome = run(Path(folder), int(examples), *options)
print(outcome.output)
print(f"{outcome.cases} requests; the server failed {outcome.server_errors} times.")
sys.exit(outcome.exit_status or bool(outcome.server_errors))
