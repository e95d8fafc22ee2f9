"""manage.py importdataset."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from registry.models import Dataset

pytestmark = pytest.mark.django_db


def test_it_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "flowers.txt"
    path.write_text("5.1,3.5,setosa\n4.9,3.0,virginica\n")
    call_command("importdataset", "iris", str(path))
    dataset = Dataset.objects.get(name="iris")
    assert dataset.path.read_bytes() == path.read_bytes()
    assert "iris: 2 samples of 2, labels are text classes in 2 classes, csv" in capsys.readouterr().out


def test_a_text_is_described_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rhyme"
    path.write_text("abc, abc\nabc, abc\n")
    call_command("importdataset", "rhyme", str(path), "--format=text")
    assert "rhyme: a text of 18 characters, 6 of them different, text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad name", b"1,2\n", "A name is 1 to 100"),
        ("taken", b"1,2\n", "taken is registered already"),
        ("one", b"a,label\nx,1\n", "is no dataset: line 2, column 'a'"),
        ("one", None, "cannot be imported: No such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    Dataset.objects.store("taken", [b"1,2\n"])
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        call_command("importdataset", name, str(path))
    assert Dataset.objects.count() == 1
