"""Texts: tokens, windows, and texts that cannot be trained on."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import MakeSession
from training.engine.architectures import catalogue
from training.engine.data import Text, TrainingData
from training.engine.failures import TrainingFailure
from training.engine.objectives import LanguageModelling, build_objective
from training.engine.tokens import tokenize
from training.spec import DatasetFile, SessionSpec, TrainingConfig

CPU = torch.device("cpu")
POEM = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch. 🌲\n" * 4


def load(make_session: MakeSession, folder: Path, text: str = POEM, **options: Any) -> TrainingData:
    file = folder / "poem"
    file.write_text(text, encoding="utf-8")
    options = {"model_architecture": "gpt", "context_length": 8, **options}
    directory = make_session(file=file, format="text", **options)
    return TrainingData.load(SessionSpec.read(directory.spec), catalogue())


def decoded(tokens: torch.Tensor, names: tuple[str, ...]) -> str:
    return "".join(names[token] for token in tokens.tolist())


def bare_text(length: int, context_length: int, validation_split: float, seed: int) -> Text:
    """A text of so many different tokens, split as a session would; long enough for a sample in each split."""
    boundary = length - int(length * validation_split)
    return Text(
        x=torch.arange(length, dtype=torch.int32),
        y=torch.zeros(0, dtype=torch.int64),
        class_names=(),
        output_count=length,
        train_rows=torch.arange(max(1, (boundary - context_length) // context_length)) * context_length,
        validation_rows=torch.arange(boundary, length - context_length, context_length),
        seed=seed,
        context_length=context_length,
        bytes_by_token=(),
    )


def test_a_sample_is_some_characters_and_its_target_the_next_ones(make_session: MakeSession, tmp_path: Path) -> None:
    data = load(make_session, tmp_path)
    assert (data.kind, data.sample_shape, data.output_count) == ("text", (8,), len(set(POEM)))
    names = data.class_names
    assert names == tuple(sorted(set(POEM)))
    samples, targets = data.batch(torch.tensor([0, 5]), CPU)
    assert samples.dtype == targets.dtype == torch.int64
    assert [decoded(sample, names) for sample in samples] == [POEM[0:8], POEM[5:13]]
    assert [decoded(target, names) for target in targets] == [POEM[1:9], POEM[6:14]]


def test_bytes_are_tokens_too(make_session: MakeSession, tmp_path: Path) -> None:
    data = load(make_session, tmp_path, tokenizer="bytes")
    assert data.output_count == 256
    samples, _ = data.batch(torch.tensor([0]), CPU)
    assert bytes(samples[0].tolist()) == POEM.encode()[:8]


@pytest.mark.parametrize("tokenizer", ["characters", "bytes"])
def test_the_bytes_of_all_tokens_are_those_of_the_text(
    make_session: MakeSession, tmp_path: Path, tokenizer: str
) -> None:
    data = load(make_session, tmp_path, tokenizer=tokenizer)
    sizes = data.token_bytes
    assert sizes is not None
    assert sizes[data.x.long()].sum() == len(POEM.encode())


@given(text=st.text(min_size=1, max_size=200))
def test_the_tokens_of_any_text_are_its_characters(text: str) -> None:
    tokens, names = tokenize(np.frombuffer(text.encode(), np.uint8), "characters")
    assert "".join(names[token] for token in tokens) == text
    assert names == tuple(sorted(set(text)))


def test_a_text_that_is_decoded_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.frombuffer(POEM.encode(), np.uint8)
    whole = tokenize(data, "characters")
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("registry.formats.characters.CHUNK_BYTES", size)
        tokens, names = tokenize(data, "characters")
        assert names == whole[1]
        assert np.array_equal(tokens, whole[0])


def test_many_different_characters_need_wider_tokens(make_session: MakeSession, tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 400))) * 2
    data = load(make_session, tmp_path, text)
    assert data.output_count == 400
    assert data.x.dtype == torch.int32
    samples, _ = data.batch(torch.tensor([0]), CPU)
    assert samples[0].tolist() == list(range(8))


@given(
    length=st.integers(20, 400),
    context_length=st.integers(2, 9),
    epoch=st.integers(1, 50),
    seed=st.integers(0, 1000),
    batch_size=st.integers(1, 8),
)
def test_an_epoch_takes_the_training_part_once_and_nothing_of_the_other(
    length: int, context_length: int, epoch: int, seed: int, batch_size: int
) -> None:
    data = bare_text(length, context_length, 0.5 if length < 60 else 0.2, seed)
    end = int(data.validation_rows[0])
    batches = data.batches(epoch, batch_size)
    seen = torch.cat([data.batch(rows, CPU)[0].flatten() for rows in batches]).tolist()
    behind = torch.cat([data.batch(rows, CPU)[1].flatten() for rows in batches]).tolist()
    assert len(seen) == len(set(seen)) == data.train_count * context_length
    assert max(behind) < end
    assert sorted(seen) == list(range(min(seen), max(seen) + 1))
    assert end - len(seen) < 2 * context_length + 1  # what is left over before and behind
    checked = torch.cat([data.batch(rows, CPU)[1].flatten() for rows in data.validation_batches(batch_size)])
    assert checked.min() == end + 1
    assert len(checked) == len(set(checked.tolist())) > length - 1 - end - context_length


def test_the_windows_depend_on_seed_and_epoch_alone() -> None:
    def starts(seed: int, epoch: int) -> list[int]:
        torch.rand(3)
        return [int(row) for row in torch.cat(bare_text(500, 10, 0.2, seed).batches(epoch, 4))]

    assert starts(1, 1) == starts(1, 1)
    assert len({tuple(starts(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4
    assert len({min(starts(1, epoch)) for epoch in range(1, 30)}) > 5


def test_a_text_has_neither_moments_nor_classes(make_session: MakeSession, tmp_path: Path) -> None:
    data = load(make_session, tmp_path)
    assert data.input_moments() is None
    assert data.label_moments() is None
    assert data.train_class_counts() is None


def test_a_text_is_learnt_by_language_modelling(make_session: MakeSession, tmp_path: Path) -> None:
    data = load(make_session, tmp_path)
    config = SessionSpec.read(tmp_path / "session" / "spec.json").config
    objective = build_objective(config, data)
    assert isinstance(objective, LanguageModelling)
    samples, targets = data.training_batch(data.batches(1, 4)[0], CPU)
    outputs = torch.randn(*samples.shape, data.output_count)
    assert objective.count(targets) == 32
    assert objective.loss(outputs, targets).isfinite()


@pytest.mark.parametrize(
    ("length", "split", "context_length"), [(90, 0.2, 17), (90, 0.75, 21), (20, 0.5, 9), (1000, 0.01, 9)]
)
def test_a_text_must_hold_a_sample_in_each_split(
    make_session: MakeSession, tmp_path: Path, length: int, split: float, context_length: int
) -> None:
    """The longest context that the check of a configuration lets pass is one that works."""
    text = ("abcdefghi" * length)[:length]
    data = load(make_session, tmp_path, text, context_length=context_length, validation_split=split)
    assert len(data.batches(1, 4)[0]) >= 1
    assert len(data.validation_batches(4)[0]) >= 1
    for tokenizer in ("characters", "bytes"):
        with pytest.raises(TrainingFailure, match=f"too few for a sample of {context_length + 1} tokens") as caught:
            load(
                make_session,
                tmp_path,
                text,
                context_length=context_length + 1,
                validation_split=split,
                tokenizer=tokenizer,
            )
        assert caught.value.code == "bad_dataset"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"ab\0cd", "byte 2 of the file is NUL"), (b"ab\xffcd", "byte 2 of the file is not UTF-8"), (b"", "no text")],
)
def test_a_broken_text_is_a_bad_dataset(tmp_path: Path, data: bytes, reason: str) -> None:
    file = tmp_path / "poem"
    file.write_bytes(data)
    spec = SessionSpec(
        session_id="session",
        config=TrainingConfig(
            model_architecture="gpt", dataset_name="poem", learning_rate=0.1, batch_size=4, epochs=1, seed=1
        ),
        dataset=DatasetFile(name="poem", path=str(file), sha256=hashlib.sha256(data).hexdigest(), format="text"),
    )
    with pytest.raises(TrainingFailure, match=reason) as caught:
        TrainingData.load(spec, catalogue())
    assert caught.value.code == "bad_dataset"
