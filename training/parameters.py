"""Parameters of a query that are numbers or switches."""

import re

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request


def whole_number(text: str, smallest: int, largest: int) -> int:
    """The number that ASCII digits write. Raises ValueError, which says what it must be, for anything else."""
    if not re.fullmatch("[0-9]{1,19}", text) or not smallest <= int(text) <= largest:
        raise ValueError(f"must be a whole number from {smallest} to {largest}")
    return int(text)


def read_number(request: Request, name: str, smallest: int, largest: int) -> int | None:
    """A whole number of the query, if it has one. Raises ValidationError for anything else."""
    text = request.query_params.get(name)
    try:
        return None if text is None else whole_number(text, smallest, largest)
    except ValueError as error:
        raise ValidationError({name: [str(error)]}) from None


def read_switch(request: Request, name: str, *, default: bool) -> bool:
    """True or false of the query, or the default. Raises ValidationError for anything else."""
    text = request.query_params.get(name)
    if text not in (None, "true", "false"):
        raise ValidationError({name: ["must be true or false"]})
    return default if text is None else text == "true"
