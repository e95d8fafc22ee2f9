"""What a dataset looks like: its first rows, how its labels are spread, strips of its images."""

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.formats import preview as module
from registry.formats.decoded import FOLDER, look_at, read_decoded
from registry.formats.preview import preview
from tests.registry.formats.conftest import Write

SHA = "0" * 64


def previewed(path: Path, format: str) -> dict[str, Any]:
    found = preview(look_at(path, format, SHA))
    assert json.loads(json.dumps(found)) == found
    return found


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def opened(strip: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(strip)))


def test_rows_have_the_names_of_their_columns(write: Write) -> None:
    found = previewed(write(b"height,width,label\n1,10,cat\n2,20,dog\n6,0.5,cat\n"), "csv")
    assert found["kind"] == "rows"
    assert [column["name"] for column in found["columns"]] == ["height", "width"]
    assert found["columns"][0] == {"name": "height", "lowest": "1", "mean": "3", "highest": "6"}
    assert found["rows"][2] == {"values": ["6", "0.5"], "label": "cat"}
    assert [(entry["name"], entry["count"]) for entry in found["labels"]["classes"]] == [("cat", 2), ("dog", 1)]


@pytest.mark.parametrize(
    ("data", "format", "names"),
    [
        (b"1,2,0\n3,4,1\n", "csv", ["1", "2"]),
        (b'[{"a": 1, "label": "x", "b": 2}]', "json", ["a", "b"]),
        (b"x,label:cat,label:dog\n1,1,0\n2,1,1\n", "csv", ["x"]),
        (npz(x=np.zeros((2, 3)), y=[0, 1]), "npz", ["1", "2", "3"]),
    ],
)
def test_columns_are_called_as_the_file_calls_them(write: Write, data: bytes, format: str, names: list[str]) -> None:
    assert [column["name"] for column in previewed(write(data), format)["columns"]] == names


def test_what_is_kept_decoded_looks_the_same(write: Write) -> None:
    path = write(b"height,width,label\n1,10,cat\n2,20,dog\n")
    fresh = previewed(path, "csv")
    assert not (path.parent / FOLDER).exists()  # a look keeps nothing
    read_decoded(path, "csv", SHA)
    path.unlink()
    assert previewed(path, "csv") == fresh


def test_much_is_cut(write: Write) -> None:
    rows, columns, classes = 500, 100, 60
    y = np.array([f"class {number % classes}" for number in range(rows)])
    found = previewed(write(npz(x=np.ones((rows, columns)), y=y)), "npz")
    assert (len(found["rows"]), len(found["columns"]), found["column_count"]) == (module.ROWS, module.COLUMNS, columns)
    labels = found["labels"]
    assert (len(labels["classes"]), labels["other_classes"]) == (module.CLASSES, classes - module.CLASSES)
    assert sum(entry["count"] for entry in labels["classes"]) + labels["other_count"] == rows


def test_sets_are_counted_by_class(write: Write) -> None:
    found = previewed(write(b"x,label:cat,label:dog\n1,1,0\n2,1,1\n3,0,0\n"), "csv")
    assert [(entry["name"], entry["count"]) for entry in found["labels"]["classes"]] == [("cat", 2), ("dog", 1)]
    assert [row["label"] for row in found["rows"]] == ["cat", "cat, dog", "none"]


def test_numbers_are_counted_by_range(write: Write) -> None:
    found = previewed(write(npz(x=np.zeros((100, 1)), y=np.linspace(0, 1, 100))), "npz")["labels"]
    assert found["kind"] == "numbers"
    assert (found["lowest"], found["mean"], found["highest"]) == ("0", "0.5", "1")
    assert [entry["count"] for entry in found["bins"]] == [5] * module.BINS


@pytest.mark.parametrize(("count", "kind"), [(50, "classes"), (51, "numbers")])
def test_many_whole_numbers_are_measured(write: Write, count: int, kind: str) -> None:
    found = previewed(write(npz(x=np.zeros((count, 1)), y=np.arange(count))), "npz")
    assert found["labels"]["kind"] == kind


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("side", "tile"), [(1, 64), (28, 56), (64, 64), (300, 64)])
def test_images_are_laid_side_by_side(write: Write, channels: int, side: int, tile: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, side, side, channels), dtype=np.uint8)
    found = previewed(write(npz(x=x, y=[0, 0, 0, 1, 1])), "npz")
    assert found["kind"] == "images"
    strips = [opened(entry["strip"]) for entry in found["labels"]["classes"]]
    gap = module.GAP_PIXELS
    assert [strip.size for strip in strips] == [(3 * tile + 2 * gap, tile), (2 * tile + gap, tile)]
    if side == 28 and channels == 3:
        assert strips[0].convert("RGB").getpixel((0, 0)) == tuple(x[0, 0, 0])


def test_images_of_real_numbers_are_brightened(write: Write) -> None:
    x = np.zeros((2, 8, 8), np.float32)
    x[0], x[1] = -3.0, 5.0
    found = previewed(write(npz(x=x, y=[0.5, 1.5])), "npz")["labels"]
    strip = opened(found["strip"]).convert("L")
    assert (strip.getpixel((0, 0)), strip.getpixel((strip.width - 1, 0))) == (0, 255)


@pytest.mark.parametrize(("highest", "shown"), [(16, 255), (63, 255), (64, 64), (255, 255)])
def test_dark_images_are_brightened(write: Write, highest: int, shown: int) -> None:
    x = np.zeros((2, 8, 8), np.uint8)
    x[1] = highest
    found = previewed(write(npz(x=x, y=[0.5, 1.5])), "npz")["labels"]
    strip = opened(found["strip"]).convert("L")
    assert (strip.getpixel((0, 0)), strip.getpixel((strip.width - 1, 0))) == (0, shown)


def test_images_that_are_all_one_are_shown(write: Write) -> None:
    found = previewed(write(npz(x=np.full((2, 8, 8), 7.0), y=[0, 1])), "npz")
    assert all(entry["strip"] for entry in found["labels"]["classes"])


def test_archives_of_images_are_shown(write: Write) -> None:
    archive, image = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (10, 20), (255, 0, 0)).save(image, "PNG")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("red/0.png", image.getvalue())
        file.writestr("red too/0.png", image.getvalue())
    found = previewed(write(archive.getvalue()), "images")
    assert opened(found["labels"]["classes"][0]["strip"]).size == (30, 60)


def test_a_text_shows_how_it_begins(write: Write) -> None:
    found = previewed(write(b"a b\n" * 1000 + "é".encode()), "text")
    assert found["text"] == ("a b\n" * 1000)[: module.TEXT_CHARACTERS]
    assert not found["is_whole"]
    assert found["count"] == 4001
    assert {(entry["name"], entry["count"]) for entry in found["labels"]["classes"]} == {
        ("a", 1000), ("b", 1000), ("space", 1000), ("line break", 1000), ("é", 1),
    }  # fmt: skip
    assert previewed(write(b"short\n"), "text")["is_whole"]


def test_names_can_be_shown_by_any_page(write: Write) -> None:
    found = previewed(write(b'[{"\\ud800": 1, "label": "' + b"x" * 500 + b'"}]'), "json")
    assert found["columns"][0]["name"] == "?"
    assert found["labels"]["classes"][0]["name"] == "x" * module.NAME_CHARACTERS


def run(path: Path, format: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "registry.formats.preview", str(path), format, SHA]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


@pytest.mark.slow
def test_the_process_prints_it(write: Write) -> None:
    code, answer = run(write(b"1,2\n"), "csv")
    assert code == 0
    assert answer["preview"]["count"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "problem"), [(b"a", "cannot be read as csv: line 1 needs"), (None, "No such file or directory")]
)
def test_the_process_says_what_is_wrong(write: Write, data: bytes | None, problem: str) -> None:
    path = write(data or b"")
    if data is None:
        path.unlink()
    code, answer = run(path, "csv")
    assert code == 1
    assert problem in answer["problem"]
