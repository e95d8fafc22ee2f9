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


# No JSON of a request may hold a NUL, which PostgreSQL does not take.
without_nul = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
# What may be given or left out, whatever the dataset. Names and weights of other sessions, and GPUs, are not among it.
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "validation_split": st.floats(0.001, 0.999),
    "validation_from": st.sampled_from(["random", "end"]),
    "normalize": st.sampled_from(["standard", "none"]),
    "weight_decay": st.none() | st.floats(0, 10),
    "scheduler": st.sampled_from(["none", "cosine", "step", "plateau"]),
    "scheduler_args": st.fixed_dictionaries(
        {
            "final_fraction": st.floats(0, 1),
            "every_epochs": st.integers(1, 100_000),
            "factor": st.floats(0, 1),
            "peak_at": st.floats(0.01, 0.99),
            "patience": st.integers(0, 100_000),
        }
    ),
    "warmup_steps": st.integers(0, 10_000_000),
    "gradient_clip": st.none() | st.floats(1e-12, 1e12),
    "gradient_accumulation": st.integers(1, 100_000),
    "precision": st.sampled_from(["auto", "fp32", "bf16"]),
    "compile": st.sampled_from(["auto", "on", "off"]),
    "device": st.sampled_from([None, "auto", "cpu"]),
    "num_threads": st.none() | st.integers(1, 1024),
    "deterministic": st.booleans(),
    "seed": st.none() | st.integers(0, 2**63 - 1),
    "max_steps": st.none() | st.integers(1, 2**53),
    "max_seconds": st.none() | st.floats(1, 1e9),
    "early_stopping": st.none()
    | st.fixed_dictionaries(
        {
            "metric": st.sampled_from(["val_loss", "val_accuracy", "loss", "accuracy"]),
            "patience": st.integers(1, 100_000),
            "min_delta": st.floats(0, 1e30),
            "keep_best": st.booleans(),
        }
    ),
    "checkpoint_every_seconds": st.none() | st.floats(0, 1e9),
    "keep_checkpoints": st.integers(1, 1000),
    "log_every_steps": st.integers(1, 1_000_000),
    "freeze": st.lists(st.text(without_nul, max_size=20), max_size=3),
    "tags": st.lists(st.from_regex("[^\x00-\x1f]{1,50}", fullmatch=True), max_size=3),
    "notes": st.text(without_nul, max_size=100),
}


@st.composite
def configs(draw: st.DrawFn, datasets: Sequence[str] = DATASETS, most_epochs: int = 1000) -> dict[str, Any]:
    """Every configuration that can be trained: the fields of the contract, and of the others any."""
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
        **draw(some_of(OPTIONAL)),
    }


def some_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Up to four of the fields: a configuration with all of them would take longer to draw than to start."""
    chosen = st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


def names() -> st.SearchStrategy[str]:
    """Everything that a model or a dataset may be called."""
    return st.from_regex(NAME, fullmatch=True)


def texts() -> st.SearchStrategy[str]:
    """Any text at all that is not empty."""
    return st.text(min_size=1, max_size=300)


# What moves a terminal's cursor has moved it before a log entry is kept (tests/training/test_terminal.py).
still = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\x1b\x9b")


def printed(min_size: int = 1) -> st.SearchStrategy[str]:
    """What a trainer may say. A NUL is no text to every database, and is shown as what cannot be shown."""
    return st.text(still, min_size=min_size, max_size=300)


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
