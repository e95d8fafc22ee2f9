"""JSON files, good and bad."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.formats import InvalidDataset, describe, limits, read
from tests.registry.formats.conftest import Write


@given(
    keys=st.lists(st.text(max_size=5).filter(lambda key: key.strip().lower() != "label"), min_size=1, unique=True),
    sample_count=st.integers(1, 5),
    indent=st.sampled_from([None, 2]),
    data=st.data(),
)
def test_what_is_written_is_what_is_read(
    write: Write, keys: list[str], sample_count: int, indent: int | None, data: st.DataObject
) -> None:
    value = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000) | st.booleans()
    records = [
        {**{key: data.draw(value) for key in keys}, "label": data.draw(st.sampled_from(["cat", "dog", "ä"]))}
        for _ in range(sample_count)
    ]
    contents = read(write(json.dumps(records, indent=indent).encode()))
    assert contents.x.tolist() == [[float(record[key]) for key in keys] for record in records]
    assert contents.class_names == tuple(sorted({record["label"] for record in records}))
    assert [contents.class_names[index] for index in contents.y] == [record["label"] for record in records]
    description = describe(contents)
    assert (description.format, description.dimensions) == ("json", str(len(keys)))
    assert (description.sample_count, description.labels) == (sample_count, "names")


@pytest.mark.parametrize(
    ("records", "labels", "kind"),
    [
        ([{"label": 1, "a": 5}, {"a": 5, "label": 0}], [1, 0], "integers"),
        ([{"target": 1.5, "a": 5}, {"a": 5, "target": 0}], [1.5, 0], "numbers"),
        ([{"a": 5, "price": 1}, {"price": 2.5, "a": 5}], [1, 2.5], "numbers"),
        ([{"a": 5, "good": True}, {"a": 5, "good": False}], [1, 0], "integers"),
    ],
    ids=["label", "target", "last of the first record", "booleans"],
)
def test_the_label_is_found(write: Write, records: list[object], labels: list[float], kind: str) -> None:
    contents = read(write(json.dumps(records).encode("utf-8-sig")))
    assert contents.x.tolist() == [[5], [5]]
    assert contents.y.tolist() == labels
    assert describe(contents).labels == kind


def test_lists_of_classes_are_sets(write: Write) -> None:
    records = [{"a": 1, "label": ["sun", "rain"]}, {"a": 2, "label": []}, {"a": 3, "label": ["fog"]}]
    contents = read(write(json.dumps(records).encode()))
    assert contents.class_names == ("fog", "rain", "sun")
    assert contents.y.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    description = describe(contents)
    assert (description.labels, description.class_count, description.sample_count) == ("sets", 3, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "label": 2}', "a JSON dataset is a list of records"),
        ("[]", "holds no samples"),
        ("[[1, 2]]", "record 1 is not an object"),
        ("[{}]", "record 1 is not an object"),
        ('[{"label": 2}]', "a record needs a feature and a label"),
        ('[{"a": 1, "b": 2}, {"a": 1}]', "record 2 has other keys than the first"),
        ('[{"a": 1, "b": 2}, {"a": 1, "c": 2}]', "record 2 has other keys than the first"),
        ('[{"a": 1, "a": 1, "b": 2}]', "the same key twice"),
        ('[{"a": null, "b": 2}]', "record 1, key 'a': the value is missing"),
        ('[{"a": "x", "b": 2}]', "record 1, key 'a': not a number; only labels may be text"),
        ('[{"a": [1], "b": 2}]', "record 1, key 'a': not a number; .* nothing may be nested"),
        ('[{"a": NaN, "b": 2}]', "NaN is no JSON"),
        ('[{"a": 1, "b": -Infinity}]', "-Infinity is no JSON"),
        ('[{"a": 1e999, "b": 2}]', "record 1, column 'a': not a finite number"),
        ('[{"a": 1, "b": 1e999}]', "record 1: the label is missing or not a finite number"),
        ('[{"a": 1%s, "b": 2}]' % ("0" * 400), "record 1, key 'a': the number is too large"),
        ('[{"a": 1%s, "b": 2}]' % ("0" * 5000), "record 1 is not valid JSON"),
        ('[{"a": 1, "b": 2}, {"a": 1, "b": "x"}]', "they must be all of one kind"),
        ('[{"a": 1, "b": ["x"]}, {"a": 1, "b": "y"}]', "they must be all of one kind"),
        ('[{"a": 1, "b": ["x", 5]}]', "record 1, key 'b': a list of classes holds texts alone"),
        ('[{"a": 1, "b": ["x"]}]', "need two classes at least"),
        ('[{"a": 1, "b": []}]', "need two classes at least"),
        ('[{"a": 1, "b": ["x", ""]}]', "the name of class 0 is missing"),
        ('[{"a": 1, "b": {"x": 1}}]', "record 1, key 'b': not a number"),
        ('[{"a": 1, "b": ""}]', "record 1: the label is missing"),
        ('[{"a": 1, "b": "\\ud800"}]', "record 1: the label is no valid Unicode text"),
        ('[{"a": 1, "b": "\\u0000"}]', "record 1: the label holds a NUL character"),
        ('[{"a": %s, "b": 2}]' % ("[" * 100_000), "record 1 is not valid JSON"),
        ("[" * 100_000, "record 1 is not valid JSON"),
        ('[{"a": 1, "b": 2}', "after record 1 a comma"),
        ('[{"a": 1, "b": 2},]', "record 2 is not valid JSON"),
        ('[{"a": 1, "b": 2}] x', "something follows the end of the list"),
        ('[{"a": 1, "b": 2}, {"a": 1, "b', "record 2 is not valid JSON"),
    ],
)
def test_what_is_wrong_is_named(write: Write, text: str, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(text.encode()))


def test_text_must_be_utf_8(write: Write) -> None:
    with pytest.raises(InvalidDataset, match="not UTF-8"):
        read(write(b'[{"a": 1, "b": 2}' + b" " * 600 + b"\xff]"))


def test_long_files_are_refused_before_they_are_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_JSON_BYTES", 10)
    with pytest.raises(InvalidDataset, match="10 bytes at most"):
        read(write(b'[{"a": 1, "b": 2}]'))
