"""What clients send: configurations, names, ids, keys."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from authkeys import keys
from training.engine.networks.torchvision import NETWORKS

# The datasets of the fixture `datasets`, with the architectures and the losses that fit each.
FITTING: dict[str, tuple[list[str], list[str]]] = {
    "rows": (["mlp"], ["cross_entropy", "mse", "mae", "bce"]),
    "pictures": (["cnn", "mlp", *NETWORKS], ["cross_entropy", "bce"]),
    "measures": (["mlp"], ["mse", "mae"]),
}
DATASETS = tuple(FITTING)
OPTIMIZERS = ["adam", "sgd", "rmsprop", "adamw"]

# A configuration for the tests that are about something else.
CONFIG = {"model_architecture": "mlp", "dataset_name": "rows", "learning_rate": 0.01, "batch_size": 8, "epochs": 3}

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@st.composite
def configs(draw: st.DrawFn, datasets: Sequence[str] = DATASETS, most_epochs: int = 1000) -> dict[str, Any]:
    """Every configuration that can be trained, all fields given."""
    dataset_name = draw(st.sampled_from(datasets))
    architectures, losses = FITTING[dataset_name]
    return {
        "model_architecture": draw(st.sampled_from(architectures)),
        "dataset_name": dataset_name,
        "learning_rate": draw(st.floats(0.0001, 1.0) | st.just(1)),
        "batch_size": draw(st.integers(1, 256)),
        "epochs": draw(st.integers(1, most_epochs)),
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "loss_function": draw(st.sampled_from(losses)),
    }


def names() -> st.SearchStrategy[str]:
    """Everything that a model or a dataset may be called."""
    return st.from_regex(NAME, fullmatch=True)


def texts() -> st.SearchStrategy[str]:
    """Any text at all that is not empty."""
    return st.text(min_size=1, max_size=300)


def session_ids() -> st.SearchStrategy[str]:
    """Ids as the server makes them; that one of them exists is not to be feared."""
    return st.from_regex("sess_[0-9a-f]{12}", fullmatch=True)


def file_names() -> st.SearchStrategy[str]:
    """What a client may call its file: the server must not care."""
    return st.sampled_from(
        ["model.pt", "data.csv", "a.npz", "b.zip", "photo.JPEG", "passwd", "no ending", ".hidden", "ü.json"]
    )


@st.composite
def made_up_keys(draw: st.DrawFn) -> str:
    """Well-formed keys, checksum and all, that nobody was given."""
    body = keys.MARK + draw(st.text(keys.ALPHABET, min_size=keys.RANDOM_LENGTH, max_size=keys.RANDOM_LENGTH))
    return body + keys.checksum(body)


def header_texts() -> st.SearchStrategy[str]:
    """Everything that fits into a header, as WSGI hands it over."""
    return st.text(st.characters(max_codepoint=0xFF, exclude_categories=["Cc"]))
