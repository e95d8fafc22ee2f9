"""That no property of the contract is left out."""

import importlib
import re
from pathlib import Path

from hypothesis import is_hypothesis_test


def test_each_of_the_37_properties_has_its_own_test() -> None:
    numbers = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{file.stem}")
        for name, test in vars(module).items():
            if match := re.match(r"test_property_(\d\d)_", name):
                assert is_hypothesis_test(test), f"{name} tries a single example only"
                numbers.append(int(match[1]))

    assert sorted(numbers) == list(range(1, 38))
