"""What the engine learns of real data, beside what is known of each. Training for real takes its time."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.known_figures import FIGURES, best, n_grams, train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_as_good_as_what_is_known(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]
    spec = figure.spec()
    assert best(train(spec, tmp_path), figure.metric) >= figure.known(spec)


def test_a_text_is_learnt_better_than_pairs_of_characters_tell(tmp_path: Path) -> None:
    """In three epochs; benchmarks.known_figures takes the time to pass groups of five."""
    figure = FIGURES["hamlet"]
    short = replace(figure, config=figure.config | {"epochs": 3, "num_threads": 1})
    spec = short.spec()
    assert best(train(spec, tmp_path), figure.metric) < n_grams(spec, 2)
