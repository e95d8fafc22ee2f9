"""A text as a terminal shows it: what a progress bar has written over is gone, and so are colours."""

import re

# Sequences that colour, move and erase (ECMA-48), those that name a window, and an escape that begins nothing known.
SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|\x9b")
ERASE_LINE = "\x1b[2K"
ERASE_REST = re.compile(r"(?:\x1b\[|\x9b)0?K")


def as_shown(text: str) -> str:
    """The text without escape sequences, and of each line what is left when it has been written over."""
    if "\r" not in text and "\x1b" not in text and "\x9b" not in text:
        return text
    return "\n".join(map(_last_state, text.split("\n")))


def _last_state(line: str) -> str:
    """Each carriage return goes back to the line's beginning; a shorter state leaves the end of a longer one."""
    shown = ""
    for state in reversed(line.split("\r")):
        _, erased, state = state.rpartition(ERASE_LINE)
        shown += SEQUENCE.sub("", state)[len(shown) :]
        if erased or ERASE_REST.search(state):
            break
    return shown
