"""Whole numbers of a query."""

import re


def whole_number(text: str, smallest: int, largest: int) -> int:
    """The number that ASCII digits write. Raises ValueError, which says what it must be, for anything else."""
    if not re.fullmatch("[0-9]{1,19}", text) or not smallest <= int(text) <= largest:
        raise ValueError(f"must be a whole number from {smallest} to {largest}")
    return int(text)
