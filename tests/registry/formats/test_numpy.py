"""npz and npy files, good and bad."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from registry.formats import InvalidDataset, describe, limits, read
from tests.registry.formats.conftest import Write
from tests.registry.formats.files import npy, npy_with_header, npz, zip_of

SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=4)
NUMBERS = st.sampled_from(["u1", "i1", "<i4", ">i4", "i8", "f2", "<f4", ">f4", "?"]).map(np.dtype)
ZEROS = np.zeros


@given(x=arrays.arrays(NUMBERS, SHAPES, elements={"allow_nan": False, "allow_infinity": False}), data=st.data())
def test_what_is_written_is_what_is_read(write: Write, x: np.ndarray, data: st.DataObject) -> None:
    y = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(x), max_size=len(x))))
    contents = read(write(npz(x=np.asarray(x, order=data.draw(st.sampled_from("CF"))), y=y)))
    expected = x if x.ndim == 2 else x[..., np.newaxis]
    assert contents.x.shape == expected.shape
    assert np.array_equal(contents.x, expected.astype(np.float32))
    assert contents.x.dtype == (np.uint8 if x.dtype == np.uint8 and x.ndim == 3 else np.float32)
    assert np.array_equal(contents.y, y)
    description = describe(contents)
    assert description.dimensions == "x".join(map(str, expected.shape[1:]))
    assert (description.format, description.sample_count) == ("npz", len(x))
    assert (description.labels, description.class_count) == ("integers", len(set(y.tolist())))


@pytest.mark.parametrize(
    ("shape", "dimensions"),
    [
        ((5, 7), "7"),
        ((5, 8, 9), "8x9x1"),
        ((5, 8, 9, 3), "8x9x3"),
        ((5, 3, 8, 9), "8x9x3"),
        ((5, 3, 2, 1), "3x2x1"),
        ((5, 1, 28, 28), "28x28x1"),
    ],
)
def test_channels_come_last(write: Write, shape: tuple[int, ...], dimensions: str) -> None:
    x = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    contents = read(write(npz(x=x, y=np.arange(5))))
    assert describe(contents).dimensions == dimensions
    if dimensions == "8x9x3":
        assert contents.x[1, 2, 3, 1] == (x[1, 2, 3, 1] if shape[3] == 3 else x[1, 1, 2, 3])


@pytest.mark.parametrize(
    ("y", "labels", "class_names"),
    [
        ([3, 1], [3, 1], None),
        ([[3], [1]], [3, 1], None),
        ([True, False], [1, 0], None),
        ([3.0, 1.0], [3, 1], None),
        ([0.5, 1.0], [0.5, 1.0], None),
        (np.array([2**63 - 1, 1], np.uint64), [2**63 - 1, 1], None),
        (np.array([1e300, 1]), [1e300, 1], None),
        (["dog", "cat"], [1, 0], ("cat", "dog")),
        ([b"dog", "größe".encode()], [0, 1], ("dog", "größe")),
    ],
)
def test_labels_of_every_kind(write: Write, y: Any, labels: list[float], class_names: Any) -> None:
    contents = read(write(npz(x=ZEROS((2, 3)), y=y)))
    assert contents.y.tolist() == labels
    assert contents.y.dtype == (np.int64 if all(isinstance(label, int) for label in labels) else np.float64)
    assert contents.class_names == class_names


def test_a_dataset_may_bring_its_own_split(write: Write) -> None:
    x = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    y = np.array(["a", "b", "c", "a", "b", "z"])
    contents = read(write(npz(x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:])))
    assert contents.x_test is not None
    assert contents.y_test is not None
    assert np.array_equal(contents.x[..., 0], x[:4])
    assert np.array_equal(contents.x_test[..., 0], x[4:])
    assert contents.class_names == ("a", "b", "c", "z")
    assert contents.y.tolist() == [0, 1, 2, 0]
    assert contents.y_test.tolist() == [1, 3]
    assert describe(contents).sample_count == 6
    assert describe(contents).class_count == 4


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_a_column_for_each_class_makes_sets(write: Write, dtype: Any) -> None:
    y = np.array([[1, 0, 1], [0, 0, 0]], dtype)
    contents = read(write(npz(x=ZEROS((2, 3)), y=y, class_names=["rain", "sun", "fog"])))
    assert contents.class_names == ("rain", "sun", "fog")
    assert contents.y.dtype == np.uint8
    assert contents.y.tolist() == [[1, 0, 1], [0, 0, 0]]
    description = describe(contents)
    assert (description.labels, description.class_count, description.sample_count) == ("sets", 3, 2)
    assert read(write(npz(x=ZEROS((2, 3)), y=y))).class_names == ("0", "1", "2")


def test_sets_may_bring_their_own_split(write: Write) -> None:
    x, y = ZEROS((3, 3)), np.array([[1, 0], [0, 1], [1, 1]])
    contents = read(write(npz(x_train=x[:2], y_train=y[:2], x_test=x[2:], y_test=y[2:])))
    assert contents.y_test is not None
    assert (contents.y.tolist(), contents.y_test.tolist()) == ([[1, 0], [0, 1]], [[1, 1]])


def test_whole_labels_must_be_whole_in_both_parts(write: Write) -> None:
    rows = ZEROS((2, 3))
    contents = read(write(npz(x_train=rows, y_train=[1, 2], x_test=rows, y_test=[1.5, 2])))
    assert contents.y.dtype == np.float64
    assert describe(contents).labels == "numbers"


@given(
    table=arrays.arrays(
        st.sampled_from(["f4", "i2"]).map(np.dtype),
        st.tuples(st.integers(1, 5), st.integers(2, 5)),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_the_last_column_of_an_npy_table_is_the_label(write: Write, table: np.ndarray) -> None:
    contents = read(write(npy(table)))
    assert np.array_equal(contents.x, table[:, :-1].astype(np.float32))
    assert np.array_equal(contents.y, table[:, -1])
    assert describe(contents).format == "npy"
    assert describe(contents).dimensions == str(table.shape[1] - 1)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x": ZEROS((2, 3))}, "an npz dataset holds x and y"),
        ({"x": ZEROS((2, 3)), "y": ZEROS(3)}, "there are 2 samples but 3 labels"),
        ({"x": ZEROS((0, 3)), "y": ZEROS(0)}, "x is empty"),
        ({"x": ZEROS((2, 0)), "y": ZEROS(2)}, "x is empty"),
        ({"x": ZEROS(2), "y": ZEROS(2)}, "x must be numbers with two to four axes"),
        ({"x": ZEROS((2, 1, 1, 1, 1)), "y": ZEROS(2)}, "x must be numbers with two to four axes"),
        ({"x": ZEROS((2, 5, 5, 5)), "y": ZEROS(2)}, "x has no axis for one to four channels"),
        ({"x": [["a", "b"]], "y": ZEROS(1)}, "x must be numbers"),
        ({"x": ZEROS((2, 3), complex), "y": ZEROS(2)}, "x holds 'complex128'"),
        ({"x": ZEROS((2, 3), [("a", int)]), "y": ZEROS(2)}, "x holds"),
        ({"x": ZEROS((2, 3), "M8[s]"), "y": ZEROS(2)}, "x holds"),
        ({"x": ZEROS((2, 3)), "y": ZEROS((2, 2, 2))}, "y must hold one label per sample"),
        ({"x": ZEROS((2, 3)), "y": [["a", "b"], ["c", "d"]]}, "y must hold one label per sample"),
        ({"x": ZEROS((2, 3)), "y": [[0, 1], [1, 7]]}, r"y\[1, 1\] is 7; which classes .* 0 and 1"),
        ({"x": ZEROS((2, 3)), "y": [[0, 0.5], [1, 0]]}, r"y\[0, 1\] is 0.5"),
        ({"x": ZEROS((2, 3)), "y": [[0, np.nan], [1, 0]]}, r"y\[0, 1\] is nan"),
        ({"x": ZEROS((3, 3)), "y": [[0, 1], [1, 0]]}, "there are 3 samples but 2 labels"),
        (
            {"x_train": ZEROS((2, 3)), "y_train": [[0, 1], [1, 0]], "x_test": ZEROS((1, 3)), "y_test": [[0, 2]]},
            r"y_test\[0, 1\] is 2",
        ),
        (
            {"x_train": ZEROS((2, 3)), "y_train": [[0, 1], [1, 0]], "x_test": ZEROS((1, 3)), "y_test": [1]},
            "y_train is int64 of shape .* they must be alike",
        ),
        (
            {"x": ZEROS((2, 3)), "y": [[0, 1], [1, 0]], "class_names": ["a"]},
            "class_names must be a text for each of the 2 columns",
        ),
        (
            {"x": ZEROS((2, 3)), "y": [[0, 1], [1, 0]], "class_names": [1, 2]},
            "class_names must be a text for each of the 2 columns",
        ),
        ({"x": ZEROS((2, 3)), "y": [[0, 1], [1, 0]], "class_names": ["a", "a"]}, "two classes are named 'a'"),
        ({"x": ZEROS((2, 3)), "y": [[0, 1], [1, 0]], "class_names": ["a", ""]}, "the name of class 1 is missing"),
        ({"x": ZEROS((2, 3)), "y": np.float64(1)}, "y must hold one label per sample"),
        ({"x": ZEROS((2, 3)), "y": [1.0, np.nan]}, "label 1: the label is missing or not a finite number"),
        ({"x": ZEROS((2, 3)), "y": [np.inf, 1.0]}, "label 0: the label is missing or not a finite number"),
        ({"x": ZEROS((2, 3)), "y": np.array([1, 2**63], np.uint64)}, "label 1: the label is too large"),
        ({"x": ZEROS((2, 3)), "y": ["a", ""]}, "label 1: the label is missing"),
        ({"x": ZEROS((2, 3)), "y": [b"a", b"\xff"]}, "not valid text"),
        ({"x": [[1.0, 2.0], [3.0, np.nan]], "y": ZEROS(2)}, r"x\[1, 1\] is not a finite number"),
        ({"x": [[1.0, 2.0], [3e300, 4.0]], "y": ZEROS(2)}, r"x\[1, 0\] is not a finite number"),
        (
            {"x_train": ZEROS((2, 3)), "y_train": [1, 2], "x_test": ZEROS((2, 4)), "y_test": [1, 2]},
            "x_train is float32 of shape .* they must be alike",
        ),
        (
            {"x_train": ZEROS((2, 3)), "y_train": [1, 2], "x_test": ZEROS((2, 3)), "y_test": ["a", "b"]},
            "labels of one part are text",
        ),
        (
            {"x_train": ZEROS((2, 3)), "y_train": [1, 2], "x_test": ZEROS((2, 3)), "y_test": [1]},
            "there are 2 samples but 1 labels",
        ),
    ],
)
def test_what_is_wrong_with_an_npz_is_named(write: Write, members: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(npz(**members)))


@pytest.mark.parametrize("table", [ZEROS(4), ZEROS((4, 1)), ZEROS((2, 2, 2)), np.array([["a", "b"]])])
def test_an_npy_dataset_is_a_table_of_numbers(write: Write, table: np.ndarray) -> None:
    with pytest.raises(InvalidDataset, match="an npy dataset is a table of numbers"):
        read(write(npy(table)))


class Bomb:
    """Unpickling it would be seen."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("the file was unpickled",)


@pytest.mark.parametrize(
    "data",
    [
        npy(np.array([[Bomb(), Bomb()]])),
        npz(x=ZEROS((1, 2)), y=np.array([Bomb()])),
        zip_of({"x.npy": pickle.dumps(Bomb()), "y.npy": pickle.dumps(Bomb())}),
    ],
)
def test_nothing_is_unpickled(write: Write, data: bytes) -> None:
    with pytest.raises(InvalidDataset):
        read(write(data))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 0)}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776, 2)}",
        "{'descr': '(1000000000,)<f4', 'fortran_order': False, 'shape': (1, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 'more': 1}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': 5, 'fortran_order': False, 'shape': (2, 2)}",
        "[" * 5000,
        "(" * 200 + ")" * 200,
        "",
    ],
)
def test_a_lying_header_allocates_nothing(write: Write, header: str) -> None:
    lie = npy_with_header(header, b"\0" * 16)
    honest = npy(ZEROS(2))
    for data in (lie, zip_of({"x.npy": lie, "y.npy": honest}), zip_of({"x.npy": npy(ZEROS((2, 2))), "y.npy": lie})):
        with pytest.raises(InvalidDataset):
            read(write(data))


def test_a_header_that_is_gigabytes_long_is_not_read(write: Write) -> None:
    with pytest.raises(InvalidDataset, match="no valid npy header"):
        read(write(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100_000))


@pytest.mark.parametrize(("limit", "value"), [("MAX_DECODED_BYTES", 500), ("MAX_SAMPLES", 9), ("MAX_ENTRIES", 1)])
def test_limits_hold(write: Write, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    path = write(npz(x=ZEROS((10, 20), np.uint8), y=ZEROS(10, np.uint8)))
    read(path)
    monkeypatch.setattr(limits, limit, value)
    with pytest.raises(InvalidDataset, match=f"more than {value}|larger than {value}"):
        read(path)
