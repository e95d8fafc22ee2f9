"""csv files, good and bad."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from registry.formats import InvalidDataset, describe, limits, read
from tests.registry.formats.conftest import Write

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    x=arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=FINITE),
    header=st.booleans(),
    data=st.data(),
)
def test_what_is_written_is_what_is_read(write: Write, x: np.ndarray, header: bool, data: st.DataObject) -> None:
    y = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=len(x), max_size=len(x))))
    label_at = data.draw(st.integers(0, x.shape[1])) if header else x.shape[1]
    columns = [f"x{index}" for index in range(x.shape[1])]
    lines = [[*columns[:label_at], "label", *columns[label_at:]]] if header else []
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        lines.append([*map(repr, row[:label_at]), str(label), *map(repr, row[label_at:])])
    contents = read(write("\n".join(map(",".join, lines)).encode()))
    assert np.array_equal(contents.x, x)
    assert contents.x.dtype == np.float32
    assert np.array_equal(contents.y, y)
    description = describe(contents)
    assert (description.format, description.dimensions) == ("csv", str(x.shape[1]))
    assert (description.sample_count, description.labels) == (len(x), "integers")
    assert description.class_count == len(set(y.tolist()))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("label,a,b\n7,1,2\n8,3,4\n", [7, 8]),
        ("a,Target ,b\n1,7,2\n3,8,4\n", [7, 8]),
        ("target,a,label\n1,2,7\n3,4,8\n", [7, 8]),
        ("a,b,price\n1,2,7.5\n3,4,8\n", [7.5, 8]),
        ("1,2,7\n3,4,8\n", [7, 8]),
        (",a,b\n1,2,7\n3,4,8\n", [7, 8]),
        ("\n1,2,7\n\n3,4,8\n\n", [7, 8]),
        ("\ufeff1,2,7\r\n3,4,8\r\n", [7, 8]),
        ('"1","2","7"\n 3, 4, 8\n', [7, 8]),
    ],
    ids=["label first", "target", "label before target", "last", "no header", "index", "blank", "windows", "quoted"],
)
def test_the_label_column_is_found(write: Write, text: str, labels: list[float]) -> None:
    contents = read(write(text.encode()))
    assert contents.y.tolist() == labels
    assert contents.x.shape == (2, 2)


def test_text_labels_need_no_header(write: Write) -> None:
    contents = read(write("5.1,3.5, setosa\n4.9,3.0,größer\n5.0,3.6,setosa\n".encode()))
    assert contents.class_names == ("größer", "setosa")
    assert contents.y.tolist() == [1, 0, 1]
    assert describe(contents).labels == "names"
    assert describe(contents).class_count == 2


def test_a_column_for_each_class_makes_sets(write: Write) -> None:
    contents = read(write(b"a,label:sun,b,Label: rain\n1,0,2,1\n3,1,4, 1 \n"))
    assert contents.x.tolist() == [[1, 2], [3, 4]]
    assert contents.y.tolist() == [[0, 1], [1, 1]]
    assert contents.class_names == ("sun", "rain")
    description = describe(contents)
    assert (description.labels, description.class_count, description.dimensions) == ("sets", 2, "2")


def test_real_labels_have_no_classes(write: Write) -> None:
    description = describe(read(write(b"1,0.5\n2,1\n")))
    assert (description.labels, description.class_count) == ("numbers", None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b,label\n1,x,0\n", "line 2, column 'b': 'x' is not a number"),
        (b"1,2,0\n3,,1\n", "line 2, column '2': the value is missing"),
        (b"1,,0\n3,4,1\n", "line 1, column '2': the value is missing"),
        (b"1,NA,0\n3,4,1\n", "line 1, column '2': 'NA' is not a number"),
        (b"a,label\nnan,1\n", "line 2, column 'a': not a finite number"),
        (b"a,label\n1,1\n\n-inf,1\n", "line 4, column 'a': not a finite number"),
        (b"a,label\n1e39,1\n", "line 2, column 'a': not a finite number that fits in 32 bits"),
        (b"a,label\n1_0,1\n", "line 2, column 'a': '1_0' is not a number"),
        ("a,label\n٣,1\n".encode(), "line 2, column 'a': '٣' is not a number"),
        ("a,label\n\u00a05,1\n".encode(), "line 2, column 'a'"),
        (b"a,label\n1,inf\n", "line 2: the label is missing or not a finite number"),
        (b"a,label\n1,cat\n2,\n", "line 3: the label is missing"),
        (b"a,b,label\n1,2,3\n1,2\n", "line 3 has 2 columns, the lines before it 3"),
        (b"a,label,Label\n1,2,3\n", "more than one column is named label"),
        (b"a,b,label\n", "holds no samples"),
        (b"a;b;label\n1;2;0\n", "separated by a comma"),
        (b'1,2\n"3,4\n', "line 2 is not csv"),
        (b"1,2\n" * 200 + b"3,4\0\n", "line 201 holds a NUL character"),
        (b"1,2\n" * 200 + b"\xff", "not UTF-8"),
        (b"1," + b"2" * 140_000, "field larger than field limit"),
        (b"a,label:x,label:y\n1,0,1\n2,1,2\n", "line 3, column 'label:y': '2' is neither 0 nor 1"),
        (b"a,label:x,label:y\n1,0,\n", "line 2, column 'label:y': '' is neither 0 nor 1"),
        (b"a,label:x,label:y\nq,0,1\n", "line 2, column 'a': 'q' is not a number"),
        (b"a,label:x,label:y\n1,0\n", "line 2 has 2 columns, the lines before it 3"),
        (b"a,label:x,label:y\n", "holds no samples"),
        (b"a,label:x\n1,0\n", "need two classes at least"),
        (b"a,label:x,label:x\n1,0,1\n", "two classes are named 'x'"),
        (b"a,label:,label:x\n1,0,1\n", "the name of class 0 is missing"),
        (b"label:x,label:y\n0,1\n", "a sample needs a feature too"),
        (b"x" * 60 + b",label\nz,1\n", "column 'x{40}…'"),
    ],
)
def test_what_is_wrong_is_named(write: Write, data: bytes, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write(data))


@pytest.mark.parametrize(("limit", "value"), [("MAX_DECODED_BYTES", 16), ("MAX_SAMPLES", 2), ("MAX_LINE_CHARS", 4)])
def test_limits_hold(write: Write, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    path = write(b"1,2,0\n" * 3)
    read(path)
    monkeypatch.setattr(limits, limit, value)
    with pytest.raises(InvalidDataset, match=rf"(larger|longer|more) than {value}"):
        read(path)


def test_numpy_writes_what_is_read(write: Write) -> None:
    file = io.StringIO()
    table = np.random.default_rng(1).normal(size=(50, 4))
    np.savetxt(file, table, delimiter=",")
    contents = read(write(file.getvalue().encode()))
    assert np.array_equal(contents.x, table[:, :3].astype(np.float32))
    assert np.array_equal(contents.y, table[:, 3])
