"""python -m training.engine.catalogue: print what can be trained, as JSON. So everybody without torch knows it."""

import json
import sys
from dataclasses import asdict

from training.engine.architectures import catalogue

if __name__ == "__main__":
    json.dump([asdict(entry) for entry in catalogue().values()], sys.stdout)
