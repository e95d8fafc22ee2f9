"""What is refused to those who manage keys."""

from collections.abc import Iterable


class BeyondOwnScopes(Exception):
    """A key with scopes that the one who manages it has not."""

    def __init__(self, scopes: Iterable[str]) -> None:
        super().__init__(f"You can manage only keys whose scopes you have yourself; you have not: {', '.join(scopes)}.")
