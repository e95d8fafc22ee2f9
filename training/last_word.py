"""What a trainer said at its end, read with care: code of the session's owner can write into a journal, too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

from training.failures import REMEDIES
from training.ingest import text
from training.journal import Ending, SessionDirectory, last_end


@dataclass(frozen=True)
class LastWord:
    """How an attempt ended by itself. What does not belong to its ending is empty."""

    ending: Ending
    weights: Path | None = None
    failure_code: str = ""
    error_message: str = ""

    @classmethod
    def of(cls, directory: SessionDirectory, attempt: int) -> Self | None:
        """The last word of an attempt; None where it died without one, or with one that is not true."""
        end = last_end(directory.events, attempt)
        if end is None or end.get("ending") not in get_args(Ending):
            return None
        if end["ending"] == "completed":
            weights = _file_in(directory.weights, end.get("weights"))
            return cls("completed", weights) if weights else None
        if end["ending"] == "failed":
            code, message = end.get("failure_code"), end.get("error_message")
            known = code if isinstance(code, str) and code in REMEDIES else "user_code"
            return cls("failed", None, known, text("error_message", str(message)))
        return cls("interrupted")


def _file_in(folder: Path, name: Any) -> Path | None:
    """The file of this name right inside a folder, if there is one."""
    if not isinstance(name, str) or "\0" in name or Path(name).name != name:
        return None
    path = folder / name
    return path if path.is_file() and not path.is_symlink() else None
