"""What a terminal would show of a text that moves its cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.terminal import as_shown

CASES = [
    ("plain", "plain"),
    ("two\nlines\n", "two\nlines\n"),
    ("  0%|     |\r 50%|##   |\r100%|#####|", "100%|#####|"),
    ("10 of 10\r9 of 10\r", "9 of 100"),  # a shorter state leaves the end of a longer one, as on a screen
    ("10 of 10\r\x1b[K9 of 10", "9 of 10"),
    ("a long line\r\x1b[2Kshort", "short"),
    ("a long line\x1b[2K\rshort", "short"),
    ("a long line\r\x1b[2K", ""),
    ("windows\r\nlines\r\n", "windows\nlines\n"),
    ("bar 1\rbar 2\ntext\rTE", "bar 2\nTExt"),
    ("\r", ""),
    ("\r\r\rend", "end"),
    ("\x1b[31mred\x1b[0m and \x1b[1;38;5;208mbold\x1b[m", "red and bold"),
    ("\x9b31mred\x9b0m", "red"),
    ("\x1b]0;a title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
    ("\x1b[Aup\x1b[2Bdown\x1b(B", "updown"),
    ("\x1b[\x1b[31m31mnested", "31mnested"),
    ("cut off \x1b[3", "cut off 3"),
    ("cut off \x1b", "cut off "),
    ("\x1b]never ended", ""),
    ("a tab\tstays, as \x08 does", "a tab\tstays, as \x08 does"),
]


@pytest.mark.parametrize(("text", "shown"), CASES)
def test_the_last_state_is_shown(text: str, shown: str) -> None:
    assert as_shown(text) == shown


def written(text: str) -> str:
    """What stands on a screen, character by character."""
    lines: list[list[str]] = [[]]
    column = 0
    for character in text:
        if character == "\n":
            lines.append([])
            column = 0
        elif character == "\r":
            column = 0
        else:
            lines[-1][column : column + 1] = [character]
            column += 1
    return "\n".join("".join(line) for line in lines)


@given(st.text("ab \r\n", max_size=40))
def test_carriage_returns_are_obeyed_as_a_screen_obeys_them(text: str) -> None:
    assert as_shown(text) == written(text)


@given(st.text("a[]K2m0;\r\n\x1b\x9b\x07\\", max_size=60))
def test_nothing_is_left_that_moves_a_cursor_and_nothing_changes_twice(text: str) -> None:
    shown = as_shown(text)
    assert not set("\r\x1b\x9b") & set(shown)
    assert as_shown(shown) == shown
    assert shown.count("\n") == text.count("\n") or "]" in text  # a name of a window ends where it ends


def test_a_hostile_text_takes_no_time() -> None:
    for part in ("x\r", "\x1b[", "\x1b]", "\x1b[0", "\r\x1b[2K", "\x9b;"):
        assert len(as_shown(part * 500_000)) <= 500_000
