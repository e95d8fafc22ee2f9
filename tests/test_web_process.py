"""The web process stays small: it serves every endpoint without PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_web_process_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys, servermgmt.wsgi, servermgmt.urls; print([m for m in ('torch', 'torchvision') if m in sys.modules])"
    )
    environment = os.environ | {"DATA_DIR": str(tmp_path)}
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert loaded.stdout == "[]\n", loaded.stderr
